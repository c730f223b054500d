"""The first calls of a process: they wait for the first answer of the source, within bounds; event loops never do."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from aiohttp import ClientSession
from httpx import AsyncClient
from requests import Session

from balancemw import Balancer, DeadlineExceeded, Node, NoNodeAvailable, deadline, remaining
from balancemw_aiohttp import balance
from balancemw_httpx import AsyncBalancedTransport
from balancemw_requests import mount
from tests.adapters.scripts import FORK, run_script
from tests.adapters.watching import PATIENCE, Replicas, eventually
from tests.discovery import callables
from tests.engine.clock import FakeClock

A = "http://a:1"
KIND = "tests.discovery.callables:sync"


@pytest.fixture
def answer() -> Iterator[threading.Event]:
    """The source answers when this is set."""
    go_on = threading.Event()
    callables.CALLS.clear()
    callables.DOES["it"] = lambda: go_on.wait(PATIENCE) and [A]
    yield go_on
    go_on.set()
    callables.DOES.clear()


def made(timeout: float = PATIENCE, **service: Any) -> Balancer:
    return Balancer({"services": {"s": {"discovery": {"kind": KIND, "timeout": timeout}, **service}}})


def asked() -> bool:
    return bool(callables.CALLS)


def same(node: Node) -> Node:
    return node


async def same_async(node: Node) -> Node:
    return node


def loop_sync(balancer: Balancer) -> str:
    for attempt in balancer["s"].attempts():
        with attempt as node:
            return node.url
    raise AssertionError


async def loop_async(balancer: Balancer) -> str:
    async for attempt in balancer["s"].attempts():
        with attempt as node:
            return node.url
    raise AssertionError


@pytest.mark.parametrize("way", ["decorated", "loop"])
def test_a_sync_call_waits_for_the_answer(answer: threading.Event, way: str):
    with made() as balancer:
        got: list[str] = []

        def call() -> None:
            got.append(balancer.call("s")(same)().url if way == "decorated" else loop_sync(balancer))

        thread = threading.Thread(target=call)
        thread.start()
        eventually(asked)
        answer.set()
        thread.join(PATIENCE)
        assert got == [A]


@pytest.mark.parametrize("way", ["decorated", "loop"])
def test_an_async_call_waits_without_blocking_its_loop(answer: threading.Event, way: str):
    async def work(balancer: Balancer) -> str:
        call = (await_url(balancer)) if way == "decorated" else loop_async(balancer)
        task = asyncio.create_task(call)
        while not asked():
            await asyncio.sleep(0.001)  # the loop is free to do this
        answer.set()
        return await task

    async def await_url(balancer: Balancer) -> str:
        node: Node = await balancer.call("s")(same_async)()
        return node.url

    with made() as balancer:
        assert asyncio.run(work(balancer)) == A


def test_a_sync_call_on_an_event_loop_fails_at_once(answer: threading.Event):
    async def work(balancer: Balancer) -> None:
        with pytest.raises(NoNodeAvailable, match="has not answered yet"):
            balancer.call("s")(same)()

    with made() as balancer:
        asyncio.run(work(balancer))


@pytest.mark.parametrize("bound", ["source", "call", "block"])
def test_the_wait_is_bounded_by_source_call_and_block(answer: threading.Event, bound: str):
    with made(0.05 if bound == "source" else PATIENCE) as balancer:
        call = balancer.call("s", timeout=0.05 if bound == "call" else None)(same)
        with pytest.raises((NoNodeAvailable, DeadlineExceeded)), deadline(0.05 if bound == "block" else PATIENCE):
            call()


def test_the_wait_counts_towards_the_time_of_the_call():
    callables.DOES["it"] = lambda: time.sleep(0.05) or [A]
    balancer = made()
    left: Any = balancer.call("s", timeout=9.0)(lambda _node: remaining())()
    balancer.close()
    assert 0 < left < 9.0 - 0.04


def test_once_the_source_has_failed_calls_fail_at_once_and_say_why(answer: threading.Event):
    def fail() -> None:
        raise LookupError("away")

    callables.DOES["it"] = fail
    with made() as balancer:
        for _ in range(2):
            with pytest.raises(NoNodeAvailable, match=r"callables:sync: LookupError: away"):
                balancer.call("s")(same)()


def test_after_close_nobody_waits(answer: threading.Event):
    balancer = made()
    balancer.close()
    with pytest.raises(NoNodeAvailable, match="has not answered yet"):
        balancer.call("s")(same)()
    assert not asked()
    answer.set()
    with balancer:
        assert balancer.call("s")(same)().url == A


def test_a_pick_does_not_wait_but_begins_to_look(answer: threading.Event):
    balancer = made()
    with pytest.raises(NoNodeAvailable):
        balancer["s"].pick()
    eventually(asked)
    answer.set()
    eventually(lambda: balancer["s"].available)
    balancer.close()


def test_nothing_is_asked_before_the_first_call(answer: threading.Event):
    answer.set()
    balancer = made()
    time.sleep(0)
    assert not asked()
    assert balancer["s"].nodes == ()
    assert balancer.call("s")(same)().url == A
    balancer.close()


def test_on_a_clock_that_stands_still_the_wait_goes_by_it(answer: threading.Event):
    clock = FakeClock()
    settings = {"services": {"s": {"discovery": {"kind": KIND, "timeout": PATIENCE}}}}
    balancer = Balancer(settings, clock=clock, sleep=clock.sleep)
    with pytest.raises(NoNodeAvailable):
        balancer.call("s", timeout=0.1)(same)()
    assert clock.now == pytest.approx(1000.1)
    balancer.close()


def test_a_forked_child_asks_for_itself():
    script = """
from tests.discovery import callables as found
watched.close()
balancer = Balancer({"services": {"s": {"discovery": {"kind": "tests.discovery.callables:sync", "interval": 0.01}}}})
found.DOES["it"] = lambda: ["http://a:1"]
call = balancer.call("s")(lambda node: node.url)
"""
    ended = run_script(
        FORK
        + script
        + """
def early():
    assert call() == "http://a:1"
    balancer.close()
child(early)                       # before anything was asked
assert call() == "http://a:1"
def late():
    found.DOES["it"] = lambda: ["http://b:2"]
    assert [node.url for node in balancer["s"].nodes] == ["http://a:1"]  # what was known stays
    eventually(lambda: call() == "http://b:2")
    balancer.close()
child(late)
assert call() == "http://a:1"
balancer.close()
assert not names()
"""
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


async def by_aiohttp(balancer: Balancer) -> str:
    async with ClientSession(middlewares=[balance(balancer)]) as session, session.get("http://s/") as response:
        return await response.text()


async def by_httpx(balancer: Balancer) -> str:
    async with AsyncClient(transport=AsyncBalancedTransport(balancer), timeout=PATIENCE) as client:
        return (await client.get("http://s/")).text


@pytest.mark.parametrize("get", [by_aiohttp, by_httpx])
def test_an_async_client_waits_as_well(
    answer: threading.Event, replicas: Replicas, get: Callable[[Balancer], Coroutine[Any, Any, str]]
):
    (replica,) = replicas(1)
    callables.DOES["it"] = lambda: answer.wait(PATIENCE) and [replica.url]

    async def work(balancer: Balancer) -> str:
        task = asyncio.create_task(get(balancer))
        while not asked():
            await asyncio.sleep(0.001)
        answer.set()
        return await task

    with made() as balancer:
        assert asyncio.run(work(balancer)) == "replica-0"


def test_a_sync_client_waits_as_well(answer: threading.Event, replicas: Replicas):
    (replica,) = replicas(1)
    callables.DOES["it"] = lambda: time.sleep(0.05) or [replica.url]
    with made() as balancer, Session() as session:
        mount(session, balancer)
        assert session.get("http://s/", timeout=PATIENCE).text == "replica-0"
