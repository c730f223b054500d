"""Each mechanism wins what it is for, in the ready scenario that shows it, whatever the seed."""

from collections.abc import Collection
from dataclasses import replace
from math import ceil
from statistics import mean

import pytest

from balancemw.peer import Peer
from balancemw.simulate import Fault, Outcome, default_strategies, ready, recommend, simulate
from balancemw.simulate.calls import Door
from balancemw.simulate.course import Course
from balancemw.simulate.message import Flight
from balancemw.tries import Try

SEEDS = (1, 2, 3)

# Millions of calls, which take four times as long while every line is noted; what they reach others reach as well.
pytestmark = pytest.mark.no_cover


def outcomes(name: str, seed: int, **changes: object) -> tuple[Outcome, Outcome]:
    """Without the mechanism, and with it."""
    scenario = replace(ready(name), **changes)  # type: ignore[arg-type]
    without, by = (simulate(scenario, variant=each, seed=seed) for each in scenario.variants)
    return without, by


class TestHedging:
    """Dean and Barroso, "The tail at scale" (2013): a second request after the 95th percentile shortens the tail by far
    and costs at most a twentieth more of them."""

    @pytest.mark.parametrize("seed", SEEDS)
    def test_it_halves_the_tail_for_a_twentieth_more_tries(self, seed: int):
        without, hedged = outcomes("hedging", seed)
        assert hedged.p99 < 0.65 * without.p99
        assert hedged.p999 < 0.8 * without.p999
        assert hedged.p50 < 1.1 * without.p50
        assert without.tries == without.calls
        assert 1.02 < hedged.amplification <= 1.05 + 1e-9
        assert recommend([without, hedged]).startswith('Choose "with hedging": 99 % of the calls take less than ')

    def test_where_all_replicas_are_slow_together_it_does_little_harm(self):
        """Hedges are a twentieth of the calls then as well, and not more of what all suffer from."""
        slow = Fault("slow", "all", factor=3.0)
        without, hedged = outcomes("hedging", 1, antagonists=None, faults=(slow,), utilization=0.2)
        assert hedged.amplification <= 1.05 + 1e-9
        assert hedged.errors == without.errors == 0
        assert hedged.p99 < 1.15 * without.p99


class TestZones:
    @pytest.mark.parametrize("seed", SEEDS)
    def test_calls_that_stay_in_their_zone_are_quicker(self, seed: int):
        alike, first = outcomes("zones", seed)
        assert alike.crossed is not None
        assert first.crossed is not None
        assert alike.crossed > 0.5
        assert first.crossed < 0.01
        assert first.p50 < 0.7 * alike.p50
        assert first.p99 < 0.9 * alike.p99
        assert first.connections == 4.0

    @pytest.mark.parametrize("seed", SEEDS)
    def test_what_a_zone_cannot_carry_leaves_it(self, seed: int):
        alike, first = outcomes("zone-overload", seed)
        assert first.errors == alike.errors == 0
        assert first.crossed is not None
        assert 0.05 < first.crossed < 0.2
        assert first.p99 < 1.15 * alike.p99
        settled = [p99 for began, *_, p99 in first.course if 0.4 < began / first.duration < 0.75]
        beside = [p99 for began, *_, p99 in alike.course if 0.4 < began / alike.duration < 0.75]
        assert mean(settled) < 1.1 * mean(beside)  # once it has found out how many must leave
        assert "other zones" in recommend([alike, first])

    def test_without_other_zones_it_would_drown(self):
        """The same zone, with its third of the callers and the calls, and nowhere to go."""
        scenario = ready("zone-overload")
        alone = replace(
            scenario,
            callers=2,
            replicas=3,
            requests=scenario.requests // 3,
            replica=replace(scenario.replica, zones=()),
            faults=(Fault("slow", "all", factor=2.5),),
            variants={},
        )
        drowned = simulate(alone)
        _, spilt = outcomes("zone-overload", 1)
        assert drowned.p99 > 20.0 * spilt.p99

    @pytest.mark.parametrize("kind", ["kill", "fail"])
    def test_a_zone_that_is_gone_is_missed_by_nobody(self, kind: str):
        gone, one_more = Fault(kind, (0, 3, 6)), {"retry": {"attempts": 4}}  # a call may try all three before the end
        alike, first = outcomes("zone-overload", 1, faults=(gone,), service=one_more)
        assert first.errors == alike.errors == 0
        assert first.p99 < 1.15 * alike.p99
        assert first.crossed is not None
        assert first.crossed < 0.3

    @pytest.mark.parametrize("seed", SEEDS)
    def test_a_zone_that_hangs_holds_up_fewer_calls_than_without_zones(self, seed: int):
        """Only its own callers meet it, and they leave long before the first of their calls times out."""
        alike, first = outcomes("zone-overload", seed, requests=24_000, faults=(Fault("hang", (0, 3, 6), 20.0, 35.0),))
        assert first.errors == alike.errors == 0
        assert first.tries - first.calls < 0.75 * (alike.tries - alike.calls)
        assert first.p99 < 1.15 * alike.p99


class TestBoundedLoad:
    """Mirrokni, Thorup, Zadimoghaddam, "Consistent hashing with bounded loads" (2017)."""

    @pytest.mark.parametrize("seed", SEEDS)
    def test_a_hot_key_drowns_nobody(self, seed: int):
        plain, bounded = outcomes("hot-keys", seed)
        assert bounded.errors == 0
        assert bounded.p99 < 0.1 * plain.p99
        assert bounded.longest_queue < 20 < plain.longest_queue

    def test_no_node_has_more_than_the_factor_times_its_share(self):
        scenario = replace(ready("hot-keys"), requests=4_000, callers=1, replicas=8)
        course = Course(scenario, None, 1, "bounded load")
        seen: list[tuple[int, int]] = []
        (caller,) = course.callers
        peers = caller.terms.pool.roster.peers.values()
        caller.doors = {url: _Watched(door, peers, seen) for url, door in caller.doors.items()}
        course.run()
        assert len(seen) == 4_000
        assert all(calls <= ceil(1.25 * among / len(peers)) for calls, among in seen)
        assert max(calls for calls, _ in seen) >= 3


class _Watched:
    """A replica at whose door is taken down how many calls its node has in flight when one comes, and all have."""

    def __init__(self, door: Door, peers: Collection[Peer], seen: list[tuple[int, int]]) -> None:
        self._door = door
        self._peers = peers
        self._seen = seen

    def take(self, flight: Flight, attempt: Try) -> None:
        self._seen.append((attempt.peer.in_flight, sum(peer.in_flight for peer in self._peers)))
        self._door.take(flight, attempt)


class TestSubset:
    @pytest.mark.parametrize("seed", SEEDS)
    def test_a_tenth_of_the_connections_and_hardly_less_even(self, seed: int):
        everyone, subset = outcomes("subset", seed, requests=50_000)
        assert (everyone.connections, subset.connections) == pytest.approx((100.0, 10.0), rel=0.03)
        assert subset.imbalance < 1.6
        assert subset.p99 < 1.05 * everyone.p99
        assert subset.errors == 0
        assert ", and a caller has 10 connections, against 9" in recommend([everyone, subset])


class TestRecovery:
    @pytest.mark.parametrize("seed", SEEDS)
    def test_a_cold_pool_that_comes_back_is_not_run_over(self, seed: int):
        flood, bounded = outcomes("returning-pool", seed)
        assert bounded.errors < 0.5 * flood.errors
        assert bounded.kinds.get("timeout", 0) < 0.1 * flood.kinds["timeout"]
        assert bounded.longest_queue < 0.5 * flood.longest_queue
        assert bounded.amplification < flood.amplification


class TestLoadWeighted:
    """gRPC A58: what a caller that makes few calls cannot see of machines, they report."""

    def test_it_finds_out_how_strong_machines_are(self):
        scenario = ready("uneven-fleet")
        ours = simulate(scenario, "load_weighted")
        assert ours.imbalance < 1.3
        for other in ("peak_ewma", "prequal"):
            theirs = simulate(scenario, other)
            assert ours.p99 < 0.9 * theirs.p99
            assert ours.p50 < 0.9 * theirs.p50
            assert theirs.imbalance > 1.5

    def test_by_default_it_is_among_those_compared(self):
        assert "load_weighted" in default_strategies(ready("uneven-fleet"))
