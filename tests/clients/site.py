"""Where a client calls: replicas behind a name, with an adapter or without one.

Without, the name is resolved to the replica's address, as DNS would do, so that what the client sees and says differs
in nothing but the adapter.
"""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from balancemw import Balancer
from tests.clients.drivers.common import Driver, Session
from tests.clients.replica import Replica

SERVICE = "inventory"
QUICK: dict[str, object] = {"attempt_timeout": 20, "timeout": 60, "retry": {"backoff": 0.001, "backoff_max": 0.001}}


class Names:
    """A resolver that knows these names and no others, and never asks the network."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.known: dict[str, str] = {}
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self.resolve)

    def resolve(self, host: Any, *more: Any, **named: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name is None or name[:1].isdigit() or ":" in name:
            return self._real(host, *more, **named)
        if name.lower() not in self.known:
            raise socket.gaierror(socket.EAI_NONAME, f"this test knows no host {name!r}")
        return self._real(self.known[name.lower()], *more, **named)


@dataclass(frozen=True)
class Address:
    """Where no replica is."""

    port: int
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@dataclass
class Site:
    """Services and how to reach them.

    Attributes:
        driver: the client.
        balanced: through an adapter.
        replica: the only one of the service `SERVICE`, if it is one that there is.
    """

    driver: Driver
    balanced: bool
    names: Names
    stack: ExitStack
    replica: Replica
    services: dict[str, dict[str, object]] = field(default_factory=dict)
    balancers: list[Balancer] = field(default_factory=list)

    @property
    def base(self) -> str:
        return self.url_of(SERVICE, self.replica)

    @property
    def host(self) -> str:
        """As in the ``Host`` header."""
        return self.base.partition("//")[2]

    def url_of(self, name: str, replica: Any) -> str:
        return f"{replica.scheme}://{name}" + ("" if self.balanced else f":{replica.port}")

    def serve(self, name: str, *nodes: Any, **settings: object) -> None:
        """Put nodes behind a name: replicas, urls, or what settings take."""
        urls = [getattr(node, "url", node) for node in nodes]
        self.services[name] = {**QUICK, **settings, "nodes": urls}
        if not self.balanced:
            self.names.known[name] = "127.0.0.1"

    def balancer(self) -> Balancer:
        balancer = Balancer({"services": self.services})
        self.balancers.append(balancer)
        return balancer

    @contextmanager
    def opened(self, balancer: Balancer | None = None, **own: Any) -> Iterator[Session]:
        """A session that is closed in the end; `own` are the client's options."""
        if balancer is None and self.balanced:
            balancer = self.balancer()
        with ExitStack() as stack:
            runner = stack.enter_context(asyncio.Runner()) if self.driver.asynchronous else None
            raw = self.driver.make(balancer, **own)
            session = Session(self.driver, raw, self.base, runner)
            if asyncio.iscoroutine(raw):
                session.raw = session.wait(raw)
            stack.callback(session.close)
            yield session

    def session(self, **own: Any) -> Session:
        """One that lasts as long as the test."""
        return self.stack.enter_context(self.opened(**own))

    def settle(self) -> None:
        """Whatever was begun has been given back."""
        for balancer in self.balancers:
            for name, service in balancer.status()["services"].items():  # type: ignore[attr-defined]
                in_flight = {node["name"]: node["in_flight"] for node in service["nodes"]}
                assert set(in_flight.values()) <= {0}, f"left in flight at {name}: {in_flight}"
            balancer.close()
