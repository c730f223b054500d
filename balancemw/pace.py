"""What the calls of some nodes together take, as far as it was seen of late: to hold one group against another."""

from collections.abc import Iterable
from math import exp, sqrt

from balancemw.peer import Peer

MEMORY = 2.0
"""Seconds in which what was seen loses all but 1/e of its say."""

MOST_CALLS = 50.0
"""Calls of the past that have any: at many calls a second what is seen now must count at once."""

SURE = 3.0
"""Standard errors by which one mean must exceed another."""


class Pace:
    """The calls of a group of nodes. Runs under the pool's lock.

    Attributes:
        calls: calls that count; those of the past fade, those that wait for an answer do not.
        failing: share of them that failed.
        mean: seconds that one took, or has waited so far; 0.0: nothing is known.
        variance: of that.
        took: seconds that one took that is answered; 0.0: none is.
        waiting: calls that wait for an answer.
        answered_at: when the last answer came; 0.0: there was none.
        heard_at: the same, or when no call was last seen to wait for one.
    """

    def __init__(self) -> None:
        self._seen: dict[Peer, tuple[int, float, float, int]] = {}
        self.forget()
        self.calls = self.failing = self.mean = self.variance = self.took = 0.0
        self.waiting = 0
        self.answered_at = self.heard_at = 0.0

    def forget(self) -> None:
        """What was seen so far counts no more."""
        self._answers = self._spent = self._squares = self._failed = 0.0

    def read(self, peers: Iterable[Peer], now: float, elapsed: float) -> int:
        """Enter what has happened in the last `elapsed` seconds; returns how many answers came."""
        seen = {peer: (peer.answers, peer.spent, peer.squares, peer.record.failed) for peer in peers}
        left = min(exp(-elapsed / MEMORY), MOST_CALLS / max(1.0, self._answers + self._failed))
        new = [(now_, self._seen.get(peer, now_)) for peer, now_ in seen.items()]
        answers = sum(after[0] - before[0] for after, before in new)
        self._answers = self._answers * left + answers
        self._spent = self._spent * left + sum(after[1] - before[1] for after, before in new)
        self._squares = self._squares * left + sum(after[2] - before[2] for after, before in new)
        self._failed = self._failed * left + sum(after[3] - before[3] for after, before in new)
        self._seen = seen
        self._sum_up(now)
        return answers

    def _sum_up(self, now: float) -> None:
        self.waiting = waiting = sum(peer.waiting for peer in self._seen)
        waited = sum(peer.waiting * peer.age(now) for peer in self._seen)
        self.answered_at = max((peer.heard_at for peer in self._seen), default=0.0)
        self.heard_at = max(self.heard_at, self.answered_at) if waiting else now
        self.took = self._spent / self._answers if self._answers else 0.0
        measured = self._answers + waiting
        self.calls = measured + self._failed
        self.failing = self._failed / self.calls if self.calls else 0.0
        self.mean = (self._spent + waited) / measured if measured else 0.0
        squares = self._squares + sum(peer.waiting * peer.age(now) ** 2 for peer in self._seen)
        self.variance = max(0.0, squares / measured - self.mean**2) if measured else 0.0

    def exceeds(self, mean: float, variance: float = 0.0, calls: float = 0.0) -> bool:
        """Whether it takes longer than that beyond doubt. Of the two spreads the wider counts, as in `slowness`."""
        share = 1.0 / self.calls + (1.0 / calls if calls else 0.0)
        return self.mean - mean >= SURE * sqrt(max(self.variance, variance) * share)
