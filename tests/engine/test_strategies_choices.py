"""``least_requests`` and ``peak_ewma``: the better of two nodes, and what becomes of one that is in trouble.

The simulations drive loads directly: there is no ejection here that would help.
"""

import heapq
import random
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count

import pytest

from balancemw.load import Load
from tests.engine.chance import NOW, counted, equally, fits, loads, picker

TWO_CHOICES = ["peak_ewma", "least_requests"]
TIMEOUT = 10.0

Behaviour = Callable[[float], tuple[float, bool]]
"""At so many seconds since the start, how long a call takes, and whether it is answered well."""


def busy(peer: Load, calls: int, latency: float = 0.01) -> None:
    peer.in_flight = calls
    peer.started = NOW * calls
    peer.observe(latency, NOW)


class TestChoice:
    @pytest.mark.parametrize("name", TWO_CHOICES)
    @pytest.mark.parametrize("number", [2, 3, 10])
    @pytest.mark.parametrize("calls", [0, 3])
    def test_equals_are_not_favoured_by_order(self, name: str, number: int, calls: int):
        peers = loads(number)
        for peer in peers if calls else ():
            busy(peer, calls)
        assert fits(counted(picker(name, peers)), equally(peers))

    @pytest.mark.parametrize("name", TWO_CHOICES)
    @pytest.mark.parametrize("number", [2, 3, 10])
    def test_the_better_of_two_distinct_nodes(self, name: str, number: int):
        peers = loads(number)
        for rank, peer in enumerate(peers):
            busy(peer, rank + 1)
        counts = counted(picker(name, peers))
        assert counts[f"n{number - 1}"] == 0  # the worst loses every pair: it is never drawn twice
        better = {f"n{rank}": float(number - 1 - rank) for rank in range(number - 1)}
        assert number == 2 or fits(counts, better)

    @pytest.mark.parametrize("name", TWO_CHOICES)
    def test_the_only_one(self, name: str):
        peers = loads(1)
        busy(peers[0], 1000)
        assert picker(name, peers)(NOW, None) is peers[0]

    @pytest.mark.parametrize(("name", "winner"), [("least_requests", "n1"), ("peak_ewma", "n0")])
    def test_what_they_compare(self, name: str, winner: str):
        peers = loads(2)
        busy(peers[0], 3, latency=0.01)
        busy(peers[1], 1, latency=0.1)
        assert counted(picker(name, peers), 100) == {winner: 100}

    @pytest.mark.parametrize("name", TWO_CHOICES)
    def test_weight_is_how_much_a_node_can_carry(self, name: str):
        peers = loads([4.0, 1.0])
        for peer, calls in zip(peers, (5, 2), strict=True):
            busy(peer, calls)
        assert counted(picker(name, peers), 100) == {"n0": 100}


class Simulation:
    """Calls at random times over three nodes; what each does may change with time.

    Attributes:
        picks: (seconds since the start, node) of every call.
    """

    def __init__(self, name: str, nodes: Sequence[Behaviour], rate: float, seed: int = 1) -> None:
        self.peers = loads(len(nodes))
        self.picks: list[tuple[float, int]] = []
        self._pick = picker(name, self.peers, seed)
        self._nodes = nodes
        self._rate = rate
        self._rng = random.Random(seed)
        self._number = count()
        self._ends: list[tuple[float, int, Load, float, bool]] = []
        self._now = NOW

    def run(self, seconds: float) -> "Simulation":
        end = self._now + seconds
        while (now := self._now + self._rng.expovariate(self._rate)) < end:
            self._now = now
            self._end_calls(now)
            peer = self._pick(now, None)
            number = self.peers.index(peer)
            peer.in_flight += 1
            peer.started += now
            takes, well = self._nodes[number](now - NOW)
            heapq.heappush(self._ends, (now + takes, next(self._number), peer, now, well))
            self.picks.append((now - NOW, number))
        self._now = end
        return self

    def _end_calls(self, now: float) -> None:
        while self._ends and self._ends[0][0] <= now:
            ended, _, peer, started, well = heapq.heappop(self._ends)
            peer.end(started)
            if well:
                peer.observe(ended - started, ended)
            else:
                peer.penalize(ended - started, ended)

    def share(self, begin: float, end: float, node: int = 0) -> float:
        """The share of `node` in the calls of that time."""
        made = Counter(number for when, number in self.picks if begin <= when < end)
        return made[node] / sum(made.values())


def answers(seconds: float) -> Behaviour:
    """Answers well, in about so many seconds."""
    rng = random.Random(7)
    return lambda _: (seconds * rng.uniform(0.5, 1.5), True)


def from_then(since: float, then: Behaviour, before: Behaviour, until: float = float("inf")) -> Behaviour:
    return lambda now: (then if since <= now < until else before)(now)


def hangs(now: float) -> tuple[float, bool]:
    return TIMEOUT, False


def fails_at_once(now: float) -> tuple[float, bool]:
    return 0.001, False


@pytest.mark.parametrize("name", [*TWO_CHOICES, "prequal"])
class TestTrouble:
    @pytest.mark.parametrize("rate", [20, 200, 900])
    def test_all_well_is_an_even_spread(self, name: str, rate: int):
        run = Simulation(name, [answers(0.01)] * 3, rate).run(30.0)
        for node in range(3):
            assert 0.28 < run.share(1.0, 30.0, node) < 0.39

    @pytest.mark.parametrize("since", [0.0, 5.0])
    @pytest.mark.parametrize(("rate", "latency"), [(900, 0.01), (50, 0.01), (50, 0.2)])
    def test_a_hung_node_loses_most_of_its_share_before_its_first_timeout(
        self, name: str, since: float, rate: int, latency: float
    ):
        node = from_then(since, hangs, answers(latency))
        run = Simulation(name, [node, answers(latency), answers(latency)], rate).run(since + 0.99 * TIMEOUT)
        assert run.share(since + 1.0, since + 0.99 * TIMEOUT) < 0.033  # a tenth of its fair share
        assert all(peer.failures(NOW + since + 0.99 * TIMEOUT) == 0.0 for peer in run.peers)

    @pytest.mark.parametrize("since", [0.0, 5.0])
    @pytest.mark.parametrize(("rate", "latency"), [(900, 0.01), (50, 0.01), (20, 0.2), (10, 1.0), (100, 1.0)])
    def test_a_node_that_fails_at_once_loses_share_and_gains_none(
        self, name: str, since: float, rate: int, latency: float
    ):
        node = from_then(since, fails_at_once, answers(latency))
        run = Simulation(name, [node, answers(latency), answers(latency)], rate).run(since + 20.0)
        assert run.share(since + 1.0, since + 20.0) < 0.05

    def test_a_node_that_failed_is_tried_again_and_gets_its_share_back(self, name: str):
        node = from_then(0.0, fails_at_once, answers(0.01), until=5.0)
        run = Simulation(name, [node, answers(0.01), answers(0.01)], 200).run(100.0)
        assert run.share(1.0, 5.0) < 0.05
        assert run.share(80.0, 100.0) > 0.28

    def test_a_node_that_hung_is_tried_again_and_gets_its_share_back(self, name: str):
        node = from_then(5.0, hangs, answers(0.01), until=10.0)
        run = Simulation(name, [node, answers(0.01), answers(0.01)], 200).run(200.0)
        assert run.share(6.0, 10.0) < 0.033
        assert run.share(150.0, 200.0) > 0.28


class TestSlow:
    def slowed(self, name: str, seed: int) -> Simulation:
        slow = from_then(5.0, answers(0.1), answers(0.01), until=15.0)
        return Simulation(name, [slow, answers(0.01), answers(0.01)], 900, seed).run(60.0)

    def test_ten_times_slower_falls_under_one_percent_within_half_a_second(self):
        runs = [self.slowed("peak_ewma", seed) for seed in range(5)]
        soon = sum(run.share(5.5, 6.5) for run in runs) / len(runs)
        later = sum(run.share(6.5, 15.0) for run in runs) / len(runs)
        assert soon < 0.01
        assert later < 0.01
        assert all(run.share(30.0, 60.0) > 0.28 for run in runs)  # and it comes back

    def test_least_requests_moves_away_too_though_less(self):
        run = self.slowed("least_requests", 1)
        assert run.share(5.5, 15.0) < 0.12
        assert run.share(30.0, 60.0) > 0.28
