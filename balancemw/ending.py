"""How a try of a decorated function ends, for both drivers: judged, given back, and followed by another or not."""

import inspect
from collections.abc import Coroutine
from contextlib import suppress

from balancemw.call import Call, judge
from balancemw.fault import Fault, Kind
from balancemw.timeouts import timeout_of
from balancemw.tries import Terms, Try


def after_error(call: Call, attempt: Try, error: BaseException) -> float | None:
    """Seconds until the next try, after one that raised `error`; None: there is none, and `error` is to be raised.

    Raises:
        DeadlineExceeded: the time of the whole call is up.
    """
    fault = call.fail(attempt, call.judge(attempt, None, error) or Fault(Kind.APPLICATION), error)
    wait = call.delay(fault, None, error)
    if wait is None:
        call.tell(error)
    return wait


def after_cut_off(call: Call, attempt: Try, error: BaseException) -> float:
    """As `after_error`, for a try that `error`, a cancellation of ours, has ended as its time was up.

    Raises:
        TimeoutError: there is no next try.
        DeadlineExceeded: the time of the whole call is up.
    """
    timeout = timeout_of(error)
    wait = after_error(call, attempt, timeout)
    if wait is None:
        raise timeout from error
    return wait


def verdict(terms: Terms, attempt: Try, result: object) -> Fault | None:
    """What is wrong with the result of a try; None: nothing."""
    fault = judge(terms, attempt, result, None)
    if fault is None and isinstance(result, Coroutine):  # or what aiohttp makes of one, ready for `async with`
        result.close()
        return Fault(Kind.APPLICATION, "returned a coroutine")
    return fault


def after_result(call: Call, attempt: Try, result: object, fault: Fault) -> float | None:
    """Seconds until the next try, after one whose result is a `fault`; None: there is none, and it is the answer.

    Raises:
        DeadlineExceeded: the time of the whole call is up.
        TypeError: the function is async without saying so.
    """
    fault = call.fail(attempt, fault, None)
    if fault.kind is Kind.APPLICATION:
        raise TypeError(
            "a balanced function that is not `async def` returned a coroutine: make it `async def` and await there"
        )
    return call.delay(fault, result, None)


def discard(result: object) -> None:
    """Close a response that another try replaces, so that its connection is not lost to its pool."""
    close = getattr(result, "close", None)
    if callable(close):
        with suppress(Exception):
            close()


async def discard_async(result: object) -> None:
    """As `discard`, waiting for it where it can be waited for."""
    close = getattr(result, "aclose", None) or getattr(result, "close", None)
    if callable(close):
        with suppress(Exception):
            closing = close()
            if inspect.isawaitable(closing):
                await closing
