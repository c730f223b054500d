"""The answer on its way: urllib3's response, which tells its exchange how the body ended."""

from collections.abc import Callable, Iterator
from math import inf
from typing import Any
from weakref import ref

import requests
from urllib3.exceptions import HTTPError, IncompleteRead
from urllib3.response import HTTPResponse

from balancemw.context import Bound
from balancemw.cutoff import Cutoff
from balancemw.exchange import SMALL_BODY, Exchange
from balancemw_requests.errors import TooLate


class Answer(HTTPResponse):
    """A response whose try ends with its body: read, broken off, closed, or forgotten.

    A response becomes one by its ``__class__``, and ceases to be one with its body: so nothing of it has to be passed
    on, and nothing that is urllib3's is another's.

    Attributes:
        exchange: to be told.
        cutoff: its end when what bounds the request from outside is over; None: nothing does.
        deep: urllib3's code is running which closes the response before it says what is wrong with it.
    """

    exchange: Exchange
    cutoff: Cutoff | None = None
    deep = False

    def read(self, *args: Any, **kwargs: Any) -> bytes:
        """As urllib3's."""
        data: bytes = _watch(self, super().read, args, kwargs)
        return data

    if hasattr(HTTPResponse, "read1"):  # what wraps files looks whether there is one

        def read1(self, *args: Any, **kwargs: Any) -> bytes:
            """As urllib3's."""
            data: bytes = _watch(self, super().read1, args, kwargs)
            return data

    def read_chunked(self, *args: Any, **kwargs: Any) -> Iterator[bytes]:  # type: ignore[override]
        """As urllib3's."""
        chunks = super().read_chunked(*args, **kwargs)
        while True:
            self.deep = True
            try:
                chunk = _watch(self, next, (chunks, None), {})
            finally:
                self.deep = False
            if chunk is None:
                return
            try:
                yield chunk
            except GeneratorExit:  # maybe the garbage collector's; urllib3 gives up the connection
                chunks.close()
                _forget(self)
                raise

    def drain_conn(self) -> None:
        """As urllib3's."""
        _watch(self, super().drain_conn, (), {})

    def release_conn(self) -> None:
        """As urllib3's, but what has been shut serves nobody any more."""
        if self.cutoff is not None and not self.cutoff.end() and self.connection is not None:
            self.connection.close()
        super().release_conn()

    def close(self) -> None:
        """As urllib3's."""
        if self.cutoff is not None:
            self.cutoff.end()
        super().close()
        if not self.deep:
            _end(self)

    def __del__(self) -> None:
        _forget(self)
        HTTPResponse.__del__(self)  # which `self` is by now


def _watch(answer: Answer, read: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        result = read(*args, **kwargs)
    except BaseException as error:
        if not _under_way(answer):
            raise
        if answer.closed or isinstance(error, HTTPError):  # else it was called wrongly, and nothing has happened
            if answer.cutoff is not None and answer.cutoff.expired and isinstance(error, Exception):
                raise _late(answer) from error
            _end(answer, error)
        raise
    if not _under_way(answer):
        return result
    if answer.cutoff is not None and answer.cutoff.expired:  # a body that ends where its connection does looks whole
        raise _late(answer)
    if answer.closed:
        missing = answer.length_remaining  # which urllib3 before 2.0 keeps to itself
        _end(answer, IncompleteRead(answer.tell(), missing) if missing else None)
    return result


def _under_way(answer: HTTPResponse) -> bool:
    """Whether its end has not been told yet, by what urllib3 itself called to read it."""
    return isinstance(answer, Answer)


def _end(answer: Any, error: BaseException | None = None) -> None:
    if answer.cutoff is not None:
        answer.cutoff.end()
    answer.__class__ = HTTPResponse
    if error is None:
        answer.exchange.end()
    else:
        answer.exchange.break_off(error)


def _late(answer: Any) -> TooLate:
    late = TooLate(answer.exchange.too_late)
    _end(answer, late)
    answer.close()
    return late


def _forget(answer: Any) -> None:
    if answer.cutoff is not None:
        answer.cutoff.end()
    answer.__class__ = HTTPResponse
    answer.exchange.abandon()


def follow(response: requests.Response, exchange: Exchange) -> None:
    """Let the exchange end with the response's body, if it has not ended before."""
    raw: Any = response.raw
    endless = response.headers.get("Content-Type", "").lower().startswith("text/event-stream")
    if endless:
        exchange.stream()
    if type(raw) is HTTPResponse and raw.length_remaining != 0 and not raw.closed:
        if not endless and (raw.length_remaining is None or raw.length_remaining > SMALL_BODY):
            exchange.read_on(long=raw.length_remaining is not None)
        raw.exchange = exchange  # type: ignore[attr-defined]
        if exchange.outer is not None and exchange.outer.until < inf:
            raw.cutoff = _cutoff(raw, exchange.outer)  # type: ignore[attr-defined]
        raw.__class__ = Answer
    else:  # all of it is here
        exchange.end()


def _cutoff(raw: HTTPResponse, outer: Bound) -> Cutoff:
    here = ref(raw)

    def descriptor() -> int:
        response = here()
        return -1 if response is None else response.fileno()

    return Cutoff(outer, descriptor)
