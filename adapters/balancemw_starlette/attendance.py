"""What every request gets, whoever answers it: it is counted, and told when the app is going."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from balancemw import Balancer
from balancemw.farewell import watch_sigterm
from balancemw.orca import FORMAT, REPORT
from balancemw.presence import Presence, Report

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Told = dict[str, str]
Answerer = Callable[[Told, Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_REPORT = REPORT.encode()


async def attend(balancer: Balancer, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer an http request by the health document, if that is asked for, and else by `app`."""
    report = _report(balancer, scope)
    if report is None:
        await app(scope, receive, send)
    else:
        await _give(report, balancer.presence, scope, send)


async def attend_and_count(
    balancer: Balancer, app: Answerer, told: Told, scope: Scope, receive: Receive, send: Send
) -> None:
    """As `attend`, for one of the app's own requests; `told`: those of its headers that matter here and to `app`."""
    presence = balancer.presence
    report = _report(balancer, scope)
    if report is not None:
        await _give(report, presence, scope, send)
        return
    asked = told.get(FORMAT)
    arrival = presence.enter()
    begun = False

    def send_on(message: Message) -> Awaitable[None]:
        nonlocal begun
        if message["type"] == "http.response.start":
            begun = True
            presence.answered(arrival, message["status"] >= 500)
            if presence.draining or asked:
                headers = [*message.get("headers", ()), *_headers(presence, _closable(scope))]
                message = {**message, "headers": _with_load(headers, presence, asked)}
        return send(message)

    try:
        await app(told, scope, receive, send_on)
    except Exception:
        if not begun:
            presence.answered(arrival, True)
        raise
    finally:
        presence.leave()


def _report(balancer: Balancer, scope: Scope) -> Report | None:
    """The health document, if that is what is asked for."""
    presence = balancer.presence
    if not presence.watched:
        watch_sigterm(balancer, server=False)
    path = scope.get("path", "")
    return presence.report(scope["method"], path) if path == presence.path else None


async def _give(report: Report, presence: Presence, scope: Scope, send: Send) -> None:
    headers = _headers(presence, _closable(scope))
    headers = [*((name.encode(), value.encode()) for name, value in report.headers), *headers]
    await send({"type": "http.response.start", "status": int(report.status), "headers": headers})
    await send({"type": "http.response.body", "body": report.body})


def _closable(scope: Scope) -> bool:
    return scope.get("http_version", "1.1") in ("1.0", "1.1")


def _with_load(headers: Headers, presence: Presence, asked: str | None) -> Headers:
    """`headers` with a load report, unless the app has given one of its own."""
    if not asked or any(name.lower() == _REPORT for name, _ in headers):
        return headers
    said = presence.load_header(asked)
    return headers if said is None else [*headers, (_REPORT, said[1].encode())]


def _headers(presence: Presence, closable: bool) -> Headers:
    return [(name.encode(), value.encode()) for name, value in presence.headers(close=closable)]
