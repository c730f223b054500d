"""What is said of a failed attempt: one verdict for the retry, the node's health, the load score, log and metrics.

Pure: no I/O, no clock but the one that is handed in, and no client library. How exceptions are understood is in
`balancemw.verdict`.
"""

import math
import re
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

from balancemw.errors import BalanceError, DeadlineExceeded
from balancemw.verdict.judge import judge
from balancemw.verdict.kinds import AMBIGUOUS, AT_ONCE, COUNTING, RESPONSES, UNSENT, Kind
from balancemw.verdict.reading import header, in_words, status_in_words

__all__ = ["Fault", "Kind", "classify"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an attempt failed.

    Attributes:
        kind: what is said of it.
        reason: one line in words, for logs and notes; `classify` leaves no userinfo, query string or control character.
        status: the response's status, if there was a response.
        retry_after: seconds the node asked to be left alone, not yet capped; None: it did not say.
        retry_status: the response is to be retried: its status is one of the configured ones, or 429.
        answered: the node gave a whole answer, so it is alive, although the call failed.
    """

    kind: Kind
    reason: str = ""
    status: int | None = None
    retry_after: float | None = None
    retry_status: bool = False
    answered: bool = False

    @property
    def unsent(self) -> bool:
        """Provably nothing was sent, so the request may go to another node, whatever it does."""
        return self.kind in UNSENT

    @property
    def ejects_at_once(self) -> bool:
        """The node cannot be reached: one failure is enough."""
        return self.kind in AT_ONCE

    @property
    def counts(self) -> bool:
        """It counts towards ejection by failures in a row."""
        return self.kind in COUNTING

    @property
    def lowers_success_rate(self) -> bool:
        """It counts in the node's success rate: all that `counts`, and 5xx of the application behind it."""
        return self.kind in COUNTING or self.kind is Kind.SERVER_ERROR

    def may_retry(self, idempotent: bool) -> bool:
        """Whether trying again cannot do harm and is asked for; `idempotent`: doing it twice is as good as once."""
        if self.kind in UNSENT:
            return True
        if self.kind in AMBIGUOUS:
            return idempotent
        if self.kind is Kind.OVERLOAD and self.status == 429:
            return True  # refused before any work was done
        return self.kind in RESPONSES and idempotent and self.retry_status


def classify(
    result: object,
    error: BaseException | None,
    *,
    statuses: Collection[int] = frozenset({502, 503, 504}),
    wall: Callable[[], float] = time.time,
) -> Fault | None:
    """The fault of an attempt that gave `result` or raised `error`; None when it succeeded. Never raises.

    Args:
        result: what the function returned; judged by its int ``status`` or ``status_code`` if it has one.
        error: what it raised.
        statuses: responses that are failures to be retried.
        wall: seconds since the epoch, to compare an HTTP-date in ``Retry-After`` with.
    """
    if error is None:
        status = None if result is None else _status(result)
        return None if status is None else _of_response(result, status, statuses, wall)
    if not isinstance(error, Exception):  # asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit …
        return Fault(Kind.CANCELLED, in_words(error))
    if isinstance(error, BalanceError):
        kind = Kind.DEADLINE if isinstance(error, DeadlineExceeded) else Kind.APPLICATION
        return Fault(kind, in_words(error))
    verdict = judge(error)
    status = None if verdict.response is None else _status(verdict.response)
    if status is None:
        prefix = "after an earlier request: " if verdict.later else ""
        return Fault(verdict.kind, in_words(verdict.by, prefix), answered=verdict.answered)
    fault = _of_response(verdict.response, status, statuses, wall)
    return fault or Fault(Kind.APPLICATION, in_words(error), status, answered=True)


def _status(answer: object) -> int | None:
    for name in ("status", "status_code"):
        try:
            value = getattr(answer, name, None)
        except Exception:  # a property of somebody's own
            continue
        if isinstance(value, int) and not isinstance(value, bool):
            return int(value)
    return None


def _of_response(response: object, status: int, statuses: Collection[int], wall: Callable[[], float]) -> Fault | None:
    retry = status in statuses
    if status < 400 and not retry:
        return None
    retry_after = None
    if status == 429:
        kind, retry, retry_after = Kind.OVERLOAD, True, _retry_after(response, wall)
    elif status == 503 and (retry_after := _retry_after(response, wall)) is not None:
        kind = Kind.OVERLOAD
    elif status in (502, 503, 504):
        kind = Kind.UNAVAILABLE
    elif 500 <= status <= 599:
        kind = Kind.SERVER_ERROR
    elif retry:
        kind = Kind.UNAVAILABLE
    else:
        return None
    return Fault(kind, status_in_words(status), status, retry_after, retry, answered=True)


# -- Retry-After (RFC 9110, 10.2.3)


def _retry_after(response: object, wall: Callable[[], float]) -> float | None:
    """Seconds from now, at least 0; None when there is no such header or it is malformed."""
    value = header(response, "retry-after")
    if re.fullmatch(r"[+-]?[0-9]+(\.[0-9]*)?", value):
        seconds = float(value)
    else:
        try:
            date = parsedate_to_datetime(value)
            seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - wall()
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
