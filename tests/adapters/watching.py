"""Balancers whose monitor is watched at its work."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from balancemw import Balancer, Event
from tests.adapters import callables
from tests.adapters.replicas import Replica

PATIENCE = 20.0
FAST = {"interval": 0.1, "fast_interval": 0.05, "down_interval": 0.1, "timeout": 0.3}
SYNC = "tests.adapters.callables:sync"

Replicas = Callable[[int], list[Replica]]


def eventually(holds: Callable[[], object], what: str = "") -> None:
    """Wait until `holds()`."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"not within {PATIENCE:g} s: {what or holds}"
        time.sleep(0.005)


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "balancemw-monitor"]


@contextmanager
def alone() -> Iterator[None]:
    """For a test: it leaves no thread and no answer behind for the next."""
    assert not threads()
    yield
    callables.ANSWERS.clear()
    callables.CALLS.clear()
    for thread in threads():
        thread.join(PATIENCE)
    assert not threads()


class Watched:
    """A balancer with one service, and what it told."""

    def __init__(
        self,
        nodes: list[str],
        *,
        clock: Any = time.monotonic,
        rng: random.Random | None = None,
        **probe: object,
    ) -> None:
        self.settings = {"services": {"s": {"nodes": nodes, "probe": {"kind": "http", **FAST, **probe}}}}
        self.balancer = Balancer(self.settings, clock=clock, rng=rng)
        self.service = self.balancer["s"]
        self.told: list[Event] = []
        self.balancer.subscribe(self.told.append)

    def available(self) -> set[str]:
        return {node.url for node in self.service.available}

    def events(self, name: str) -> list[Event]:
        return [each for each in self.told if each.event == name]

    def wait_for(self, name: str, count: int = 1) -> Event:
        eventually(lambda: len(self.events(name)) >= count, f"{count} × {name} in {self.told}")
        return self.events(name)[count - 1]

    def wait_until_proven(self) -> None:
        probe: Any = self.service.pool.must_wait
        eventually(lambda: probe.__self__.proven, "a passed check")


@contextmanager
def watching(nodes: list[str], *, clock: Any = time.monotonic, **probe: object) -> Iterator[Watched]:
    watched = Watched(nodes, clock=clock, **probe)
    with watched.balancer:
        yield watched


def urls(replicas: list[Replica]) -> list[str]:
    return [replica.url for replica in replicas]
