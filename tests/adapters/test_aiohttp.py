"""The adapter for aiohttp's client, against real servers. What all clients must preserve is in tests/clients."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest
import trustme
from aiohttp import web
from yarl import URL

from balancemw import Balancer, DeadlineExceeded, NoNodeAvailable, deadline, remaining
from balancemw.context import REQUEST, Request
from balancemw_aiohttp import LastTryFailed, NoNode, TooLate, balance
from tests.adapters.replicas import Replica, free_port

Replicas = Callable[[int], list[Replica]]


def balancer_of(*nodes: str, **service: Any) -> Balancer:
    return Balancer({"services": {"inventory": {"nodes": list(nodes), **service}}})


def state_of(balancer: Balancer) -> list[dict[str, Any]]:
    status: Any = balancer.status()
    return status["services"]["inventory"]["nodes"]


def in_flight(balancer: Balancer) -> int:
    return sum(node["in_flight"] for node in state_of(balancer))


@asynccontextmanager
async def session_of(balancer: Balancer, **options: Any) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(middlewares=[balance(balancer)], **options) as session:
        yield session


@asynccontextmanager
async def app(handler: Callable[[web.Request], Any], context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The url of a server in this loop that answers everything by `handler`."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"{'https' if context else 'http'}://{host}:{port}"
    finally:
        await runner.cleanup()


async def tell(request: web.Request) -> web.Response:
    return web.json_response({"path": request.raw_path, "headers": dict(request.headers)})


# -- where it goes


async def test_the_url_stays_the_callers_and_the_node_s_prefix_is_put_before_the_path() -> None:
    async with (
        app(tell) as url,
        session_of(balancer_of(url + "/v1")) as session,
        session.get("http://Inventory:8080/a%2Fb/?x=1+2&y=%20") as response,
    ):
        told = await response.json()
    assert told["path"] == "/v1/a%2Fb/?x=1+2&y=%20"
    assert told["headers"]["Host"] == "inventory:8080"
    assert str(response.url) == "http://inventory:8080/a%2Fb/?x=1+2&y=%20"


async def test_with_host_header_node_a_replica_sees_its_own_name_unless_the_caller_names_another() -> None:
    async with app(tell) as url, session_of(balancer_of(url, host_header="node")) as session:
        async with session.get("http://inventory/") as response:
            assert (await response.json())["headers"]["Host"] == url.removeprefix("http://")
        async with session.get("http://inventory/", headers={"Host": "shop.test"}) as response:
            assert (await response.json())["headers"]["Host"] == "shop.test"


async def test_a_host_that_is_no_service_is_left_alone() -> None:
    async with (
        app(tell) as url,
        session_of(balancer_of("http://127.0.0.1:1")) as session,
        session.get(url) as response,
    ):
        assert "x-envoy-attempt-count" not in (await response.json())["headers"]


async def test_the_environment_s_proxy_is_not_asked_for_a_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    async with (
        app(tell) as url,
        session_of(balancer_of(url), trust_env=True) as session,
        session.get("http://inventory/") as response,
    ):
        assert response.status == 200


async def test_a_replica_is_told_which_try_it_is_and_how_long_it_may_take() -> None:
    seen = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.headers["x-envoy-attempt-count"], request.headers["x-request-timeout-ms"]))
        return web.Response(status=200 if len(seen) % 2 == 0 else 503)

    async with app(handler) as url, session_of(balancer_of(url, attempt_timeout=4.0)) as session:
        async with session.get("http://inventory/") as response:
            assert response.status == 200
        async with session.get("http://inventory/", headers={"x-request-timeout-ms": "250"}) as response:
            assert response.status == 200
    assert seen == [("1", "4000"), ("2", "4000"), ("1", "250"), ("2", "250")]


async def test_a_key_chooses_the_node(replicas: Replicas) -> None:
    balancer = balancer_of(*(each.url for each in replicas(3)), strategy="consistent_hash")
    middleware = balance(balancer, key=lambda request: request.headers.get("X-Id"))
    async with aiohttp.ClientSession(middlewares=[middleware]) as session:
        for key in ("a", "b", "c", "d"):
            names = set()
            for _ in range(3):
                async with session.get("http://inventory/", headers={"X-Id": key}) as response:
                    names.add(await response.text())
            assert len(names) == 1


# -- tries


async def test_what_a_dead_replica_never_saw_goes_to_another_even_a_post(replicas: Replicas) -> None:
    dead, alive = replicas(2)
    dead.kill()
    balancer = balancer_of(dead.url, alive.url)
    async with session_of(balancer) as session:
        for number in range(4):
            async with session.post("http://inventory/", data=b"x", headers={"X-Id": str(number)}) as response:
                assert await response.text() == alive.name
    assert alive.counts() == {str(number): 1 for number in range(4)}
    assert in_flight(balancer) == 0


@pytest.mark.parametrize(("method", "tries"), [("GET", 3), ("PUT", 3), ("POST", 1)])
async def test_what_may_have_arrived_is_sent_again_only_if_that_does_no_harm(
    method: str, tries: int, replicas: Replicas
) -> None:
    (replica,) = replicas(1)
    replica.reset()
    balancer = balancer_of(replica.url)
    async with session_of(balancer) as session:
        with pytest.raises(aiohttp.ClientConnectionError) as caught:
            await session.request(method, "http://inventory/", data=b"x")
    assert replica.received == tries  # and not twice that: a session runs its middlewares again for some errors
    assert isinstance(caught.value, LastTryFailed) == (method != "POST")
    assert len(getattr(caught.value, "__notes__", ())) == tries - 1
    assert isinstance(caught.value, OSError)


async def test_an_idempotency_key_makes_a_post_repeatable(replicas: Replicas) -> None:
    bad, good = replicas(2)
    bad.reset()
    async with session_of(balancer_of(bad.url, good.url)) as session:
        for number in range(4):
            headers = {"Idempotency-Key": str(number)}
            async with session.post("http://inventory/", data=b"x", headers=headers) as response:
                assert await response.text() == good.name


async def test_the_last_response_is_given_when_statuses_used_up_the_tries(replicas: Replicas) -> None:
    one, two = replicas(2)
    one.status(503)
    two.status(503)
    balancer = balancer_of(one.url, two.url)
    async with session_of(balancer) as session, session.get("http://inventory/") as response:
        assert response.status == 503
        assert await response.text() in (one.name, two.name)
    assert one.received + two.received == 3


async def test_a_replaced_response_gives_its_connection_back(replicas: Replicas) -> None:
    bad, good = replicas(2)
    bad.status(503)
    balancer = balancer_of(bad.url, good.url, ejection={"consecutive": 0, "success_rate": 0})
    connector = aiohttp.TCPConnector(limit=1)
    async with session_of(balancer, connector=connector) as session:
        for _ in range(20):
            async with session.get("http://inventory/") as response:
                assert await response.text() == good.name
    assert in_flight(balancer) == 0


async def test_an_attempt_s_time_ends_it_and_the_next_replica_is_asked(replicas: Replicas) -> None:
    hung, good = replicas(2)
    hung.hang()
    balancer = balancer_of(hung.url, good.url, attempt_timeout=0.6, strategy="round_robin")
    async with session_of(balancer) as session:
        for _ in range(2):
            async with session.get("http://inventory/") as response:
                assert await response.text() == good.name
        answers = [session.post("http://inventory/") for _ in range(2)]
        ends = await asyncio.gather(*answers, return_exceptions=True)
    assert sum(isinstance(end, aiohttp.ServerTimeoutError) for end in ends) == 1
    assert in_flight(balancer) == 0


async def test_the_session_s_own_time_ends_all_and_starts_nothing_elsewhere(replicas: Replicas) -> None:
    hung = replicas(2)
    for replica in hung:
        replica.hang()
    balancer = balancer_of(*(each.url for each in hung))
    async with session_of(balancer, timeout=aiohttp.ClientTimeout(total=0.6)) as session:
        with pytest.raises(TimeoutError) as caught:
            await session.get("http://inventory/")
    assert not isinstance(caught.value, DeadlineExceeded)
    while not any(replica.received for replica in hung):  # it may still have to read what was given up
        await asyncio.sleep(0.01)
    assert sum(replica.received for replica in hung) == 1
    assert in_flight(balancer) == 0
    assert all(node["failures"] == 0 for node in state_of(balancer))


async def test_a_cancelled_request_is_nobody_s_fault(replicas: Replicas) -> None:
    (hung,) = replicas(1)
    hung.hang()
    balancer = balancer_of(hung.url)
    async with session_of(balancer) as session:
        task = asyncio.ensure_future(session.get("http://inventory/"))
        while not hung.received:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert hung.received == 1
    assert state_of(balancer)[0]["failures"] == in_flight(balancer) == 0


async def test_no_node_is_an_error_of_ours_and_of_aiohttp_s() -> None:
    balancer = balancer_of("http://127.0.0.1:1")
    balancer["inventory"].mark("127.0.0.1:1", "down", reason="a test", ttl=7.0)
    async with session_of(balancer) as session:
        with pytest.raises(NoNode, match="is down") as caught:
            await session.get("http://inventory/")
    assert isinstance(caught.value, NoNodeAvailable)
    assert isinstance(caught.value, aiohttp.ClientConnectionError)
    assert caught.value.retry_after > 1.0


async def test_the_end_of_the_whole_time_is_an_error_of_ours_and_of_aiohttp_s(replicas: Replicas) -> None:
    (hung,) = replicas(1)
    hung.hang()
    balancer = balancer_of(hung.url)
    async with session_of(balancer) as session:
        with deadline(0.3), pytest.raises(TooLate) as caught:
            await session.get("http://inventory/")
        with deadline(0.0), pytest.raises(DeadlineExceeded):
            await session.get("http://inventory/")
    assert isinstance(caught.value, aiohttp.ServerTimeoutError)
    assert any("deadline" in note for note in caught.value.__notes__)
    while not hung.received:
        await asyncio.sleep(0.01)
    assert hung.received == 1


async def test_a_request_that_is_a_retry_itself_is_not_multiplied(replicas: Replicas) -> None:
    (replica,) = replicas(1)
    replica.status(503)
    balancer = balancer_of(replica.url)
    token = REQUEST.set(Request(balancer, retries_allowed=False))
    try:
        async with session_of(balancer) as session, session.get("http://inventory/") as response:
            assert response.status == 503
    finally:
        REQUEST.reset(token)
    assert replica.received == 1


async def test_what_runs_inside_the_request_is_bound_by_the_attempt(replicas: Replicas) -> None:
    (replica,) = replicas(1)
    bounds = []

    async def inner(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        bounds.append(remaining())
        return await handler(request)

    middlewares = [balance(balancer_of(replica.url, attempt_timeout=3.0)), inner]
    async with aiohttp.ClientSession(middlewares=middlewares) as session, session.get("http://inventory/"):
        pass
    assert 0.0 < bounds[0] <= 3.0
    assert remaining() is None


# -- bodies


async def test_a_body_is_in_flight_until_it_is_read_and_counts_as_a_success() -> None:
    go_on = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"one")
        await go_on.wait()
        with suppress(ConnectionError):  # the client may have gone
            await response.write(b"two")
        return response

    async with app(handler) as url:
        balancer = balancer_of(url)
        async with session_of(balancer) as session:
            async with session.get("http://inventory/") as response:
                assert await response.content.read(3) == b"one"
                assert in_flight(balancer) == 1
                go_on.set()
                assert await response.read() == b"two"
                assert in_flight(balancer) == 0
            go_on.clear()
            async with session.get("http://inventory/") as response:
                await response.content.read(3)
            assert in_flight(balancer) == 0  # its reader had enough
            response = await session.get("http://inventory/")
            del response  # never read, never closed: aiohttp keeps it until the replica has sent all
            go_on.set()
            while in_flight(balancer):
                await asyncio.sleep(0.01)
    assert state_of(balancer)[0]["failures"] == 0
    assert state_of(balancer)[0]["calls"] == 3


@pytest.mark.parametrize("size", [10, 70_000])
async def test_a_body_that_follows_its_head_ends_its_try_at_once_and_not_with_the_next_call(size: int) -> None:
    go_on = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(size)})
        await response.prepare(request)
        await go_on.wait()
        await response.write(b"x" * size)
        return response

    async with app(slow) as url:
        balancer = balancer_of(url)
        [peer] = balancer["inventory"].pool.roster.peers.values()
        async with session_of(balancer) as session, session.get("http://inventory/") as response:
            assert peer.in_flight == 1
            go_on.set()
            assert len(await response.read()) == size
            assert peer.in_flight == 0
        [node] = state_of(balancer)
        assert (node["calls"], node["failures"], node["in_flight"]) == (1, 0, 0)


async def test_a_body_that_breaks_off_counts_against_the_node_and_is_not_tried_again(replicas: Replicas) -> None:
    (replica,) = replicas(1)
    replica.half()
    balancer = balancer_of(replica.url)
    async with session_of(balancer) as session:
        response = await session.get("http://inventory/")
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
    assert replica.received == 1
    assert state_of(balancer)[0]["failures"] == 1
    assert in_flight(balancer) == 0


async def test_an_event_stream_is_in_flight_and_has_no_latency() -> None:
    closing = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: 1\n\n")
        await closing.wait()
        return response

    async with app(handler) as url:
        balancer = balancer_of(url)
        async with session_of(balancer) as session, session.get("http://inventory/") as response:
            await response.content.readline()
            assert in_flight(balancer) == 1
            assert state_of(balancer)[0]["calls"] == 1
            closing.set()
            await response.read()
            assert in_flight(balancer) == 0


async def test_a_websocket_goes_through_and_is_in_flight_while_it_is_open() -> None:
    async def handler(request: web.Request) -> web.WebSocketResponse:
        conversation = web.WebSocketResponse()
        await conversation.prepare(request)
        async for message in conversation:
            await conversation.send_str(message.data + "!")
        return conversation

    async with app(handler) as url:
        balancer = balancer_of(url)
        async with session_of(balancer) as session:
            async with session.ws_connect("http://inventory/ws") as conversation:
                await conversation.send_str("hello")
                assert await conversation.receive_str() == "hello!"
                assert in_flight(balancer) == 1
            assert in_flight(balancer) == 0


async def test_an_upload_that_makes_progress_is_not_ended_by_the_attempt_s_time() -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(text=str(len(await request.read())))

    async def slowly() -> AsyncIterator[bytes]:
        for _ in range(25):
            await asyncio.sleep(0.05)  # much less than an attempt may stand still
            yield b"x" * 1000

    async with app(handler) as url:
        balancer = balancer_of(url, attempt_timeout=1.0, timeout=1.1)
        async with session_of(balancer) as session:
            async with session.post("http://inventory/", data=slowly()) as response:
                assert await response.text() == "25000"
            with deadline(0.3), pytest.raises(DeadlineExceeded):
                await session.post("http://inventory/", data=slowly())
        assert in_flight(balancer) == 0


async def test_an_upload_that_a_replica_does_not_take_ends() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    with socket.create_server(("127.0.0.1", 0)) as deaf:  # connects, and reads nothing
        balancer = balancer_of(f"http://127.0.0.1:{deaf.getsockname()[1]}", attempt_timeout=0.3)
        async with session_of(balancer) as session:
            with pytest.raises(aiohttp.ServerTimeoutError):
                await session.post("http://inventory/", data=endless())
    assert in_flight(balancer) == 0


# -- TLS


def certified(ca: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name).configure_cert(context)
    return context


async def test_a_replica_by_ip_shows_a_certificate_for_the_service_also_on_a_kept_connection() -> None:
    ca, trusting = trustme.CA(), ssl.create_default_context()
    ca.configure_trust(trusting)
    async with app(tell, certified(ca, "inventory")) as url:
        services = {name: {"nodes": [url], "retry": {"attempts": 1}} for name in ("inventory", "billing")}
        balancer = Balancer({"services": services})
        async with session_of(balancer, connector=aiohttp.TCPConnector(ssl=trusting)) as session:
            for scheme in ("https", "http"):  # the nodes' urls decide
                async with session.get(f"{scheme}://inventory/") as response:
                    assert response.status == 200
                    await response.read()
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await session.get("https://billing/")


# -- connections that are none yet


@asynccontextmanager
async def full() -> AsyncIterator[str]:
    """The url of a server that takes no more connections."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as stack:
        port = listener.getsockname()[1]
        for _ in range(6):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("hedge", [None, {"delay": 30.0}])
async def test_no_connection_in_time_is_no_answer_of_which_anything_was_sent(hedge: object) -> None:
    """So that also a POST may go to another node."""
    async with app(tell) as url, full() as closed:
        nodes: Any = [closed, {"url": url, "priority": 1}]
        balancer = balancer_of(*nodes, attempt_timeout=0.4, hedge=hedge)
        faults: list[str | None] = []
        balancer.subscribe(lambda event: faults.append(event.fault) if event.event == "failed" else None)
        async with session_of(balancer) as session, session.post("http://inventory/", data=b"x") as response:
            assert response.status == 200
        async with session_of(balancer) as session, session.get("http://inventory/") as response:
            assert response.status == 200
        assert faults[:1] == ["connect_timeout"]


async def test_what_a_middleware_below_has_sent_before_may_have_arrived() -> None:
    async with app(tell) as url, full() as closed:
        balancer = balancer_of(closed, url, attempt_timeout=0.4, retry={"attempts": 2})
        faults: list[str | None] = []
        balancer.subscribe(lambda event: faults.append(event.fault) if event.event == "failed" else None)

        async def twice(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
            request.url = URL(url)
            (await handler(request)).release()
            request.url = URL(closed)
            return await handler(request)

        async with aiohttp.ClientSession(middlewares=[balance(balancer), twice]) as session:
            with pytest.raises(aiohttp.ServerTimeoutError):
                await session.post("http://inventory/", data=b"x")
        assert faults == ["timeout"]


@pytest.mark.parametrize("own", [{}, {"timeout": aiohttp.ClientTimeout(connect=0.2)}])
async def test_a_session_whose_connections_are_all_in_use_is_no_fault_of_a_node(own: dict[str, Any]) -> None:
    gate, arrived = asyncio.Event(), asyncio.Event()

    async def wait(request: web.Request) -> web.Response:
        arrived.set()
        await gate.wait()
        return web.Response()

    async with app(wait) as url:
        balancer = balancer_of(url, attempt_timeout=20.0 if own else 0.4, ejection={"consecutive": 1})
        faults: list[str | None] = []
        balancer.subscribe(lambda event: faults.append(event.fault) if event.event == "failed" else None)
        connector = aiohttp.TCPConnector(limit=1)
        async with session_of(balancer, connector=connector, **own) as session:
            holder = asyncio.ensure_future(session.get(url))  # which is not balanced
            await arrived.wait()
            for _ in range(3):
                with pytest.raises(aiohttp.ConnectionTimeoutError):
                    await session.get("http://inventory/")
            with deadline(0.2), pytest.raises(TooLate):
                await session.get("http://inventory/", timeout=aiohttp.ClientTimeout())
            gate.set()
            (await holder).release()
            assert faults == ["application"] * 3 + ["deadline"]
            assert state_of(balancer)[0]["state"] == "up"
            async with session.get("http://inventory/") as response:
                assert response.status == 200
