"""Zones and the time between them: who is where, and when requests and answers arrive."""

from dataclasses import replace

import pytest

from balancemw.simulate import Fault, Network, Replica, Scenario, ServiceTime, simulate
from balancemw.simulate.course import Course

ONCE = {"retry": {"attempts": 1}}
FAR = Network(delay=0.004, across=0.040)
LONE = Scenario(
    callers=1,
    replicas=1,
    requests=100,
    rate=1.0,
    service_time=ServiceTime(kind="constant", mean=0.010),
    network=Network(delay=0.004),
    service=ONCE,
)


def test_a_request_and_its_answer_are_on_their_way_for_the_delay():
    outcome = simulate(LONE)
    assert (outcome.p50, outcome.longest) == (pytest.approx(0.014), pytest.approx(0.014))
    assert simulate(replace(LONE, network=None)).p50 == pytest.approx(0.010)


def test_it_takes_longer_across_zones():
    apart = replace(LONE, replica=Replica(zones=("b",)), caller_zones=("a",), network=FAR)
    outcome = simulate(apart)
    assert (outcome.p50, outcome.crossed) == (pytest.approx(0.050), 1.0)
    here = simulate(replace(apart, caller_zones=()))
    assert (here.p50, here.crossed) == (pytest.approx(0.014), 0.0)
    assert simulate(LONE).crossed is None


def test_zones_are_dealt_out_in_turn():
    zones = Scenario(
        callers=5, replicas=4, requests=2_000, replica=Replica(zones=("a", "b", "c")), caller_zones=("b", "b", "c")
    )
    course = Course(replace(zones, service={"zone": True}), None, 1)
    assert [pool.settings.zone for pool in course.pools] == ["b", "b", "c", "b", "b"]
    assert [node.zone for node in course.pools[0].settings.nodes] == ["a", "b", "c", "a"]
    unaware = Course(zones, None, 1)
    assert {pool.settings.zone for pool in unaware.pools} == {""}
    crossed = unaware.run().crossed
    assert crossed == pytest.approx(0.75, abs=0.05)  # three of four replicas are in other zones, whoever calls


def test_callers_give_up_when_they_would_without_a_network():
    """At 0.2 s, on the dot: whether the answer is still on its way then, the request, or the replica at work."""
    for mean, delay in ((0.19, 0.02), (0.01, 0.3), (1.0, 0.02)):
        slow = replace(
            LONE,
            network=Network(delay=delay),
            service_time=ServiceTime(kind="constant", mean=mean),
            replica=Replica(workers=100),
            service={**ONCE, "attempt_timeout": 0.2},
        )
        outcome = simulate(slow)
        assert outcome.kinds == {"timeout": 100}
        assert outcome.longest == pytest.approx(0.2)
        assert outcome.tries == 100


def test_an_answer_that_is_just_in_time_counts():
    just = replace(LONE, network=Network(delay=0.18), service={**ONCE, "attempt_timeout": 0.2})
    assert simulate(just).errors == 0


@pytest.mark.parametrize(("kind", "fault"), [("refused", "kill"), ("unavailable", "fail"), ("timeout", "hang")])
def test_what_goes_wrong_is_heard_of_as_late(kind: str, fault: str):
    outcome = simulate(replace(LONE, faults=(Fault(fault, 1, 0.0, 1000.0),), service={**ONCE, "attempt_timeout": 1.0}))
    assert outcome.kinds == {kind: 100}
    assert outcome.longest == pytest.approx(1.0 if fault == "hang" else 0.005)
    assert outcome.bad_share == 1.0


def test_reports_are_those_of_the_time_of_the_answer():
    """The first of two answers reports the other, which waits; that this is done when it is heard changes nothing."""
    both = replace(LONE, rate=1e9, requests=2, replica=Replica(workers=1), network=Network(delay=0.2))
    course = Course(both, "prequal", 1)
    (peer,) = course.pools[0].roster.peers.values()
    reported: list[float] = []

    def look(_one: object, _other: object) -> None:
        assert peer.report is not None
        reported.append(peer.report.named_metrics["in_flight"])

    course.world.at(0.215, look)  # the answers leave at 0.11 s and at 0.12 s
    course.run()
    assert reported == [1.0]
