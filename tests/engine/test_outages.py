"""Replicas die, hang, fail and come back under load: what callers see of it, and what replicas do."""

from itertools import pairwise
from typing import Any

import pytest

from tests.engine.crowd import Behaviour, Crowd, breaks_off, fails_at_once, hangs, is_dead, is_slow, is_well
from tests.engine.stage import Stage

STRATEGIES = ["peak_ewma", "least_requests", "round_robin"]


def make(nodes: int = 3, *, idempotent: bool = True, rate: float = 100, **more: Any) -> Crowd:
    return Crowd(Stage(nodes, **{"strategy": "peak_ewma", **more}), rate=rate, idempotent=idempotent)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("sick", [is_dead, breaks_off, fails_at_once, hangs])
def test_no_caller_sees_that_a_replica_falls_sick_and_comes_back(strategy: str, sick: Behaviour):
    crowd = make(strategy=strategy, attempt_timeout=1)
    crowd.script = [(2, "n0", sick), (6, "n0", is_well)]
    crowd.run(10)
    assert crowd.failed() == 0
    assert crowd.share("n0", 4, 6) < 0.03


def share_after_recovery(strategy: str, sick: Behaviour) -> float:
    """The share of a replica that was sick for 2 s, 20 s later. A third would be fair."""
    crowd = make(strategy=strategy, attempt_timeout=1, rate=50)
    crowd.script = [(2, "n0", sick), (4, "n0", is_well)]
    crowd.run(26)
    return crowd.share("n0", 23, 26)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_replica_that_was_put_out_has_its_share_again_soon(strategy: str):
    assert share_after_recovery(strategy, is_dead) > 0.2


@pytest.mark.parametrize("sick", [breaks_off, fails_at_once, hangs])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_replica_that_failed_too_seldom_to_be_put_out_is_not_worse_off(strategy: str, sick: Behaviour):
    assert share_after_recovery(strategy, sick) > 0.2


@pytest.mark.parametrize("nodes", [2, 3])
def test_all_replicas_but_one_may_die(nodes: int):
    crowd = make(nodes)
    crowd.script = [(3, f"n{i}", is_dead) for i in range(1, nodes)]
    crowd.run(10)
    assert crowd.failed() == 0


def test_a_dead_replica_is_no_matter_for_calls_that_are_not_idempotent():
    crowd = make(idempotent=False)
    crowd.script = [(3, "n0", is_dead), (9, "n0", is_well)]
    crowd.run(12)
    assert crowd.failed() == 0
    assert {len(call.tries) for call in crowd.calls} == {1, 2}


@pytest.mark.parametrize("sick", [breaks_off, fails_at_once, hangs])
def test_calls_that_are_not_idempotent_reach_one_replica_each_and_few_of_them_the_sick_one(sick: Behaviour):
    crowd = make(idempotent=False, attempt_timeout=2)
    crowd.script = [(3, "n0", sick)]
    crowd.run(10)
    assert {len(call.tries) for call in crowd.calls} == {1}
    assert 0 < crowd.failed() < 30


@pytest.mark.parametrize("nodes", [1, 2, 3])
@pytest.mark.parametrize("sick", [is_dead, fails_at_once, breaks_off])
def test_from_the_moment_all_are_back_no_call_fails(nodes: int, sick: Behaviour):
    crowd = make(nodes)
    crowd.script = [(second, f"n{i}", does) for second, does in ((2, sick), (6, is_well)) for i in range(nodes)]
    crowd.run(9)
    assert crowd.failed(2.1, 5.9) > 0
    assert crowd.failed(until=1.9) == crowd.failed(since=6) == 0


def test_of_a_pool_that_is_down_the_first_replica_back_is_found_at_once():
    crowd = make(3, rate=50)
    crowd.script = [(2, f"n{i}", is_dead) for i in range(3)] + [(40, "n1", is_well)]
    crowd.run(44)
    assert crowd.failed(since=40.5) == 0
    assert crowd.share("n1", 40.5, 44) > 0.8


def asked(crowd: Crowd, host: str, since: float) -> list[float]:
    return [begin for call in crowd.calls for name, begin, _ in call.tries if name == host and begin >= since]


@pytest.mark.parametrize("sick", [is_dead, fails_at_once, breaks_off])
@pytest.mark.parametrize("out", [3, 60])
def test_when_one_of_a_pool_that_was_down_is_back_the_others_are_tried_within_a_second(sick: Behaviour, out: int):
    crowd = make(4, rate=50)
    crowd.script = [(second, f"n{i}", does) for second, does in ((2, sick), (2 + out, is_well)) for i in range(4)]
    crowd.run(out + 4)
    for number in range(4):
        assert asked(crowd, f"n{number}", 2 + out)[0] < 2 + out + 1.2
    assert crowd.failed(since=2 + out) == 0
    assert max(crowd.share(f"n{i}", 2 + out + 1.2, out + 4) for i in range(4)) < 0.5


@pytest.mark.parametrize("out", [2, 60])
def test_a_replica_that_is_not_back_with_the_others_waits_no_longer_for_having_been_tried(out: float):
    """Nor for the time for which all were out: it goes on as if it had been put out just now."""
    crowd = make(3, rate=50, ejection={"base": 5, "max": 300})
    back = 2 + out
    crowd.script = [(2, f"n{i}", is_dead) for i in range(3)] + [(back, "n0", is_well), (back, "n1", is_well)]
    crowd.run(back + 13)
    tried = asked(crowd, "n2", back + 0.1)
    assert tried[0] < back + 1.2  # sooner
    assert 2.5 <= tried[1] - tried[0] <= 5.2  # for as long as it was out at first
    assert crowd.failed(since=back) == 0


@pytest.mark.parametrize("gap", [0.03, 0.1, 0.15])
def test_a_trial_that_comes_while_the_others_are_just_coming_back_is_held_against_nobody(gap: float):
    """The first times out end 2.5 to 5 s after all have died."""
    for seed in range(1, 13):
        crowd = Crowd(Stage(4, strategy="peak_ewma", seed=seed), rate=50, idempotent=True)
        crowd.script = [(2, f"n{i}", is_dead) for i in range(4)] + [(5.5 + i * gap, f"n{i}", is_well) for i in range(4)]
        crowd.run(7.2)
        well = [min(asked(crowd, f"n{i}", 5.5 + i * gap)) for i in range(4)]
        assert max(well) < 6.8, (seed, well)


def test_in_an_outage_of_all_replicas_are_put_out_for_ever_longer():
    """That is no relapse, but nobody wants to read of it every few seconds."""
    crowd = make(3, rate=20)
    crowd.script = [(0, f"n{i}", is_dead) for i in range(3)]
    crowd.run(120)
    assert 3 * 3 <= len(crowd.stage.happened("ejected")) <= 3 * 7


def test_a_replica_that_never_works_is_asked_ever_more_seldom():
    crowd = make(3, rate=20)
    crowd.script = [(0, "n0", is_dead)]
    crowd.run(120)
    asked = [begin for call in crowd.calls for host, begin, _ in call.tries if host == "n0"]
    assert 3 <= len(asked) <= 10
    gaps = [later - earlier for earlier, later in pairwise(asked[1:])]
    assert gaps[-1] > 2 * gaps[0]
    assert crowd.failed() == 0


def test_a_slow_replica_is_not_put_out():
    crowd = make(3)
    crowd.script = [(3, "n0", is_slow)]
    crowd.run(10)
    assert crowd.failed() == 0
    assert crowd.stage.states()["n0"] == "up"
