"""What every request gets, whoever answers it: it is counted, and told when the app is going."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from balancemw import Balancer
from balancemw.farewell import watch_sigterm
from balancemw.presence import Presence, Report

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


async def attend(balancer: Balancer, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer the request by the health document, if that is asked for, and else by `app`."""
    if scope["type"] != "http":
        await app(scope, receive, send)
        return
    watch_sigterm(balancer, server=False)
    presence = balancer.presence
    report = presence.report(scope["method"], scope.get("path", ""))
    closable = scope.get("http_version", "1.1") in ("1.0", "1.1")
    if report is not None:
        await _give(report, presence, closable, send)
        return

    def send_on(message: Message) -> Awaitable[None]:
        if presence.draining and message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *_headers(presence, closable)]}
        return send(message)

    presence.enter()
    try:
        await app(scope, receive, send_on)
    finally:
        presence.leave()


def _headers(presence: Presence, closable: bool) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in presence.headers(close=closable)]


async def _give(report: Report, presence: Presence, closable: bool, send: Send) -> None:
    headers = [(name.encode(), value.encode()) for name, value in report.headers] + _headers(presence, closable)
    await send({"type": "http.response.start", "status": int(report.status), "headers": headers})
    await send({"type": "http.response.body", "body": report.body})
