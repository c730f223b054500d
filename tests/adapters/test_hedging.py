"""Hedged requests of every client, against real servers of which one does not answer. Nothing here goes by time: what
waits for a slow replica waits until the test lets it go."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import httpx
import httpx2
import pytest
import requests

import balancemw_aiohttp
import balancemw_httpx
import balancemw_requests
from balancemw import Balancer
from tests.adapters.scripted import Request, Scripted, scripted

HEDGE = {"delay": 0.01, "max_extra": 1.0}


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + 30.0
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.002)


class Slow:
    """What a replica does that keeps its caller waiting, until it is released or its caller has gone."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.released = threading.Event()
        self.gone = threading.Event()

    def __call__(self, request: Request) -> None:
        self.reached.set()
        request.connection.settimeout(0.005)
        while not self.released.is_set():
            try:
                left = request.connection.recv(1)
            except TimeoutError:
                continue
            except OSError:
                left = b""
            assert not left
            self.gone.set()
            request.close_connection = True
            return
        request.connection.settimeout(None)
        request.answer(200, b"late")


# -- the clients, each as what sends one request and gives status and body of its answer

Send = Callable[..., tuple[int, bytes]]


@contextmanager
def by_requests(balancer: Balancer) -> Iterator[Send]:
    with requests.Session() as session:
        balancemw_requests.mount(session, balancer)

        def send(method: str = "GET", **options: Any) -> tuple[int, bytes]:
            response = session.request(method, "http://inventory/stock/1", **options)
            return response.status_code, response.content

        yield send


@contextmanager
def by_httpx(balancer: Balancer, library: Any = httpx) -> Iterator[Send]:
    with library.Client(transport=balancemw_httpx.BalancedTransport(balancer)) as client:

        def send(method: str = "GET", **options: Any) -> tuple[int, bytes]:
            response = client.request(method, "http://inventory/stock/1", **options)
            return response.status_code, response.content

        yield send


@contextmanager
def by_httpx2(balancer: Balancer) -> Iterator[Send]:
    with by_httpx(balancer, httpx2) as send:
        yield send


@contextmanager
def _by_loop(open_client: Callable[[], Any], send_one: Callable[..., Awaitable[tuple[int, bytes]]]) -> Iterator[Send]:
    with asyncio.Runner() as runner:
        client = runner.run(open_client())

        def send(method: str = "GET", **options: Any) -> tuple[int, bytes]:
            answer = runner.run(send_one(client, method, **options))
            assert runner.run(others()) == 0
            return answer

        try:
            yield send
        finally:
            runner.run(client.close() if hasattr(client, "close") else client.aclose())


async def others() -> int:
    """Tasks beside the current one."""
    return len(asyncio.all_tasks()) - 1


@contextmanager
def by_aiohttp(balancer: Balancer) -> Iterator[Send]:
    async def open_client() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(middlewares=[balancemw_aiohttp.balance(balancer)])

    async def send(client: aiohttp.ClientSession, method: str, **options: Any) -> tuple[int, bytes]:
        async with client.request(method, "http://inventory/stock/1", **options) as response:
            return response.status, await response.read()

    with _by_loop(open_client, send) as sender:
        yield sender


@contextmanager
def by_httpx_async(balancer: Balancer, library: Any = httpx) -> Iterator[Send]:
    async def open_client() -> Any:
        return library.AsyncClient(transport=balancemw_httpx.AsyncBalancedTransport(balancer))

    async def send(client: Any, method: str, **options: Any) -> tuple[int, bytes]:
        response = await client.request(method, "http://inventory/stock/1", **options)
        return response.status_code, response.content

    with _by_loop(open_client, send) as sender:
        yield sender


@contextmanager
def by_httpx2_async(balancer: Balancer) -> Iterator[Send]:
    with by_httpx_async(balancer, httpx2) as send:
        yield send


SYNC = [by_requests, by_httpx, by_httpx2]
ASYNC = [by_aiohttp, by_httpx_async, by_httpx2_async]
Client = Callable[[Balancer], Any]


class Stage:
    """Two replicas, of which the first is asked first and takes its time."""

    def __init__(self, replicas: list[Scripted], **service: Any) -> None:
        self.slow, self.quick = replicas[:2]
        self.does = self.slow.act = Slow()
        nodes = [{"url": self.slow.url, "weight": 1000.0}, {"url": self.quick.url, "weight": 0.001}]
        own = {"nodes": nodes, "strategy": "weighted_round_robin", "hedge": HEDGE, "ejection": {"slow": 0}} | service
        self.balancer = Balancer({"services": {"inventory": own}})
        self.pool = self.balancer["inventory"].pool

    def in_flight(self) -> list[int]:
        services: Any = self.balancer.status()["services"]
        return [node["in_flight"] for node in services["inventory"]["nodes"]]

    def settled(self) -> None:
        """Wait until no call is open, and no thread busy."""
        wait_for(lambda: self.in_flight() == [0, 0])
        self.balancer.close()
        wait_for(lambda: not self.balancer._threads.count)


@pytest.fixture
def stage() -> Iterator[Stage]:
    with scripted(2) as replicas:
        stage = Stage(replicas)
        try:
            yield stage
        finally:
            stage.does.released.set()
            stage.balancer.close()


@pytest.mark.parametrize("client", [*SYNC, *ASYNC])
def test_another_node_answers_when_the_first_takes_long(stage: Stage, client: Client) -> None:
    with client(stage.balancer) as send:
        assert send() == (200, b"ok")
        assert stage.does.reached.is_set()
        (first,), (second,) = stage.slow.seen, stage.quick.seen
        assert first.headers["x-envoy-attempt-count"] == "1"
        assert "x-envoy-is-timeout-retry" not in first.headers
        assert second.headers["x-envoy-attempt-count"] == "2"
        assert second.headers["x-envoy-is-timeout-retry"] == "true"
        assert (first.method, first.target) == (second.method, second.target) == ("GET", "/stock/1")
        assert {first.headers["host"], second.headers["host"]} == {"inventory"}
        assert 0 < int(second.headers["x-request-timeout-ms"]) <= 10_000
        stage.does.released.set()
        stage.settled()
    assert (stage.pool.hedging.hedges, stage.pool.hedging.wins) == (1, 1)
