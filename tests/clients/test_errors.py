"""What goes wrong is told in the client's own exceptions."""

import socket
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import aiohttp
import pytest
import requests

from tests.clients.conduct import (
    HALF,
    answer,
    breaks_off,
    chunked,
    closes,
    drips,
    hangs,
    resets_after,
    resets_at_once,
    says,
    talks_nonsense,
)
from tests.clients.drivers.common import Times
from tests.clients.preserves import ALL, HTTPX, balanced_only, only, preserves
from tests.clients.replica import Conduct, Peer, Request
from tests.clients.site import SERVICE, Address, Site


@pytest.fixture
def full() -> Iterator[Address]:
    """A port where connections are not taken any more."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        try:
            yield Address(listener.getsockname()[1])
        finally:
            for one in waiting:
                one.close()


@preserves("nobody listens: the client's own exception")
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_refused(site: Site, closed: Address, method: str) -> None:
    site.serve(SERVICE, closed)
    with pytest.raises(site.driver.errors.refused) as failed:
        site.session().request(method, site.url_of(SERVICE, closed) + "/a")
    assert_asked(site, failed.value, site.url_of(SERVICE, closed) + "/a")


def assert_asked(site: Site, error: Any, url: str) -> None:
    """The exception knows the request that the caller made, where the client's exceptions do."""
    if site.driver.name != "aiohttp":
        assert str(error.request.url) == url


@preserves("no connection in time: the client's own exception")
def test_no_connection(site: Site, full: Address) -> None:
    site.serve(SERVICE, full)
    with pytest.raises(site.driver.errors.connect_timeout):
        site.session().post(site.url_of(SERVICE, full) + "/a", times=Times(connect=0.1))


@preserves("no answer in time: the client's own exception")
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_answer(site: Site, method: str) -> None:
    site.replica.on("/a", hangs)
    with pytest.raises(site.driver.errors.read_timeout) as failed:
        site.session().request(method, "/a", times=Times(read=0.1))
    assert_asked(site, failed.value, site.base + "/a")


@preserves("no connection to be had from the pool in time: the client's own exception", ("aiohttp", *HTTPX))
def test_no_connection_from_the_pool(site: Site) -> None:
    gate = threading.Event()
    site.replica.on("/a", drips(gate, b"first ", b"second"))
    session = site.session(limit=1)
    with session.stream("GET", "/a") as stream:
        assert stream.take(6) == b"first "
        with pytest.raises(site.driver.errors.pool_timeout):
            session.post("/b", times=Times(pool=0.1))
        gate.set()
        assert stream.rest() == b"second"
    assert session.post("/b").content == b"ok"
    assert len(site.replica.requests) == 2


@preserves("the replica closes or resets instead of answering: the client's own exception")
@pytest.mark.parametrize(
    ("conduct", "kind"), [(closes, "disconnected"), (resets_after, "reset"), (resets_at_once, "lost")]
)
def test_no_answer_at_all(site: Site, conduct: Conduct, kind: str) -> None:
    site.replica.on("/a", conduct)
    session = site.session()
    with pytest.raises(getattr(site.driver.errors, kind)) as failed:
        session.post("/a", content=b"work")
    assert_asked(site, failed.value, site.base + "/a")
    assert len(site.replica.requests) == 1
    assert session.get("/b").content == b"ok"


@preserves("the replica closes or resets instead of answering: the client's own exception")
@pytest.mark.parametrize("conduct", [closes, resets_after])
def test_no_answer_at_all_to_what_may_be_repeated(site: Site, conduct: Conduct) -> None:
    site.replica.on("/a", conduct)
    with pytest.raises(site.driver.errors.lost):
        site.session().get("/a")


@preserves("an answer that is no HTTP: the client's own exception")
def test_nonsense(site: Site) -> None:
    site.replica.on("/a", talks_nonsense)
    session = site.session()
    with pytest.raises(site.driver.errors.nonsense):
        session.post("/a", content=b"work")
    assert len(site.replica.requests) == 1
    assert session.get("/b").content == b"ok"


def breaks_off_with_a_reset(peer: Peer, request: Request) -> None:
    peer.listen(request)
    peer.say(HALF)
    peer.reset()


BROKEN = {
    "short": breaks_off,
    "a chunk": says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe"),
    "between chunks": says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
}


@preserves("a body that breaks off or stalls: the client's own exception")
@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_broken_off(site: Site, how: str, method: str) -> None:
    site.replica.on("/a", BROKEN[how])
    session = site.session()
    noticed = site.driver.counts_bytes or how != "short"
    with pytest.raises(site.driver.errors.broken_body) if noticed else nullcontext():
        session.request(method, "/a")
    assert len(site.replica.requests) == 1
    assert session.get("/b").content == b"ok"


@preserves("a body that breaks off or stalls: the client's own exception")
def test_reset_in_the_body(site: Site) -> None:
    site.replica.on("/a", breaks_off_with_a_reset)
    with pytest.raises(site.driver.errors.lost):
        site.session().get("/a")


@preserves("a body that breaks off or stalls: the client's own exception")
def test_stalled(site: Site) -> None:
    gate = threading.Event()
    site.replica.on("/a", drips(gate, b"half", b"more"))
    with (
        site.session().stream("GET", "/a", times=Times(read=0.5)) as stream,
        pytest.raises(site.driver.errors.reading_timeout),
    ):
        stream.read()
    gate.set()
    assert len(site.replica.requests) == 1


@preserves("a body that is not what its header says: the client's own exception")
def test_not_zipped(site: Site) -> None:
    site.replica.on("/a", answer(200, b"no gzip at all", "Content-Encoding: gzip"))
    with pytest.raises(site.driver.errors.decoding):
        site.session().get("/a")
    assert len(site.replica.requests) == 1


@only(*ALL)
@balanced_only
@pytest.mark.parametrize("conduct", [breaks_off_with_a_reset, BROKEN["a chunk"], BROKEN["between chunks"]])
def test_a_body_that_breaks_off_counts_against_the_node(site: Site, conduct: Conduct) -> None:
    site.replica.on("/a", conduct)
    balancer = site.balancer()
    with site.opened(balancer) as session, pytest.raises(site.driver.errors.root):
        session.get("/a")
    node = balancer.status()["services"][SERVICE]["nodes"][0]  # type: ignore[index]
    assert (node["calls"], node["failures"], node["in_flight"]) == (1, 1, 0)


NO_URLS = {
    "no host": ("http://", {"requests": requests.exceptions.InvalidURL, "aiohttp": aiohttp.InvalidURL}),
    "no such port": (
        "http://inventory:http/a",
        {"requests": requests.exceptions.InvalidURL, "aiohttp": aiohttp.InvalidURL},
    ),
    "no scheme": ("inventory/a", {"requests": requests.exceptions.MissingSchema, "aiohttp": aiohttp.InvalidURL}),
    "another scheme": (
        "gopher://inventory/a",
        {"requests": requests.exceptions.InvalidSchema, "aiohttp": aiohttp.NonHttpUrlClientError},
    ),
}


@preserves("a url that is none: the client's own exception")
@pytest.mark.parametrize("what", NO_URLS)
def test_no_url(site: Site, what: str) -> None:
    url, kinds = NO_URLS[what]
    if site.driver.name in HTTPX:
        module = site.driver.module
        kind = module.InvalidURL if what == "no such port" else module.UnsupportedProtocol
    else:
        kind = kinds[site.driver.name]
    with pytest.raises(kind):
        site.session().get(url)
    assert site.replica.requests == []


@preserves("chunked bodies are put together")
def test_a_chunk_that_is_none(site: Site) -> None:
    bad = says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhe\r\n")
    site.replica.on("/a", chunked(b"fine"), bad)
    session = site.session()
    assert session.get("/a").content == b"fine"
    with pytest.raises(site.driver.errors.root):
        session.get("/a")
