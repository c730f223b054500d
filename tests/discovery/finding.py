"""A balancer whose one service finds its nodes, watched at it; and a source asked without one."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from balancemw import Balancer, Event, Service
from balancemw.checks import Loop, open_session
from balancemw.discovery.found import Source
from balancemw.discovery.sources import open_source
from balancemw.settings import DiscoverySettings, Settings
from tests.adapters.watching import eventually

T = TypeVar("T")


def settings_of(**discovery: Any) -> Any:
    """The checked ``discovery`` settings."""
    found = Settings.load({"services": {"s": {"discovery": discovery}}}).services["s"].discovery
    assert isinstance(found, DiscoverySettings)
    return found


def asking(work: Callable[[Source, Callable[[], Awaitable[Any]]], Awaitable[T]], **discovery: Any) -> T:
    """Runs `work(source, ask)` on an event loop like the monitor's."""

    async def run() -> T:
        source = open_source(settings_of(**discovery), random.Random(1))
        async with open_session() as session:
            try:
                return await work(source, lambda: source.ask(session))
            finally:
                source.close()

    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(run())


class Finding:
    """A balancer of one service ``s``, and what it told."""

    def __init__(self, discovery: Any, **service: Any) -> None:
        self.balancer = Balancer({"services": {"s": {"discovery": discovery, **service}}})
        self.service: Service = self.balancer["s"]
        self.told: list[Event] = []
        self.balancer.subscribe(self.told.append)

    def urls(self) -> list[str]:
        return sorted(node.url for node in self.service.nodes)

    def available(self) -> list[str]:
        return sorted(node.url for node in self.service.available)

    def until_urls(self, *urls: str) -> None:
        eventually(lambda: self.urls() == sorted(urls), f"{sorted(urls)}, not {self.urls()}: {self.told}")

    def until_available(self, *urls: str) -> None:
        eventually(lambda: self.available() == sorted(urls), f"{sorted(urls)}, not {self.available()}: {self.told}")

    def events(self, name: str) -> list[Event]:
        return [each for each in self.told if each.event == name]

    def wait_for(self, name: str, count: int = 1) -> Event:
        eventually(lambda: len(self.events(name)) >= count, f"{count} × {name} in {self.told}")
        return self.events(name)[count - 1]


@contextmanager
def finding(discovery: Any, **service: Any) -> Iterator[Finding]:
    found = Finding(discovery, **service)
    with found.balancer:
        yield found
