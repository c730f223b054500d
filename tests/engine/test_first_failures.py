"""A node whose very first calls fail gets its share soon after it is well."""

from heapq import heappush

import pytest

from balancemw.fault import Fault, Kind
from tests.engine.flow import START, Flow, lognormal

UNAVAILABLE = Fault(Kind.UNAVAILABLE, "503: starting", answered=True)


class Beginning(Flow):
    """n0 answers its first calls with an error, as one that is still starting."""

    failures = 1

    def _call(self, now: float) -> None:
        peer = self.pool.begin(now)
        self.sent.append((now - START, peer.node.host))
        if peer.node.host == "n0" and self.failures:
            self.failures -= 1
            self.pool.fail(peer, now, now + 0.001, UNAVAILABLE)
        else:
            took = self._latency(peer.node.host, now - START, self.rng)
            heappush(self._open, (now + took, next(self._numbers), now, peer))


@pytest.mark.parametrize("strategy", ["peak_ewma", "least_requests", "prequal"])
@pytest.mark.parametrize("rate", [30, 300])
def test_one_failure_costs_it_ten_seconds_at_most(strategy: str, rate: float):
    runs = [Beginning(3, rate, lognormal(0.01, 0.5), seed=seed, strategy=strategy).run(30) for seed in range(3)]
    assert sum(run.share("n0", 10, 20) for run in runs) / 3 > 0.2
    assert all(run.peer("n0").record.failed == 1 for run in runs)


def test_several_do_not_add_up_to_half_a_minute():
    flow = Beginning(3, 300, lognormal(0.01, 0.5))
    flow.failures = 3
    assert flow.run(40).share("n0", 20, 40) > 0.28


def test_what_is_usual_is_the_median_of_good_nodes_that_have_answered():
    roster = Flow(5, 1.0, lognormal(0.01, 0.5)).pool.roster
    peers = list(roster.peers.values())
    assert roster.usual_latency(peers[0]) == 0.0
    for peer, seconds in zip(peers[1:4], (0.03, 0.01, 0.02), strict=True):
        peer.observe(seconds, START)
    assert roster.usual_latency(peers[0]) == 0.02
