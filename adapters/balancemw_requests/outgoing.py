"""A request as one try sends it; the caller's own stays what it was."""

from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from requests import PreparedRequest
from requests.structures import CaseInsensitiveDict

from balancemw import Node

Headers = tuple[tuple[str, str], ...]

_PROXY = "Proxy-Authorization"
_OURS = frozenset(("x-envoy-attempt-count", "x-request-timeout-ms", _PROXY.lower()))


class Outgoing(PreparedRequest):
    """A request on its way to a node.

    Attributes:
        caller: the request as its caller sees it.
        node: where it goes.
        name: by which the node is called.
        target: what is asked for there.
    """

    caller: PreparedRequest
    node: Node
    name: str
    target: str


def outgoing(caller: PreparedRequest, node: Node, name: str, body: Any, headers: tuple[Headers, Headers]) -> Outgoing:
    """`caller`'s request for `node`, with `body`.

    Args:
        caller: whose request it is.
        node: where it goes.
        name: by which the node is called.
        body: what is sent.
        headers: those that go before and after the caller's own; the latter in the place of its own of these names.
    """
    sent = Outgoing.__new__(Outgoing)  # to make one costs as much as all of its content
    sent.__dict__.update(caller.__dict__)
    path = caller.path_url
    sent.caller = caller
    sent.node = node
    sent.name = name
    sent.target = _prefix(node.url) + path
    sent.url = node.url + path
    sent.body = body
    sent.headers = _headers(caller.headers, *headers, framed=body is not None)
    return sent


def _headers(own: Any, first: Headers, last: Headers, *, framed: bool) -> Any:
    headers: Any = dict(first)
    if framed or not _OURS.isdisjoint([name.lower() for name in own]):  # names will be looked up in any case
        headers = CaseInsensitiveDict(headers)
    headers.update(own.items())
    if type(headers) is not dict:
        headers.pop(_PROXY, None)  # a redirect's, for a proxy that is not asked
    for name, value in last:
        headers[name] = value
    return headers


@lru_cache(maxsize=1024)
def _prefix(url: str) -> str:
    return urlsplit(url).path
