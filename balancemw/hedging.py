"""When the calls of a service are hedged: how long an answer may take, and how many hedges there may be.

A hedge is a second try, sent to another node while the first is still waited for (Dean and Barroso, "The Tail at
Scale", 2013). The percentile, its least delay and the two budgets are those of Finagle's ``BackupRequestFilter``.
"""

from balancemw.budget import Budget
from balancemw.latencies import Latencies

LEAST_DELAY = 0.001
"""Seconds that a call gets before it is hedged, at least: below it the clock decides, and not the node."""


class Hedging:
    """What the calls of one service share for their hedges. Guarded by the pool's lock.

    Args:
        delay: seconds that an answer may take until then; 0.0: by `percentile`.
        percentile: of the times that answers take, as a share; None: the delay is fixed.
        share: hedges allowed per call.

    Attributes:
        hedges: how many were sent.
        wins: how many of them answered for their call.
    """

    __slots__ = ("_delay", "_latencies", "_saved", "_share", "hedges", "wins")

    def __init__(self, delay: float, percentile: float | None, share: float) -> None:
        self._latencies = None if percentile is None else Latencies(percentile)
        self._delay = delay
        self._share = share
        self._saved = 0.0
        self.hedges = self.wins = 0

    def enter(self) -> float | None:
        """A call begins; returns the seconds after which it is to be hedged, or None: too little is known as yet."""
        self._saved += self._share
        return self.delay

    @property
    def delay(self) -> float | None:
        """Seconds after which a call is hedged; None: too little is known as yet."""
        if self._latencies is None:
            return self._delay
        percentile = self._latencies.percentile
        return None if percentile is None else max(percentile, LEAST_DELAY)

    def record(self, seconds: float, now: float) -> None:
        """A try was answered after `seconds`, or not even then."""
        if self._latencies is not None:
            self._latencies.record(seconds, now)

    def afford(self, budget: Budget, now: float) -> bool:
        """Take one hedge out of what the calls allow, and out of the retry `budget`, if both have one left.

        What is saved up are the hedges of as many calls as the budget looks back on: enough for the calls that one
        pause of a node holds up, and never more than the share of all calls so far.
        """
        self._saved = min(self._saved, max(1.0, self._share * budget.called()))
        if self._saved < 1.0 - 1e-9 or not budget.withdraw(now):
            return False
        self._saved -= 1.0
        self.hedges += 1
        return True
