"""``prequal`` over time: replicas that report by the meter of our own middleware, of which one is slow for a while."""

from heapq import heappop

import pytest

from balancemw.meter import Meter, Note
from tests.engine.flow import START, Flow, Latency, lognormal


class Reported(Flow):
    """A flow whose replicas count their requests, and say so with each answer."""

    def __init__(self, nodes: int, rate: float, latency: Latency, *, seed: int = 1) -> None:
        super().__init__(nodes, rate, latency, seed=seed, strategy="prequal")
        self.meters = {f"n{i}": Meter(self.clock, lambda: 0.0) for i in range(nodes)}
        self.notes: dict[float, Note | None] = {}

    def run(self, seconds: float) -> "Reported":
        end = self.clock() + seconds
        while True:
            due = self.clock() + self.rng.expovariate(self._rate(self.clock() - START))
            while self._open and self._open[0][0] <= min(due, end):
                self._answer()
            self.clock.now = min(due, end)
            if due >= end:
                return self
            self._call(due)
            self.notes[due] = self.meters[self.sent[-1][1]].enter(due)

    def _answer(self) -> None:
        ended, _, started, peer = heappop(self._open)
        self.clock.now = ended
        meter = self.meters[peer.node.host]
        self.pool.hear(peer, meter.load(), ended)
        meter.answered(self.notes.pop(started), False)
        meter.leave()
        self.pool.succeed(peer, started, ended)


def slow(factor: float, since: float, until: float) -> Latency:
    usual = lognormal(0.01, 0.5)
    return lambda host, now, rng: usual(host, now, rng) * (factor if host == "n0" and since <= now < until else 1)


@pytest.mark.parametrize("nodes", [2, 3, 5])
@pytest.mark.parametrize("rate", [100, 600])
def test_a_replica_ten_times_slower_loses_its_share_and_gets_it_back(nodes: int, rate: float):
    flow = Reported(nodes, rate, slow(10, 10, 20)).run(50)
    assert flow.share("n0", 2, 10) > 0.6 / nodes
    assert flow.share("n0", 10.5, 12) < 0.03
    assert flow.share("n0", 12, 20) < (0.02 if nodes == 2 else 0.01)
    assert flow.share("n0", 35, 50) > 0.6 / nodes


@pytest.mark.parametrize("nodes", [3, 10, 40])
def test_nobody_is_left_out_or_overrun_while_all_are_well(nodes: int):
    flow = Reported(nodes, 600, lognormal(0.02, 0.5)).run(20)
    for i in range(nodes):
        assert 0.1 / nodes < flow.share(f"n{i}", 5, 20) < 2 / nodes


def test_the_reports_are_what_it_goes_by():
    flow = Reported(3, 300, lognormal(0.02, 0.5)).run(5)
    peers = flow.pool.roster.peers.values()
    assert flow.pool.wants_reports
    assert all(peer.others >= 0.0 and 0.005 < peer.reported_latency < 0.08 for peer in peers)
    assert all(peer.others <= 1.0 for peer in peers)  # there is only one caller
