"""Hedged requests of every client, against real servers of which one does not answer. Nothing here goes by time: what
waits for a slow replica waits until the test lets it go."""

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
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
from balancemw import Balancer, Node
from balancemw.context import REQUEST
from balancemw.context import Request as Inbound
from balancemw_httpx.handshake import closing
from balancemw_starlette import BalanceMiddleware
from tests.adapters.scripted import Act, Request, Scripted, answering, reset, scripted
from tests.adapters.watching import eventually

HEDGE = {"delay": 0.01, "max_extra": 1.0}


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


def after(event: threading.Event, act: Act) -> Act:
    """Do `act`, but not before `event`."""

    def wait(request: Request) -> None:
        event.wait()
        act(request)

    return wait


def after_a_while(request: Request) -> None:
    """Answer when a hedge would have been due long since."""
    time.sleep(0.05)
    request.answer(200, b"late")


@contextmanager
def released(slow: Slow, *, when: Callable[[], object]) -> Iterator[None]:
    """Let `slow` answer in a thread of its own, as soon as that is so."""

    def release() -> None:
        eventually(when)
        slow.released.set()

    thread = threading.Thread(target=release)
    thread.start()
    try:
        yield
    finally:
        thread.join()


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

    def __init__(self, replicas: list[Scripted], *, more: Sequence[str] = (), **service: Any) -> None:
        self.slow, self.quick = replicas[:2]
        self.does = self.slow.act = Slow()
        self.quick.act = after(self.does.reached, answering())  # or a request might be cancelled before it is read
        nodes = [{"url": self.slow.url, "weight": 1000.0}, {"url": self.quick.url, "weight": 1.0}]
        nodes += [{"url": url, "weight": 0.001} for url in more]
        own = {"nodes": nodes, "strategy": "weighted_round_robin", "hedge": HEDGE, "ejection": {"slow": 0}} | service
        self.balancer = Balancer({"services": {"inventory": own}})

    def status(self) -> dict[str, Any]:
        services: Any = self.balancer.status()["services"]
        return services["inventory"]

    def nodes(self) -> list[dict[str, Any]]:
        return self.status()["nodes"]

    def hedging(self) -> dict[str, Any]:
        return self.status()["hedge"]

    def in_flight(self) -> list[int]:
        return [node["in_flight"] for node in self.nodes()]

    def settle(self) -> None:
        """Let everything end; then no call is open and no thread left."""
        self.does.released.set()
        eventually(lambda: not any(self.in_flight()))
        threads = self.balancer._threads
        eventually(lambda: len(threads._idle) == threads.count)
        threads.close()
        eventually(lambda: not any(thread.name == "balancemw-try" for thread in threading.enumerate()))


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
        stage.settle()
    assert (stage.hedging()["hedges"], stage.hedging()["wins"]) == (1, 1)


@pytest.mark.parametrize("client", [*SYNC, *ASYNC])
def test_it_does_so_where_each_is_called_by_its_own_name(client: Client) -> None:
    with scripted(2) as replicas:
        stage = Stage(replicas, host_header="node")
        with client(stage.balancer) as send:
            assert send() == (200, b"ok")
            stage.settle()
        assert stage.hedging()["wins"] == 1
        assert [replica.seen[0].headers["host"] for replica in replicas] == [node["name"] for node in stage.nodes()]
        stage.balancer.close()


# -- what is hedged, and what is not


@pytest.mark.parametrize("client", [*SYNC, *ASYNC])
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_what_may_not_be_repeated_is_sent_once(stage: Stage, client: Client, method: str) -> None:
    stage.slow.act = after_a_while
    with client(stage.balancer) as send:
        assert send(method, data={"x": "y"}) == (200, b"late")
    assert len(stage.slow.seen) == 1
    assert not stage.quick.seen
    assert stage.hedging()["hedges"] == 0


@pytest.mark.parametrize("client", [*SYNC, *ASYNC])
def test_an_idempotency_key_makes_it_repeatable_and_both_get_key_and_body(stage: Stage, client: Client) -> None:
    with client(stage.balancer) as send:
        assert send("POST", data={"sku": "1"}, headers={"Idempotency-Key": "k"}) == (200, b"ok")
        stage.settle()
    (first,), (second,) = stage.slow.seen, stage.quick.seen
    assert first.body == second.body == b"sku=1"
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"] == "k"
    assert first.headers["content-type"] == second.headers["content-type"]


@pytest.mark.parametrize("client", [by_requests, by_httpx, by_httpx2])
def test_a_body_that_is_read_as_it_is_sent_is_not_sent_twice_at_once(stage: Stage, client: Client) -> None:
    stage.slow.act = after_a_while
    body = "data" if client is by_requests else "content"
    with client(stage.balancer) as send:
        assert send("PUT", **{body: iter([b"one", b"two"])}) == (200, b"late")
    assert [seen.body for seen in stage.slow.seen] == [b"onetwo"]
    assert not stage.quick.seen


def test_the_same_for_aiohttp(stage: Stage) -> None:
    async def parts() -> Any:
        yield b"one"
        yield b"two"

    stage.slow.act = after_a_while
    with by_aiohttp(stage.balancer) as send:
        assert send("PUT", data=parts()) == (200, b"late")
        assert send("PUT", data=b"x" * 100_000) == (200, b"late")
    assert [seen.body for seen in stage.slow.seen] == [b"onetwo", b"x" * 100_000]
    assert not stage.quick.seen


@pytest.mark.parametrize("client", [by_requests, by_aiohttp, by_httpx2, by_httpx2_async])
def test_a_request_that_arrived_as_a_retry_is_not_hedged(stage: Stage, client: Client) -> None:
    stage.slow.act = after_a_while
    token = REQUEST.set(Inbound(stage.balancer, retries_allowed=False))
    try:
        with client(stage.balancer) as send:
            assert send() == (200, b"late")
    finally:
        REQUEST.reset(token)
    assert not stage.quick.seen


# -- how it ends


@pytest.mark.parametrize("client", ASYNC)
def test_the_connection_of_the_one_that_is_cancelled_is_closed_and_the_other_serves_on(
    stage: Stage, client: Client
) -> None:
    with client(stage.balancer) as send:
        for _ in range(3):
            assert send() == (200, b"ok")
        assert stage.does.gone.wait(30.0)
        assert stage.in_flight() == [0, 0]
        assert stage.quick.connections == 1
        assert [node["failures"] for node in stage.nodes()] == [0, 0]


@pytest.mark.parametrize("client", SYNC)
def test_a_late_answer_is_read_to_its_end_and_its_connection_serves_on(stage: Stage, client: Client) -> None:
    with client(stage.balancer) as send:
        assert send() == (200, b"ok")
        stage.settle()  # also what gives the connection back, which is the last thing that is done
        assert stage.in_flight() == [0, 0]
        assert send("POST") == (200, b"late")  # which is not hedged, however busy the machine is
        assert stage.slow.connections == 1
        assert [node["calls"] for node in stage.nodes()] == [2, 1]


@pytest.mark.parametrize("client", [*SYNC, *ASYNC])
def test_a_first_answer_that_is_a_failure_waits_for_the_hedge(stage: Stage, client: Client) -> None:
    later = Slow()
    stage.quick.act = later
    stage.slow.act = after(later.reached, answering(503, b"busy"))
    with client(stage.balancer) as send, released(later, when=lambda: stage.nodes()[0]["failures"]):
        assert send() == (200, b"late")
        stage.settle()
    assert len(stage.slow.seen) == len(stage.quick.seen) == 1


@pytest.mark.parametrize("client", [*SYNC, *ASYNC])
def test_a_hedge_that_fails_leaves_the_first_to_answer(stage: Stage, client: Client) -> None:
    stage.quick.act = answering(503, b"busy")
    with client(stage.balancer) as send, released(stage.does, when=lambda: stage.nodes()[1]["failures"]):
        assert send() == (200, b"late")
        stage.settle()
    assert len(stage.slow.seen) == len(stage.quick.seen) == 1


@pytest.mark.parametrize("client", [*SYNC, *ASYNC])
def test_when_both_fail_the_third_try_is_the_third(client: Client) -> None:
    with scripted(3) as replicas:
        stage = Stage(replicas, more=[replicas[2].url])
        arrived = threading.Event()
        stage.slow.act = after(arrived, answering(503, b"busy"))

        def fail_late(request: Request) -> None:
            arrived.set()
            eventually(lambda: stage.nodes()[0]["failures"])
            reset(request)

        stage.quick.act = fail_late
        with client(stage.balancer) as send:
            assert send() == (200, b"ok")
            stage.settle()
        (third,) = replicas[2].seen
        assert third.headers["x-envoy-attempt-count"] == "3"
        assert "x-envoy-is-timeout-retry" not in third.headers
        stage.balancer.close()


@pytest.mark.parametrize("client", [*SYNC, *ASYNC])
def test_hedges_are_no_more_than_max_extra_and_else_the_slow_node_is_waited_for(client: Client) -> None:
    with scripted(2) as replicas:
        stage = Stage(replicas, hedge={"delay": 0.001, "max_extra": 0.25})

        def dawdle(request: Request) -> None:
            hedges = len(stage.quick.seen)
            if len(stage.slow.seen) // 4 > hedges:
                eventually(lambda: len(stage.quick.seen) > hedges)
            request.answer()

        stage.slow.act, stage.quick.act = dawdle, answering()
        with client(stage.balancer) as send:
            for _ in range(12):
                assert send() == (200, b"ok")
            stage.settle()
        assert len(stage.slow.seen) == 12
        assert len(stage.quick.seen) == stage.hedging()["hedges"] == 3
        stage.balancer.close()


def test_a_percentile_has_to_be_seen_before_anything_is_hedged() -> None:
    with scripted(2) as replicas:
        stage = Stage(replicas, hedge={"delay": "p90", "max_extra": 1.0})
        stage.slow.act = stage.quick.act = answering()
        with by_aiohttp(stage.balancer) as send:
            for _ in range(10):
                assert stage.hedging()["delay_ms"] is None
                send()
            assert stage.hedging()["delay_ms"] >= 1.0
            stage.slow.act = stage.does
            stage.quick.act = after(stage.does.reached, answering())
            hedges = stage.hedging()["hedges"]
            assert send() == (200, b"ok")
            assert stage.does.gone.wait(30.0)
            assert stage.hedging()["hedges"] == hedges + 1
        stage.balancer.close()


@pytest.mark.parametrize("client", ASYNC)
def test_who_has_the_head_first_has_won_and_the_body_may_take_its_time(stage: Stage, client: Client) -> None:
    def slowly(request: Request) -> None:
        stage.does.reached.wait()
        request.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        stage.does.gone.wait()
        request.say("ok")

    stage.quick.act = slowly
    with client(stage.balancer) as send:
        assert send() == (200, b"ok")


async def test_what_an_asgi_app_forwards_is_hedged(stage: Stage) -> None:
    async def nothing(scope: Any, receive: Any, send: Any) -> None: ...

    stage.balancer.close()
    nodes = [{"url": stage.slow.url, "weight": 1000.0}, stage.quick.url]
    service = {"nodes": nodes, "strategy": "weighted_round_robin", "hedge": HEDGE}
    app = BalanceMiddleware(nothing, settings={"services": {"inventory": service}, "routes": {"/api": "inventory"}})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as client:
        assert (await client.get("http://app/api/stock/1")).content == b"ok"
    assert await asyncio.to_thread(stage.does.gone.wait, 30.0)
    app.balancer.close()


# -- functions of one's own


def test_a_function_that_uses_requests_is_hedged(stage: Stage) -> None:
    @stage.balancer.call("inventory", idempotent=True)
    def stock(node: Node) -> requests.Response:
        return requests.get(f"{node.url}/stock/1", timeout=30)

    assert stock().content == b"ok"
    stage.settle()


async def test_a_function_that_uses_aiohttp_is_hedged_and_its_request_is_ended(stage: Stage) -> None:
    async with aiohttp.ClientSession() as session:

        @stage.balancer.call("inventory", idempotent=True)
        async def stock(node: Node) -> bytes:
            async with session.get(f"{node.url}/stock/1") as response:
                return await response.read()

        assert await stock() == b"ok"
        assert await asyncio.to_thread(stage.does.gone.wait, 30.0)
        assert stage.in_flight() == [0, 0]
        assert await others() == 0


# -- what a hedge leaves behind


@contextmanager
def silent(reached: threading.Event, gone: threading.Event) -> Iterator[str]:
    """The url of a TLS replica that takes a connection and never says a word; its events: has come, is closed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                reached.set()
                while connection.recv(4096):
                    pass
            gone.set()

        threading.Thread(target=serve, daemon=True).start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("library", [aiohttp, httpx, httpx2])
async def test_a_handshake_that_is_cancelled_leaves_no_connection_open(library: Any) -> None:
    def client(balancer: Balancer) -> Any:
        if library is aiohttp:
            return aiohttp.ClientSession(middlewares=[balancemw_aiohttp.balance(balancer)])
        return library.AsyncClient(transport=balancemw_httpx.AsyncBalancedTransport(balancer))

    reached, gone = threading.Event(), threading.Event()
    with scripted(1) as (quick,), silent(reached, gone) as url:
        quick.act = after(reached, answering())
        nodes = [{"url": url, "weight": 1000.0}, {"url": quick.url, "weight": 1.0}]
        service = {"nodes": nodes, "strategy": "weighted_round_robin", "hedge": HEDGE}
        async with Balancer({"services": {"inventory": service}}) as balancer, client(balancer) as session:
            await session.get("http://inventory/stock/1")
            assert len(quick.seen) == 1
            assert await asyncio.to_thread(gone.wait, 30.0)


async def test_who_traces_a_request_hears_all_of_it() -> None:
    heard = []

    async def own(event: str, info: dict[str, Any]) -> None:
        heard.append((event, info))

    steps: list[tuple[str, dict[str, Any]]] = [
        ("connection.connect_tcp.complete", {"return_value": None}),
        ("connection.start_tls.failed", {"exception": asyncio.CancelledError()}),
    ]
    trace = closing(own)
    for step in steps:
        await trace(*step)
    assert heard == steps


# -- what the client does by itself


async def test_the_time_that_a_session_of_aiohttp_grants_ends_both(stage: Stage) -> None:
    stage.quick.act = other = Slow()
    session = aiohttp.ClientSession(
        middlewares=[balancemw_aiohttp.balance(stage.balancer)], timeout=aiohttp.ClientTimeout(total=2.0)
    )
    async with session:
        with pytest.raises(TimeoutError):
            await session.get("http://inventory/stock/1")
        for slow in (stage.does, other):
            assert await asyncio.to_thread(slow.gone.wait, 30.0)
    assert len(stage.slow.seen) == len(stage.quick.seen) == 1
    assert [node["failures"] for node in stage.nodes()] == [0, 0]


async def test_it_ends_also_a_hedge_that_is_left_alone(stage: Stage) -> None:
    other = Slow()
    stage.slow.act = after(other.reached, answering(503, b"busy"))
    stage.quick.act = other
    session = aiohttp.ClientSession(
        middlewares=[balancemw_aiohttp.balance(stage.balancer)], timeout=aiohttp.ClientTimeout(total=2.0)
    )
    async with session:
        with pytest.raises(TimeoutError):
            await session.get("http://inventory/stock/1")
        assert await asyncio.to_thread(other.gone.wait, 30.0)
    assert [node["failures"] for node in stage.nodes()] == [1, 0]


@contextmanager
def crowded(client: Client, balancer: Balancer) -> Iterator[Callable[[], bytes]]:
    """`client` with a single connection at a time, for which it does not wait long."""
    if client is by_aiohttp:

        async def open_client() -> Any:
            connector = aiohttp.TCPConnector(limit=1)
            return aiohttp.ClientSession(
                middlewares=[balancemw_aiohttp.balance(balancer)],
                connector=connector,
                timeout=aiohttp.ClientTimeout(connect=0.05),
            )

        async def send(client: Any) -> bytes:
            async with client.get("http://inventory/stock/1") as response:
                body: bytes = await response.read()
                return body

        with asyncio.Runner() as runner:
            session = runner.run(open_client())
            yield lambda: runner.run(send(session))
            runner.run(session.close())
        return
    transport = balancemw_httpx.BalancedTransport(balancer, limits=httpx.Limits(max_connections=1))
    with httpx.Client(transport=transport, timeout=httpx.Timeout(30.0, pool=0.05)) as session:
        yield lambda: session.get("http://inventory/stock/1").content


@pytest.mark.parametrize("client", [by_aiohttp, by_httpx])
def test_a_hedge_for_which_the_client_has_no_connection_is_no_fault_of_its_node(stage: Stage, client: Client) -> None:
    with crowded(client, stage.balancer) as get:
        with released(stage.does, when=lambda: stage.hedging()["hedges"] and stage.in_flight() == [1, 0]):
            assert get() == b"late"
        stage.settle()
    assert not stage.quick.seen
    assert [node["failures"] for node in stage.nodes()] == [0, 0]
