"""The body of an answer, from a replica to the server."""

from collections.abc import Iterator

from urllib3 import BaseHTTPResponse

from balancemw.exchange import SMALL_BODY, Exchange
from balancemw_werkzeug.wire import has_events

_PART = 65536


def length_of(response: BaseHTTPResponse) -> int:
    """How many bytes a response's body has, as far as its head says; else 0."""
    length = response.headers.get("content-length", "")
    return int(length) if length.isdigit() else 0


class Outflow:
    """Passes on what comes, as it comes. A body that breaks off raises, so that the client sees no end of it either.

    The first part is waited for at once: no server sends the head of an answer before it, and one that breaks off
    until then can still be replaced. Events may be long in coming, and are not waited for.

    Args:
        response: whose body it is.
        exchange: ends with it.
        empty: there is none, whatever the headers say.

    Raises:
        urllib3.exceptions.HTTPError: it has broken off already.
    """

    def __init__(self, response: BaseHTTPResponse, exchange: Exchange, *, empty: bool) -> None:
        self._response = response
        self._exchange = exchange
        self._first: bytes | None = None
        if empty:
            self._finish()
        elif has_events(response.headers):
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
            part = self._response.read1(_PART, decode_content=False)
        except BaseException as error:
            self._exchange.break_off(error)
            self._response.close()
            raise
        if not part:
            self._finish()
            raise StopIteration
        return part

    def close(self) -> None:
        """The client has all, or has gone."""
        if not self._response.closed:
            self._response.close()
        self._exchange.end()

    def __del__(self) -> None:
        self._exchange.abandon()  # not every server closes what it has not read to its end

    def _finish(self) -> None:
        self._exchange.end()
        self._response.release_conn()
