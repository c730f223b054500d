"""The retry budget: how much an outage may be made worse.

Retries may be a share of the calls plus a floor per second, over a sliding window. A token bucket that saves up
(Finagle's ``RetryBudget``, ten seconds' worth) lets an outage begin with a burst of several times the traffic; a
window bounds every stretch of its length alike, and a second, shorter one bounds what can be spent at once.
"""

WINDOW = 10.0
"""Seconds over which retries are held against calls."""

BURST = 4.0
"""Seconds over which they are held against calls as well, so that no outage begins with all of a window's retries."""

_RETURN = 0.16
"""Seconds of calls for which retries are kept back in an outage of all, as one may be back at any moment: for those
that linger then (`balancemw.call`), and for what the bounds fall by whenever a bucket of calls has passed."""

_NONE_FOR = 4  # of them that are not kept: where calls are few, hardly one comes at that moment

_WIDTH = 0.5
_BUCKETS = int(WINDOW / _WIDTH)


class Budget:
    """Retries allowed for one service. Not locked: the pool that owns it calls under its own lock.

    Args:
        share: retries allowed per call.
        floor: retries per second allowed besides.

    Attributes:
        calls: calls since the current bucket began; the owner adds to it.
        edge: when the current bucket ends.
        refused: retries refused in all.
        workers: processes of this host that share the floor; each counts its own calls.
    """

    __slots__ = (
        "_calls",
        "_poor_until",
        "_retries",
        "calls",
        "edge",
        "floor",
        "refused",
        "retries",
        "share",
        "workers",
    )

    def __init__(self, share: float, floor: float) -> None:
        self.share = share
        self.floor = floor
        self.edge = self._poor_until = float("-inf")
        self.calls = self.retries = self.refused = 0
        self.workers = 1
        self._calls = [0] * (_BUCKETS - 1)
        # One bucket more than of calls: the current one is not full, and the bound must hold over the whole span.
        self._retries = [0] * _BUCKETS

    def roll(self, now: float) -> None:
        """Move on to the bucket of `now`."""
        steps = int((now - self.edge) / _WIDTH) + 1 if self.edge > float("-inf") else _BUCKETS + 1
        for _ in range(min(steps, _BUCKETS + 1)):
            self._calls = [*self._calls[1:], self.calls]
            self._retries = [*self._retries[1:], self.retries]
            self.calls = self.retries = 0
        self.edge = now + _WIDTH if steps > _BUCKETS else self.edge + steps * _WIDTH

    def withdraw(self, now: float, kept: int = 0, *, owed: bool = False) -> bool:
        """Take one retry out of the budget, if it has one left beside those that are `kept`.

        `owed`: it counts, but is not refused. Where retries are turned off there is none all the same.
        """
        if now >= self.edge:
            self.roll(now)
        owed = owed and bool(self.share or self.floor)
        if not owed and any(self.spent(span) + 1 > self.allowed(span) - kept for span in (BURST, WINDOW)):
            self.refused += 1
            return False
        self.retries += 1
        return True

    def shortage(self, now: float) -> str | None:
        """Why a retry was refused just now, in words; None: that was said within this window."""
        if now < self._poor_until:
            return None
        self._poor_until = now + WINDOW
        return (
            f"{self.spent()} retries to {self.called()} calls within {WINDOW:g} s: failures are passed on as they are"
        )

    @property
    def kept_back(self) -> int:
        """Retries that an outage of all leaves for the moment at which the first node is back."""
        return max(0, int(_RETURN * self.called(BURST) / BURST) - _NONE_FOR)

    def allowed(self, span: float = WINDOW) -> float:
        """Retries that the calls of the last `span` seconds justify, with the floor."""
        return self.share * self.called(span) + self.floor * span / self.workers

    def called(self, span: float = WINDOW) -> int:
        """Calls in the last `span` seconds."""
        return sum(self._calls[1 - int(span / _WIDTH) :]) + self.calls

    def spent(self, span: float = WINDOW) -> int:
        """Retries in the last `span` seconds."""
        return sum(self._retries[-int(span / _WIDTH) :]) + self.retries
