"""The requests of tries, as the inner transports take them.

They are made of the raw parts that a transport reads. What a library's own `Request`, `URL` and `Headers` do to these
parts, each time they are made, takes longer than all the rest of balancing; to whoever else looks at one, as what
instruments transports does, it is nevertheless the library's own.
"""

from collections.abc import Callable
from functools import cached_property
from operator import itemgetter
from typing import Any

from balancemw.exchange import HEDGE, TIMEOUT_MS, milliseconds
from balancemw.inbound import ATTEMPT_COUNT
from balancemw.tries import Try

Raw = list[tuple[bytes, bytes]]
Asks = tuple[tuple[str, str], ...]

COUNT, TIMEOUT = ATTEMPT_COUNT.encode(), TIMEOUT_MS.encode()
_OURS = frozenset((COUNT, TIMEOUT))
_FIRST = (COUNT, b"1")
_NAME = itemgetter(0)
_HEDGE = (HEDGE[0].encode(), HEDGE[1].encode())

LONG = 32768
"""Bytes of a url beyond which its library is asked whether it bears them; their limit for a whole one is 65536."""


class Origin:
    """The url of a node, in the parts that a transport reads.

    Attributes:
        url: the library's own.
        parts: scheme, host and port.
        prefix: its path, without a slash at the end.
    """

    __slots__ = ("parts", "prefix", "url")

    def __init__(self, url: Any) -> None:
        self.url = url
        self.parts: tuple[bytes, bytes, int | None] = (url.raw_scheme, url.raw_host, url.port)
        self.prefix: bytes = url.raw_path.rstrip(b"/")


def _url(module: Any) -> Any:
    class Url(module.URL):  # type: ignore[misc]
        """`target`, a path with its query, at the url of a node; both remain as they are."""

        raw_scheme = raw_host = raw_path = b""
        port: int | None = None

        def __init__(self, origin: Origin, target: bytes) -> None:
            self.raw_scheme, self.raw_host, self.port = origin.parts
            self.raw_path = origin.prefix + target
            self._origin = origin
            if len(self.raw_path) > LONG:
                _ = self._uri_reference  # raises what the library has to say of it

        @property
        def _uri_reference(self) -> Any:
            return self._origin.url.copy_with(raw_path=self.raw_path)._uri_reference

    return Url


def _headers(module: Any) -> Any:
    class Headers(module.Headers):  # type: ignore[misc]
        """Headers of which `pairs` is all there is, until somebody looks at or changes a single one."""

        _encoding: str | None = None

        def __init__(self, pairs: Raw) -> None:
            self._pairs = pairs

        @cached_property
        def _list(self) -> list[tuple[bytes, bytes, bytes]]:
            return [(name, name.lower(), value) for name, value in self._pairs]

        @property
        def raw(self) -> Raw:
            return super().raw if "_list" in self.__dict__ else self._pairs

    return Headers


def outgoing(module: Any) -> Callable[..., Any]:
    """What makes the requests of a library: see `Outgoing` in it."""
    Url, Headers = _url(module), _headers(module)  # noqa: N806  they are classes

    class Outgoing(module.Request):  # type: ignore[misc]
        """`request` as it goes to a node, with what is its own on this way."""

        def __init__(self, request: Any, origin: Origin, raw: Raw, stream: Any, extensions: dict[str, Any]) -> None:
            self.method = request.method
            self.url = Url(origin, request.url.raw_path)
            self.headers = Headers(raw)
            self.stream = stream
            self.extensions = extensions

    return Outgoing


def told(headers: Any, attempt: Try, asks: Asks, number: int = 1, *, hedge: bool = False) -> Raw:
    """A request's headers, with what the replica is told: which try this is, and how many milliseconds it may take.

    `asks`: what it is asked, unless the caller asks already.
    """
    raw: Raw = headers.raw
    granted = None
    if not _OURS.isdisjoint(map(bytes.lower, map(_NAME, raw))):  # seldom; a loop in C is a third of one in Python
        granted = headers.get(TIMEOUT_MS)
        raw = [pair for pair in raw if pair[0].lower() not in _OURS]
    raw = [*raw, _FIRST if number == 1 else (COUNT, b"%d" % number)]
    left = milliseconds(attempt, granted)
    if left is not None:
        raw.append((TIMEOUT, left.encode()))
    for name, value in asks:
        if name not in headers:
            raw.append((name.encode(), value.encode()))
    if hedge:
        raw.append(_HEDGE)
    return raw
