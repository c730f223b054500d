"""Who is slow and hardly called any more for it, so that answers enough to judge it by never come.

A strategy that feels latency passes a slow node over within a few calls, and gives it another chance some seconds
later. What `balancemw.slowness` asks for, ten answers and more, then takes minutes, in which nobody is told why the
node gets no calls. Here its second chance proves it: it was so slow that it was passed over, several answers say so,
and when it was called again, it still was.
"""

from collections.abc import Iterable, Iterator, Sequence
from statistics import median_low

from balancemw.peer import Peer
from balancemw.slowness import MATTERS, STEP

SURELY = 2.0
"""Times the multiple that makes a node slow: the fewer the answers are, the more each must say."""

SEVERAL = 2.5
"""Slow answers that there must be, by `_slow_answers`, which is a little less than their number."""

SELDOM = 10
"""Part of its peers' calls, as a divisor, below which a node is passed over."""

ENOUGH = 20
"""Calls of each of its peers, on average, without which that says nothing."""

_COMPARED = 3  # nodes in all, as in `balancemw.slowness`

_Sums = tuple[int, float, float]
"""Answers, the seconds that they took, and the squares of these."""


class _Doubt:
    """What was known when a node was first seen to be slow.

    Attributes:
        own: its sums, at the look before.
        everyone: answers of all nodes, and the seconds that they took.
        rested: its answers when no call to it was open any more; who answers after that was called again.
    """

    __slots__ = ("everyone", "own", "rested")

    def __init__(self, own: _Sums, everyone: _Sums) -> None:
        self.own = own
        self.everyone = everyone
        self.rested: int | None = None


class Shunned:
    """Watches the nodes of one tier. Runs under the pool's lock.

    Args:
        multiple: of the others' time, from which on a node is slow.
    """

    def __init__(self, multiple: float) -> None:
        self._least = SURELY * multiple
        self._before: dict[Peer, _Sums] = {}
        self._doubts: dict[Peer, _Doubt] = {}

    def review(self, peers: Sequence[Peer]) -> Iterator[tuple[Peer, float, str]]:
        """Those of `peers`, the available ones, that were slow again: the share each is left, and why."""
        if len(peers) < _COMPARED:
            return
        sums = {peer: (peer.answers, peer.spent, peer.squares) for peer in peers}
        before = {peer: self._before.get(peer, own) for peer, own in sums.items()}
        slow = [peer for peer in peers if self._seems_slow(peer, peers)]
        self._doubts = {peer: self._doubts.get(peer) or _Doubt(before[peer], _total(before.values())) for peer in slow}
        self._before = sums
        everyone = _total(sums.values()) if slow else (0, 0.0, 0.0)
        for peer, doubt in tuple(self._doubts.items()):
            others = [other for other in peers if other is not peer]
            reason = self._proof(peer, doubt, _difference(everyone, doubt.everyone), others)
            if reason:
                del self._doubts[peer]
                yield peer, STEP, reason

    def _seems_slow(self, peer: Peer, peers: Sequence[Peer]) -> bool:
        if "traffic" in peer.marks or peer.returned_at is not None:
            return False
        theirs = median_low([other.latency for other in peers if other is not peer])
        return bool(theirs) and peer.latency >= max(self._least * theirs, theirs + MATTERS)

    def _proof(self, peer: Peer, doubt: _Doubt, everyone: _Sums, others: Sequence[Peer]) -> str | None:
        """Why the node is slow beyond doubt; None: it is not, or not yet."""
        if doubt.rested is None:
            doubt.rested = None if peer.waiting else peer.answers
            return None
        own = _difference((peer.answers, peer.spent, peer.squares), doubt.own)
        calls, took, _ = _difference(everyone, own)
        again = peer.answers > doubt.rested and own[0] * SELDOM * len(others) <= calls
        if not again or calls < ENOUGH * len(others) or _slow_answers(own, took / calls) < SEVERAL:
            return None
        if peer.latency <= median_low([other.longest for other in others]):
            return None  # some calls take that long anywhere
        what = f"{peer.latency * 1000:.3g} ms also when it was called again, its peers' {took / calls * 1000:.3g} ms"
        return f"its answers took {what}, and {own[0]} of the last {calls + own[0]} calls went there"


def _slow_answers(own: _Sums, theirs: float) -> float:
    """How many of the answers took long, at least: few that took very long count as few (the participation ratio)."""
    calls, took, squares = own
    return max(0.0, took - calls * theirs) ** 2 / squares


def _total(sums: Iterable[_Sums]) -> _Sums:
    answers, spent, squares = zip(*sums, strict=True)
    return sum(answers), sum(spent), sum(squares)


def _difference(now: _Sums, then: _Sums) -> _Sums:
    return now[0] - then[0], now[1] - then[1], now[2] - then[2]
