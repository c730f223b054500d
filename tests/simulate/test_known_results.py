"""What is known from theory and from others' measurements, seen again with the engine's own code."""

from collections.abc import Callable
from dataclasses import replace
from math import factorial, log
from statistics import mean
from typing import ClassVar

import pytest

from balancemw.simulate import Antagonists, Fault, Outcome, Replica, Scenario, ServiceTime, simulate
from balancemw.strategies import BUILT_IN

UNBOUNDED = {"timeout": None, "attempt_timeout": None}
SHORT = ServiceTime(kind="lognormal", sigma=0.7)
SEEDS = (1, 2, 3)

pytestmark = pytest.mark.no_cover  # as in test_mechanisms

BALLS = Scenario(  # as many requests as replicas, all there before the first is done: balls into bins
    callers=1,
    rate=1e9,
    service_time=ServiceTime(kind="constant", mean=1.0),
    replica=Replica(workers=1),
    service=UNBOUNDED,
)


def waits(workers: int, load: float) -> float:
    """Erlang's C formula: the share of the calls that find all workers of an M/M/c queue busy."""
    offered = workers * load
    busy = offered**workers / factorial(workers) / (1.0 - load)
    return busy / (busy + sum(offered**number / factorial(number) for number in range(workers)))


class TestQueues:
    """How long calls take on average at one replica, by Pollaczek and Khinchine, and by Erlang."""

    @pytest.mark.parametrize("load", [0.5, 0.8])
    @pytest.mark.parametrize(
        ("kind", "workers", "wait"),
        [
            ("exponential", 1, lambda load: load / (1.0 - load)),
            ("constant", 1, lambda load: load / (1.0 - load) / 2.0),
            ("exponential", 4, lambda load: waits(4, load) / (1.0 - load) / 4.0),
        ],
        ids=["M/M/1", "M/D/1", "M/M/4"],
    )
    def test_one(self, kind: str, workers: int, wait: Callable[[float], float], load: float):
        queue = Scenario(
            callers=1,
            replicas=1,
            requests=50_000,
            utilization=load,
            service_time=ServiceTime(kind=kind, mean=0.010),
            replica=Replica(workers=workers, queue=10_000),
            service=UNBOUNDED,
        )
        assert mean(simulate(queue, "random", seed=seed).mean for seed in SEEDS) == pytest.approx(
            0.010 * (1.0 + wait(load)), rel=0.05
        )

    @pytest.mark.parametrize("load", [0.7, 0.9])
    def test_the_emptier_of_two(self, load: float):
        """Mitzenmacher (2001), as Vvedenskaya, Dobrushin and Karpelevich (1996): of very many queues each call goes to
        the shorter of two. Of a hundred it takes a little longer."""
        many = Scenario(
            callers=1, replicas=100, requests=100_000, utilization=load, replica=Replica(workers=1), service=UNBOUNDED
        )
        expected = 0.010 * sum(load ** (2**i - 2) for i in range(1, 12))
        assert simulate(many, "least_requests").mean == pytest.approx(expected, rel=0.06)


class TestTwoChoices:
    """Azar, Broder, Karlin, Upfal, "Balanced allocations" (1994): the fullest of n bins holds about log n / log log n
    balls if each goes to a random bin, and log log n / log 2 + O(1) if it goes to the emptier of two."""

    @pytest.mark.parametrize("seed", SEEDS)
    @pytest.mark.parametrize("count", [100, 1_000, 10_000])
    def test_the_fullest_bin(self, count: int, seed: int):
        balls = replace(BALLS, replicas=count, requests=count)
        one, two = (simulate(balls, name, seed=seed).longest_queue + 1 for name in ("random", "least_requests"))
        assert one >= log(count) / log(log(count))
        assert two <= log(log(count)) / log(2.0) + 1.0
        assert two < one

    def test_it_grows_with_the_number_of_bins_for_one_choice_and_hardly_for_two(self):
        def fullest(name: str, count: int) -> float:
            balls = replace(BALLS, replicas=count, requests=count)
            return mean(simulate(balls, name, seed=seed).longest_queue + 1 for seed in SEEDS)

        assert fullest("random", 10_000) >= fullest("random", 100) + 2.0
        assert fullest("least_requests", 10_000) <= fullest("least_requests", 100) + 1.5

    def test_queues_that_are_worked_off_as_they_grow(self):
        """Mitzenmacher, "The power of two choices" (2001): with one choice they grow as the logarithm does."""
        busy = Scenario(
            callers=1, replicas=200, requests=60_000, utilization=0.9, replica=Replica(workers=1), service=UNBOUNDED
        )
        one, two = (simulate(busy, name).longest_queue for name in ("random", "least_requests"))
        assert one >= 0.5 * log(200) / log(1.0 / 0.9)
        assert two <= 10


class TestPrequal:
    """Wydrowski et al., "Load is not what you should balance: introducing Prequal" (NSDI '24): at high load on machines
    with antagonists, in the tail, Prequal is better than the fewest requests, and those than weighted round robin."""

    @pytest.mark.parametrize("seed", SEEDS)
    def test_the_order_in_the_tail(self, seed: int):
        scenario = Scenario(
            callers=5,
            replicas=20,
            requests=20_000,
            utilization=0.75,
            service_time=SHORT,
            antagonists=Antagonists(share=0.5, slowdown=3.0),
        )
        prequal, least, turns = (
            simulate(scenario, name, seed=seed) for name in ("prequal", "least_requests", "weighted_round_robin")
        )
        assert prequal.p99 < 0.85 * least.p99
        assert least.p99 < 0.5 * turns.p99
        assert prequal.p999 < least.p999 < turns.p999

    def test_it_is_built_in(self):
        assert "prequal" in BUILT_IN


class TestSinkhole:
    """A node that fails fast is never busy: without a penalty for failures it attracts the calls of all."""

    @staticmethod
    def outcome(strategy: str) -> Outcome:
        alone = {"retry": {"attempts": 1}, "ejection": {"consecutive": 0, "success_rate": 0.0, "slow": 0.0}}
        scenario = Scenario(
            replicas=10,
            callers=1,
            requests=10_000,
            utilization=0.9,
            service_time=SHORT,
            faults=(Fault("fail", begin="10%", end="90%"),),
            service=alone,
        )
        return simulate(scenario, strategy)

    def test_without_a_penalty_one_of_ten_gets_nearly_half_of_the_calls(self):
        naive = self.outcome("tests.simulate.naive:LeastConnections")
        assert naive.bad_share is not None
        assert naive.bad_share > 0.4
        assert naive.error_rate > 0.3

    @pytest.mark.parametrize("strategy", ["peak_ewma", "least_requests", "prequal"])
    def test_with_one_it_gets_less_than_its_share(self, strategy: str):
        ours = self.outcome(strategy)
        assert ours.bad_share is not None
        assert ours.bad_share < 0.02
        assert ours.error_rate < 0.02


class TestRetryStorm:
    """Retries multiply the load of those who can least bear it, unless a budget bounds them."""

    UNLIMITED: ClassVar = {"retry": {"budget": 1.0, "budget_floor": 1e6}}

    @staticmethod
    def outcome(fault: Fault, **service: object) -> Outcome:
        settings = {"attempt_timeout": 0.2, "timeout": 2.0, **service}
        scenario = Scenario(
            callers=3, replicas=3, requests=4_000, service_time=SHORT, faults=(fault,), service=settings
        )
        return simulate(scenario)

    def test_all_replicas_fail(self):
        all_of_the_time = Fault("fail", "all", 0.0, 1000.0)
        storm, calm = self.outcome(all_of_the_time, **self.UNLIMITED), self.outcome(all_of_the_time)
        assert storm.amplification > 2.9  # three attempts
        floor = 3 * 10.0 * (calm.duration + 0.5)  # of each caller ten a second, counted by half seconds
        assert 1.1 < calm.amplification <= 1.2 + floor / calm.calls
        assert storm.errors == calm.errors == 4_000

    def test_all_replicas_slow_down(self):
        """The work for calls that nobody waits for any more keeps the replicas from those that somebody does."""
        slow, flood = Fault("slow", "all", "10%", "20%", factor=3.0), {"slow_start": {"window": 0.0}}
        storm, calm = self.outcome(slow, **self.UNLIMITED, **flood), self.outcome(slow, **flood)
        assert storm.amplification > 2.0 * calm.amplification
        assert storm.errors > 3 * calm.errors  # for long after the replicas are well again
        bounded = self.outcome(slow, **self.UNLIMITED)  # nor does it last where a pool that was out fills by degrees
        assert bounded.errors < 0.1 * storm.errors
