"""What a traceback proves about how far a request had come.

Exceptions of the standard library say what went wrong, not when: a reset, a time-out or a TLS alert looks the same
before and after the request was sent, and only before is it harmless to try again. The functions on the way to the
exception tell the two apart where their names are known; where they are not, nothing is proven.
"""

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from types import FrameType


class Phase(Enum):
    """How far the connection had come when the exception was raised."""

    UNKNOWN = "unknown"
    CONNECTING = "connecting"  # no connection yet
    HANDSHAKE = "handshake"  # connected, but TLS was not agreed on: nothing of the request was sent
    SENT = "sent"  # connected and, for all we know, sent


BEFORE = frozenset({Phase.CONNECTING, Phase.HANDSHAKE})
"""Phases that prove that nothing of the request was sent."""

_PHASES: Mapping[tuple[str, str], Phase] = {
    **{
        (module, "create_connection"): Phase.CONNECTING
        for module in ("socket", "asyncio.base_events", "urllib3.util.connection")
    },
    **{(module, "connect"): Phase.CONNECTING for module in ("http.client", "urllib3.connection")},
    ("anyio._core._sockets", "connect_tcp"): Phase.CONNECTING,
    ("asyncio.base_events", "_create_connection_transport"): Phase.HANDSHAKE,
    ("ssl", "do_handshake"): Phase.HANDSHAKE,
    ("anyio.streams.tls", "wrap"): Phase.HANDSHAKE,
    **{("http.client", name): Phase.SENT for name in ("send", "getresponse", "_tunnel")},
    **{("ssl", name): Phase.SENT for name in ("read", "recv", "recv_into", "write", "send", "sendall")},
    ("socket", "readinto"): Phase.SENT,
}
"""(module, function) → phase. The innermost of them decides: ``send`` connects first where there is no connection."""


def phase_of(error: BaseException) -> Phase:
    """The phase in which `error` was raised, as far as its own traceback proves it."""
    phase = Phase.UNKNOWN
    for module, frame in _frames(error):
        phase = _PHASES.get((module, frame.f_code.co_name), phase)
    return phase


def came_through(error: BaseException, module: str, function: str) -> bool:
    """Whether the tracebacks of `error` and of its causes prove that a function was under way when it was raised."""
    cause: BaseException | None = error
    while cause is not None:
        if any(name == module and frame.f_code.co_name == function for name, frame in _frames(cause)):
            return True
        cause = cause.__cause__
    return False


_FOLLOW_UPS = frozenset(
    {
        ("requests.sessions", "resolve_redirects"),
        ("requests.hooks", "dispatch_hook"),  # a hook saw a response and sent another request: digest authentication
        ("urllib.request", "error"),  # handlers of a response: redirects and authentication
    }
)
"""Functions that run only once a response is there."""


def sent_before(error: BaseException, unsent: Callable[[BaseException], bool]) -> bool:
    """Whether `error` struck a later request than the first that its call sent.

    Clients follow redirects and repeat some requests by themselves, and "connection refused" then is true of the last
    request alone: a POST that was carried out, answered with 303, and refused on the way to its result must not be
    sent again.

    Args:
        error: an exception that, taken by itself, proves that nothing was sent.
        unsent: the same verdict for the exceptions of earlier tries.
    """
    for module, frame in _frames(error):
        place = (module, frame.f_code.co_name)
        if place in _FOLLOW_UPS:
            return True
        earlier = _EARLIER.get(place)
        if earlier and earlier(frame.f_locals, unsent):
            return True
    return False


def _redirected(local: Mapping[str, object], _unsent: Callable[[BaseException], bool]) -> bool:
    return bool(local.get("history"))


def _aiohttp_sent(local: Mapping[str, object], _unsent: Callable[[BaseException], bool]) -> bool:
    # Beside redirects, aiohttp once repeats what it takes for idempotent when the connection breaks.
    if local.get("history"):
        return True
    repeats = getattr(local.get("self"), "_retry_connection", False)
    idempotent = local.get("method") in {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"}
    return bool(repeats and idempotent and local.get("retry_persistent_connection") is False)


def _urllib3_sent(local: Mapping[str, object], unsent: Callable[[BaseException], bool]) -> bool:
    for past in getattr(local.get("retries"), "history", ()):
        error = getattr(past, "error", None)  # None: a response came, a redirect for one
        if error is None or not unsent(error):
            return True
    return False


_EARLIER: Mapping[tuple[str, str], Callable[[Mapping[str, object], Callable[[BaseException], bool]], bool]] = {
    ("aiohttp.client", "_request"): _aiohttp_sent,
    ("urllib3.connectionpool", "urlopen"): _urllib3_sent,
    **{
        (f"{client}._client", name): _redirected
        for client in ("httpx", "httpx2")
        for name in ("_send_handling_auth", "_send_handling_redirects")
    },
}
"""Where a client keeps what it did before, among its local variables."""


def _frames(error: BaseException) -> Iterator[tuple[str, FrameType]]:
    step = error.__traceback__
    while step is not None:
        yield str(step.tb_frame.f_globals.get("__name__")), step.tb_frame
        step = step.tb_next
