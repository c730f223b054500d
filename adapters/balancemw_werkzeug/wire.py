"""Connections to the replicas of one service."""

import http.client
import os
from collections.abc import Iterable, Sequence
from typing import Any, Self

from urllib3 import (
    BaseHTTPResponse,
    HTTPConnectionPool,
    HTTPHeaderDict,
    HTTPSConnectionPool,
    PoolManager,
    Timeout,
)
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import SKIP_HEADER

from balancemw import Node
from balancemw.exchange import Destination
from balancemw.forward import Field

_KEPT = 64  # idle connections to a replica
_REPLICAS = 10_000  # urllib3 forgets the connections to the least used ones beyond that many


class _Final(http.client.HTTPResponse):
    """A response that is none of 1xx, of which Python's own takes all but 100 for the answer."""

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


class _Exact(HTTPConnection):
    response_class = _Final

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
        self._manager = _manager()

    def ask(
        self,
        node: Node,
        method: str,
        target: str,
        fields: Sequence[Field],
        body: Iterable[bytes] | None,
        timeout: Timeout,
    ) -> BaseHTTPResponse:
        """Send a request and return the answer, its body unread.

        Args:
            node: to whom.
            method: of the request.
            target: path and query, put behind the node's url.
            fields: its headers.
            body: its parts.
            timeout: for connecting, and for each time that nothing comes.

        Raises:
            urllib3.exceptions.HTTPError: there is no answer.
        """
        origin, _, prefix = node.url.partition("://")[2].partition("/")
        pool = self._pool(node)
        headers = _headers(fields, origin if self._destination.by_node else self._destination.name)
        headers.target = (f"/{prefix}" if prefix else "") + target
        return pool.urlopen(
            method,
            headers.target,
            body=body,
            headers=headers,
            retries=False,
            redirect=False,
            assert_same_host=False,
            timeout=timeout,
            preload_content=False,
            decode_content=False,
        )

    def _pool(self, node: Node) -> HTTPConnectionPool:
        if self._pid != os.getpid():  # the connections are our parent's
            self._pid, self._manager = os.getpid(), _manager()
        scheme, name = node.url.partition("://")[0], self._destination.host_of(node)
        known = {"server_hostname": name, "assert_hostname": name} if scheme == "https" else {}
        return self._manager.connection_from_host(node.host, node.port, scheme, pool_kwargs=known)


def _manager() -> PoolManager:
    manager = PoolManager(num_pools=_REPLICAS, maxsize=_KEPT)
    classes: dict[str, type[HTTPConnectionPool] | type[HTTPSConnectionPool]] = {"http": _Pool, "https": _SecurePool}
    manager.pool_classes_by_scheme = classes
    return manager


def _headers(fields: Iterable[Field], host: str) -> _Headers:
    headers = _Headers()
    headers["Host"] = host
    for name, value in fields:
        headers.add(name.decode("latin-1"), value.decode("latin-1"))
    for automatic in ("user-agent", "accept-encoding"):
        if automatic not in headers:
            headers[automatic] = SKIP_HEADER
    return headers
