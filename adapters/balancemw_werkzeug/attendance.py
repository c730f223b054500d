"""What every request gets, whoever answers it: it is counted, and told when the app is going."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from balancemw import Balancer
from balancemw.farewell import watch_sigterm
from balancemw.presence import Presence


def attend(
    balancer: Balancer, app: WSGIApplication, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    """Answer the request by the health document, if that is asked for, and else by `app`."""
    watch_sigterm(balancer, server="SERVER_SOFTWARE" in environ)
    presence = balancer.presence
    report = presence.report(environ["REQUEST_METHOD"], environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""))
    if report is not None:
        start_response(f"{int(report.status)} {report.status.phrase}", [*report.headers, *presence.headers()])
        return [report.body]

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None, /) -> Callable[[bytes], object]:
        if presence.draining:
            headers = [*headers, *presence.headers()]  # Connection is the server's affair (PEP 3333)
        return start_response(status, headers, exc_info) if exc_info else start_response(status, headers)

    presence.enter()
    try:
        body = app(environ, start)
    except BaseException:
        presence.leave()
        raise
    if _is_whole(body, environ):
        presence.leave()  # what is left is the server's to do
        return body
    return _Body(body, presence)


def _is_whole(body: Iterable[bytes], environ: WSGIEnvironment) -> bool:
    """Whether the server had better get the body as it is: it knows the length of a list, and how to send a file."""
    if type(body) in (list, tuple):
        return True
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(wrapper, type) and isinstance(body, wrapper)


class _Body:
    """A body that is still to be made: until it is closed, its request is being served."""

    __slots__ = ("_body", "_presence")

    def __init__(self, body: Iterable[bytes], presence: Presence) -> None:
        self._body = body
        self._presence: Presence | None = presence

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        """Close the app's body, once."""
        presence, self._presence = self._presence, None
        if presence is None:
            return
        presence.leave()
        close = getattr(self._body, "close", None)
        if close is not None:
            close()
