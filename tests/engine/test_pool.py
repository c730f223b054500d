"""Choices without a call, other nodes, and one derivation for many changes."""

import json
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from balancemw import Node, NoNodeAvailable, SettingsError
from balancemw.load import Load
from tests.engine.stage import Answer, Stage, refused, reset

# -- pick


def test_a_pick_is_a_node_and_counts_nothing():
    stage = Stage(2)
    picked = {stage.service.pick() for _ in range(10)}
    assert picked == set(stage.service.nodes)
    assert stage.in_flight() == 0
    assert [each["calls"] for each in stage.status()["nodes"]] == [0, 0]
    assert stage.status()["budget"]["calls"] == 0


def test_a_pick_passes_over_what_is_excluded_by_node_url_or_name():
    stage = Stage(4, strategy="random")
    first, second, third, _ = stage.service.nodes
    for _ in range(20):
        assert stage.service.pick(exclude=[first, second.url, third.name]).host == "n3"
    assert stage.service.pick(exclude=iter([first, second, third])).host == "n3"


def test_a_pick_falls_back_when_everything_is_excluded():
    stage = Stage(2)
    assert stage.service.pick(exclude=stage.service.nodes) in stage.service.nodes


def test_a_pick_goes_by_its_key():
    stage = Stage(5, strategy="consistent_hash")
    homes = {key: stage.service.pick(key) for key in "abcdefghij"}
    assert len(set(homes.values())) > 1
    assert all(stage.service.pick(key) is node for key, node in homes.items())
    assert stage.service.pick("a", exclude=[homes["a"]]) != homes["a"]


def test_a_pick_without_nodes_and_one_that_excludes_a_stranger():
    stage = Stage(2)
    with pytest.raises(LookupError, match="n7"):
        stage.service.pick(exclude=["n7:80"])
    stage.service.replace([])
    with pytest.raises(NoNodeAvailable, match="'s' has no node"):
        stage.service.pick()


def test_a_pick_is_nobodys_trial():
    stage = Stage(3, slow_start={"window": 0})
    stage.does["n0"] = refused
    stage.calls(3, attempts=1)
    stage.clock.advance(6)
    assert {stage.service.pick().host for _ in range(30)} == {"n1", "n2"}
    assert stage.states()["n0"] == "trial"
    assert not stage.happened("trial")


# -- other nodes


def test_replaced_nodes_take_what_nodes_in_the_settings_takes_and_nodes():
    stage = Stage(2)
    stage.service.replace(["http://a:1/", {"url": "http://b:2", "weight": 3, "zone": "x"}, Node("http://c:3")])
    assert [(node.url, node.weight, node.zone) for node in stage.service.nodes] == [
        ("http://a:1", 1, ""),
        ("http://b:2", 3, "x"),
        ("http://c:3", 1, ""),
    ]
    assert set(stage.calls(30)) == {"a", "b", "c"}


@pytest.mark.parametrize(
    "wrong",
    [
        ["http://n0:80", "ftp://b"],
        ["http://n0:80", "http://n0:80/"],
        [{"url": "http://a:1", "wieght": 3}],
        [{"url": "http://a:1", "weight": 0}],
        "http://a:1",
        None,
        [None],
    ],
)
def test_nodes_that_are_wrong_change_nothing(wrong: Any):
    stage = Stage(2)
    before = stage.status()
    with pytest.raises(SettingsError):
        stage.service.replace(wrong)
    assert stage.status() == before
    assert stage.events == []


def test_nodes_that_stay_keep_what_is_known_of_them():
    stage = Stage(3)
    stage.does["n0"] = refused
    stage.calls(9, attempts=1)
    stage.service.mark("n1:80", "drain", reason="maintenance")
    before = {host: stage.told(host) for host in ("n0", "n1")}
    stage.service.replace(["http://n0:80", "http://n1:80", "http://new:80"])
    assert {host: stage.told(host) for host in ("n0", "n1")} == before
    assert [(each.event, each.node) for each in stage.events[-2:]] == [("added", "new:80"), ("removed", "n2:80")]


def test_a_node_that_stays_may_get_another_weight_and_priority():
    stage = Stage(2, strategy="weighted_round_robin")
    stage.service.mark("n0:80", "weight", weight=2.0, reason="bigger machine")
    stage.service.replace([{"url": "http://n0:80", "weight": 5}, {"url": "http://n1:80", "priority": 1}])
    assert stage.told("n0")["weight"] == 10
    assert stage.calls(20) == {"n0": 20}


def test_new_nodes_take_up_their_share_by_degrees_but_not_the_first_ones():
    stage = Stage(1, strategy="round_robin")
    stage.service.replace(["http://n0:80", "http://n1:80"])
    assert stage.states() == {"n0": "up", "n1": "slow_start"}
    stage.service.replace([])
    stage.service.replace(["http://n2:80"])
    assert stage.states() == {"n2": "up"}


def test_calls_in_flight_to_a_node_that_leaves_go_on_and_come_back_to_nothing():
    stage = Stage(1)
    for fails in (False, True):
        stage.service.replace(["http://n0:80"])
        attempt = next(iter(stage.service.attempts()))
        node = attempt.__enter__()
        stage.service.replace(["http://n1:80", "http://n2:80"])
        error = ConnectionRefusedError(111, "gone") if fails else None
        attempt.__exit__(type(error) if error else None, error, None)
        assert node.host == "n0"
        assert stage.in_flight() == 0
        assert stage.available() == {"n1", "n2"}


def test_replacing_nodes_by_themselves_is_no_news():
    stage = Stage(3)
    stage.service.replace(stage.service.nodes)
    assert stage.events == []
    assert set(stage.states().values()) == {"up"}


# -- many changes, one derivation


class Counting:
    """A strategy that counts how often it is asked for a picker."""

    pickers = 0

    def __init__(self, *, rng: object) -> None:
        self._turn = 0

    def picker(self, available: Sequence[Load], everyone: Sequence[Load]) -> Callable[[float, str | None], Load]:
        type(self).pickers += 1
        assert available
        assert set(available) <= set(everyone)

        def pick(now: float, key: str | None) -> Load:
            self._turn += 1
            return available[self._turn % len(available)]

        return pick


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Counting]]:
    module: Any = types.ModuleType("counting_strategy")
    module.Counting = Counting
    monkeypatch.setitem(sys.modules, "counting_strategy", module)
    monkeypatch.setattr(Counting, "pickers", 0)
    return Counting


def test_a_storm_of_marks_leads_to_one_derivation(counting: type[Counting]):
    stage = Stage(500, strategy="counting_strategy:Counting")
    stage.call()
    assert counting.pickers == 1
    for node in stage.service.nodes:
        stage.service.mark(node, "drain", reason="storm")
        stage.service.mark(node, "weight", weight=2.0, reason="storm")
    assert counting.pickers == 1
    stage.calls(100)
    assert counting.pickers == 2


def test_while_nothing_changes_nothing_is_derived(counting: type[Counting]):
    stage = Stage(3, strategy="counting_strategy:Counting")
    for _ in range(100):
        stage.calls(10)
        stage.clock.advance(10)
    assert counting.pickers == 1


def test_a_storm_of_failures_that_change_nothing_derives_nothing(counting: type[Counting]):
    stage = Stage(3, strategy="counting_strategy:Counting", retry={"attempts": 1})
    stage.all(lambda: Answer(500))
    stage.calls(500)
    assert counting.pickers == 1


def test_an_own_strategy_is_asked_for_the_choice_of_retries_too(counting: type[Counting]):
    stage = Stage(4, strategy="counting_strategy:Counting", retry={"attempts": 4})
    stage.all(reset)
    stage.calls(1, idempotent=True)
    assert sorted(stage.sent) == ["n0", "n1", "n2", "n3"]


def test_what_is_derived_ends_with_the_marks_that_made_it():
    stage = Stage(3, slow_start={"window": 0})
    stage.service.mark("n0:80", "down", reason="?", ttl=5)
    stage.service.mark("n1:80", "down", reason="?", ttl=8)
    assert stage.available() == {"n2"}
    stage.clock.advance(5)
    assert stage.available() == {"n0", "n2"}
    stage.clock.advance(3)
    assert {stage.service.pick().host for _ in range(9)} == {"n0", "n1", "n2"}
    assert [(each.node, each.source) for each in stage.happened("expired")] == [
        ("n0:80", "operator"),
        ("n1:80", "operator"),
    ]
    json.dumps(stage.status())
