"""What every request gets, whoever answers it: it is counted, and told when the app is going."""

from dataclasses import replace

from balancemw import Balancer
from balancemw.farewell import watch_sigterm
from balancemw.orca import REPORT
from balancemw.presence import Presence
from balancemw.reply import Reply
from balancemw_starlette.asgi import ASGIApp, Message, Receive, Scope, Send, give

Headers = list[tuple[bytes, bytes]]

_REPORT = REPORT.encode()


async def attend(balancer: Balancer, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer an http request by the health document, if that is asked for, and else by `app`."""
    report = report_for(balancer, scope)
    if report is None:
        await app(scope, receive, send)
    else:
        await give_report(report, balancer.presence, scope, receive, send)


def report_for(balancer: Balancer, scope: Scope) -> Reply | None:
    """The health document, if that is what is asked for."""
    presence = balancer.presence
    if not presence.watched:
        watch_sigterm(balancer, server=False)
    path = scope.get("path", "")
    return presence.report(scope["method"], path) if path == presence.path else None


def signed(message: Message, presence: Presence, scope: Scope, asked: str | None) -> Message:
    """The beginning of an answer with what callers are to know; `asked`: the form of the report they ask for."""
    headers = [*message.get("headers", ()), *_headers(presence, _closable(scope))]
    return {**message, "headers": _with_load(headers, presence, asked)}


async def give_report(report: Reply, presence: Presence, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the health document."""
    headers = (*report.headers, *presence.headers(close=_closable(scope)))
    await give(replace(report, headers=headers), scope, receive, send)


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
