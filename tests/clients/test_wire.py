"""Byte for byte: what a replica receives through an adapter is what it receives without one."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from tests.clients.conduct import answer, redirect
from tests.clients.drivers.common import Session
from tests.clients.preserves import ALL, balanced_only, only
from tests.clients.replica import Replica, Request, serving
from tests.clients.site import SERVICE, Site

# What an adapter adds to a request, and nothing else.
ADDED = (b"x-request-timeout-ms", b"x-envoy-attempt-count")

EXCHANGES: dict[str, Callable[[Session, str], object]] = {
    "get": lambda session, base: session.get(base + "/a"),
    "headers": lambda session, base: session.get(base + "/a", headers={"X-B": "1", "x-A": "2", "Accept": "text/plain"}),
    "parameters": lambda session, base: session.get(base + "/a%2Fb", params={"q": "a b&c", "n": "1"}),
    "bytes": lambda session, base: session.post(base + "/a", content=b"work"),
    "nothing": lambda session, base: session.post(base + "/a"),
    "text": lambda session, base: session.request("PUT", base + "/a", content="green"),
    "json": lambda session, base: session.post(base + "/a", json={"price": "42 €"}),
    "form": lambda session, base: session.post(base + "/a", data={"name": "joe", "q": "a b&c"}),
    "delete": lambda session, base: session.request("DELETE", base + "/a"),
    "head": lambda session, base: session.request("HEAD", base + "/a"),
    "user": lambda session, base: session.get(base.replace("://", "://joe:s3cret@") + "/a"),
    "redirects": lambda session, base: session.post(base + "/r307", content=b"work"),
    "rewriting": lambda session, base: session.post(base + "/r303", content=b"work"),
    "cookies": lambda session, base: [session.get(base + "/cookie"), session.get(base + "/a")],
}


def heads(requests: list[Request]) -> Iterator[bytes]:
    for request in requests:
        lines = request.head.split(b"\r\n")
        yield b"\r\n".join(line for line in lines if line.partition(b":")[0].lower() not in ADDED)
        yield request.body


def received(site: Site, base: str, exchange: Callable[[Session, str], object]) -> list[bytes]:
    site.replica.on("/r307", redirect("/a", 307))
    site.replica.on("/r303", redirect(f"{base}/a", 303))
    site.replica.on("/cookie", answer(200, b"", "Set-Cookie: a=1", "Set-Cookie: b=2"))
    site.replica.requests.clear()
    with site.opened() as session:
        exchange(session, base)
    return list(heads(site.replica.requests))


@only(*ALL)
@balanced_only
@pytest.mark.parametrize("what", EXCHANGES)
def test_same(site: Site, what: str) -> None:
    base = f"http://{SERVICE}:{site.replica.port}"
    through = received(site, base, EXCHANGES[what])
    assert all(request.get("x-envoy-attempt-count") == "1" for request in site.replica.requests)
    assert all(int(request.get("x-request-timeout-ms")) in range(1, 20_001) for request in site.replica.requests)
    with ExitStack() as stack:
        plain = replace(site, balanced=False, stack=stack, balancers=[])
        plain.serve(SERVICE, site.replica)
        assert through == received(plain, base, EXCHANGES[what])


@pytest.fixture
def second() -> Iterator[Replica]:
    with serving(answer(200, b"second")) as second:
        yield second


@only(*ALL)
@balanced_only
@pytest.mark.parametrize("what", ["get", "headers", "bytes", "json", "form", "user"])
def test_same_at_the_second_try(site: Site, second: Replica, what: str) -> None:
    """But for the count, and the time that is left."""
    site.replica.on("*", answer(503, b"busy"))
    site.serve(SERVICE, site.replica, {"url": second.url, "priority": 1})
    with site.opened() as session:
        keep = {"headers": {"Idempotency-Key": "1"}} if what in ("bytes", "json", "form") else {}
        send(session, site.base, what, keep)
    first, again = site.replica.requests[0], second.requests[0]
    assert list(heads([first])) == list(heads([again]))
    assert (first.get("x-envoy-attempt-count"), again.get("x-envoy-attempt-count")) == ("1", "2")


def send(session: Session, base: str, what: str, options: dict[str, Any]) -> None:
    bodies = {"bytes": {"content": b"work"}, "json": {"json": {"a": 1}}, "form": {"data": {"a": "1"}}}
    if what in bodies:
        session.post(base + "/a", **bodies[what], **options)
    else:
        EXCHANGES[what](session, base)
