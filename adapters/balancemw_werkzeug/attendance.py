"""What every request gets, whoever answers it: it is counted, and told when the app is going."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from balancemw import Balancer
from balancemw.farewell import watch_sigterm
from balancemw.inbound import wsgi_key
from balancemw.orca import FORMAT, REPORT
from balancemw.presence import Presence
from balancemw_werkzeug.answer import Body, is_whole

_FORMAT = wsgi_key(FORMAT)


def attend(
    balancer: Balancer,
    app: WSGIApplication,
    counts: bool,
    environ: WSGIEnvironment,
    start_response: StartResponse,
) -> Iterable[bytes]:
    """Answer the request by the health document, if that is asked for, and else by `app`.

    `counts`: whether it is one of the app's own requests: others are not counted, and told nothing.
    """
    presence = balancer.presence
    if not presence.watched:
        watch_sigterm(balancer, server="SERVER_SOFTWARE" in environ)
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    report = presence.report(environ["REQUEST_METHOD"], path) if path == presence.path else None
    if report is not None:
        start_response(f"{int(report.status)} {report.status.phrase}", [*report.headers, *presence.headers()])
        return [report.body]
    if not counts:
        return app(environ, start_response)
    asked = environ.get(_FORMAT)
    visit = Visit(presence)

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Callable[[bytes], object]:
        visit.answer(status[:1] == "5")
        if presence.draining:
            headers = [*headers, *presence.headers()]  # Connection is the server's affair (PEP 3333)
        if asked and not any(name.lower() == REPORT for name, _ in headers):  # of the app's own, which knows better
            said = presence.load_header(asked)
            headers = headers if said is None else [*headers, said]
        return start_response(status, headers, exc_info) if exc_info else start_response(status, headers)

    try:
        body = app(environ, start)
    except BaseException:
        visit.answer(True)
        presence.leave()
        raise
    if type(body) is Body:  # one of the app's, that needs its request until it is closed
        body.visit = visit
        return body
    if is_whole(body, environ):
        presence.leave()  # what is left is the server's to do
        return body
    return _Body(body, visit)


class Visit:
    """A request that is being served, and whether its answer has begun."""

    __slots__ = ("_arrival", "_begun", "_presence")

    def __init__(self, presence: Presence) -> None:
        self._presence = presence
        self._begun = False
        self._arrival = presence.enter()

    def answer(self, failed: bool) -> None:
        """The answer begins, or it is certain that there is none: what is told first counts."""
        if not self._begun:
            self._begun = True
            self._presence.answered(self._arrival, failed)

    def end(self) -> None:
        """The body of the answer is closed."""
        self.answer(True)  # closed before its first part, it has raised
        self._presence.leave()


class _Body:
    """A body that is still to be made: until it is closed, its request is being served."""

    __slots__ = ("_body", "_visit")

    def __init__(self, body: Iterable[bytes], visit: Visit) -> None:
        self._body = body
        self._visit: Visit | None = visit

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        """Close the app's body, once."""
        visit, self._visit = self._visit, None
        if visit is None:
            return
        visit.end()
        close = getattr(self._body, "close", None)
        if close is not None:
            close()
