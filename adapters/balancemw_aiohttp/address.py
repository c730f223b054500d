"""Where a request goes: url, host and TLS name of the try under way, while the caller's own url stays what it was."""

from functools import lru_cache

from aiohttp import ClientRequest
from multidict import istr
from yarl import URL

from balancemw import Node
from balancemw.exchange import TIMEOUT_MS, Destination, milliseconds
from balancemw.inbound import ATTEMPT_COUNT
from balancemw.tries import Try

COUNT, TIMEOUT = istr(ATTEMPT_COUNT), istr(TIMEOUT_MS)
HOST = istr("Host")


class Address:
    """A request's address, as its caller wrote it and as each try has it.

    Args:
        request: with the headers that it has so far.
        url: as the caller wrote it.
        destination: the service.

    Attributes:
        request: the same.
        granted: what the caller says of `TIMEOUT_MS`, or None.
    """

    __slots__ = ("_destination", "_names_node", "_sni", "_url", "granted", "request")

    def __init__(self, request: ClientRequest, url: URL, destination: Destination) -> None:
        self.request = request
        self._url = url
        self._destination = destination
        self._sni = request.server_hostname
        self._names_node = destination.by_node and request.headers.get(HOST) == url.host_port_subcomponent
        self.granted = request.headers.get(TIMEOUT)
        if request.proxy is not None:
            request.update_proxy(None, None, None)  # chosen by the service's name, which no proxy knows
        for name, value in destination.asks:
            request.headers.setdefault(name, value)

    def set(self, node: Node) -> None:
        """Send the request to `node`."""
        request = self.request
        request.url = url = _at(node.url, self._url.raw_path, self._url.raw_query_string)
        if self._names_node:
            request.headers[HOST] = url.host_port_subcomponent or ""
        if url.scheme == "https":
            request.server_hostname = self._sni or self._destination.host_of(node)


def direct(request: ClientRequest, url: URL, destination: Destination, attempt: Try) -> None:
    """Send the request to the node of its first try; as `Address` does for what goes by the service's name."""
    request.url = target = _at(attempt.node.url, url.raw_path, url.raw_query_string)
    if target.scheme == "https" and request.server_hostname is None:
        request.server_hostname = destination.name
    headers = request.headers
    headers[COUNT] = "1"
    left = milliseconds(attempt)
    if left is not None:
        granted = headers.setdefault(TIMEOUT, left)
        if granted is not left:
            headers[TIMEOUT] = milliseconds(attempt, granted) or left
    for name, value in destination.asks:
        headers.setdefault(name, value)


@lru_cache  # as many as yarl keeps; by their parts, as a url's own hash and comparison are not in C
def _at(node: str, path: str, query: str) -> URL:
    origin = URL(node)
    if origin.raw_path != "/":
        path = origin.raw_path + path
    if not query:  # half the price, for urls of which no two are the same
        return origin.with_path(path, encoded=True)
    return URL.build(
        scheme=origin.scheme,
        host=origin.raw_host or "",
        port=origin.explicit_port,
        path=path,
        query_string=query,
        encoded=True,
    )
