"""Whether the store answers, and what it means to this worker when it does not."""

import time
from math import inf

from balancemw.context import Clock

TTL = 2.0
"""Seconds for which a lease or a heartbeat holds: after that a worker is taken for dead."""

_TOLD = 1.0  # seconds for which the store must have failed before that is told
_STUCK = 10.0  # seconds after which a question to it is taken for one that will never be answered


class Contact:
    """Remembers how the store has answered. `alone` may be asked by any thread.

    A worker that was stopped (SIGSTOP) and goes on is not alone for that: only one that has asked in vain is.

    Args:
        clock: real seconds, like ``time.monotonic``.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._answered_at = clock()
        self._failing_since = self._asked_at = inf
        self._lost = False

    @property
    def alone(self) -> bool:
        """Whether the others have been out of reach for so long that all leases are over, theirs and ours."""
        now = self._clock()
        in_vain = self._failing_since < inf and now - self._answered_at > TTL
        return in_vain or now - self._asked_at > _STUCK

    def asks(self) -> None:
        """A question begins."""
        self._asked_at = self._clock()

    def answered(self) -> bool:
        """It was answered; returns whether the store is back after it had been told of as lost."""
        self._asked_at = self._failing_since = inf
        self._answered_at = self._clock()
        back, self._lost = self._lost, False
        return back

    def failed(self) -> bool:
        """It was not; returns whether that is now to be told."""
        self._asked_at = inf
        now = self._clock()
        self._failing_since = min(self._failing_since, now)
        if self._lost or now - self._failing_since < _TOLD:
            return False
        self._lost = True
        return True
