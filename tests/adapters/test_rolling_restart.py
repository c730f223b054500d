"""All replicas are restarted, one by one, under load: nothing is lost and nothing is done twice, idempotent or not."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path

import aiohttp
import pytest
import requests

from balancemw import Balancer, Event, Node, remaining
from balancemw_aiohttp import balance
from tests.adapters.rolling import Server, servers
from tests.adapters.servers import PATIENCE

CALLERS = 6


class Load:
    """Callers of a service that go on until they are told to stop, half of them with POST.

    Attributes:
        sent: ids of the calls that were answered.
        errors: what others came to.
    """

    def __init__(self, balancer: Balancer) -> None:
        self.balancer = balancer
        self.sent: list[str] = []
        self.errors: list[str] = []
        self._ids = count()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._caller, args=(i % 2 == 0,)) for i in range(CALLERS)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE)

    def _caller(self, post: bool) -> None:
        session = requests.Session()  # of this caller, with connections that are kept

        @self.balancer.call("replicas", idempotent=not post)
        def call(node: Node, marker: str) -> requests.Response:
            method = "POST" if post else "GET"
            return session.request(method, f"{node.url}/", headers={"X-Id": marker}, timeout=remaining())

        with session:
            while not self._stop.wait(0.01):
                marker = f"{'post' if post else 'get'}-{next(self._ids)}"
                try:
                    answer = call(marker)
                    answer.raise_for_status()
                except Exception as error:
                    self.errors.append(f"{marker}: {error!r} {getattr(error, '__notes__', '')}")
                else:
                    self.sent.append(marker)


def until(holds: Callable[[], bool], what: Callable[[], object]) -> None:
    patience = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < patience, what()
        time.sleep(0.02)


def marks_of(balancer: Balancer, server: Server) -> list[str]:
    services: dict[str, dict[str, list[dict[str, list[dict[str, str]]]]]] = balancer.status()["services"]  # type: ignore[assignment]
    node = next(each for each in services["replicas"]["nodes"] if each["url"] == server.url)  # type: ignore[comparison-overlap]
    return [mark["source"] for mark in node["marks"]]


def takes_calls(balancer: Balancer, server: Server) -> bool:
    return any(node.url == server.url for node in balancer["replicas"].available)


PROBE = {"kind": "http", "path": "/healthz", "interval": 1}


@pytest.mark.parametrize(
    ("kind", "probe"), [("gunicorn gthread", None), ("gunicorn gthread, 2 workers", PROBE), ("uvicorn", None)]
)
def test_a_rolling_restart_loses_nothing(kind: str, probe: object, tmp_path: Path):
    with servers(kind, 3, tmp_path, drain_seconds=1) as started:
        service = {"nodes": [each.url for each in started], "probe": probe, "slow_start": {"window": 1}}
        events: list[tuple[str | None, str, str]] = []
        served: dict[str | None, bool] = {}  # who said that it goes, and whether all were still there when it was heard

        def note(event: Event) -> None:
            events.append((event.node, event.event, event.source))
            if (event.event, event.source) == ("drain", "self"):
                there = all(each.process.poll() is None for each in started)
                served.setdefault(event.node, there)  # each worker of a server says so, in its own time

        with Balancer({"services": {"replicas": service}}) as balancer, Load(balancer) as load:
            balancer.subscribe(note)
            until(lambda: len(load.sent) > 100, lambda: load.errors)
            for server in started:
                server.terminate()
                until(lambda each=server: not takes_calls(balancer, each), lambda: events)  # type: ignore[misc]
                server.wait()
                server.start()
                until(lambda each=server: takes_calls(balancer, each), lambda: events)  # type: ignore[misc]
        assert load.errors == []
        done = Counter((tmp_path / "journal").read_text().split())
    names = [f"127.0.0.1:{each.port}" for each in started]
    assert list(served.items()) == [(name, True) for name in names], events
    assert len(load.sent) > 500
    assert set(load.sent) <= set(done)
    assert {marker: times for marker, times in done.items() if marker.startswith("post") and times != 1} == {}


def test_a_replica_that_says_it_goes_gets_no_new_calls_until_it_is_back(tmp_path: Path):
    with servers("uvicorn", 2, tmp_path, drain_seconds=2) as (first, second):
        service = {"nodes": [first.url, second.url], "strategy": "round_robin", "slow_start": {"window": 0}}
        with Balancer({"services": {"replicas": service}}) as balancer:
            call = balancer.call("replicas", idempotent=True)(lambda node: requests.get(node.url, timeout=PATIENCE))
            first.terminate()
            until(lambda: call() and marks_of(balancer, first) == ["self"], balancer.status)
            pids = {call().text for _ in range(20)}
            assert pids == {str(second.process.pid)}
            first.wait()
            first.start()
            began = time.monotonic()
            until(lambda: call().text == str(first.process.pid), balancer.status)
            assert time.monotonic() - began < PATIENCE / 2
            assert marks_of(balancer, first) == []


def test_the_last_replica_serves_as_long_as_it_can(tmp_path: Path):
    with servers("uvicorn", 1, tmp_path, drain_seconds=600) as (only,):
        balancer = Balancer({"services": {"replicas": {"nodes": [only.url]}}})
        call = balancer.call("replicas")(lambda node: requests.get(f"{node.url}/drain", timeout=PATIENCE))
        for _ in range(3):
            assert call().headers["x-balancemw-state"] == "draining"
        assert takes_calls(balancer, only)


async def test_the_client_adapter_heeds_it_too(tmp_path: Path):
    with servers("uvicorn", 2, tmp_path, drain_seconds=600) as (first, second):
        requests.get(f"{first.url}/drain", timeout=PATIENCE).close()
        service = {"nodes": [first.url, second.url], "strategy": "round_robin"}
        with Balancer({"services": {"replicas": service}}) as balancer:
            async with aiohttp.ClientSession(middlewares=[balance(balancer)]) as session:
                for _ in range(4):
                    async with session.get("http://replicas/") as answer:
                        await answer.read()
            assert marks_of(balancer, first) == ["self"]
            assert not takes_calls(balancer, first)
