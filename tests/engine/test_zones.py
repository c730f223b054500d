"""Nodes of the own zone are preferred while they can carry the load; what they cannot carry leaves by degrees."""

from collections import Counter
from math import inf, log
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancemw import NoNodeAvailable
from balancemw.spill import MOST, OVERPROVISIONED
from tests.engine.chance import fits
from tests.engine.crowd import Crowd, is_dead, is_well
from tests.engine.stage import FAULTS, Stage, refused, reset
from tests.engine.town import SERVICE, Town, zoned

STRATEGIES = ["random", "round_robin", "weighted_random", "weighted_round_robin", "least_requests", "peak_ewma"]


def stage(nodes: list[dict[str, object]] | None = None, **settings: Any) -> Stage:
    there = Stage(nodes or zoned(a=2, b=2, c=1), **{"zone": "a", "slow_start": {"window": 0}, **settings})
    there.takes = 1e-6  # so that the clock stands still, but for what a test is about
    return there


def away(calls: Counter[str]) -> float:
    return sum(count for host, count in calls.items() if host[0] != "a") / calls.total()


# -- who is called


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_while_the_own_zone_is_well_its_nodes_take_all_calls(strategy: str):
    called = stage(strategy=strategy).calls(500)
    assert called.keys() == {"a0", "a1"}


@pytest.mark.parametrize("zone", ["", "z"])
def test_without_a_zone_or_with_nobody_in_it_all_nodes_are_alike(zone: str):
    called = stage(zone=zone).calls(500)
    assert called == dict.fromkeys(["a0", "a1", "b0", "b1", "c0"], 100)


def test_nodes_without_a_zone_are_in_no_zone():
    called = stage([*zoned(a=1), {"url": "http://n0:80"}]).calls(50)
    assert called == {"a0": 50}


def test_weights_count_within_the_zone():
    nodes = [{**node, "weight": weight} for node, weight in zip(zoned(a=2, b=2), [3, 1, 7, 7], strict=True)]
    assert stage(nodes, strategy="weighted_round_robin").calls(400) == {"a0": 300, "a1": 100}


def test_the_strategy_is_the_others_too():
    nodes = [{**node, "weight": weight} for node, weight in zip(zoned(a=1, b=2), [1, 3, 1], strict=True)]
    there = stage(nodes, strategy="weighted_round_robin")
    there.service.mark("a0:80", "down", reason="?")
    assert there.calls(400) == {"b0": 300, "b1": 100}


def test_all_are_available_and_shown():
    there = stage()
    assert there.available() == {"a0", "a1", "b0", "b1", "c0"}
    assert set(there.states().values()) == {"up"}


def test_a_zone_counts_within_a_priority():
    nodes = [{**node, "priority": int(node["zone"] == "a")} for node in zoned(a=2, b=2)]
    assert stage(nodes).calls(50).keys() == {"b0", "b1"}


def test_consistent_hash_goes_by_key_alone():
    plain, there = stage(strategy="consistent_hash", zone=""), stage(strategy="consistent_hash", subset=1)
    keys = [str(i) for i in range(200)]
    assert [there.service.pick(key) for key in keys] == [plain.service.pick(key) for key in keys]


def test_a_node_that_moves_to_another_zone():
    there = stage(zoned(a=1, b=1))
    assert there.calls(10) == {"a0": 10}
    there.service.replace([{"url": "http://a0:80", "zone": "b"}, {"url": "http://b0:80", "zone": "a"}])
    assert there.calls(10) == {"b0": 10}


# -- too few nodes


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    ("own", "out", "leave"), [(2, 1, 0.3), (3, 1, 1 - 1.4 * 2 / 3), (4, 1, 0.0), (4, 3, 0.65), (2, 2, 1.0)]
)
def test_what_the_good_nodes_of_the_zone_cannot_carry_leaves(strategy: str, own: int, out: int, leave: float):
    there = stage(zoned(a=own, b=4), strategy=strategy)
    for i in range(out):
        there.service.mark(f"a{i}:80", "drain", reason="?")
    calls = 2000
    left = round(calls * away(there.calls(calls)))
    if leave in (0.0, 1.0):
        assert left == leave * calls
    else:
        assert fits({True: left, False: calls - left}, {True: leave, False: 1 - leave})


@given(
    near=st.lists(st.tuples(st.floats(0.1, 10), st.booleans()), min_size=1, max_size=5),
    far=st.lists(st.tuples(st.floats(0.1, 10), st.booleans()), min_size=1, max_size=5),
)
def test_shares_follow_the_rule_whatever_is_out(near: list[tuple[float, bool]], far: list[tuple[float, bool]]):
    weighted = [*(("a", *each) for each in near), *(("b", *each) for each in far)]
    nodes = [{"url": f"http://{z}{i}:80", "zone": z, "weight": w} for i, (z, w, _) in enumerate(weighted)]
    there = stage(nodes)
    for i, (zone, _, out) in enumerate(weighted):
        if out:
            there.service.mark(f"{zone}{i}:80", "down", reason="?")
    good = [sum(w for w, out in side if not out) / sum(w for w, _ in side) for side in (near, far)]
    ours, theirs = (min(1.0, OVERPROVISIONED * share) for share in good)
    if not ours and not theirs:
        with pytest.raises(NoNodeAvailable):
            there.service.pick()
        return
    picked = Counter(there.service.pick().host[0] for _ in range(20))
    share = there.service.pool.roster._preferences[0].spill.share
    assert share == pytest.approx(max(0.0, 1 - ours) if ours + theirs >= 1 else theirs / (ours + theirs))
    assert not (share == 0.0 and picked["b"])
    assert not (share == 1.0 and picked["a"])


def test_ejected_nodes_count_as_missing_and_come_back():
    there = stage(zoned(a=2, b=2), strategy="random")
    there.put_out("a0")
    assert away(there.calls(2000)) == pytest.approx(0.3, abs=0.04)
    there.clock.advance(6)
    there.calls(5)
    there.clock.advance(1)
    assert set(there.states().values()) == {"up"}
    assert there.calls(200).keys() == {"a0", "a1"}


def test_a_sick_zone_is_left_and_found_again():
    there = stage(zoned(a=2, b=2), ejection={"keep": 0.25})
    there.does = {"a0": refused, "a1": refused}
    there.calls(20, idempotent=True)
    assert there.calls(200).keys() == {"b0", "b1"}
    there.does = {}
    there.clock.advance(6)
    there.calls(10)
    assert there.calls(100).keys() == {"a0", "a1"}


@pytest.mark.parametrize("keep", [0.5, 0.75, 1.0])
def test_where_accused_nodes_have_to_stay_in_no_caller_notices(keep: float):
    there = stage(zoned(a=2, b=2), ejection={"keep": keep}, retry={"budget": 1}, strategy="peak_ewma")
    there.takes = 0.01
    there.does = {"a0": reset, "a1": reset}
    balanced = there.balancer.call("s", idempotent=True)(there.replica)
    assert [balanced().status_code for _ in range(300)] == [200] * 300  # type: ignore[attr-defined]
    there.does = {}
    for _ in range(40):
        there.clock.advance(3)
        there.calls(50)
    assert set(there.states().values()) == {"up"}
    assert away(there.calls(100)) < 0.03  # but for a look


# -- retries


def test_the_first_retry_stays_in_the_zone():
    there = stage(zoned(a=2, b=2))
    there.does = {"a0": reset}
    assert there.calls(4, idempotent=True).keys() == {"a0", "a1"}


def test_a_retry_leaves_when_no_untried_node_of_the_zone_is_left():
    there = stage(zoned(a=1, b=2))
    there.does = {"a0": reset}
    there.call(idempotent=True)
    assert [host[0] for host in there.sent] == ["a", "b"]


def test_a_call_that_fails_by_a_look_at_the_others_comes_home():
    """A tenth leaves: who finds the others dead is tried again where most calls go, not there once more."""
    for seed in range(150):
        there = Stage(zoned(a=3, b=3), zone="a", strategy="random", seed=seed)
        there.service.mark("a0:80", "down", reason="?")
        there.does = dict.fromkeys(["b0", "b1", "b2"], refused)
        for _ in range(40):
            there.call()


def test_after_two_failures_a_retry_leaves_at_once():
    """A zone that is down as a whole must not use up all tries of a call."""
    there = stage(zoned(a=5, b=2))
    there.does = {f"a{i}": refused for i in range(5)}
    there.call()
    assert [host[0] for host in there.sent] == ["a", "a", "b"]


@pytest.mark.parametrize("own", [1, 2, 4])
def test_no_caller_sees_that_a_whole_zone_dies_and_comes_back(own: int):
    crowd = Crowd(Stage(zoned(a=own, b=own), zone="a", strategy="peak_ewma"), rate=100, idempotent=True)
    crowd.script = [(second, f"a{i}", does) for second, does in ((2, is_dead), (6, is_well)) for i in range(own)]
    crowd.run(30)
    assert crowd.failed() == 0
    assert sum(crowd.share(f"b{i}", 3, 6) for i in range(own)) > 0.9
    assert sum(crowd.share(f"a{i}", 27, 30) for i in range(own)) > 0.95


# -- too slow, too busy


def test_a_zone_that_is_well_keeps_its_calls_but_for_a_look():
    town = Town({"a": 2, "b": 4}).run(60, 200)
    assert 0 < town.away(0) < 0.01
    assert not town.told("zone_spill")


@pytest.mark.parametrize("strategy", ["peak_ewma", "round_robin"])
@pytest.mark.parametrize("spread", [0.5, 1.0, 1.5])
def test_chance_alone_makes_hardly_a_call_leave(strategy: str, spread: float, monkeypatch: pytest.MonkeyPatch):
    town = Town({"a": 2, "b": 4}, workers=10**6, strategy=strategy, ejection={"slow": 0})
    monkeypatch.setattr(town, "seconds", lambda _host: town.rng.lognormvariate(log(0.02), spread))
    assert town.run(120, 100).away(0) < 0.03


@pytest.mark.parametrize("strategy", ["peak_ewma", "round_robin"])
def test_more_calls_than_the_zone_can_carry_leave_until_it_can(strategy: str):
    """Two nodes can take 400 calls a second: of 600, a third has to leave."""
    town = Town({"a": 2, "b": 6}, strategy=strategy).run(10, 200).run(50, 600)
    assert town.away(0, 10) < 0.01
    assert town.away(10, 11) < 0.3  # by degrees
    assert 0.3 < town.away(25, 60) < 0.7
    assert town.slowest(25, 60) < 20 * SERVICE
    town.run(30, 200)
    assert town.away(75) < 0.02


def test_many_callers_who_know_nothing_of_each_other_find_the_same_measure():
    town = Town({"a": 2, "b": 6}, callers=30).run(10, 200).run(50, 600)
    assert town.away(0, 10) < 0.01
    assert 0.25 < town.away(30, 60) < 0.7
    assert town.slowest(30, 60) < 30 * SERVICE


def test_a_zone_that_could_never_carry_its_load_is_noticed_too():
    town = Town({"a": 1, "b": 6}).run(60, 260)
    assert 0.2 < town.away(30, 60) < 0.7
    assert town.slowest(30, 60) < 20 * SERVICE


def test_a_zone_that_is_slow_as_a_whole_keeps_a_few_calls_to_see_when_it_is_well():
    town = Town({"a": 2, "b": 4}).run(10, 200)
    town.factor = {"a0": 8, "a1": 8}
    town.run(30, 200)
    assert 0.85 < town.away(20, 40) < MOST + 0.03
    town.factor = {}
    town.run(30, 200)
    assert town.away(60) < 0.02


def test_where_all_zones_are_slow_nothing_leaves():
    town = Town({"a": 2, "b": 4}).run(10, 50)
    town.factor = {f"{zone}{i}": 4.0 for zone in "ab" for i in range(4)}
    town.run(50, 50)
    assert town.away(10) < 0.1


# -- not answering at all


def hanging(*zones: str) -> dict[str, float]:
    return {f"{zone}{i}": inf for zone in zones for i in range(4)}


@pytest.mark.parametrize("seed", range(1, 7))
@pytest.mark.parametrize("rate", [50, 200])
def test_a_zone_that_does_not_answer_is_left_as_soon_as_that_is_sure(rate: float, seed: int):
    """Its calls take 0.02 s, and 0.15 s now and then; their timeout is far away."""
    town = Town({"a": 2, "b": 4}, seed=seed).run(10, rate)
    town.factor = hanging("a")
    town.run(5, rate)
    assert town.away(10.75) == 1.0
    (told,) = town.told("zone_spill")
    assert told.reason.startswith("100% of the calls leave zone 'a': none of its calls was answered for 0.")


def test_a_zone_that_hangs_for_a_moment_has_its_calls_back_soon(monkeypatch: pytest.MonkeyPatch):
    town = Town({"a": 2, "b": 4}, workers=10**6).run(10, 200)
    thaws, takes = town.clock() + 0.5, town.seconds
    monkeypatch.setattr(town, "seconds", lambda host: takes(host) + max(0.0, thaws - town.clock()) * (host[0] == "a"))
    town.run(5, 200)
    assert town.away(10.35, 10.5) == 1.0
    assert 0 < town.away(10.75, 11) < 1
    assert town.away(12) < 0.03


@pytest.mark.parametrize("seed", range(1, 5))
def test_where_no_zone_answers_all_stay(seed: int):
    town = Town({"a": 2, "b": 4}, seed=seed).run(10, 200)
    town.factor = hanging("a", "b")
    town.run(5, 200)
    assert town.away(10) < 0.03


def test_a_caller_that_stood_still_itself_blames_nobody():
    """When it goes on all its open calls are old, and their answers are there."""
    town = Town({"a": 2, "b": 4}, workers=10**6).run(10, 200)
    for _ in range(20):
        town.clock.advance(1.0)
        town.run(0.5, 200)
    assert town.away(10) < 0.01


@pytest.mark.parametrize("strategy", ["peak_ewma", "round_robin"])
@pytest.mark.parametrize("rate", [2, 20, 200])
def test_a_zone_is_not_silent_for_calls_that_may_take_very_long(
    strategy: str, rate: float, monkeypatch: pytest.MonkeyPatch
):
    """One call in ten takes a hundred times as long: more of these are open than of the others."""
    town = Town({"a": 2, "b": 4}, workers=10**6, strategy=strategy, ejection={"slow": 0})
    monkeypatch.setattr(town, "seconds", lambda _host: 1.0 if town.rng.random() < 0.1 else 0.01)
    town.run(400 / rate + 60, rate)
    assert not any("answered" in told.reason for told in town.told("zone_spill"))


def test_an_overloaded_zone_is_busy_and_not_silent():
    town = Town({"a": 2, "b": 6}, callers=30).run(10, 200).run(20, 600)
    assert town.told("zone_spill")
    assert not any("answered" in told.reason for told in town.told("zone_spill"))


def test_a_retry_leaves_a_zone_at_once_that_seems_not_to_answer():
    there = stage(zoned(a=4, b=2), strategy="random", attempt_timeout=0.2)
    there.takes = 0.01
    there.calls(30)
    waiting = [there.open() for _ in range(8)]
    assert {call.node.zone for call in waiting} == {"a"}
    there.clock.advance(0.15)
    there.does = {f"a{i}": FAULTS["timeout"] for i in range(4)}
    sent = len(there.sent)
    there.call(idempotent=True)
    assert [host[0] for host in there.sent[sent:]] in (["a", "b"], ["b"])


def test_a_zone_whose_calls_fail_is_left():
    """All its nodes alike, so that none of them is to blame."""
    town = Town({"a": 3, "b": 3}, ejection={"keep": 1}).run(10, 200)
    town.failing = {f"a{i}": 0.3 for i in range(3)}
    town.run(20, 200)
    assert town.away(20, 30) > 0.8
    town.failing = {}
    town.run(30, 200)
    assert town.away(50, 60) < 0.02


# -- what is told


def test_it_is_told_once_when_calls_leave_and_once_when_that_is_over():
    there = stage(zoned(a=2, b=2))
    there.calls(5)
    there.service.mark("a0:80", "down", reason="?")
    there.calls(5)
    (told,) = there.happened("zone_spill")
    assert (told.node, told.source) == (None, "pool")
    assert told.reason == "30% of the calls leave zone 'a': 1 of its 2 nodes can be used"
    for _ in range(3):
        there.service.clear("a0:80")
        there.clock.advance(1)
        there.calls(5)
        there.service.mark("a0:80", "down", reason="?")
        there.clock.advance(1)
        there.calls(5)
    there.service.clear("a0:80")
    assert len(there.happened("zone_spill")) == 1
    assert not there.happened("zone_spill_ended")
    there.clock.advance(31)
    there.calls(5)
    (ended,) = there.happened("zone_spill_ended")
    assert ended.reason == "zone 'a' carries its calls again"


def test_slowness_is_told_with_figures():
    town = Town({"a": 2, "b": 4}).run(10, 200)
    town.factor = {"a0": 20, "a1": 20}
    town.run(10, 200)
    (told,) = town.told("zone_spill")
    assert "of the calls leave zone 'a': its calls take" in told.reason


def test_the_status_has_the_same_form():
    assert stage().told("a0").keys() == Stage(1).told("n0").keys()
