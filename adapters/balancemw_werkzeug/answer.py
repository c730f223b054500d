"""The answer of a WSGI app: its beginning, which can still be replaced, and its body."""

from collections.abc import Callable, Iterable, Iterator
from contextvars import Context
from types import TracebackType
from typing import Protocol
from wsgiref.types import StartResponse, WSGIEnvironment

from balancemw.context import Request
from balancemw.inbound import Problem, conclude, problem_of

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]


class Answer:
    """How the app begins its answer, held back until the first part of the body, so that an error may replace it.

    Calling the server's `start_response` a second time, with the error, would be the protocol's way, but gunicorn then
    sends the headers of both.

    Attributes:
        started: whether the server has been told.
    """

    __slots__ = ("_head", "_start", "_write", "started")

    def __init__(self, start_response: StartResponse) -> None:
        self.started = False
        self._start = start_response
        self._head: tuple[str, list[tuple[str, str]]] | None = None
        self._write: Callable[[bytes], object] | None = None

    def start(
        self, status: str, headers: list[tuple[str, str]], exc_info: _ExcInfo | None = None, /
    ) -> Callable[[bytes], object]:
        """The `start_response` that the app is given."""
        if self._head is not None and exc_info is None:
            self.release()  # the app's mistake: the server has the words for it
        if self.started:
            return self._start(status, headers, exc_info)
        self._head = (status, headers)
        return self._write_out

    def _write_out(self, data: bytes) -> object:
        self.release()
        return self._write(data) if self._write is not None else None

    def release(self) -> None:
        """Tell the server what was held back."""
        if self._head is not None:
            head, self._head = self._head, None
            self.started = True
            self._write = self._start(*head)

    def give(self, problem: Problem, environ: WSGIEnvironment) -> list[bytes]:
        """Answer with `problem` instead; returns the body."""
        self._head = None
        self.started = True
        self._start(f"{int(problem.status)} {problem.status.phrase}", list(problem.headers))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [problem.body]


def is_whole(body: Iterable[bytes], environ: WSGIEnvironment) -> bool:
    """Whether the server had better get the body as it is: it knows the length of a list, and how to send a file."""
    if type(body) in (list, tuple):
        return True
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(wrapper, type) and isinstance(body, wrapper)


class Ended(Protocol):
    """Something to be told that an answer is over."""

    def end(self) -> None: ...


class Body:
    """The body of an answer, iterated and closed in the context of its request.

    Attributes:
        visit: who is told first when it is closed; None: nobody.
    """

    __slots__ = ("_answer", "_body", "_chunks", "_closed", "_context", "_environ", "_request", "visit")

    def __init__(
        self, body: Iterable[bytes], context: Context, answer: Answer, environ: WSGIEnvironment, request: Request
    ) -> None:
        self._body = body
        self._context = context
        self._answer = answer
        self._environ = environ
        self._request = request
        self._chunks: Iterator[bytes] | None = None
        self._closed = False
        self.visit: Ended | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            if self._chunks is None:
                self._chunks = self._context.run(iter, self._body)
            chunk = self._context.run(next, self._chunks)
        except StopIteration:
            if not self._answer.started:
                self._answer.release()
            raise
        except Exception as error:
            problem = None if self._answer.started else problem_of(error)
            if problem is None:
                raise
            self._chunks = iter(self._answer.give(problem, self._environ))
            return next(self._chunks)
        if not self._answer.started:
            self._answer.release()
        return chunk

    def close(self) -> None:
        """Close the app's body, once."""
        if self._closed:
            return
        self._closed = True
        if self.visit is not None:
            self.visit.end()
        conclude(self._request)
        close = getattr(self._body, "close", None)
        if close is not None:
            self._context.run(close)
