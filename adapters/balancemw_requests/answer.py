"""The answer on its way: urllib3's response, which tells its exchange how the body ended."""

from collections.abc import Callable, Iterator
from typing import Any

import requests
from urllib3.exceptions import HTTPError, IncompleteRead
from urllib3.response import HTTPResponse

from balancemw.exchange import SMALL_BODY, Exchange


class Answer(HTTPResponse):
    """A response whose try ends with its body: read, broken off, closed, or forgotten.

    A response becomes one by its ``__class__``, and ceases to be one with its body: so nothing of it has to be passed
    on, and nothing that is urllib3's is another's.

    Attributes:
        exchange: to be told.
        deep: urllib3's code is running which closes the response before it says what is wrong with it.
    """

    exchange: Exchange
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

    def close(self) -> None:
        """As urllib3's."""
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
        if answer.closed or isinstance(error, HTTPError):  # else it was called wrongly, and nothing has happened
            _end(answer, error)
        raise
    if answer.closed:
        missing = answer.length_remaining  # which urllib3 before 2.0 keeps to itself
        _end(answer, IncompleteRead(answer.tell(), missing) if missing else None)
    return result


def _end(answer: Any, error: BaseException | None = None) -> None:
    answer.__class__ = HTTPResponse
    if error is None:
        answer.exchange.end()
    else:
        answer.exchange.break_off(error)


def _forget(answer: Any) -> None:
    answer.__class__ = HTTPResponse
    answer.exchange.abandon()


def follow(response: requests.Response, exchange: Exchange) -> None:
    """Let the exchange end with the response's body."""
    raw: Any = response.raw
    endless = response.headers.get("Content-Type", "").lower().startswith("text/event-stream")
    if endless:
        exchange.stream()
    if type(raw) is HTTPResponse and raw.length_remaining != 0 and not raw.closed:
        if not endless and (raw.length_remaining is None or raw.length_remaining > SMALL_BODY):
            exchange.read_on(long=raw.length_remaining is not None)
        raw.exchange = exchange  # type: ignore[attr-defined]
        raw.__class__ = Answer
    else:  # all of it is here
        exchange.end()
