"""What type checkers must make of the public names. Never run: `mypy --strict` and `pyright` read it.

`assert_type` fails where an inferred type is another; a `type: ignore` that is not needed fails too.
"""

import functools
import random
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, assert_type

import httpx
import httpx2
import tenacity

from balancemw import (
    Attempt,
    BalanceError,
    Balancer,
    BalancerNotConfigured,
    DeadlineExceeded,
    Event,
    Node,
    NoNodeAvailable,
    RetryPolicy,
    Service,
    Settings,
    SettingsError,
    UnknownService,
    balanced,
    configure,
    deadline,
    remaining,
)
from balancemw_httpx import AsyncBalancedTransport, BalancedTransport, NoNode, TooLate

settings: Mapping[str, object] = {"services": {"inventory": {"nodes": ["http://a:1"]}}}
balancer = Balancer(settings, clock=time.monotonic, rng=random.Random(), sleep=time.sleep)
assert_type(Balancer(), Balancer)
assert_type(Balancer("balancemw.toml"), Balancer)
assert_type(Balancer(Settings.load(settings)), Balancer)
assert_type(configure(settings), Balancer)


# -- functions: the node is taken away from the front, everything else stays


@balancer.call("inventory", idempotent=True)
def stock(node: Node, sku: str, *, depot: int = 0) -> float:
    return len(node.url) + len(sku) + depot


@balanced("inventory", timeout=2.0, attempts=2)
def late(node: Node, sku: str) -> bytes:
    return node.url.encode() + sku.encode()


@balanced("inventory", retry=RetryPolicy(stop=tenacity.stop_after_delay(5), wait=tenacity.wait_fixed(1)))
async def fetch(node: Node, sku: str, *, depot: int = 0) -> str:
    return node.url + sku * depot


@balanced("inventory", key=lambda: "customer-7")
def nothing(node: Node) -> None: ...


assert_type(stock("sku-1"), float)
assert_type(stock("sku-1", depot=3), float)
assert_type(late("sku-1"), bytes)
pending: Coroutine[Any, Any, str] = fetch("sku-1", depot=3)
assert_type(nothing(), None)

stock()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
stock(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
stock("sku-1", depto=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def waits() -> None:
    assert_type(await fetch("sku-1"), str)
    async with balancer as entered:
        assert_type(entered, Balancer)
    async for attempt in balancer["inventory"].attempts(idempotent=True):
        assert_type(attempt, Attempt)
        with attempt as node:
            assert_type(node, Node)


# -- methods


class Shop:
    @balancer.call("inventory")
    def stock(self, node: Node, sku: str) -> float:
        return len(node.url) + len(sku)

    @balanced("inventory")
    async def fetch(self, node: Node, sku: str) -> str:
        return node.url + sku

    @staticmethod
    @balanced("inventory")
    def parse(node: Node, text: str) -> int:
        return len(node.url) + len(text)

    @classmethod
    @balanced("inventory")
    def make(cls, node: Node, size: int) -> list[str]:
        return [cls.__name__, node.url] * size


shop = Shop()
assert_type(shop.stock("sku-1"), float)
assert_type(Shop.stock(shop, "sku-1"), float)
pending = shop.fetch("sku-1")
assert_type(shop.parse("text"), int)
assert_type(Shop.parse("text"), int)
assert_type(shop.make(3), list[str])
assert_type(Shop.make(3), list[str])
shop.stock(7)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# -- other things that can be called


class Caller:
    def __call__(self, node: Node, sku: str) -> float:
        return len(node.url) + len(sku)


balanced_object: Callable[[str], float] = balancer.call("inventory")(Caller())
balanced_partial: Callable[[], float] = balancer.call("inventory")(functools.partial(Caller(), sku="sku-1"))


def no_node(sku: str) -> float:
    return len(sku)


balancer.call("inventory")(no_node)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]


# -- attempts


def loop() -> str:
    for attempt in balancer["inventory"].attempts(idempotent=True, key="k", timeout=3, attempts=2):
        assert_type(attempt, Attempt)
        with attempt as node:
            assert_type(node, Node)
            assert_type(attempt.observe("result"), str)
            assert_type(attempt.observe([1]), list[int])
            return attempt.observe(node.url)
    return "observed as failures"


# -- services, nodes, marks


service = balancer["inventory"]
assert_type(service, Service)
assert_type(balancer.services, Mapping[str, Service])
assert_type(service.name, str)
assert_type(service.nodes, tuple[Node, ...])
assert_type(service.available, tuple[Node, ...])
assert_type(service.pick("key", exclude=[service.nodes[0], "a:1"]), Node)
service.mark("a:1", "weight", reason="half broken", weight=0.5, ttl=60, source="alert")
service.mark(service.nodes[0], "down", reason="maintenance")
service.clear("a:1", source="alert")
service.replace(["http://a:1", {"url": "http://b:1", "weight": 2}, Node("http://c:1")])
service.mark("a:1", "down")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]

node = Node("http://a:1/app", weight=2.0, zone="z", priority=1, metadata={"rack": 7})
assert_type(node.url, str)
assert_type(node.name, str)
assert_type(node.host, str)
assert_type(node.port, int)
assert_type(node.weight, float)
assert_type(node.zone, str)
assert_type(node.priority, int)
assert_type(node.metadata, Mapping[str, object])
node.url = "http://b:1"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


# -- the rest


def listener(event: Event) -> None:
    assert_type(event.time, float)
    assert_type(event.node, str | None)


unsubscribe = balancer.subscribe(listener)
assert_type(unsubscribe, Callable[[], None])
assert_type(balancer.status(), dict[str, object])
assert_type(balancer.start(), None)
assert_type(balancer.close(), None)
with balancer as entered, deadline(2.0):
    assert_type(entered, Balancer)
    assert_type(remaining(), float | None)

errors: Iterable[type[BalanceError]] = [
    BalancerNotConfigured,
    DeadlineExceeded,
    NoNodeAvailable,
    SettingsError,
    UnknownService,
]
value_errors: list[type[ValueError]] = [SettingsError]
timeouts: list[type[TimeoutError]] = [DeadlineExceeded]


# -- httpx and httpx2: one transport is what the clients of both take, and our errors are both libraries' own

transport = BalancedTransport(balancer, key=lambda request: request.headers.get("x-customer"), http2=False)
async_transport = AsyncBalancedTransport(balancer)
httpx.Client(transport=transport, mounts={"all://inventory": transport})
httpx2.Client(transport=transport, mounts={"all://inventory": transport})
httpx.AsyncClient(transport=async_transport)
httpx2.AsyncClient(transport=async_transport)
httpx.Client(transport=async_transport)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
with transport as entered_transport:
    assert_type(entered_transport, BalancedTransport)
no_connection: list[type[httpx.ConnectError]] = [NoNode]
no_connection_2: list[type[httpx2.ConnectError]] = [NoNode]
too_late: list[type[httpx.TimeoutException]] = [TooLate]
too_late_2: list[type[httpx2.TimeoutException]] = [TooLate]
