"""Callers and nodes in zones, simulated call by call. A node works on a few calls at a time; the others wait in line.

So it is with real ones, and so too many calls show as what they are: answers that take longer and longer.
"""

from collections import Counter, deque
from collections.abc import Mapping
from heapq import heappop, heappush
from itertools import count
from random import Random

from balancemw import Event
from balancemw.events import Events
from balancemw.fault import Fault, Kind
from balancemw.peer import Peer
from balancemw.pool import Pool
from balancemw.settings import Settings
from tests.engine.clock import FakeClock

START = 1000.0
SERVICE = 0.02
"""Seconds that a call takes on average without any waiting."""

_Call = tuple[Pool, Peer, float]


def zoned(**sizes: int) -> list[dict[str, object]]:
    """Nodes called by their zone and a number: ``a0``, ``a1`` …"""
    return [{"url": f"http://{zone}{i}:80", "zone": zone} for zone, size in sizes.items() for i in range(size)]


class Town:
    """Nodes a0, a1 …, b0 … of zones a, b …, and callers in zone a.

    Args:
        sizes: how many nodes each zone has.
        callers: how many there are.
        workers: calls that a node works on at a time; each can take 50 a second.
        settings: of the service.

    Attributes:
        factor: what a node's calls take, in times of the usual; infinity: it never answers.
        failing: share of a node's calls that fail.
        sent: (second, host) of every call.
        answers: (second at which it was made, seconds it took, host).
        events: all that happened but single failures.
    """

    def __init__(
        self, sizes: Mapping[str, int], *, callers: int = 1, workers: int = 4, seed: int = 1, **settings: object
    ) -> None:
        service = {"nodes": zoned(**sizes), "zone": "a", **settings}
        whole = Settings.load({"services": {"s": service}}).services["s"]
        self.clock = FakeClock(START)
        self.rng = Random(seed)
        self.events: list[Event] = []
        events = Events(lambda: self.clock() - START)
        events.subscribe(lambda event: event.event != "failed" and self.events.append(event))
        self.pools = [
            Pool("s", whole, rng=Random(seed + i), events=events, housekeeping=lambda: None) for i in range(callers)
        ]
        self.factor: dict[str, float] = {}
        self.failing: dict[str, float] = {}
        self.sent: list[tuple[float, str]] = []
        self.answers: list[tuple[float, float, str]] = []
        self._workers = workers
        self._busy: Counter[str] = Counter()
        self._waiting: dict[str, deque[_Call]] = {}
        self._open: list[tuple[float, int, _Call]] = []
        self._numbers = count()

    def seconds(self, host: str) -> float:
        """How long the node works on a call."""
        return self.rng.expovariate(1.0 / SERVICE) * self.factor.get(host, 1.0)

    def run(self, seconds: float, rate: float) -> "Town":
        """Make so many calls a second, at random times, for so long."""
        end = self.clock() + seconds
        while True:
            due = self.clock() + self.rng.expovariate(rate)
            while self._open and self._open[0][0] <= min(due, end):
                self._end()
            self.clock.now = min(due, end)
            if due >= end:
                return self
            pool = self.pools[int(self.rng.random() * len(self.pools))]
            peer = pool.begin(due)
            self.sent.append((due - START, peer.node.host))
            self._take((pool, peer, due))

    def _take(self, call: _Call) -> None:
        host = call[1].node.host
        if self._busy[host] < self._workers:
            self._busy[host] += 1
            heappush(self._open, (self.clock() + self.seconds(host), next(self._numbers), call))
        else:
            self._waiting.setdefault(host, deque()).append(call)

    def _end(self) -> None:
        self.clock.now, _, (pool, peer, began) = heappop(self._open)
        host = peer.node.host
        self.answers.append((began - START, self.clock() - began, host))
        if self.rng.random() < self.failing.get(host, 0.0):
            pool.fail(peer, began, self.clock(), Fault(Kind.SERVER_ERROR, "500", answered=True))
        else:
            pool.succeed(peer, began, self.clock())
        self._busy[host] -= 1
        if self._waiting.get(host):
            self._take(self._waiting[host].popleft())

    def away(self, since: float, until: float = float("inf")) -> float:
        """The share of the calls made within that time that left zone a."""
        hosts = [host for at, host in self.sent if since <= at < until]
        return sum(not host.startswith("a") for host in hosts) / len(hosts)

    def slowest(self, since: float, until: float = float("inf")) -> float:
        """What 99 % of the calls made within that time took at most."""
        took = sorted(seconds for at, seconds, _ in self.answers if since <= at < until)
        return took[int(len(took) * 0.99)]

    def told(self, *names: str) -> list[Event]:
        """The events of these names."""
        return [each for each in self.events if each.event in names]
