"""Hedged calls on virtual time: two tries of one call, and what becomes of the one that is not needed."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancemw.simulate import Antagonists, Fault, Network, Replica, Scenario, ServiceTime, simulate
from balancemw.simulate.course import Course
from balancemw.strategies import BUILT_IN

HEDGED = {"hedge": {"delay": 0.030, "max_extra": 1.0}}
PAIR = Scenario(
    callers=1,
    replicas=2,
    requests=200,
    rate=5.0,
    service_time=ServiceTime(kind="constant", mean=0.010),
    service={**HEDGED, "strategy": "random", "ejection": {"slow": 0.0}},
)
"""Calls that never meet, to one of two replicas."""


def test_a_call_that_is_answered_in_time_is_not_hedged():
    outcome = simulate(PAIR)
    assert (outcome.tries, outcome.p50, outcome.longest) == (200, pytest.approx(0.010), pytest.approx(0.010))


def test_the_quicker_of_two_tries_answers():
    course = Course(replace(PAIR, faults=(Fault("slow", 1, 0.0, 1000.0, factor=20.0),)), None, 1)
    (pool,) = course.pools
    outcome = course.run()
    assert outcome.longest == pytest.approx(0.040)  # the hedge's delay, and an answer of the other replica
    assert outcome.amplification == pytest.approx(1.5, abs=0.15)
    assert outcome.errors == 0
    assert pool.hedging is not None
    assert pool.hedging.hedges == pool.hedging.wins == outcome.tries - outcome.calls


def test_a_replica_works_on_for_the_one_that_is_not_needed():
    """Of every second call the first try takes 0.2 s: of a replica with one worker, which gets one in 0.15 s."""
    busy = replace(PAIR, rate=13.0, replica=Replica(workers=1), faults=(Fault("slow", 1, 0.0, 1000.0, factor=20.0),))
    course = Course(busy, None, 1)
    course.run()
    assert course.replicas[0].longest > 10


def test_when_the_first_fails_the_hedge_is_waited_for():
    """The first try is answered by an error while the hedge is under way: no retry, and no error."""
    late = Fault("fail", 1, 0.0, 1000.0, after=0.035)
    outcome = simulate(
        replace(
            PAIR,
            faults=(late,),
            service={**PAIR.service, "ejection": {"consecutive": 0, "success_rate": 0.0, "slow": 0.0}},
        )
    )
    assert outcome.errors == 0
    assert outcome.longest == pytest.approx(0.040)
    assert outcome.amplification == pytest.approx(1.5, abs=0.15)


def test_when_both_fail_the_call_is_tried_again():
    everywhere = Fault("fail", "all", 0.0, 1000.0, after=0.035)
    outcome = simulate(replace(PAIR, requests=10, rate=0.5, faults=(everywhere,)))
    assert outcome.errors == 10
    assert outcome.amplification == pytest.approx(3.0, abs=0.2)  # both of the race are tries, and three are allowed


def test_no_more_hedges_than_allowed():
    slow = Fault("slow", "all", 0.0, 1000.0, factor=10.0)
    few = {**PAIR.service, "hedge": {"delay": 0.030, "max_extra": 0.1}}
    outcome = simulate(replace(PAIR, requests=1_000, rate=4.0, faults=(slow,), service=few))
    assert 1_080 <= outcome.tries <= 1_100


def test_reports_of_both_tries_are_heard():
    course = Course(replace(PAIR, faults=(Fault("slow", 1, 0.0, 1000.0, factor=20.0),)), "prequal", 1)
    (pool,) = course.pools
    peers = list(pool.roster.peers.values())
    course.run()
    assert any(peer.report is not None for peer in peers)
    assert all(peer.in_flight == 0 for peer in peers)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.builds(
            Fault,
            st.sampled_from(["slow", "fail", "overload", "hang", "kill", "restart"]),
            st.sampled_from([1, 2, "all", (1, 2)]),
            st.floats(0.0, 0.4),
            st.floats(0.5, 3.0),
        ),
        max_size=4,
    ),
    st.sampled_from(sorted(BUILT_IN)),
    st.sampled_from([None, Network(), Network(delay=0.03, across=0.15)]),
    st.integers(0, 1000),
)
def test_every_call_ends_once_whatever_happens(faults: list[Fault], strategy: str, network: Network | None, seed: int):
    scenario = Scenario(
        callers=2,
        replicas=4,
        requests=300,
        antagonists=Antagonists(),
        replica=Replica(workers=2, queue=5, zones=("a", "b")),
        network=network,
        faults=tuple(faults),
        service={"attempt_timeout": 0.2, "timeout": 1.0, "zone": True, "hedge": {"delay": 0.01, "max_extra": 0.5}},
    )
    course = Course(scenario, strategy, seed)
    peers = [peer for pool in course.pools for peer in pool.roster.peers.values()]
    outcome = course.run()
    assert course.open == 0
    assert outcome.calls == 300
    assert outcome.longest <= 1.0 + 1e-9
    assert sum(errors for errors, _ in outcome.batches) == outcome.errors == sum(outcome.kinds.values())
    assert all(peer.in_flight == 0 for peer in peers)
    assert outcome.amplification <= 4.0
    assert simulate(scenario, strategy, seed=seed) == outcome
