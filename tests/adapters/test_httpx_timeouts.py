"""Whose time it was that ran out, and what is left behind: nothing."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from balancemw import DeadlineExceeded, deadline
from balancemw.context import REQUEST, Bound
from balancemw.context import Request as Inbound
from balancemw_httpx.timeouts import Timeouts
from tests.adapters.httpx_callers import (
    FLAVOURS,
    Caller,
    Counts,
    Flavour,
    balanced,
    caller,
    connections,
    counts,
    transport_of,
)
from tests.adapters.scripted import Request, answering, hang, reset, scripted
from tests.adapters.watching import eventually

BRIEF = 0.5  # seconds: many times what a try takes that is answered

each = pytest.mark.parametrize("flavour", FLAVOURS, ids=str)
each_async = pytest.mark.parametrize("flavour", [flavour for flavour in FLAVOURS if flavour.is_async], ids=str)


@contextmanager
def full() -> Iterator[str]:
    """The url of a listener that takes no more connections."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        yield f"http://127.0.0.1:{address[1]}"
        for one in waiting:
            one.close()


@each
def test_a_try_that_hangs_is_given_up_and_another_made(flavour: Flavour) -> None:
    with scripted(2) as replicas:
        replicas[0].act = hang
        balancer = balanced(replicas, attempt_timeout=BRIEF)
        with caller(flavour, balancer, timeout=None) as client:
            assert client.get("http://inventory/").status_code == 200
            assert len(connections(client)) == 1
        assert counts(balancer) == Counts(2, 1, 0)


@each
def test_an_order_that_hangs_is_not_sent_again(flavour: Flavour) -> None:
    with scripted(2) as replicas:
        replicas[0].act = hang
        balancer = balanced(replicas, attempt_timeout=BRIEF)
        with caller(flavour, balancer, timeout=None) as client:
            with pytest.raises(flavour.module.ReadTimeout) as caught:
                client.post("http://inventory/", content=b"order")
            assert caught.value.request.url == "http://inventory/"
            assert not isinstance(caught.value, DeadlineExceeded)
            assert connections(client) == []
        assert counts(balancer) == Counts(1, 1, 0)


@each
def test_an_order_that_found_no_connection_in_time_is(flavour: Flavour) -> None:
    with full() as nowhere, scripted() as [replica]:
        balancer = balanced([nowhere, replica], attempt_timeout=BRIEF)
        with caller(flavour, balancer, timeout=None) as client:
            assert client.post("http://inventory/", content=b"order").status_code == 200
        assert counts(balancer) == Counts(2, 1, 0)


@each
def test_the_caller_s_own_timeouts_hold_if_they_are_shorter(flavour: Flavour) -> None:
    with full() as nowhere, scripted() as [replica]:
        replica.act = hang
        module = flavour.module
        for node, timeout, kind in (
            (nowhere, module.Timeout(None, connect=0.05), module.ConnectTimeout),
            (replica.url, module.Timeout(None, read=0.05), module.ReadTimeout),
        ):
            balancer = balanced([node], retry={"attempts": 1})
            with caller(flavour, balancer, timeout=timeout) as client, pytest.raises(kind):
                client.get("http://inventory/")
            assert counts(balancer) == Counts(1, 1, 0)


@each
def test_when_the_whole_call_s_time_is_up_it_is_a_deadline(flavour: Flavour) -> None:
    with scripted(2) as replicas:
        replicas[0].act = replicas[1].act = hang
        balancer = balanced(replicas, timeout=BRIEF)
        with caller(flavour, balancer) as client:
            with pytest.raises(flavour.module.ReadTimeout) as caught:
                client.get("http://inventory/")
            assert isinstance(caught.value, DeadlineExceeded)
            assert isinstance(caught.value.__cause__, flavour.module.TimeoutException | asyncio.CancelledError)
        assert counts(balancer).in_flight == 0
        assert replicas[1].seen == []


@each
def test_a_deadline_around_it_is_told_to_the_replica_and_kept(flavour: Flavour) -> None:
    with scripted() as [replica]:
        replica.act = hang
        with (
            caller(flavour, balanced([replica]), timeout=None) as client,
            deadline(BRIEF),
            pytest.raises(DeadlineExceeded),
        ):
            client.get("http://inventory/")
        eventually(lambda: replica.seen)  # it may still have to read what was given up
        assert 0 < int(replica.seen[0].headers["x-request-timeout-ms"]) <= BRIEF * 1000


@each
def test_a_request_that_is_a_retry_itself_is_not_multiplied(flavour: Flavour) -> None:
    with scripted(2) as replicas, caller(flavour, balanced(replicas)) as client:
        replicas[0].act = reset
        token = REQUEST.set(Inbound(None, retries_allowed=False))
        try:
            with pytest.raises(flavour.module.ReadError):
                client.get("http://inventory/")
        finally:
            REQUEST.reset(token)
        assert replicas[1].seen == []


@each
def test_a_pool_without_a_free_connection_is_no_replica_s_fault(flavour: Flavour) -> None:
    with scripted(2) as replicas:
        balancer = balanced(replicas)
        timeout = flavour.module.Timeout(5.0, pool=0.05)
        limits = flavour.module.Limits(max_connections=1)
        with caller(flavour, balancer, timeout=timeout, limits=limits) as client:
            held = client.open("http://inventory/")
            with pytest.raises(flavour.module.PoolTimeout):
                client.get("http://inventory/")
            assert counts(balancer) == Counts(1, 0, 1)
            client.close(held)
        with caller(flavour, balancer, timeout=None, limits=limits) as client:
            held = client.open("http://inventory/")
            with deadline(BRIEF), pytest.raises(DeadlineExceeded):
                client.get("http://inventory/")
            client.close(held)
        assert counts(balancer) == Counts(4, 0, 0)


def drip(request: Request) -> None:
    """A head without an end, never long enough without a byte for a timeout of reading."""
    request.say("HTTP/1.1 200 OK\r\n")
    while not request.replica.released.wait(0.02):
        request.say("X: y\r\n")


@each_async
def test_what_drips_is_cut_off(flavour: Flavour) -> None:
    with scripted(2) as replicas:
        replicas[0].act = drip
        balancer = balanced(replicas, attempt_timeout=BRIEF)
        with caller(flavour, balancer) as client:
            assert client.get("http://inventory/").status_code == 200
            assert len(connections(client)) == 1
        assert counts(balancer) == Counts(2, 1, 0)


@each_async
def test_what_drips_an_order_is_cut_off_with_the_library_s_error(flavour: Flavour) -> None:
    with scripted() as [replica]:
        replica.act = drip
        balancer = balanced([replica], attempt_timeout=BRIEF)
        late = pytest.raises(flavour.module.ReadTimeout, match=f"no answer from 127.0.0.1:{replica.port} within")
        with caller(flavour, balancer) as client, late:
            client.post("http://inventory/", content=b"order")


@each_async
@pytest.mark.parametrize("reading", [False, True])
def test_cancelled_by_its_caller_it_counts_against_nobody(flavour: Flavour, reading: bool) -> None:
    def stand_still(request: Request) -> None:
        if reading:
            request.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        arrived.set()
        hang(request)

    async def cancelled(client: Any) -> None:
        task = asyncio.create_task(client.get("http://inventory/"))
        await asyncio.to_thread(arrived.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]

    arrived = threading.Event()
    with scripted(2) as replicas:
        replicas[0].act = stand_still
        balancer = balanced(replicas)
        with caller(flavour, balancer) as client:
            client.run(cancelled(client.client))
            assert connections(client) == []
        assert counts(balancer) == Counts(1, 0, 0)
        assert replicas[1].seen == []


@each_async
def test_a_timeout_of_the_caller_s_around_it_is_its_own(flavour: Flavour) -> None:
    async def bounded(client: Any) -> None:
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(BRIEF):
                await client.get("http://inventory/")
        assert type(caught.value) is TimeoutError

    with scripted(2) as replicas:
        replicas[0].act = hang
        balancer = balanced(replicas)
        with caller(flavour, balancer) as client:
            client.run(bounded(client.client))
        assert counts(balancer) == Counts(1, 0, 0)
        assert replicas[1].seen == []


@each
def test_after_many_failures_of_all_kinds_nothing_is_left(flavour: Flavour) -> None:
    def half(request: Request) -> None:
        request.say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of")
        request.close_connection = True

    def close(request: Request) -> None:
        request.close_connection = True

    acts = [reset, half, close, answering(503), answering(500), lambda request: request.say("garbage\r\n\r\n"), hang]
    with scripted(2) as replicas:
        balancer = balanced(replicas, attempt_timeout=0.05, ejection={"consecutive": 0, "success_rate": 0})
        with caller(flavour, balancer, limits=flavour.module.Limits(max_connections=2)) as client:
            for number in range(70):
                replicas[0].plan.append(acts[number % len(acts)])
                try:
                    client.request("GET" if number % 2 else "POST", "http://inventory/", content=b"x")
                except flavour.module.TransportError:
                    pass
                assert counts(balancer).in_flight == 0
            assert len(connections(client)) <= 2


@each
def test_without_limits_there_are_none(flavour: Flavour) -> None:
    with scripted() as [replica]:
        balancer = balanced([replica], timeout=None, attempt_timeout=None)
        with caller(flavour, balancer, timeout=None) as client:
            assert client.get("http://inventory/").status_code == 200
        assert "x-request-timeout-ms" not in replica.seen[0].headers


@each
def test_a_transport_without_a_client_is_bounded_as_well(flavour: Flavour) -> None:
    with scripted() as [replica]:
        replica.act = hang
        balancer = balanced([replica], attempt_timeout=BRIEF, retry={"attempts": 1})
        client = Caller(flavour, transport_of(flavour, balancer))
        transport = client.transport
        handle = transport.handle_async_request if flavour.is_async else transport.handle_request
        request = flavour.module.Request("GET", "http://inventory/")
        with pytest.raises(flavour.module.ReadTimeout):
            client.run(handle(request))
        client.end()


def test_no_operation_may_take_longer_than_what_is_left() -> None:
    now = [0.0]
    timeouts = Timeouts({"connect": 5.0, "read": None})
    assert (timeouts.get("connect"), timeouts.get("read"), timeouts.get("pool", 7)) == (5.0, None, 7)
    timeouts.bound = Bound(10.0, lambda: now[0])
    assert (timeouts.get("connect"), timeouts.get("read"), timeouts.get("pool")) == (5.0, 10.0, 10.0)
    now[0] = 8.0
    assert (timeouts.get("connect"), timeouts.get("read")) == (2.0, 2.0)
    now[0] = 11.0
    assert 0 < timeouts.get("connect") < 0.01
    timeouts.bound = Bound(float("inf"))
    assert (timeouts.get("connect"), timeouts.get("read")) == (5.0, None)
