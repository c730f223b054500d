"""How long a service's calls took of late: a histogram in slices of time, of which the oldest goes as a new one begins.

As tower's hedge and Finagle's ``BackupRequestFilter`` have it, the percentile is read anew every few seconds, and not
with every call.
"""

from collections import Counter, deque
from math import ceil, log2

_STEPS = 16  # buckets per doubling: a percentile is off by 4 % at most
_SLICES = 5
_WIDTH = 3.0  # seconds that a slice takes at least
_LEAST = 1e-6  # seconds: what is quicker counts as that
_FEW = 10


class Latencies:
    """Recent latencies of one service, and a percentile of them. Not locked: its owner is.

    A slice lasts until it holds enough calls to say something of the percentile, so that a service that is called
    seldom is not forgotten before it is known.

    Args:
        share: the percentile, above 0 and below 1.

    Attributes:
        percentile: in seconds, as of the last slice that ended; None: not enough calls have been seen.
    """

    __slots__ = ("_edge", "_enough", "_past", "_seen", "_share", "_slice", "percentile")

    def __init__(self, share: float) -> None:
        self.percentile: float | None = None
        self._share = share
        self._enough = max(_FEW, ceil(1.0 / (1.0 - share) - 1e-9))  # one beyond the percentile is to be expected
        self._slice: Counter[int] = Counter()
        self._seen = 0
        self._past: deque[Counter[int]] = deque(maxlen=_SLICES)
        self._edge = float("-inf")

    def record(self, seconds: float, now: float) -> None:
        """A call took that long."""
        if not self._seen:
            self._edge = now + _WIDTH if self._past else now  # the first slice ends as soon as it has enough
        self._slice[ceil(log2(max(seconds, _LEAST)) * _STEPS)] += 1
        self._seen += 1
        if self._seen >= self._enough and now >= self._edge:
            self._past.append(self._slice)
            self._slice, self._seen = Counter(), 0
            self.percentile = self._read()

    def _read(self) -> float:
        seen: Counter[int] = sum(self._past, Counter())
        beyond = seen.total() * (1.0 - self._share)
        bucket = 0
        for bucket in sorted(seen, reverse=True):
            beyond -= seen[bucket]
            if beyond < -1e-9:
                break
        return float(2.0 ** (bucket / _STEPS))  # its upper end
