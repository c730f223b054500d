"""The body of an answer, from a replica to the server."""

from collections.abc import Iterator
from math import inf
from weakref import ref

from urllib3 import BaseHTTPResponse, HTTPResponse

from balancemw.context import Bound
from balancemw.cutoff import Cutoff
from balancemw.errors import DeadlineExceeded
from balancemw.exchange import SMALL_BODY, Exchange
from balancemw_werkzeug.wire import has_events

_PART = 65536


def length_of(response: BaseHTTPResponse) -> int:
    """How many bytes a response's body has, as far as its head says; else 0."""
    length = response.headers.get("content-length", "")
    return int(length) if length.isdigit() else 0


class _Bounded(HTTPResponse):
    """A response that may be cut off; it becomes one by its ``__class__``, as only the pool makes responses."""

    cutoff: Cutoff

    def release_conn(self) -> None:
        """As urllib3's, but what has been shut serves nobody any more."""
        if not self.cutoff.end() and self.connection is not None:
            self.connection.close()
        super().release_conn()


def _bounded(response: BaseHTTPResponse, outer: Bound | None) -> Cutoff | None:
    """Let `outer`, which bounds the request from outside, bound how long the body is read."""
    if outer is None or outer.until == inf or not isinstance(response, HTTPResponse):
        return None
    here = ref(response)

    def descriptor() -> int:
        held = here()
        return -1 if held is None else held.fileno()

    cutoff = Cutoff(outer, descriptor)
    response.cutoff = cutoff  # type: ignore[attr-defined]
    response.__class__ = _Bounded
    return cutoff


class Outflow:
    """Passes on what comes, as it comes. A body that breaks off raises, so that the client sees no end of it either.

    So does one that takes longer than the request may.

    The first part is waited for at once: no server sends the head of an answer before it, and one that breaks off
    until then can still be replaced. Events may be long in coming, and are not waited for.

    Args:
        response: whose body it is.
        exchange: ends with it.
        empty: there is none, whatever the headers say.

    Raises:
        urllib3.exceptions.HTTPError: it has broken off already.
        DeadlineExceeded: the time is up.
    """

    def __init__(self, response: BaseHTTPResponse, exchange: Exchange, *, empty: bool) -> None:
        self._response = response
        self._exchange = exchange
        self._first: bytes | None = None
        self._cutoff: Cutoff | None = None
        if empty:
            self._finish()
            return
        self._cutoff = _bounded(response, exchange.outer)
        if has_events(response.headers):
            exchange.stream()
        else:
            exchange.read_on(long=length_of(response) > SMALL_BODY)
            self._first = next(self, None)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        if self._response.closed:
            self._finish()
            raise StopIteration
        try:
            part = self._read()
        except BaseException as error:
            self._exchange.break_off(error)
            self._stop()
            raise
        if not part:
            self._finish()
            raise StopIteration
        return part

    def _read(self) -> bytes:
        cutoff = self._cutoff
        if cutoff is None:
            return self._response.read1(_PART, decode_content=False)
        try:
            part = self._response.read1(_PART, decode_content=False)
        except Exception as error:
            if cutoff.expired:
                raise DeadlineExceeded(self._exchange.too_late) from error
            raise
        if cutoff.expired:  # a body that ends where its connection does looks whole
            raise DeadlineExceeded(self._exchange.too_late)
        return part

    def _stop(self) -> None:
        if self._cutoff is not None:
            self._cutoff.end()
        if not self._response.closed:
            self._response.close()

    def close(self) -> None:
        """The client has all, or has gone."""
        self._stop()
        self._exchange.end()

    def __del__(self) -> None:
        if self._cutoff is not None:
            self._cutoff.end()
        self._exchange.abandon()  # not every server closes what it has not read to its end

    def _finish(self) -> None:
        self._exchange.end()
        self._response.release_conn()
