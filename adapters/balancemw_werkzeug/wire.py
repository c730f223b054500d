"""Connections to the replicas of one service."""

import http.client
import os
from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import Any, Self

from urllib3 import (
    BaseHTTPResponse,
    HTTPConnectionPool,
    HTTPHeaderDict,
    HTTPResponse,
    HTTPSConnectionPool,
    Timeout,
)
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HeaderParsingError
from urllib3.util import SKIP_HEADER
from urllib3.util.response import assert_header_parsing

from balancemw import Node
from balancemw.exchange import Destination
from balancemw.forward import Field
from balancemw.tries import Try

_KEPT = 64  # idle connections to a replica
_REPLICAS = 10_000  # whose connections are kept
_SILENCE = 60.0  # seconds between events: the thread that waits does not see that its client has gone


def has_events(headers: Mapping[str, str]) -> bool:
    """Whether an answer with these headers is a stream of events, which has no end of its own."""
    return headers.get("content-type", "").startswith("text/event-stream")


class _Final(http.client.HTTPResponse):
    """A response that is none of 1xx, of which Python's own takes all but 100 for the answer, and a sound one."""

    def begin(self) -> None:
        """Read the head.

        Raises:
            http.client.HTTPException: it has what is no header, which Python's own passes over.
        """
        super().begin()
        try:
            assert_header_parsing(self.headers)
        except HeaderParsingError:  # which tells, to the log in the end, all of it
            raise http.client.HTTPException("a header of the answer is none") from None

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 100 <= status < 200 or status in (100, 101):
                return version, status, reason
            http.client.parse_headers(self.fp)


class _Headers(HTTPHeaderDict):
    """Headers that carry the request's target along: the pool would write its percent-encodings anew."""

    target = ""

    def copy(self) -> Self:
        """As the base class's; pools send a copy."""
        clone = super().copy()
        clone.target = self.target
        return clone


class _Left(Timeout):
    """What is left of a try whenever urllib3 asks: a body that is being sent moves its end."""

    def __init__(self, attempt: Try) -> None:
        super().__init__(connect=None, read=None)
        self._attempt = attempt

    def clone(self) -> Self:
        return self

    @property
    def connect_timeout(self) -> float | None:
        return self.read_timeout

    @property
    def read_timeout(self) -> float | None:
        attempt = self._attempt
        return None if attempt.until == inf else max(attempt.until - attempt.clock(), 0.001)


class _Exact(HTTPConnection):
    response_class = _Final

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as urllib3 has it
        """The answer. Between two events more time may pass than a try may take."""
        connection = self.sock
        response = super().getresponse()
        if has_events(response.headers) and connection.fileno() != -1:  # else there is nothing to wait for
            connection.settimeout(_SILENCE)
        return response

    def request(self, method: str, url: str, body: Any = None, headers: Any = None, **options: Any) -> None:
        """Send a request, whose target `headers` has."""
        super().request(method, headers.target or url, body, headers, **options)


class _SecureExact(_Exact, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Exact  # pyright: ignore[reportAssignmentType]


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureExact  # pyright: ignore[reportAssignmentType]


class Wire:
    """Sends requests to replicas over connections that are kept.

    Args:
        destination: the service.
    """

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._pid = os.getpid()
        self._pools: dict[str, HTTPConnectionPool] = {}

    def ask(
        self,
        attempt: Try,
        method: str,
        target: str,
        fields: Sequence[Field],
        body: Iterable[bytes] | None,
    ) -> BaseHTTPResponse:
        """Send a request and return the answer, its body unread.

        Args:
            attempt: to whose node, and for how long nothing may come, as long as that is known.
            method: of the request.
            target: path and query, put behind the node's url.
            fields: its headers.
            body: its parts.

        Raises:
            urllib3.exceptions.HTTPError: there is no answer.
        """
        node = attempt.node
        origin, _, prefix = node.url.partition("://")[2].partition("/")
        pool = self._pool(node)
        headers = _headers(fields, origin if self._destination.by_node else self._destination.name)
        headers.target = (f"/{prefix}" if prefix else "") + target
        return pool.urlopen(
            method,
            "/",
            body=body,
            headers=headers,
            retries=False,
            redirect=False,
            assert_same_host=False,
            timeout=_Left(attempt),
            preload_content=False,
            decode_content=False,
        )

    def _pool(self, node: Node) -> HTTPConnectionPool:
        if self._pid != os.getpid():  # the connections are our parent's
            self._pid, self._pools = os.getpid(), {}
        pool = self._pools.get(node.url)
        if pool is None:
            if len(self._pools) >= _REPLICAS:  # replicas come and go
                self._pools.pop(next(iter(self._pools)), None)
            pool = self._pools[node.url] = self._made(node)
        return pool

    def _made(self, node: Node) -> HTTPConnectionPool:
        if not node.url.startswith("https:"):
            return _Pool(node.host, node.port, maxsize=_KEPT)
        name = self._destination.host_of(node)
        return _SecurePool(node.host, node.port, maxsize=_KEPT, server_hostname=name, assert_hostname=name)


def _headers(fields: Iterable[Field], host: str) -> _Headers:
    headers = _Headers()
    headers["Host"] = host
    for name, value in fields:
        headers.add(name.decode("latin-1"), value.decode("latin-1"))
    for automatic in ("user-agent", "accept-encoding"):
        if automatic not in headers:
            headers[automatic] = SKIP_HEADER
    return headers
