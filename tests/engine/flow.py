"""Many calls to a pool whose replicas take as long as they are told: simulated call by call, without coroutines."""

from collections import Counter
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from math import log
from random import Random

from balancemw import Event
from balancemw.events import Events
from balancemw.peer import Peer
from balancemw.pool import Pool
from balancemw.settings import Settings
from tests.engine.clock import FakeClock

Latency = Callable[[str, float, Random], float]
"""How long a call takes: by host, the second at which it is made, and chance."""

START = 1000.0
WARM = 30.0  # latency beyond which a call is never answered while the simulation lasts


def lognormal(median: float, sigma: float) -> Latency:
    """Every node alike, with a tail: 1 in 1,000 calls takes exp(3.1 sigma) times the median."""
    return lambda host, now, rng: rng.lognormvariate(log(median), sigma)


class Flow:
    """Calls at random times (Poisson) to nodes n0, n1 …

    Args:
        nodes: how many.
        rate: calls per second, by the second.
        latency: of a call.
        settings: of the service.

    Attributes:
        events: all that happened but single failures.
        sent: (second, host) of every call.
    """

    def __init__(
        self,
        nodes: int,
        rate: float | Callable[[float], float],
        latency: Latency,
        *,
        seed: int = 1,
        strategy: str = "peak_ewma",
        **settings: object,
    ) -> None:
        service = {"nodes": [f"http://n{i}:80" for i in range(nodes)], "strategy": strategy, **settings}
        whole = Settings.load({"services": {"s": service}}).services["s"]
        self.clock = FakeClock(START)
        self.events: list[Event] = []
        self.sent: list[tuple[float, str]] = []
        events = Events(lambda: self.clock() - START)
        events.subscribe(lambda event: event.event != "failed" and self.events.append(event))
        self.rng = Random(seed)
        self.pool = Pool("s", whole, rng=self.rng, events=events, housekeeping=lambda: None)
        self._rate = rate if callable(rate) else lambda _: rate
        self._latency = latency
        self._open: list[tuple[float, int, float, Peer]] = []
        self._numbers = count()

    def run(self, seconds: float) -> "Flow":
        """Make calls for so long; those that are open then stay open."""
        end = self.clock() + seconds
        while True:
            due = self.clock() + self.rng.expovariate(self._rate(self.clock() - START))
            while self._open and self._open[0][0] <= min(due, end):
                ended, _, started, peer = heappop(self._open)
                self.clock.now = ended
                self.pool.succeed(peer, started, ended)
            self.clock.now = min(due, end)
            if due >= end:
                return self
            self._call(due)

    def _call(self, now: float) -> None:
        peer = self.pool.begin(now)
        host = peer.node.host
        self.sent.append((now - START, host))
        heappush(self._open, (now + self._latency(host, now - START, self.rng), next(self._numbers), now, peer))

    def share(self, host: str, since: float, until: float) -> float:
        """The share of the calls made within that time that went to `host`."""
        seen = Counter(each for at, each in self.sent if since <= at < until)
        return seen[host] / seen.total()

    def peer(self, host: str) -> Peer:
        return self.pool.roster.find(f"{host}:80")

    def told(self, *names: str) -> list[Event]:
        """The events of these names."""
        return [each for each in self.events if each.event in names]
