"""How much more than its fair share of the calls in flight a node may have, so that a hot key does not drown it.

Source: V. Mirrokni, M. Thorup and M. Zadimoghaddam, "Consistent hashing with bounded loads" (2017); HAProxy's
``hash-balance-factor`` and Envoy's ``hash_balance_factor``, which are the same in percent. With one more call than
are in flight a node may have, rounded up,

    factor · (calls in flight + 1) · its weight / the weight of all

so that there always is a node with room: what all may have together is more than there is.
"""

from collections.abc import Sequence
from threading import Lock

from balancemw.load import Load

_COUNTED = 8  # nodes looked at for each choice


class Bound:
    """Tells who is full of the nodes `available`.

    Where there are more than a choice may look at, they are counted in turn, a few with every choice, so that the sum
    is at most as old as one round.
    """

    def __init__(self, available: Sequence[Load], factor: float) -> None:
        self._available = available
        self._factor = factor / sum(peer.weight for peer in available)
        self._seen = [peer.in_flight for peer in available]
        self._total = sum(self._seen)
        self._next = 0
        self._lock = Lock()

    def allowed(self) -> float:
        """Calls that a node may have per weight, the next one included and not rounded up."""
        available = self._available
        if len(available) > _COUNTED:
            return self._factor * (self._count() + 1)
        total = 1
        for peer in available:
            total += peer.in_flight
        return self._factor * total

    def _count(self) -> int:
        """Calls in flight, those of the next few nodes counted anew; two threads must not correct the sum at once."""
        if self._lock.acquire(blocking=False):
            try:
                begin, seen = self._next, self._seen
                end = min(begin + _COUNTED, len(seen))
                for i, peer in enumerate(self._available[begin:end], begin):
                    calls = peer.in_flight
                    if calls != seen[i]:  # of many nodes hardly one has changed
                        self._total += calls - seen[i]
                        seen[i] = calls
                self._next = end if end < len(seen) else 0
            finally:
                self._lock.release()
        return self._total
