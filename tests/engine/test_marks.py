"""What people and programs say of a node: found by any of its names, obeyed, and taken back."""

from collections import Counter
from typing import Any

import pytest

from balancemw import Node, NoNodeAvailable
from balancemw.health import Mark
from tests.engine.stage import Stage, refused

TWINS = ["http://n0:80", "http://n1:80/a", "http://n1:80/b", "https://n2"]


@pytest.mark.parametrize(
    ("named", "url"),
    [
        (Node("http://n0:80"), "http://n0:80"),
        (Node("http://n0:80", weight=7, zone="elsewhere"), "http://n0:80"),
        ("http://n0:80", "http://n0:80"),
        ("HTTP://N0:80/", "http://n0:80"),
        ("n0:80", "http://n0:80"),
        ("n2:443", "https://n2"),
        ("http://n1:80/b", "http://n1:80/b"),
    ],
)
def test_a_node_is_found_by_itself_its_url_or_its_name(named: Node | str, url: str):
    stage = Stage(TWINS)
    stage.service.mark(named, "down", reason="maintenance")
    assert [node.url for node in stage.service.nodes if node not in stage.service.available] == [url]
    stage.service.clear(named)
    assert stage.service.available == stage.service.nodes


@pytest.mark.parametrize(
    ("named", "problem"),
    [
        ("n1:80", "several nodes: use the url"),
        ("n7:80", r"not a node of this service \(known: n0:80, n1:80, n1:80, n2:443\)"),
        ("", "not a node"),
        ("http://n0:80/deeper", "not a node"),
        (Node("http://n7:80"), "not a node"),
    ],
)
def test_a_name_that_is_no_nodes_or_several_nodes_is_refused(named: Node | str, problem: str):
    stage = Stage(TWINS)
    with pytest.raises(LookupError, match=problem):
        stage.service.mark(named, "down", reason="maintenance")
    with pytest.raises(LookupError, match=problem):
        stage.service.clear(named)
    assert stage.service.available == stage.service.nodes
    assert stage.events == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "dwon"},
        {"kind": "ejected"},
        {"kind": "down", "source": "operatr"},
        {"kind": "down", "ttl": 0},
        {"kind": "down", "ttl": float("inf")},
        {"kind": "down", "weight": 2.0},
        {"kind": "weight"},
        {"kind": "weight", "weight": 0.0},
        {"kind": "weight", "weight": 10.1},
        {"kind": "weight", "weight": float("nan")},
    ],
)
def test_a_mark_that_makes_no_sense_is_refused_and_changes_nothing(wrong: dict[str, Any]):
    stage = Stage(2)
    before = stage.status()
    with pytest.raises(ValueError, match=r"kind|source|ttl|weight"):
        stage.service.mark("n0:80", wrong.pop("kind"), reason="typo", **wrong)
    assert stage.status() == before


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"kind": "weight", "weight": "x"}, "weight is a factor above 0 and up to 10, not 'x'"),
        ({"kind": "weight", "weight": True}, "weight is a factor above 0 and up to 10, not True"),
        ({"kind": "down", "ttl": "1 h"}, "ttl is a number of seconds above 0, not '1 h'"),
    ],
)
def test_a_number_that_is_none_is_refused_and_changes_nothing(wrong: dict[str, Any], problem: str):
    stage = Stage(2)
    before = stage.status()
    with pytest.raises(TypeError) as raised:
        stage.service.mark("n0:80", wrong.pop("kind"), reason="typo", **wrong)
    assert str(raised.value) == problem
    assert stage.status() == before


@pytest.mark.parametrize("kind", ["weight", "drain"])
@pytest.mark.parametrize("source", ["probe", "traffic"])
def test_what_only_commands_can_say_is_refused_from_others(source: str, kind: str):
    stage = Stage(2)
    with pytest.raises(ValueError, match=source):
        stage.service.mark("n0:80", kind, source=source, reason="?", weight=2.0 if kind == "weight" else None)
    assert stage.available() == {"n0", "n1"}


def test_clearing_what_nobody_said_does_nothing():
    stage = Stage(2)
    stage.service.clear("n0:80")
    assert stage.events == []
    with pytest.raises(ValueError, match="source"):
        stage.service.clear("n0:80", source="operatr")


@pytest.mark.parametrize("source", ["operator", "alert", "discovery", "self"])
@pytest.mark.parametrize("kind", ["down", "drain"])
def test_who_must_be_obeyed_may_take_out_every_node(source: str, kind: str):
    stage = Stage(2)
    for node in stage.service.nodes:
        stage.service.mark(node, kind, source=source, reason="maintenance", ttl=9)
    assert stage.service.available == ()
    with pytest.raises(NoNodeAvailable, match=r"n0:80 is (down|draining), n1:80 is") as caught:
        stage.call()
    assert caught.value.retry_after == pytest.approx(9)
    assert stage.sent == []
    assert stage.in_flight() == 0
    stage.clock.advance(9)
    assert stage.call().status_code == 200


def test_the_error_of_a_big_service_without_nodes_is_still_one_line():
    stage = Stage(50)
    for node in stage.service.nodes:
        stage.service.mark(node, "down", reason="maintenance")
    with pytest.raises(NoNodeAvailable, match=r"and 46 more$") as caught:
        stage.service.pick()
    assert caught.value.retry_after == 1


def test_a_weight_changes_the_share_and_clearing_it_changes_it_back():
    stage = Stage(2, strategy="weighted_round_robin")
    assert stage.calls(40) == {"n0": 20, "n1": 20}
    stage.service.mark("n0:80", "weight", weight=3.0, reason="bigger machine")
    assert stage.told("n0")["weight"] == 3
    assert stage.calls(40) == {"n0": 30, "n1": 10}
    stage.service.clear("n0:80")
    assert stage.calls(40) == {"n0": 20, "n1": 20}


@pytest.mark.parametrize("end", ["up", "clear", "ttl"])
def test_a_weight_that_was_replaced_by_another_mark_leaves_no_trace(end: str):
    def homes() -> list[str]:
        return [stage.service.pick(f"key {i}").host for i in range(300)]

    stage = Stage(4, strategy="consistent_hash")
    before = homes()
    stage.service.mark("n0:80", "weight", weight=9.0, reason="bigger machine")
    assert Counter(homes())["n0"] > 2 * Counter(before)["n0"]
    stage.service.mark("n0:80", "drain", reason="maintenance", ttl=60 if end == "ttl" else None)
    assert Counter(homes())["n0"] == 0
    if end == "up":
        stage.service.mark("n0:80", "up", reason="done")
    elif end == "clear":
        stage.service.clear("n0:80")
    stage.clock.advance(60)
    assert homes() == before


def test_an_operators_up_overrides_what_the_others_hold_against_the_node_now():
    stage = Stage(3)
    stage.does["n0"] = refused
    stage.calls(3, attempts=1)
    for source in ("operator", "alert", "self", "probe"):
        stage.service.mark("n0:80", "down", source=source, reason="?")
    assert stage.states()["n0"] == "down"
    stage.service.mark("n0:80", "up", reason="repaired")
    assert stage.states()["n0"] == "slow_start"
    assert stage.told("n0")["marks"] == []
    stage.service.mark("n0:80", "down", source="alert", reason="speaks again")
    assert stage.states()["n0"] == "down"


def test_an_operators_up_does_not_override_discovery():
    stage = Stage(2)
    stage.service.mark("n0:80", "down", source="discovery", reason="deregistered")
    stage.service.mark("n0:80", "up", reason="repaired")
    assert stage.available() == {"n1"}


def test_a_mark_for_a_node_that_has_just_left_changes_nothing():
    stage = Stage(2)
    pool, now = stage.service.pool, stage.clock()
    peer = pool.roster.find("n0:80")
    stage.service.replace(["http://n1:80"])
    pool.mark(peer, Mark("operator", "weight", "?", now, None, 2.0), now)
    pool.mark(peer, Mark("operator", "down", "?", now), now)
    assert stage.available() == {"n1"}


def test_up_from_another_source_withdraws_its_own_mark_alone():
    stage = Stage(2)
    stage.service.mark("n0:80", "down", source="alert", reason="firing")
    stage.service.mark("n0:80", "down", source="self", reason="shutting down")
    stage.service.mark("n0:80", "up", source="alert", reason="resolved")
    assert stage.available() == {"n1"}
    stage.service.mark("n0:80", "up", source="self", reason="ready")
    assert stage.available() == {"n0", "n1"}
