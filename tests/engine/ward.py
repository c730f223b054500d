"""A service whose nodes are checked, on a fake clock."""

import random
from collections.abc import Mapping
from itertools import pairwise

from balancemw import Event
from balancemw.events import Events
from balancemw.fault import Fault, Kind
from balancemw.health import Mark
from balancemw.peer import Peer
from balancemw.pool import Pool
from balancemw.probe import Probe
from balancemw.settings import Settings
from tests.engine.clock import FakeClock

REFUSED = Fault(Kind.REFUSED, "connection refused")
START = 1000.0


class Ward:
    """A service whose nodes n0, n1 … are checked, each check being answered at once.

    Attributes:
        ill: hosts that fail their checks.
        deaf: hosts whose checks never end.
        seen: (time, host) of every check that was begun.
        told: every event.
    """

    def __init__(
        self, nodes: int = 3, *, seed: int = 1, ejection: Mapping[str, object] | None = None, **probe: object
    ) -> None:
        service: dict[str, object] = {
            "nodes": [f"http://n{i}:80" for i in range(nodes)],
            "strategy": "round_robin",
            "probe": {"kind": "tcp", **probe},
            "slow_start": {"window": 0},
            "ejection": ejection or {},
        }
        whole = Settings.load({"services": {"s": service}}).services["s"]
        assert whole.probe is not None
        self.clock = FakeClock(START)
        self.told: list[Event] = []
        events = Events(self.clock)
        events.subscribe(self.told.append)
        rng = random.Random(seed)
        self.pool = Pool("s", whole, rng=rng, events=events, housekeeping=lambda: None)
        self.settings = whole.probe
        self.probe = Probe(self.pool, whole.probe, rng)
        self.probe.start(self.clock())
        self.ill: set[str] = set()
        self.deaf: set[str] = set()
        self.seen: list[tuple[float, str]] = []

    def peer(self, host: str) -> Peer:
        return self.pool.roster.find(f"{host}:80")

    def run(self, seconds: float) -> None:
        """Let that much time pass, and make every check that falls due."""
        end = self.clock() + seconds
        while self.probe.next_due <= end:
            self.clock.now = max(self.clock.now, self.probe.next_due)
            for peer in self.probe.due(self.clock()):
                host = peer.node.host
                self.seen.append((self.clock(), host))
                if host not in self.deaf:
                    self.probe.record(peer, host not in self.ill, "connection refused", self.clock(), Kind.REFUSED)
        self.clock.now = end

    def times(self, host: str, since: float = 0.0) -> list[float]:
        return [time for time, seen in self.seen if seen == host and time >= since]

    def gaps(self, host: str, since: float = 0.0) -> list[float]:
        return [round(later - earlier, 6) for earlier, later in pairwise(self.times(host, since))]

    def events(self, *names: str) -> list[tuple[str, str | None]]:
        return [(each.event, each.node) for each in self.told if each.event in names]

    def mark_of(self, host: str, source: str = "probe") -> Mark | None:
        return self.peer(host).marks.get(source)

    def available(self) -> set[str]:
        return {node.host for node in self.pool.available(self.clock())}

    def call(self, outcome: Fault | None = None) -> str:
        """One call, answered well or with `outcome`; returns the host that took it."""
        now = self.clock()
        peer = self.pool.begin(now)
        if outcome is None:
            self.pool.succeed(peer, now, now)
        else:
            self.pool.fail(peer, now, now, outcome)
        return peer.node.host

    def eject(self, host: str) -> float:
        """Let calls find that the node cannot be reached; returns when its time out is over."""
        while self.call() != host:
            pass
        while (mark := self.mark_of(host, "traffic")) is None:
            now, peer = self.clock(), self.pool.begin(self.clock())
            if peer.node.host == host:
                self.pool.fail(peer, now, now, REFUSED)
            else:
                self.pool.succeed(peer, now, now)
        assert mark.until is not None
        return mark.until

    def up(self, host: str) -> None:
        now = self.clock()
        self.pool.mark(self.peer(host), Mark("operator", "up", "I have seen it work", now), now)


def proven(nodes: int = 3, **probe: object) -> Ward:
    """A service whose checks have passed for a while, without jitter."""
    ward = Ward(nodes, **{"jitter": 0, **probe})
    ward.run(10.0)
    assert ward.probe.proven
    return ward
