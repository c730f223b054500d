"""Who is slow and hardly called any more for it, so that answers enough to judge it by never come.

A strategy that feels latency passes a slow node over within a few calls, and gives it another chance some seconds
later. What `balancemw.slowness` asks for, ten answers and more, then takes minutes, in which nobody is told why the
node gets no calls. Here its second chance proves it: it was so slow that it was passed over, and when it was called
again it took longer than any call has lately taken at any of its peers.
"""

from collections.abc import Iterator, Sequence
from math import inf
from statistics import median_low
from typing import NamedTuple

from balancemw.peer import Peer
from balancemw.slowness import MATTERS, STEP, WELL

SURELY = 2.0
"""Times the multiple that makes a node slow: the fewer the answers are, the more each must say."""

UNHEARD_OF = 1.5
"""Times the longest answer that any peer gave of late, which some calls may take anywhere."""

SELDOM = 10
"""Part of its peers' calls, as a divisor, up to which a node is passed over."""

ENOUGH = 20
"""Calls of each of its peers, on average, without which that says nothing."""

AGAIN = 5
"""Answers since then after which it may be well again."""

_COMPARED = 3  # nodes in all, as in `balancemw.slowness`


class _Doubt(NamedTuple):
    """What a node that seems slow had done when its last call was over: who answers after that was called again."""

    answers: int
    spent: float
    everyone: int


class Shunned:
    """Watches the nodes of one tier. Runs under the pool's lock.

    Args:
        multiple: of the others' time, from which on a node is slow.
    """

    def __init__(self, multiple: float) -> None:
        self._least = SURELY * multiple
        self._well = WELL * multiple
        self._doubts: dict[Peer, _Doubt] = {}
        self._eased: dict[Peer, int] = {}  # whose share was lowered here, and after how many answers

    def review(self, peers: Sequence[Peer]) -> Iterator[tuple[Peer, float, str]]:
        """Those of `peers`, the available ones, that were slow again, or no longer are: their share now, and why."""
        if len(peers) < _COMPARED:
            return
        usual = median_low([peer.latency for peer in peers])  # without the node itself it would be the same or less
        if self._eased:
            yield from self._absolved(frozenset(peers), usual)
        limit = max(self._least * usual, usual + MATTERS) if usual else inf
        slow = [peer for peer in peers if peer.latency >= limit and not _judged(peer)]
        everyone = sum(peer.answers for peer in peers) if slow else 0
        self._doubts = {
            peer: self._doubts.get(peer) or _Doubt(peer.answers, peer.spent, everyone)
            for peer in slow
            if peer in self._doubts or not peer.waiting
        }
        for peer, doubt in tuple(self._doubts.items()):
            reason = self._proof(peer, doubt, everyone - doubt.everyone, usual, peers)
            if reason:
                del self._doubts[peer]
                self._eased[peer] = peer.answers
                yield peer, STEP, reason

    def _absolved(self, peers: frozenset[Peer], usual: float) -> Iterator[tuple[Peer, float, str]]:
        for peer, since in tuple(self._eased.items()):
            if peer.eased != STEP or peer not in peers:  # someone else has judged it since
                del self._eased[peer]
            elif peer.answers >= since + AGAIN and peer.latency <= self._well * usual:
                del self._eased[peer]
                yield peer, 1.0, f"its answers take {_ms(peer.latency)} now, its peers' {_ms(usual)}"

    def _proof(self, peer: Peer, doubt: _Doubt, calls: int, usual: float, peers: Sequence[Peer]) -> str | None:
        """Why the node is slow beyond doubt; None: it is not, or not yet."""
        answers, took = peer.answers - doubt.answers, peer.spent - doubt.spent
        others = len(peers) - 1
        if not answers or answers * SELDOM * others > calls - answers or calls - answers < ENOUGH * others:
            return None
        longest = max(other.longest for other in peers if other is not peer)
        if took <= answers * max(self._least * usual, UNHEARD_OF * longest):
            return None
        what = f"it still took {_ms(took / answers)} when it was called again, its peers {_ms(usual)}"
        return f"{what}; being slow, it got {answers} of the last {calls} calls"


def _judged(peer: Peer) -> bool:
    return "traffic" in peer.marks or peer.past.returned_at is not None


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms"
