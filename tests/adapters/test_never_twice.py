"""What is not idempotent is never sent twice once a byte of it may have reached a replica: counted at the replicas.

Thousands of calls through each client, while replicas reset connections, hang, break answers off and are killed.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from urllib.request import Request, urlopen

import aiohttp
import httpx2
import pytest
import requests

from balancemw import Balancer, Node, remaining
from tests.adapters.replicas import Replica, running

CALLS = 1500
CALLERS = 8

Order = Callable[[str], object]


def settings(replicas: list[Replica]) -> dict[str, object]:
    nodes = [replica.url for replica in replicas]
    ejection = {"base": 0.2, "max": 0.5}
    return {"services": {"orders": {"nodes": nodes, "attempt_timeout": 0.2, "ejection": ejection}}}


@contextmanager
def chaos(replicas: list[Replica]) -> Iterator[None]:
    """One replica after the other goes wrong in one way after the other, for a quarter of a second each."""
    over = threading.Event()

    def rage() -> None:
        turn = 0
        while not over.is_set():
            victim = replicas[turn % len(replicas)]
            wrong = ("reset", "kill", "half", "hang", "kill")[turn % 5]
            getattr(victim, wrong)()
            over.wait(0.25)
            victim.restart() if wrong == "kill" else victim.recover()
            turn += 1

    thread = threading.Thread(target=rage)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def through_urllib(balancer: Balancer) -> Order:
    @balancer.call("orders")
    def order(node: Node, number: str) -> int:
        request = Request(f"{node.url}/?id={number}", data=b"x" * 100, method="POST")
        with urlopen(request, timeout=remaining()) as answer:
            return len(answer.read())

    return order


def through_requests(balancer: Balancer) -> Order:
    of_thread = threading.local()  # a session keeps connections, which a replica's death leaves stale

    @balancer.call("orders")
    def order(node: Node, number: str) -> requests.Response:
        if not hasattr(of_thread, "session"):
            of_thread.session = requests.Session()
        session: requests.Session = of_thread.session
        return session.post(node.url, data=b"x" * 100, headers={"x-id": number}, timeout=remaining())

    return order


def judge(replicas: list[Replica], answered: int) -> None:
    received: Counter[str] = Counter()
    for replica in replicas:
        received += replica.counts()
    assert {number for number, times in received.items() if times > 1} == set()
    assert len(received) >= answered > CALLS / 3
    assert len(received) > CALLS / 2


@pytest.mark.parametrize("client", [through_urllib, through_requests])
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # connections that replicas broke, and sessions of dead threads
def test_no_order_is_received_twice(client: Callable[[Balancer], Order]) -> None:
    with running(3) as replicas, Balancer(settings(replicas)) as balancer:
        order, answered = client(balancer), []

        def place(number: int) -> None:
            with suppress(Exception):
                order(str(number))
                answered.append(number)

        with chaos(replicas), ThreadPoolExecutor(CALLERS) as callers:
            list(callers.map(place, range(CALLS)))
        judge(replicas, len(answered))


async def test_no_order_is_received_twice_through_aiohttp() -> None:
    with running(3) as replicas:
        balancer = Balancer(settings(replicas))
        async with aiohttp.ClientSession() as session:

            @balancer.call("orders")
            async def order(node: Node, number: int) -> int:
                async with session.post(node.url, data=b"x" * 100, headers={"x-id": str(number)}) as answer:
                    return len(await answer.read())

            judge(replicas, await placed(replicas, order))


async def test_no_order_is_received_twice_through_httpx() -> None:
    with running(3) as replicas:
        balancer = Balancer(settings(replicas))
        async with httpx2.AsyncClient(trust_env=False) as session:

            @balancer.call("orders")
            async def order(node: Node, number: int) -> httpx2.Response:
                return await session.post(node.url, content=b"x" * 100, headers={"x-id": str(number)})

            judge(replicas, await placed(replicas, order))


async def placed(replicas: list[Replica], order: Callable[[int], object]) -> int:
    """Place all orders, `CALLERS` at a time; returns how many were answered."""
    numbers, answered = iter(range(CALLS)), 0

    async def caller() -> None:
        nonlocal answered
        for number in numbers:
            with suppress(Exception):
                await order(number)  # type: ignore[misc]
                answered += 1

    with chaos(replicas):
        async with asyncio.TaskGroup() as callers:
            for _ in range(CALLERS):
                callers.create_task(caller())
    return answered
