"""Clients of httpx and httpx2, with and without ``await``, behind one face: a test is written once for all four."""

import asyncio
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from types import ModuleType
from typing import Any, NamedTuple

import httpx
import httpx2

from balancemw import Balancer
from balancemw_httpx import AsyncBalancedTransport, BalancedTransport
from tests.adapters.scripted import Scripted

_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # that of each library trusts hundreds, and takes its time to


class Flavour(NamedTuple):
    """A library, and whether its client is the async one."""

    module: ModuleType
    is_async: bool

    def __str__(self) -> str:
        return f"{self.module.__name__}-{'async' if self.is_async else 'sync'}"


FLAVOURS = [Flavour(module, is_async) for module in (httpx, httpx2) for is_async in (False, True)]


class Caller:
    """A client whose methods are called without ``await``, whichever it is."""

    def __init__(self, flavour: Flavour, transport: Any = None, **options: Any) -> None:
        self.module: Any = flavour.module
        self.is_async = flavour.is_async
        self.runner = asyncio.Runner()
        kind = self.module.AsyncClient if flavour.is_async else self.module.Client
        self.client = kind(transport=transport, **options)
        self.transport = transport

    def run(self, result: Any) -> Any:
        """What a method of the client gives in the end."""
        return self.runner.run(_await(result), context=copy_context()) if self.is_async else result

    def request(self, method: str, url: str, **options: Any) -> Any:
        return self.run(self.client.request(method, url, **options))

    def get(self, url: str, **options: Any) -> Any:
        return self.request("GET", url, **options)

    def post(self, url: str, **options: Any) -> Any:
        return self.request("POST", url, **options)

    def open(self, url: str, **options: Any) -> Any:
        """A response whose body has not been read."""
        return self.run(self.client.send(self.client.build_request("GET", url, **options), stream=True))

    def parts(self, response: Any) -> Iterator[bytes]:
        if not self.is_async:
            yield from response.iter_raw()
            return
        parts = response.aiter_raw()
        while True:
            try:
                yield self.run(anext(parts))
            except StopAsyncIteration:
                return

    def read(self, response: Any) -> bytes:
        return bytes(self.run(response.aread() if self.is_async else response.read()))

    def close(self, response: Any) -> None:
        self.run(response.aclose() if self.is_async else response.close())

    def end(self) -> None:
        with self.runner:
            self.run(self.client.aclose() if self.is_async else self.client.close())


async def _await(result: Any) -> Any:
    return await result


def transport_of(flavour: Flavour, balancer: Balancer, **options: Any) -> Any:
    return (AsyncBalancedTransport if flavour.is_async else BalancedTransport)(balancer, **options)


@contextmanager
def caller(flavour: Flavour, balancer: Balancer, *, key: Any = None, **options: Any) -> Iterator[Caller]:
    """A client whose transport is balanced; what is no option of a client's is one of the transport's."""
    for_client = {name: options.pop(name) for name in ("timeout", "follow_redirects", "auth") if name in options}
    with ExitStack() as stack:
        options.setdefault("verify", _NO_TLS)
        client = Caller(flavour, transport_of(flavour, balancer, key=key, **options), **for_client)
        stack.callback(client.end)
        yield client


def balanced(replicas: Sequence[Scripted | str], prefix: str = "", **settings: Any) -> Balancer:
    """A balancer of service ``inventory``, without waits between tries; first the first replica, then the next."""
    urls = [replica if isinstance(replica, str) else replica.url + prefix for replica in replicas]
    nodes = [{"url": url, "priority": index} for index, url in enumerate(urls)]
    inbound: Mapping[str, Any] = settings.pop("inbound", {})
    tools = {name: settings.pop(name) for name in ("clock",) if name in settings}
    service = {"nodes": nodes, "retry": {"backoff": 0, "backoff_max": 0}, **settings}
    return Balancer({"services": {"inventory": service}, "inbound": inbound}, **tools)


class Counts(NamedTuple):
    calls: int
    failures: int
    in_flight: int


def counts(balancer: Balancer, service: str = "inventory") -> Counts:
    """Of all nodes of a service together."""
    status: Any = balancer.status()
    nodes = status["services"][service]["nodes"]
    return Counts(*(sum(node[name] for node in nodes) for name in Counts._fields))


def connections(client: Caller) -> list[Any]:
    """All connections that the inner transports have."""
    inner = client.transport._inner
    inners = inner._of.values() if client.is_async else [inner]
    return [each for one in inners for transport in one._transports.values() for each in transport._pool.connections]
