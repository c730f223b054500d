"""The transports that do the sending: one per service, since their pools do not tell TLS names apart."""

import asyncio
import inspect
import ssl
from threading import Lock
from typing import Any

from balancemw.errors import did_you_mean
from balancemw_httpx.libraries import LIBRARIES, Library
from balancemw_httpx.shortcut import Shortcut, shortcut

Loop = asyncio.AbstractEventLoop

_ASYNC = "AsyncHTTPTransport"
_OF_TLS = ("verify", "cert", "trust_env")


class Options:
    """What the inner transports are made with: `options` as for the libraries' `HTTPTransport`.

    Raises:
        TypeError: no installed library's knows an option.
        ValueError: `retries` is not 0.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        if options.get("retries"):
            raise ValueError("retries= would multiply the tries of balancemw: see retry.attempts in its settings")
        known = {name for library in LIBRARIES for name in inspect.signature(library.module.HTTPTransport).parameters}
        for name in options:
            if name not in known:
                raise TypeError(f"no option {name!r}{did_you_mean(name, known)} (known: {', '.join(sorted(known))})")
        self._options = options
        self._contexts: dict[Library, ssl.SSLContext] = {}

    def make(self, kind: str, library: Library) -> Any:
        """A transport; all share what they trust, which takes some milliseconds to read."""
        context = self._contexts.get(library)
        if context is None:
            of_tls = {name: self._options[name] for name in _OF_TLS if name in self._options}
            context = self._contexts[library] = library.module.create_ssl_context(**of_tls)
        options = {name: value for name, value in self._options.items() if name != "cert"}
        return getattr(library.module, kind)(**options | {"verify": context})


class Inner:
    """The inner transports that share threads, or an event loop. Made when they are needed.

    Args:
        kind: ``HTTPTransport`` or ``AsyncHTTPTransport``.
        options: what they are made with.
    """

    def __init__(self, kind: str, options: Options) -> None:
        self._kind = kind
        self._options = options
        self._transports: dict[tuple[Library, str | None, str | None], Any] = {}
        self._shortcuts: dict[tuple[Library, str], Shortcut | None] = {}
        self._lock = Lock()

    def to(self, library: Library, service: str | None, sni: str | None = None) -> Any:
        """The transport to a service's nodes, or, for None, to all that is no service.

        Args:
            library: of the request.
            service: its name.
            sni: the TLS name that the caller asks for.
        """
        key = (library, service, sni)
        return self._transports.get(key) or self._make(key)

    def short(self, library: Library, service: str) -> Shortcut | None:
        """The short way of plain requests to a service's nodes; None: they have to go by the transport."""
        owner, name, own = library.methods[self._kind]
        if getattr(owner, name) is not own:  # a mock's, or an instrument's, which wants to see all requests
            return None
        try:
            return self._shortcuts[library, service]
        except KeyError:
            return self._find(library, service)

    def _find(self, library: Library, service: str) -> Shortcut | None:
        transport = self.to(library, service)
        found = shortcut(library, self._kind, transport)
        with self._lock:
            if self._transports.get((library, service, None)) is transport:  # has not been taken in the meantime
                self._shortcuts[library, service] = found
        return found

    def _make(self, key: tuple[Library, str | None, str | None]) -> Any:
        with self._lock:
            transport = self._transports.get(key)
            if transport is None:
                transport = self._transports[key] = self._options.make(self._kind, key[0])
            return transport

    def take(self) -> list[Any]:
        """All of them, to be closed; used again it begins anew, as the libraries' own do."""
        with self._lock:
            transports, self._transports = list(self._transports.values()), {}
            self._shortcuts.clear()
            return transports


class InnerOfLoops:
    """The inner transports of each event loop: a connection can be used only by the one on which it was opened."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._of: dict[Loop | None, Inner] = {}
        self._last: tuple[Loop | None, Inner] = (None, Inner(_ASYNC, options))
        self._of[None] = self._last[1]  # where something else than asyncio runs

    def here(self) -> Inner:
        """Those of the running loop."""
        loop, last = _running(), self._last
        if last[0] is loop:
            return last[1]
        inner = self._of.get(loop) or self._begin(loop)
        self._last = (loop, inner)
        return inner

    def _begin(self, loop: Loop | None) -> Inner:
        for former in list(self._of):
            if former is not None and former.is_closed():
                self._of.pop(former, None)
        return self._of.setdefault(loop, Inner(_ASYNC, self._options))

    async def close(self) -> None:
        """Close those of the running loop, and have the other loops that run close theirs."""
        here = _running()
        for loop, inner in list(self._of.items()):
            if loop is here or loop is None:
                await _close(inner)
            elif loop.is_running():
                asyncio.run_coroutine_threadsafe(_close(inner), loop)


async def _close(inner: Inner) -> None:
    for transport in inner.take():
        await transport.aclose()


def _running() -> Loop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
