"""The short way of a plain request: past the library's own transport, straight to the pool of connections inside it.

Such a transport takes a request apart for its pool, and puts a response together of what that answers. This takes
longer than all of balancing; but the parts of a request to a node are known already, and its answer gets a body of ours
anyway.

Whatever is no plain request goes by the transport itself. So does everything where somebody has put something else in
the place of the transport's method, as mocks and instruments do, and where its pool is not the plain one: by a proxy,
or in a version that has it elsewhere.
"""

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache, lru_cache
from typing import Any, NamedTuple

from balancemw.exchange import Destination
from balancemw.tries import Try
from balancemw_httpx.libraries import AsyncByteStream, Library, SyncByteStream
from balancemw_httpx.outgoing import LONG, Raw, told
from balancemw_httpx.timeouts import Timeouts
from balancemw_httpx.upload import close

_POOLS = {"HTTPTransport": "ConnectionPool", "AsyncHTTPTransport": "AsyncConnectionPool"}

_METHODS = {name: name.encode() for name in ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")}


def shortcut(library: Library, kind: str, transport: Any) -> "Shortcut | None":
    """The way to the pool of a transport, one of `library`'s of that kind; None: it has none that is known."""
    pool = getattr(transport, "_pool", None)
    core = sys.modules[type(pool).__module__.partition(".")[0]]
    return Shortcut(library, core, pool) if type(pool) is getattr(core, _POOLS[kind], None) else None


class _Way(NamedTuple):
    """The url of a node, as far as it is the same for all requests."""

    scheme: bytes
    host: bytes
    port: int | None
    origin: Any
    prefix: bytes


class Shortcut:
    """The way to a pool of connections.

    Args:
        library: whose requests are sent.
        core: what it sends with: httpcore or httpcore2.
        pool: of the latter's.

    Attributes:
        pool: the same.
    """

    def __init__(self, library: Library, core: Any, pool: Any) -> None:
        self.pool = pool
        self._library = library
        self._core = core
        self._request, self._url = _request(core), _url(core)
        # By the names that both have in common, as the library's own transports do.
        self._errors: dict[type, Any] = {
            kind: getattr(library.module, name)
            for name, kind in vars(core).items()
            if isinstance(kind, type) and issubclass(kind, Exception) and hasattr(library.module, name)
        }
        self._way: Callable[[str], _Way] = lru_cache(maxsize=1024)(self._begin)

    def _begin(self, node: str) -> _Way:
        origin = self._library.origin(node)
        scheme, host, port = origin.parts
        url = self._core.URL(scheme=scheme, host=host, port=port, target=b"/")
        return _Way(scheme, host, port, url.origin, origin.prefix)

    def first(self, request: Any, destination: Destination, attempt: Try) -> Any:
        """A plain request as its first try sends it."""
        extensions = request.extensions
        timeouts = Timeouts(extensions.get("timeout") or ())
        timeouts.bound = attempt
        extensions = {**extensions, "timeout": timeouts}
        node = attempt.node.url
        way = self._way(node)
        target = way.prefix + request.url.raw_path
        if len(target) > LONG:
            self._library.origin(node).url.copy_with(raw_path=target)  # raises what the library has to say of it
        if way.scheme == b"https":
            extensions["sni_hostname"] = destination.name
        return self._request(
            _METHODS.get(request.method) or self._core.Request(request.method, b"").method,
            self._url(way, target),
            told(request.headers, attempt, destination.asks),
            request.stream if request.content else _NOTHING,
            extensions,
        )

    def told(self, error: BaseException) -> BaseException:
        """An error of the pool's as the library's own, whose cause it is; any other as it is."""
        for kind in type(error).__mro__:
            if kind in self._errors:
                own: BaseException = self._errors[kind](str(error))
                own.__cause__ = error
                return own
        return error

    def response(self, answer: Any, stream: Any) -> Any:
        """What the pool has answered as the library's own response, whose body is `stream`."""
        return self._library.module.Response(
            answer.status, headers=answer.headers, stream=stream, extensions=answer.extensions
        )


class _Nothing(SyncByteStream, AsyncByteStream):
    """No body. The libraries' own is one part of no bytes, which is sent like any other."""

    def __iter__(self) -> Iterator[bytes]:
        return iter(())

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        raise StopAsyncIteration


_NOTHING = _Nothing()


class _Parts:
    def __init__(self, stream: Any, short: Shortcut) -> None:
        self._stream = stream
        self._short = short


class Parts(_Parts, SyncByteStream):
    """A body as a pool gives it, but with the library's errors."""

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except Exception as error:
            raise self._short.told(error)  # noqa: B904  it knows its cause

    def close(self) -> None:
        """Give the connection back."""
        if hasattr(self._stream, "close"):  # what takes a pool's place in tests often has none
            self._stream.close()


class AsyncParts(_Parts, AsyncByteStream):
    """As `Parts`, to be read with ``await``."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts = self._stream.__aiter__()
        try:
            async for part in parts:
                yield part
        except Exception as error:
            raise self._short.told(error)  # noqa: B904
        finally:
            await close(parts)

    async def aclose(self) -> None:
        """Give the connection back."""
        if hasattr(self._stream, "aclose"):
            await self._stream.aclose()


@cache
def _url(core: Any) -> Any:
    class Url(core.URL):  # type: ignore[misc]
        """Where a request goes: `target` at a node."""

        origin = None  # of core's own a property, asked for several times and made anew each time

        def __init__(self, way: _Way, target: bytes) -> None:
            self.scheme, self.host, self.port, self.origin, _ = way
            self.target = target

    return Url


@cache
def _request(core: Any) -> Any:
    class Request(core.Request):  # type: ignore[misc]
        """A request whose parts are known to be bytes, and need not be looked at one by one."""

        def __init__(self, method: bytes, url: Any, headers: Raw, stream: Any, extensions: dict[str, Any]) -> None:
            self.method = method
            self.url = url
            self.headers = headers
            self.stream = stream
            self.extensions = extensions

    return Request
