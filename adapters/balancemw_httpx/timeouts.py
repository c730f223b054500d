"""The timeouts of a request, which no operation of a try may exceed any more than what is left of the try."""

from math import inf
from typing import Any

from balancemw.context import Bound

_LEAST = 0.001  # 0 would make a socket one that does not wait

_get = dict.get  # asked five times for every request: `super()` would be a good part of the price


class Timeouts(dict[str, Any]):
    """The caller's timeouts, by operation; each as it is asked for at the beginning of one, in seconds.

    Attributes:
        bound: until when the operations must be over; None: whatever the caller allows.
    """

    bound: Bound | None = None

    def get(self, operation: str, default: Any = None) -> Any:
        """Seconds for `operation`, one of ``connect``, ``read``, ``write``, ``pool``; None: unbounded."""
        own = _get(self, operation, default)
        bound = self.bound
        if bound is None:
            return own
        left = bound.until - bound.clock()
        if own is None:
            own = inf
        if own < left:
            return own
        if left == inf:
            return None
        return left if left > _LEAST else _LEAST
