"""The body of an answer, from a replica to the server."""

from collections.abc import Iterator

from urllib3 import BaseHTTPResponse

from balancemw.exchange import SMALL_BODY, Exchange

_PART = 65536


def length_of(response: BaseHTTPResponse) -> int:
    """How many bytes a response's body has, as far as its head says; else 0."""
    length = response.headers.get("content-length", "")
    return int(length) if length.isdigit() else 0


class Outflow:
    """Passes on what comes, as it comes. A body that breaks off raises, so that the client sees no end of it either.

    Args:
        response: whose body it is.
        exchange: ends with it.
        empty: there is none, whatever the headers say.
    """

    def __init__(self, response: BaseHTTPResponse, exchange: Exchange, *, empty: bool) -> None:
        self._response = response
        self._exchange = exchange
        if response.headers.get("content-type", "").startswith("text/event-stream"):
            exchange.stream()
        elif not empty:
            exchange.read_on(long=length_of(response) > SMALL_BODY)
        if empty:
            self._finish()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
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
