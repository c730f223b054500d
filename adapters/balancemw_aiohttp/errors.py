"""Our errors as aiohttp's, so that what catches a failing request catches these too."""

import aiohttp

from balancemw.errors import DeadlineExceeded, NoNodeAvailable
from balancemw.exchange import IDEMPOTENT, none_free
from balancemw.fault import Fault, Kind
from balancemw.tries import Try
from balancemw.verdict.phases import came_through

# Nothing that is public tells a request that waits for a connection from one that has been sent. These are names of its
# functions, by which tracebacks tell it, as `balancemw.verdict` has it; if they change, it is a timeout like any other.
_CONNECTOR = "aiohttp.connector"


class NoNode(NoNodeAvailable, aiohttp.ClientConnectionError):
    """`NoNodeAvailable`, which is also an `aiohttp.ClientConnectionError`."""


class TooLate(DeadlineExceeded, aiohttp.ServerTimeoutError):
    """`DeadlineExceeded`, which is also an `aiohttp.ServerTimeoutError`."""


class LastTryFailed(aiohttp.ServerConnectionError, ConnectionError):
    """The connection of the last try was lost; the cause is aiohttp's own error.

    It takes the place of `aiohttp.ServerDisconnectedError` and `aiohttp.ClientOSError`, at which a session runs its
    middlewares once more for an idempotent method: that would double the tries.
    """


def no_answer(attempt: Try, request: aiohttp.ClientRequest, error: BaseException) -> aiohttp.ServerTimeoutError:
    """What cutting off a try means, which ended with `error`: where it was cut off tells whether anything was sent.

    `request` has a response, unread, once it is being sent; it may be sent several times by a middleware below ours.
    """
    seconds = attempt.clock() - attempt.started
    if came_through(error, _CONNECTOR, "connect") and getattr(request, "response", None) is None:
        return aiohttp.ConnectionTimeoutError(f"no connection to {attempt.node.name} within {seconds:.3g} s")
    return aiohttp.ServerTimeoutError(f"no answer from {attempt.node.name} within {seconds:.3g} s")


def known(attempt: Try, error: BaseException) -> Fault | None:
    """What is known of a try's error that it does not say itself."""
    if isinstance(error, aiohttp.ServerTimeoutError) and _was_queued(error):
        return none_free(attempt)
    if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ClientError):
        return Fault(Kind.CANCELLED, "the session's own time for the request ran out")
    return None


def _was_queued(error: BaseException) -> bool:
    """Whether a try ended while it waited for its session to have one of its limited connections free."""
    return came_through(error, _CONNECTOR, "_wait_for_available_connection")


def conclusive(error: BaseException, method: str) -> BaseException:
    """What to raise for `error`, so that the session takes it for the last word."""
    again = isinstance(error, aiohttp.ClientOSError | aiohttp.ServerDisconnectedError)
    if not again or isinstance(error, aiohttp.ClientConnectorError) or method not in IDEMPOTENT:
        return error
    last = LastTryFailed(*error.args)
    for note in getattr(error, "__notes__", ()):
        last.add_note(note)
    last.__cause__ = error
    return last
