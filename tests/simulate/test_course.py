"""What happens in a simulation: replicas, their queues and faults, and the engine's calls on virtual time."""

import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancemw.simulate import Antagonists, Fault, Replica, Scenario, ServiceTime, simulate
from balancemw.simulate.course import Course
from balancemw.simulate.world import World
from balancemw.strategies import BUILT_IN

ONCE = {"retry": {"attempts": 1}}
CONSTANT = ServiceTime(kind="constant", mean=0.010)
LONE = Scenario(
    callers=1, replicas=1, requests=100, rate=10.0, service_time=CONSTANT, replica=Replica(workers=1), service=ONCE
)
"""One caller, one replica, calls of 10 ms each that hardly ever meet."""

EVERYTHING = (
    Fault("slow", 2, "10%", "40%"),
    Fault("fail", (1,), "20%", "50%"),
    Fault("overload", (2,), "30%", "60%", retry_after=0.2),
    Fault("hang", (3,), "20%", "70%"),
    Fault("kill", (0,), "50%", "80%"),
    Fault("restart", "all", "60%", "95%"),
)


class TestTime:
    def test_what_is_planned_happens_in_order(self):
        world, seen = World(), []
        for when, name in ((2.0, "c"), (1.0, "a"), (2.0, "d"), (1.0, "b")):
            world.at(when, lambda one, _: seen.append((world.now, one)), name)
        world.run(1.5)
        assert seen == [(1.0, "a"), (1.0, "b")]
        world.run(2.0)
        assert seen[2:] == [(2.0, "c"), (2.0, "d")]

    def test_what_is_struck_does_not_happen(self):
        world, seen = World(), []

        def one(name: object, _: object) -> None:
            seen.append(name)

        def other(name: object, _: object) -> None:
            seen.append(f"other {name}")

        for number in range(4):
            world.at(4.0 - number, one, number)
            world.at(4.0 - number, other, number)
        assert [entry[3] for entry in world.cancel(one)] == [3, 2, 1, 0]
        world.run(9.0)
        assert seen == ["other 3", "other 2", "other 1", "other 0"]
        assert list(world.cancel(one)) == []


class TestChance:
    def test_the_same_seed_gives_the_same_outcome_in_another_process_too(self):
        scenario = Scenario(replicas=5, requests=3_000, antagonists=Antagonists(), faults=EVERYTHING)
        here = simulate(scenario, "prequal", seed=7)
        assert simulate(scenario, "prequal", seed=7) == here
        code = (
            "from tests.simulate.test_course import *\n"
            "scenario = Scenario(replicas=5, requests=3_000, antagonists=Antagonists(), faults=EVERYTHING)\n"
            "print(replace(simulate(scenario, 'prequal', seed=7), seconds=0.0))"
        )
        there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert there.stdout.strip() == str(replace(here, seconds=0.0))

    def test_another_seed_another_outcome(self):
        scenario = Scenario(requests=500)
        assert simulate(scenario, seed=1).mean != simulate(scenario, seed=2).mean

    def test_all_strategies_get_the_same_calls(self):
        alone = replace(
            LONE, requests=1_000, service_time=ServiceTime(kind="pareto"), antagonists=Antagonists(share=1.0)
        )
        outcomes = [simulate(alone, name) for name in ("random", "peak_ewma", "round_robin")]
        assert len({(each.mean, each.p99, each.longest) for each in outcomes}) == 1


class TestReplicas:
    def test_an_idle_one_takes_as_long_as_the_work(self):
        outcome = simulate(replace(LONE, rate=1.0))
        assert (outcome.p50, outcome.p99) == pytest.approx((0.010, 0.010))
        assert (outcome.errors, outcome.tries, outcome.calls) == (0, 100, 100)

    def test_a_fast_machine_takes_less(self):
        assert simulate(replace(LONE, rate=1.0, replica=Replica(speeds=(4.0,)))).p50 == pytest.approx(0.0025)

    def test_those_who_wait_are_served_in_order(self):
        """All come at once: the i-th of a hundred waits for those before it, and two workers are twice as quick."""
        for workers in (1, 2):
            burst = replace(LONE, rate=1e9, replica=Replica(workers=workers), service={**ONCE, "attempt_timeout": None})
            outcome = simulate(burst)
            assert outcome.longest == pytest.approx(1.0 / workers, rel=1e-3)
            assert outcome.p50 == pytest.approx(0.5 / workers, rel=1e-3)
            assert outcome.longest_queue == 100 - workers

    def test_a_full_queue_turns_away(self):
        outcome = simulate(replace(LONE, rate=1e9, replica=Replica(workers=1, queue=20)))
        assert outcome.kinds == {"unavailable": 79}
        assert outcome.longest_queue == 20

    @pytest.mark.parametrize("workers", [1, 100])
    def test_callers_wait_no_longer_than_they_may(self, workers: int):
        slow = replace(
            LONE,
            rate=1e9,
            replica=Replica(workers=workers),
            service_time=ServiceTime(kind="constant", mean=0.3),
            service={**ONCE, "attempt_timeout": 0.2},
        )
        outcome = simulate(slow)
        assert outcome.kinds == {"timeout": 100}
        assert outcome.longest == pytest.approx(0.2)

    def test_a_server_works_on_for_those_who_have_given_up(self):
        """The first 20 of a second's work are answered in time; the replica is busy with the others for long."""
        burst = replace(LONE, rate=1e9, service={**ONCE, "attempt_timeout": 0.2005})
        outcome = simulate(burst)
        assert outcome.kinds == {"timeout": 80}

    def test_the_inbound_deadline_ends_calls(self):
        outcome = simulate(replace(LONE, rate=1e9, timeout=0.0505))
        assert outcome.kinds == {"deadline": 95}
        assert outcome.longest == pytest.approx(0.0505)


class TestFaults:
    @pytest.mark.parametrize(
        ("fault", "kind", "longest"),
        [
            (Fault("fail", 1, "25%", "75%", status=502, after=0.002), "unavailable", 0.010),
            (Fault("fail", 1, "25%", "75%", status=500), "server_error", 0.010),
            (Fault("kill", 1, "25%", "75%", after=0.002), "refused", 0.010),
            (Fault("hang", 1, "25%", "75%"), "timeout", 1.0),
            (Fault("overload", 1, "25%", "75%", retry_after=0.1), "overload", 0.010),
        ],
    )
    def test_half_of_the_run(self, fault: Fault, kind: str, longest: float):
        outcome = simulate(replace(LONE, requests=400, faults=(fault,), service={**ONCE, "attempt_timeout": 1.0}))
        assert set(outcome.kinds) <= {kind, "reset"}
        assert outcome.kinds[kind] == pytest.approx(200, abs=40)
        assert outcome.longest <= longest + 0.1
        assert outcome.bad_share == 1.0

    @pytest.mark.parametrize(("worst", "kind"), [("kill", "refused"), ("hang", "timeout"), ("fail", "unavailable")])
    @pytest.mark.parametrize("lesser", [Fault("slow", 1, "30%", "60%"), Fault("overload", 1, "30%", "80%")])
    def test_of_several_at_once_the_worst_counts(self, worst: str, kind: str, lesser: Fault):
        run = replace(LONE, requests=400, service={**ONCE, "attempt_timeout": 0.5})
        alone = simulate(replace(run, faults=(Fault(worst, 1, "25%", "75%"),)))
        for faults in ((Fault(worst, 1, "25%", "75%"), lesser), (lesser, Fault(worst, 1, "25%", "75%"))):
            assert simulate(replace(run, faults=faults)).kinds[kind] == alone.kinds[kind] > 150

    def test_what_is_under_way_when_it_dies_is_reset(self):
        outcome = simulate(
            replace(
                LONE,
                rate=1e9,
                service={**ONCE, "attempt_timeout": None},
                faults=(Fault("kill", 1, 0.0505, 10.0),),
            )
        )
        assert outcome.kinds == {"reset": 95}

    def test_what_hangs_answers_when_it_hangs_no_more(self):
        patient = {**ONCE, "attempt_timeout": None, "timeout": None}
        outcome = simulate(replace(LONE, requests=300, faults=(Fault("hang", 1, "25%", "75%"),), service=patient))
        assert outcome.errors == 0
        assert outcome.longest > 10.0
        assert outcome.p50 > 1.0

    def test_slow(self):
        outcome = simulate(
            replace(LONE, replica=Replica(workers=100), faults=(Fault("slow", 1, "25%", "75%", factor=5.0),))
        )
        assert (outcome.tail[0][0], outcome.p99) == pytest.approx((0.010, 0.050))

    def test_antagonists_slow_down_whom_they_are_told_to(self):
        neighbours = Antagonists(share=1.0, slowdown=4.0, busy=5.0, calm=5.0)
        outcome = simulate(replace(LONE, replica=Replica(workers=100), requests=4_000, antagonists=neighbours))
        assert (outcome.tail[0][0], outcome.p99) == pytest.approx((0.010, 0.040))
        assert outcome.mean == pytest.approx(0.025, rel=0.15)

    def test_retries_go_elsewhere_and_nobody_sees_an_error(self):
        failing = Scenario(replicas=4, requests=4_000, faults=(Fault("fail"), Fault("kill", (1,))))
        outcome = simulate(failing)
        assert outcome.errors == 0
        assert outcome.events["ejected"] >= 1
        assert outcome.tries > outcome.calls
        assert simulate(replace(failing, idempotent=False)).errors > 0

    def test_the_budget_is_spent(self):
        down = Scenario(requests=2_000, faults=(Fault("fail", "all"),))
        assert simulate(down).events["budget_exhausted"] >= 1

    def test_a_node_that_asks_for_a_rest_gets_it(self):
        busy = Scenario(replicas=4, requests=4_000, faults=(Fault("overload", retry_after=100.0),))
        outcome = simulate(busy)
        assert outcome.events["resting"] >= 1
        assert outcome.bad_share is not None
        assert outcome.bad_share < 0.05


@pytest.mark.parametrize("strategy", BUILT_IN)
def test_every_strategy_bears_everything(strategy: str):
    scenario = Scenario(
        replicas=5,
        callers=3,
        requests=3_000,
        keys=50,
        timeout=1.0,
        antagonists=Antagonists(),
        faults=EVERYTHING,
        service={"attempt_timeout": 0.3},
    )
    course = Course(scenario, strategy, 3)
    pools = course.pools
    outcome = course.run()
    assert outcome.calls == 3_000
    assert outcome.tries >= outcome.calls - outcome.kinds.get("no_node", 0)
    assert all(peer.in_flight == 0 for pool in pools for peer in pool.roster.peers.values())
    assert outcome.error_rate < 0.6


def test_strategies_that_want_reports_get_them_and_others_do_not():
    scenario = Scenario(requests=2_000)
    for strategy, wanted in (("prequal", True), ("peak_ewma", False)):
        course = Course(scenario, strategy, 1)
        peers = [peer for pool in course.pools for peer in pool.roster.peers.values()]
        course.run()
        reports = [peer.report for peer in peers if peer.report is not None]
        assert bool(reports) == wanted
    course = Course(scenario, "load_weighted", 1)
    peers = list(course.pools[0].roster.peers.values())
    course.run()
    for peer in peers:
        assert peer.report is not None
        assert 0.2 < peer.report.cpu_utilization < 1.0
        assert peer.report.rps_fractional == pytest.approx(240.0, rel=0.4)
        assert set(peer.report.named_metrics) == {"in_flight", "latency"}
        assert 0.001 < peer.report.named_metrics["latency"] < 0.1
        assert len(peer.report.named_metrics) == 2
        assert "named" not in peer.report.named_metrics


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
        max_size=5,
    ),
    st.sampled_from(sorted(BUILT_IN)),
    st.integers(0, 1000),
)
def test_every_call_ends_once_whatever_happens(faults: list[Fault], strategy: str, seed: int):
    scenario = Scenario(
        callers=2,
        replicas=3,
        requests=300,
        replica=Replica(workers=2, queue=5),
        faults=tuple(faults),
        service={"attempt_timeout": 0.2, "timeout": 1.0},
    )
    course = Course(scenario, strategy, seed)
    peers = [peer for pool in course.pools for peer in pool.roster.peers.values()]
    outcome = course.run()
    assert course.open == 0
    assert outcome.calls == 300
    assert outcome.longest <= 1.0 + 1e-9
    assert sum(errors for errors, _ in outcome.batches) == outcome.errors == sum(outcome.kinds.values())
    assert sum(calls for _, calls, *_ in outcome.course) == 300
    assert sum(replica.tries for replica in course.replicas) == outcome.tries
    assert all(peer.in_flight == 0 for peer in peers)


def test_when_all_come_back_calls_wait_for_their_turn():
    """The engine's own bound on what a pool that was out gets at once: replicas that are back are not run over."""
    down = Scenario(replicas=4, callers=1, requests=8_000, faults=(Fault("kill", "all", "30%", "60%"),))
    patient, rash = (simulate(replace(down, service={"slow_start": {"window": window}})) for window in (10.0, 0.0))
    assert patient.kinds["refused"] > 0
    assert patient.longest_queue < rash.longest_queue
    assert patient.longest < 31.0
