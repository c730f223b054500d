"""httpx and httpx2, as many as are installed: they are alike but for their names, and no class of one is the other's.

What their clients check for, or catch, is here made of both: a class that is a subclass of each library's own.
"""

from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, overload

from balancemw_httpx.outgoing import Origin, outgoing

NAMES = ("httpx2", "httpx")

_METHODS = (("HTTPTransport", "handle_request"), ("AsyncHTTPTransport", "handle_async_request"))


def _installed() -> tuple[ModuleType, ...]:
    found: dict[ModuleType, None] = {}  # a set in order: `httpx` may stand for httpx2 (`httpx2.alias_httpx`)
    for name in NAMES:
        try:
            found[import_module(name)] = None
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
    if not found:
        raise ModuleNotFoundError(
            "balancemw_httpx needs httpx2 or httpx: pip install 'balancemw[httpx]'", name=NAMES[0]
        )
    return tuple(found)


def _own(owner: Any, name: str) -> Any:
    """A method, if it is the one that its class was written with; what was put there earlier is of another module."""
    method = getattr(owner, name)
    ours = type(method) is FunctionType and method.__globals__ is owner.__init__.__globals__
    return method if ours else None


class Library:
    """One of the libraries: what the adapter needs of it.

    Attributes:
        methods: by kind of transport its class, the name of the method that sends, and the library's own method of this
            name; None: something else is in its place.
    """

    def __init__(self, module: ModuleType) -> None:
        self.module: Any = module
        self.request: Any = module.Request
        self.byte_stream: Any = module.ByteStream
        self.read_timeout: Any = module.ReadTimeout
        self.pool_timeout: Any = module.PoolTimeout
        self.outgoing = outgoing(module)
        self.origin: Callable[[str], Origin] = lru_cache(maxsize=1024)(self._origin)
        self.methods = {kind: (owner := getattr(module, kind), name, _own(owner, name)) for kind, name in _METHODS}

    def _origin(self, node: str) -> Origin:
        return Origin(self.module.URL(node))


LIBRARIES = tuple(Library(module) for module in _installed())

_by_type: dict[type, Library] = {}


def library_of(request: object) -> Library:
    """The library whose request it is.

    Raises:
        TypeError: it is no library's.
    """
    library = _by_type.get(type(request))
    return library or _search(request)


def _search(request: object) -> Library:
    for library in LIBRARIES:
        if isinstance(request, library.request):
            _by_type[type(request)] = library
            return library
    raise TypeError(f"expected a request of httpx or httpx2, not {type(request).__name__!r}")


if TYPE_CHECKING:
    import httpx
    import httpx2

    class BaseTransport(httpx.BaseTransport, httpx2.BaseTransport):
        """A transport that clients of both libraries take."""

        @overload
        def handle_request(self, request: httpx.Request) -> httpx.Response: ...
        @overload
        def handle_request(self, request: httpx2.Request) -> httpx2.Response: ...
        def handle_request(self, request: Any) -> Any: ...

    class AsyncBaseTransport(httpx.AsyncBaseTransport, httpx2.AsyncBaseTransport):
        """A transport that async clients of both libraries take."""

        @overload
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response: ...
        @overload
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response: ...
        async def handle_async_request(self, request: Any) -> Any: ...

    class SyncByteStream(httpx.SyncByteStream, httpx2.SyncByteStream):
        """A body that both libraries read."""

    class AsyncByteStream(httpx.AsyncByteStream, httpx2.AsyncByteStream):
        """A body that both libraries read with ``await``."""

    class ConnectError(httpx.ConnectError, httpx2.ConnectError):
        """Both libraries' own."""

        _request: Any
        request: Any

    class ReadTimeout(httpx.ReadTimeout, httpx2.ReadTimeout):
        """Both libraries' own."""

        _request: Any
        request: Any

else:

    def _of_each(name: str) -> type:
        return type(name, tuple(getattr(library.module, name) for library in LIBRARIES), {})

    BaseTransport = _of_each("BaseTransport")
    AsyncBaseTransport = _of_each("AsyncBaseTransport")
    SyncByteStream = _of_each("SyncByteStream")
    AsyncByteStream = _of_each("AsyncByteStream")
    ConnectError = _of_each("ConnectError")
    ReadTimeout = _of_each("ReadTimeout")
