"""What counting failures misses: nodes that are much slower than their peers, and nodes that never answer.

Looked for now and then, as the pool's other lazy work is; the way of a call pays nothing for it but two sums.
"""

from math import inf

from balancemw.fault import Fault, Kind
from balancemw.health import Mark
from balancemw.peer import Peer
from balancemw.roster import Roster
from balancemw.shunned import Shunned
from balancemw.silence import Silence, fade
from balancemw.slowness import Slowness
from balancemw.standing import Standing
from balancemw.tier import Tier
from balancemw.traffic import Traffic

_PAUSE, _PER_NODE = 0.4, 0.001
"""Seconds between two reviews, and how many more for each node, at which a look takes microseconds. It is done on the
way of a call, as all that a pool does from time to time: every half second, so that must be a little more."""

_NO_ANSWER = Fault(Kind.TIMEOUT, "no answer so far")


class Review:
    """Looks at all nodes of one service together. Runs under the pool's lock.

    Args:
        roster: whose nodes they are.
        traffic: passes sentence on those that never answer.
        standing: where marks are set.
    """

    def __init__(self, roster: Roster, traffic: Traffic, standing: Standing) -> None:
        self._roster = roster
        self._traffic = traffic
        self._standing = standing
        self._watchers: dict[tuple[int, int], tuple[Silence, Slowness, Shunned]] = {}
        self._last = self._due = -inf

    def look(self, now: float) -> None:
        """Look, if it is time for that."""
        if now < self._due:
            return
        elapsed, self._last = now - self._last, now
        self._due = now + max(_PAUSE, _PER_NODE * len(self._roster.peers))
        for tier in self._roster.tiers:
            if len(tier.everyone) > 1:
                self._look_at(tier, elapsed, now)

    def _look_at(self, tier: Tier, elapsed: float, now: float) -> None:
        for place, peers in enumerate(tier.groups):
            self._compare(tier, place, peers, now)
        fade(tier.everyone, elapsed)

    def _compare(self, tier: Tier, place: int, peers: tuple[Peer, ...], now: float) -> None:
        """Look at nodes that can be compared with each other, the `place`-th such group of their tier."""
        rules = self._traffic.rules
        watchers = (Silence(), Slowness(rules.slow), Shunned(rules.slow))
        silence, slowness, shunned = self._watchers.setdefault((tier.everyone[0].node.priority, place), watchers)
        if rules.consecutive and tier.may_eject and tier.healthy:  # what is silent would fail so often in a row
            for peer, reason in tuple(silence.silent(peers if len(peers) > 1 else tier.available, now)):
                mark = self._traffic.put_out(peer, reason, _NO_ANSWER, now)
                self._standing.put(peer, mark, now, "ejected", _NO_ANSWER.kind)
        if rules.slow:
            for verdict in (*slowness.review(peers, now), *shunned.review(peers)):
                self._ease(*verdict, now)

    def _ease(self, peer: Peer, share: float, reason: str, now: float) -> None:
        if share < 1.0:
            told = f"{reason}: it gets {share:.0%} of its share"
            self._standing.put(peer, Mark("traffic", "weight", told, now, weight=share), now, "weight")
        else:
            self._standing.release(peer, "traffic", now, reason)
