"""What the libraries leave open: a connection whose handshake is cancelled.

httpcore closes it after every failure of TLS but for a cancelled task, up to 1.0.9 and httpcore2 2.16. Then both ends
keep it until the event loop is gone.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from anyio import CancelScope

Trace = Callable[[str, dict[str, Any]], Awaitable[object]]
"""The ``trace`` extension of an async request: is told each step of sending it."""


_OPENED = frozenset(("connection.connect_tcp.complete", "connection.connect_unix_socket.complete"))


def closing(own: Trace | None) -> Trace:
    """A trace that closes the request's new connection if its handshake is cancelled; `own`: is told as well."""
    stream: Any = None

    async def trace(event: str, info: dict[str, Any]) -> None:
        nonlocal stream
        if event in _OPENED:
            stream = info["return_value"]
        elif event == "connection.start_tls.failed" and stream and not isinstance(info["exception"], Exception):
            with CancelScope(shield=True):
                await stream.aclose()
        if own is not None:
            await own(event, info)

    return trace
