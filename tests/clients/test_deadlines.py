"""What is around a call bounds how long its answer is read: a `deadline` block, or an inbound request's deadline."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

import pytest

import balancemw_aiohttp
import balancemw_httpx
import balancemw_requests
from balancemw import Balancer, DeadlineExceeded, deadline
from balancemw.context import BOUND, Request
from balancemw.inbound import conclude
from tests.clients.conduct import answer, drips
from tests.clients.drivers.common import Session
from tests.clients.preserves import ALL, balanced_only, only
from tests.clients.replica import Conduct, Peer
from tests.clients.replica import Request as Asked
from tests.clients.site import SERVICE, Site

SOON = 0.6
FOREVER = 20.0  # more than any of these may take


def goes_on(first: bytes, more: bytes, gone: threading.Event) -> Conduct:
    """Say the first, and the rest again and again, as long as there is any and the client listens."""

    def conduct(peer: Peer, request: Asked) -> None:
        peer.listen(request)
        peer.open = False
        try:
            peer.say(first)
            until = time.monotonic() + FOREVER
            while more and time.monotonic() < until:
                peer.say(more)
                time.sleep(0.02)
            peer.drain()
        finally:
            gone.set()

    return conduct


BODIES = {
    "hangs": (b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\nhalf", b""),
    "drips": (b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\nhalf", b"x"),
    "drips in a chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3000\r\n", b"x"),
    "drips a chunk's size": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"0"),
    "ends with its connection": (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf", b"x"),
    "has events": (b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n", b"data: x\n\n"),
    "is that of a failure": (b"HTTP/1.1 503 Busy\r\nContent-Length: 90000\r\n\r\nhalf", b"x"),
}


def late_errors(site: Site) -> tuple[type[BaseException], ...]:
    """What it is, beside ours."""
    own = {"aiohttp": balancemw_aiohttp.TooLate, "requests": balancemw_requests.TooLate}
    return own.get(site.driver.name, balancemw_httpx.TooLate), site.driver.errors.root, DeadlineExceeded


@contextmanager
def watched(site: Site) -> Iterator[tuple[Session, list[str | None], Balancer]]:
    """A session, and the faults that it has met with."""
    balancer, faults = site.balancer(), list[str | None]()
    balancer.subscribe(lambda event: faults.append(event.fault) if event.event == "failed" else None)
    with site.opened(balancer) as session:
        yield session, faults, balancer


def outcomes(session: Session) -> list[Any]:
    """Of a POST for each of the bodies, all at once and all within the deadline."""
    urls = [session.place(f"/{number}") for number in range(len(BODIES))]
    if session.driver.asynchronous:
        with deadline(SOON):
            return session.together(*(("POST", url, {}) for url in urls))

    def outcome(url: str) -> Any:
        try:
            return session.post(url)
        except Exception as error:
            return error

    with deadline(SOON), ThreadPoolExecutor(len(urls)) as threads:
        runs = [threads.submit(copy_context().run, outcome, url) for url in urls]
    return [run.result() for run in runs]


@only(*ALL)
@balanced_only
def test_bodies_are_broken_off_when_the_time_around_them_is_up(site: Site) -> None:
    gone = [threading.Event() for _ in BODIES]
    for number, body in enumerate(BODIES.values()):
        site.replica.on(f"/{number}", goes_on(*body, gone[number]))
    with watched(site) as (session, faults, balancer):
        assert session.get("/before").content == b"ok"
        errors = dict(zip(BODIES, outcomes(session), strict=True))
        for kind in late_errors(site):
            assert all(isinstance(error, kind) for error in errors.values()), errors
        assert {str(error) for error in errors.values()} == {"the time to call service 'inventory' is up"}
        assert all(event.wait(FOREVER) for event in gone)  # the connections have been closed
        assert sorted(map(str, faults)) == ["deadline"] * (len(BODIES) - 2) + ["unavailable"]  # events have no end
        (node,) = balancer.status()["services"][SERVICE]["nodes"]  # type: ignore[index]
        assert (node["state"], node["in_flight"]) == ("up", 0)
        assert session.post("/after").content == b"ok"
    assert len(site.replica.requests) == len(BODIES) + 2


@only(*ALL)
@balanced_only
def test_what_was_asked_for_inside_is_bounded_where_it_is_read(site: Site) -> None:
    gone = threading.Event()
    site.replica.on("/a", goes_on(*BODIES["drips"], gone))
    with watched(site) as (session, faults, _):
        with deadline(SOON):
            stream = session.stream("GET", "/a")
            opened = stream.__enter__()
        try:
            assert opened.take(4)[:4] == b"half"
            with pytest.raises(DeadlineExceeded):
                opened.rest()
        finally:
            stream.__exit__(None, None, None)
        assert gone.wait(FOREVER)
        assert faults == ["deadline"]


@only(*ALL)
@balanced_only
def test_what_ends_in_time_is_left_alone(site: Site) -> None:
    """Its connection serves again, also while the time of the former request runs out."""
    gate = threading.Event()
    site.replica.on("/a", drips(gate, b"first ", b"second"))
    session = site.session()
    with deadline(SOON):
        with session.stream("GET", "/a") as stream:
            assert stream.take(6) == b"first "
            gate.set()
            assert stream.rest() == b"second"
        for body in (b"x" * 200_000, b"", b"ok"):
            site.replica.on("/c", answer(200, body))
            assert session.get("/c").content == body
    gate = threading.Event()
    site.replica.on("/d", drips(gate, b"first ", b"second"))
    with session.stream("GET", "/d") as stream:
        assert stream.take(6) == b"first "
        time.sleep(SOON * 1.5)
        gate.set()
        assert stream.rest() == b"second"
    assert {request.connection for request in site.replica.requests} == {1}


@only(*ALL)
@balanced_only
def test_what_is_closed_before_its_time_is_up_is_no_failure(site: Site) -> None:
    gone = threading.Event()
    site.replica.on("/a", goes_on(*BODIES["drips"], gone))
    with watched(site) as (session, faults, _):
        with deadline(SOON), session.stream("GET", "/a") as stream:
            assert stream.take(4)[:4] == b"half"
        assert gone.wait(FOREVER)
        time.sleep(SOON)
        assert session.get("/b").content == b"ok"
        assert faults == []


@only(*ALL)
@balanced_only
def test_what_goes_on_after_the_request_has_been_answered_has_the_time_that_it_needs(site: Site) -> None:
    request = Request(None, until=time.monotonic() + SOON)

    def takes_its_time(peer: Peer, asked: Asked) -> None:
        peer.listen(asked)
        peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\nfirst ")
        for _ in range(6):
            time.sleep(SOON / 4)
            peer.say(b"xy")

    site.replica.on("/a", takes_its_time)
    session = site.session()
    token = BOUND.set(request)
    try:
        with session.stream("GET", "/a") as stream:
            assert stream.take(6) == b"first "
            conclude(request)
            assert stream.rest() == b"xy" * 6
    finally:
        BOUND.reset(token)
