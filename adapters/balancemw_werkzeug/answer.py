"""The answer of a WSGI app: its beginning, which can still be replaced, and its body."""

from collections.abc import Callable, Iterable, Iterator
from contextvars import Context
from types import TracebackType
from wsgiref.types import StartResponse, WSGIEnvironment

from balancemw.context import Request
from balancemw.inbound import Problem, conclude, problem_of, wsgi_key
from balancemw.orca import FORMAT, REPORT
from balancemw.presence import Presence

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]

_FORMAT = wsgi_key(FORMAT)
_END = b"the end"  # told from all that an app yields by its identity


class Answer:
    """How the app begins its answer, held back until the first part of the body, so that an error may replace it.

    Calling the server's `start_response` a second time, with the error, would be the protocol's way, but gunicorn then
    sends the headers of both. From its making to `end`, the request counts as one that is being served.

    It knows nothing of the body: an app's generator knows `start`, and has to go with the body when that is abandoned.

    Attributes:
        started: whether the server has been told.
    """

    __slots__ = ("_arrival", "_environ", "_head", "_presence", "_start", "_write", "started")

    def __init__(self, presence: Presence, environ: WSGIEnvironment, start_response: StartResponse) -> None:
        self.started = False
        self._presence = presence
        self._environ = environ
        self._start = start_response
        self._head: tuple[str, list[tuple[str, str]]] | None = None
        self._write: Callable[[bytes], object] | None = None
        self._arrival = presence.enter()

    def start(
        self, status: str, headers: list[tuple[str, str]], exc_info: _ExcInfo | None = None, /
    ) -> Callable[[bytes], object]:
        """The `start_response` that the app is given."""
        if self._head is not None and exc_info is None:
            self.release()  # the app's mistake: the server has the words for it
        if self.started:
            return self.tell(status, headers, exc_info)
        self._head = (status, headers)
        return self._write_out

    def _write_out(self, data: bytes) -> object:
        self.release()
        return self._write(data) if self._write is not None else None

    def release(self) -> None:
        """Tell the server what was held back."""
        if self._head is not None:
            head, self._head = self._head, None
            self._write = self.tell(*head)

    def tell(
        self, status: str, headers: list[tuple[str, str]], exc_info: _ExcInfo | None = None, /
    ) -> Callable[[bytes], object]:
        """The server's `start_response`, told also what every answer says of the app."""
        presence = self._presence
        if not self.started:
            self.started = True
            presence.answered(self._arrival, status[:1] == "5")
        if presence.draining:
            headers = [*headers, *presence.headers()]  # Connection is the server's affair (PEP 3333)
        asked = self._environ.get(_FORMAT)
        if asked and not any(name.lower() == REPORT for name, _ in headers):  # of the app's own, which knows better
            said = presence.load_header(asked)
            headers = headers if said is None else [*headers, said]
        return self._start(status, headers, exc_info) if exc_info else self._start(status, headers)

    def replace(self, error: BaseException) -> list[bytes] | None:
        """Answer an error of ours instead, and return the body; None: it is another's, or the server has been told."""
        problem = None if self.started else problem_of(error)
        if problem is None:
            return None
        self._head = None
        return give(problem, self._environ, self.tell)

    def settle(self) -> None:
        """Nothing else will be told. The server that we can reach may hold the body: abandoned, both are to go."""
        del self._start

    def end(self) -> None:
        """The request has been served."""
        if not self.started:
            self._presence.answered(self._arrival, True)  # what ends before its first part has raised
        self._presence.leave()


def give(problem: Problem, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    """Answer with `problem`; returns the body."""
    start_response(f"{int(problem.status)} {problem.status.phrase}", list(problem.headers))
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [problem.body]


def is_whole(body: Iterable[bytes], environ: WSGIEnvironment) -> bool:
    """Whether the server had better get the body as it is: it knows the length of a list, and how to send a file."""
    if type(body) in (list, tuple):
        return True
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(wrapper, type) and isinstance(body, wrapper)


class Body:
    """The body of an answer, iterated and closed in the context of its request."""

    __slots__ = ("_answer", "_body", "_closed", "_context", "_request")

    def __init__(self, body: Iterable[bytes], context: Context, answer: Answer, request: Request) -> None:
        self._body = body
        self._context = context
        self._answer = answer
        self._request = request
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        answer, run = self._answer, self._context.run
        try:
            chunks = run(iter, self._body)
            while (chunk := run(next, chunks, _END)) is not _END:
                if not answer.started:
                    answer.release()
                yield chunk
            if not answer.started:
                answer.release()
            return
        except Exception as error:
            instead = answer.replace(error)
            if instead is None:
                raise
        yield from instead

    def close(self) -> None:
        """Close the app's body, once."""
        if self._closed:
            return
        self._closed = True
        self._answer.end()
        conclude(self._request)
        close = getattr(self._body, "close", None)
        if close is not None:
            self._context.run(close)
