"""The answer of a WSGI app: its beginning, which can still be replaced, and its body."""

from collections.abc import Callable
from contextvars import Context
from itertools import chain
from math import inf
from types import TracebackType
from typing import TYPE_CHECKING, Any
from wsgiref.types import StartResponse, WSGIEnvironment

from balancemw.context import Request
from balancemw.inbound import problem_of
from balancemw.orca import REPORT
from balancemw.reply import Reply

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]

_TOLD = ()


class Answer(Request):
    """A request, and how the app begins its answer to it.

    That is held back until the first part of the body is there, so that an error may replace it. Calling the server's
    `start_response` a second time, with the error, would be the protocol's way, but gunicorn then sends the headers of
    both.

    It knows nothing of the body: an app's generator knows `start`, and has to go with the body when that is abandoned.

    Attributes:
        server: the server's `start_response`.
        head: status and headers that are held back; None: there are none yet; empty: the server has been told.
        write: the server's, once it has been told.
    """

    __slots__ = ("head", "server", "write")

    server: StartResponse
    head: tuple[str, list[tuple[str, str]]] | tuple[()] | None
    write: Callable[[bytes], object]

    if TYPE_CHECKING:

        def __init__(self) -> None: ...
    else:
        __init__ = object.__init__  # one in Python would cost as much as all that is set, most of it by `Door.open`

    def start(
        self, status: str, headers: list[tuple[str, str]], exc_info: _ExcInfo | None = None, /
    ) -> Callable[[bytes], object]:
        """The `start_response` that the app is given."""
        if self.head is not None:
            return self._start_again(status, headers, exc_info)
        self.head = status, headers
        return self._write_out

    def _start_again(
        self, status: str, headers: list[tuple[str, str]], exc_info: _ExcInfo | None
    ) -> Callable[[bytes], object]:
        if exc_info is None:
            self.release()  # the app's mistake: the server has the words for it
        if self.head == _TOLD:
            return self._tell(status, headers, exc_info)
        self.head = status, headers
        return self._write_out

    def _write_out(self, data: bytes) -> object:
        self.release()
        return self.write(data)

    def release(self) -> None:
        """Tell the server what was held back."""
        if not self.head:
            if self.head is None:  # the app has not begun, which the server has words for
                self.fail()
            return
        status, headers = self.head
        self.head = _TOLD
        if status < "5" and self.note is None and not self.balancer.presence.draining:
            server = self.server
            self.write = server(status, headers)
            return
        self.balancer.presence.answered(self.note, status >= "5")
        self.write = self._tell(status, headers)

    def _tell(
        self, status: str, headers: list[tuple[str, str]], exc_info: _ExcInfo | None = None
    ) -> Callable[[bytes], object]:
        """The server's `start_response`, told also what every answer says of the app."""
        presence, note = self.balancer.presence, self.note
        if presence.draining:
            headers = [*headers, *presence.headers()]  # Connection is the server's affair (PEP 3333)
        if note and note.asked and not any(name.lower() == REPORT for name, _ in headers):  # the app knows better
            said = presence.load_header(note.asked)
            headers = headers if said is None else [*headers, said]
        return self.server(status, headers, exc_info) if exc_info else self.server(status, headers)

    def replace(self, error: BaseException, environ: WSGIEnvironment) -> list[bytes] | None:
        """Answer an error of ours instead, and return the body; None: it is another's, or the server has been told."""
        if self.head == _TOLD:
            return None
        problem = problem_of(error)
        if problem is None:
            self.fail()
            return None
        self.head = None
        body = give(problem, environ, self.start)
        self.release()
        return body

    def settle(self) -> None:
        """Tell the server, and forget it: nothing else will be told.

        The server that we can reach may hold the body, which reaches us: abandoned, all are to go.
        """
        self.release()
        del self.server, self.write

    def fail(self) -> None:
        """There is no answer."""
        self.balancer.presence.answered(self.note, True)


def give(reply: Reply, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    """Answer with `reply`; returns the body."""
    start_response(f"{int(reply.status)} {reply.status.phrase}", list(reply.headers))
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [reply.body]


class Body(chain[bytes]):
    """The body of an answer: iterables of its parts, one after the other.

    The first part has been taken before: an error that comes before it can still be answered.

    Attributes:
        whole: the app's body, which is closed with it.
        context: of the request, where that is done.
        request: that is being served until this is closed.
    """

    __slots__ = ("context", "request", "whole")

    context: Context
    request: Request
    whole: Any

    def close(self) -> None:
        """Close the app's body, once."""
        request = self.request
        if request.over:
            return
        request.over = True
        request.until = inf  # as `conclude`
        next(request.balancer.presence.departures)  # as `Meter.leave`
        try:
            close = self.whole.close
        except AttributeError:
            return
        self.context.run(close)
