"""How long urllib3 may wait: what the caller grants, and never more than the try under way has left."""

from math import inf
from typing import Any

from urllib3.util import Timeout

from balancemw.context import Bound

_LEAST = 0.001  # seconds: to a socket 0 means something else


def granted(timeout: Any) -> Timeout | None:
    """What a caller gave as ``timeout``: seconds, a (connect, read) pair, a `Timeout`, or None, which bounds nothing.

    Raises:
        ValueError: it is none of these.
    """
    if timeout is None:
        return None
    if isinstance(timeout, Timeout):
        return timeout.clone()
    if not isinstance(timeout, tuple):
        return Timeout(connect=timeout, read=timeout)
    try:
        connect, read = timeout
    except ValueError:
        raise ValueError(f"a timeout is a number of seconds or a (connect, read) tuple, not {timeout!r}") from None
    return Timeout(connect=connect, read=read)


class Limits(Timeout):
    """The timeouts of one try. They are asked for when they are needed: as much is left then as there is then.

    Args:
        attempt: the try.
        caller: what its caller grants, not yet started; None: whatever there is.
    """

    def __init__(self, attempt: Bound, caller: Timeout | None) -> None:
        super().__init__(connect=None, read=None)
        self._attempt = attempt
        self._caller = None if caller is None else caller.clone()

    def clone(self) -> "Limits":
        """urllib3 would not start those that may be another request's too: these are only this one's."""
        return self

    def start_connect(self) -> float:
        """The connection is about to be made, or taken from the pool."""
        if self._caller is not None:
            self._caller.start_connect()
        return super().start_connect()

    @property
    def connect_timeout(self) -> float | None:
        """Seconds to connect, and for each part of the request to be taken; None: as long as it takes."""
        return self._within(None if self._caller is None else self._caller.connect_timeout)

    @property
    def read_timeout(self) -> float | None:
        """Seconds without a byte of the answer; None: as long as it takes."""
        return self._within(None if self._caller is None else self._caller.read_timeout)

    def _within(self, timeout: Any) -> float | None:
        attempt = self._attempt
        seconds: float | None = Timeout.resolve_default_timeout(timeout)
        if attempt.until == inf:
            return seconds
        left = max(attempt.until - attempt.clock(), _LEAST)
        return left if seconds is None else min(seconds, left)
