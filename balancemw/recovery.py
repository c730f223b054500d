"""A pool that was out as a whole comes back: no flood onto the first node that does.

When the last good node goes, all calls pile up before the pool, and the first node back would get every one of them at
once, as cold as it is; it falls over again, and so on. brpc's cluster recovery therefore turns calls away, by the share
of servers that work. Here nobody is turned away: how many calls may be *in flight* is bounded, at first by what a node
was known to carry before, then by its own answers. As long as they do not take longer each answer makes room for one
more, which doubles the bound with every round trip (slow start of TCP). A node that is quick again is at its full rate
within a few round trips; for one that is not, calls wait in their callers, for a part of their time.
"""

from collections.abc import Collection
from math import inf

from balancemw.peer import Peer
from balancemw.tier import Tier

AT_FIRST = 4
"""Calls in flight that a node gets at first, if it was not seen to carry more. TCP's slow start begins with as many
segments (RFC 3390)."""

PATIENCE = 1.0
"""Seconds that a call waits while no node is known to be good: then waiting may be in vain."""

_FEW, _PER_NODE = 64, 0.00002  # so many nodes are looked at for every call, more of them every so many seconds for each
_STRETCH = 2.0  # times the best mean time of an answer from which on it takes longer, and there is no more room
_SLACK = 0.01  # seconds of it that say nothing
_PAUSE, _PER_NODE_USUALLY = 0.4, 0.001  # seconds between two looks while all is well
_SLOWLY = 0.02  # part of what is seen now that enters into what a node usually carries


class Recovery:
    """How many calls a pool may have in flight that comes back. Runs under the pool's lock.

    Args:
        window: seconds after the first node is back for which the bound holds; 0: there is none.

    Attributes:
        on: whether calls have to ask `admits`.
        until: when it ends; infinity: no node is back yet, or nothing is on.
    """

    def __init__(self, window: float) -> None:
        self.on = False
        self.until = inf
        self._window = window
        self._usual = 0.0  # calls in flight per node while all is well
        self._everyone: tuple[Peer, ...] = ()
        self._open: tuple[Peer, ...] = ()  # who takes calls
        self._old: dict[Peer, int] = {}  # calls that were under way before, and do not count
        self._limit = self._best = 0.0
        self._answers, self._spent = 0, 0.0
        self._looked_at, self._room = -inf, 0
        self._observe_at = -inf
        self._out_at = -inf

    def review(self, tiers: Collection[Tier], now: float) -> float:
        """See who there is and who of them is good, now that something has changed; returns when to look again."""
        if self.on or not any(tier.healthy for tier in tiers):
            self._everyone = tuple(peer for tier in tiers for peer in tier.everyone)
            self._heed(tuple(peer for tier in tiers for peer in tier.available if peer not in tier.kept), now)
        return self.until

    def _heed(self, good: tuple[Peer, ...], now: float) -> None:
        if not self._window or not self._everyone:
            self.on, self.until = False, inf
        elif not good:
            if not self.on or self.until < inf:
                self._begin(self._everyone)
                self._out_at = now
            self.on, self.until = True, inf
        elif self.on:
            if self.until == inf:
                self.until = now + self._window
                self._begin(good)
            elif now >= self.until:
                self.on, self.until = False, inf
            else:
                back = set(good).difference(self._open)
                self._limit += self._share() * len(back)
                self._old.update((peer, peer.waiting) for peer in back)
                self._open = good

    def _begin(self, peers: tuple[Peer, ...]) -> None:
        self._open = peers
        self._old = {peer: peer.waiting for peer in peers}
        self._limit = self._share() * len(peers)
        self._best = inf
        self._sum_up()
        self._looked_at, self._room = -inf, 0

    def _share(self) -> float:
        return max(AT_FIRST, self._usual)

    def _sum_up(self) -> tuple[int, float]:
        """Answers, and the seconds they took, since the last time."""
        before = self._answers, self._spent
        self._answers = sum(peer.answers for peer in self._everyone)
        self._spent = sum(peer.spent for peer in self._everyone)
        return self._answers - before[0], self._spent - before[1]

    def observe(self, peers: Collection[Peer], now: float) -> None:
        """See what nodes carry while all is well, if it is time for that."""
        if peers and not self.on and self._window and now >= self._observe_at:
            self._observe_at = now + max(_PAUSE, _PER_NODE_USUALLY * len(peers))
            self._usual += _SLOWLY * (sum(peer.waiting for peer in peers) / len(peers) - self._usual)

    def admits(self, now: float, waited: float = 0.0) -> bool:
        """Whether one more call may be sent now; its caller sends it or asks again, having `waited` for so long."""
        if not self.on or (self.until == inf and min(waited, now - self._out_at) >= PATIENCE):
            return True
        if len(self._everyone) <= _FEW or now >= self._looked_at + _PER_NODE * len(self._everyone):
            self._looked_at = now
            self._grow()
            self._room = int(self._limit) - sum(self._new_calls(peer) for peer in self._open)
        self._room -= 1
        return self._room >= 0

    def _grow(self) -> None:
        answers, spent = self._sum_up()
        if answers > 0:
            mean = spent / answers
            if mean <= _STRETCH * self._best + _SLACK:
                self._limit += answers
            self._best = min(self._best, mean)

    def _new_calls(self, peer: Peer) -> int:
        old = self._old[peer] = min(self._old.get(peer, 0), peer.waiting)
        return peer.waiting - old
