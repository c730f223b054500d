"""Bodies that flow, in both directions."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.clients.conduct import HALF, answer, chunked, drips
from tests.clients.preserves import ALL, ASYNC, HTTPX, SYNC, balanced_only, only, preserves
from tests.clients.replica import Peer, Request
from tests.clients.site import SERVICE, Site


@preserves("a download flows while it is sent")
def test_download(site: Site) -> None:
    gate = threading.Event()
    site.replica.on("/a", drips(gate, b"first ", b"second"))
    with site.session().stream("GET", "/a") as stream:
        assert stream.answer.status == 200
        assert stream.take(6) == b"first "
        gate.set()
        assert stream.rest() == b"second"


@preserves("text and lines can be read from a stream")
def test_lines(site: Site) -> None:
    site.replica.on("/a", chunked(b"on", b"e\ntw", b"o\nthree", fields=["Content-Type: text/plain; charset=utf-8"]))
    session = site.session()
    with session.stream("GET", "/a") as stream:
        assert list(stream.lines()) == ["one", "two", "three"]
    session.get("/b")
    assert {request.connection for request in site.replica.requests} == {1}


@preserves("text and lines can be read from a stream")
@only("requests", *HTTPX)
def test_text(site: Site) -> None:
    site.replica.on(
        "/a", chunked("grü".encode()[:3], "grü".encode()[3:], fields=["Content-Type: text/plain; charset=utf-8"])
    )
    with site.session().stream("GET", "/a") as stream:
        if site.driver.name == "requests":
            text = stream.raw.iter_content(1, decode_unicode=True)
        else:
            text = stream.each(stream.raw.aiter_text() if site.driver.asynchronous else stream.raw.iter_text())
        assert "".join(text) == "grü"


@preserves("a download flows while it is sent")
@only("requests")
def test_the_raw_file(site: Site) -> None:
    site.replica.on("/a", answer(200, b"0123456789"))
    with site.session().stream("GET", "/a") as stream:
        assert [stream.raw.raw.read(4), stream.raw.raw.read(4), stream.raw.raw.read(4)] == [b"0123", b"4567", b"89"]


@preserves("a download flows while it is sent")
@only("aiohttp")
def test_the_stream_reader(site: Site) -> None:
    site.replica.on("/a", answer(200, b"0123456789"))
    with site.session().stream("GET", "/a") as stream:
        content = stream.raw.content
        wait = stream.session.wait
        assert [wait(content.readexactly(4)), wait(content.read(3)), wait(content.read())] == [b"0123", b"456", b"789"]
        assert content.at_eof()


def leaves(left: threading.Event, first: bytes) -> object:
    """Send the first part, then nothing; tell when the client has closed."""

    def conduct(peer: Peer, request: Request) -> None:
        peer.listen(request)
        peer.say(first)
        peer.open = False
        peer.drain()
        left.set()

    return conduct


@preserves("a stream that is closed early closes its connection")
def test_closed_early(site: Site) -> None:
    left = threading.Event()
    site.replica.on("/a", leaves(left, HALF))
    session = site.session()
    with session.stream("GET", "/a") as stream:
        assert stream.take(10) == b"half of it"
    assert left.wait(20)
    assert session.get("/b").content == b"ok"


@preserves("a stream that is closed early closes its connection")
def test_closed_unread(site: Site) -> None:
    left = threading.Event()
    site.replica.on("/a", leaves(left, HALF[: HALF.index(b"half")]))
    with site.session().stream("GET", "/a") as stream:
        assert stream.answer.status == 200
    assert left.wait(20)


@only(*ALL)
@balanced_only
def test_a_stream_is_in_flight_until_it_ends(site: Site) -> None:
    gate = threading.Event()
    site.replica.on("/a", drips(gate, b"first ", b"second"))
    balancer = site.balancer()
    with site.opened(balancer) as session:

        def in_flight() -> int:
            return balancer.status()["services"][SERVICE]["nodes"][0]["in_flight"]  # type: ignore[index]

        with session.stream("GET", "/a") as stream:
            assert in_flight() == 1
            gate.set()
            assert stream.read() == b"first second"
            assert in_flight() == 0
        site.replica.on("/a", leaves(threading.Event(), HALF))
        with session.stream("GET", "/a"):
            assert in_flight() == 1
        assert in_flight() == 0


@only(*ALL)
@balanced_only
def test_a_body_may_take_longer_than_an_attempt(site: Site) -> None:
    """The time of an attempt is for the answer to begin."""
    site.serve(SERVICE, site.replica, attempt_timeout=0.5, timeout=0.5)
    gate = threading.Event()
    site.replica.on("/a", drips(gate, b"first ", b"second"))
    with site.session().stream("GET", "/a") as stream:
        assert stream.take(6) == b"first "
        time.sleep(0.6)
        gate.set()
        assert stream.rest() == b"second"


def reads_first(received: threading.Event) -> object:
    def conduct(peer: Peer, request: Request) -> None:
        request.body += peer.chunk()
        received.set()
        answer(200, b"done")(peer, request)

    return conduct


@preserves("an upload flows while it is made", ASYNC)
def test_upload_async(site: Site) -> None:
    received = threading.Event()

    async def parts() -> AsyncIterator[bytes]:
        yield b"first "
        assert await asyncio.to_thread(received.wait, 20)
        yield b"second"

    site.replica.on("/a", reads_first(received))
    got = site.session().post("/a", content=parts())
    assert (got.content, site.replica.last.body) == (b"done", b"first second")
    assert site.replica.last.get("Transfer-Encoding") == "chunked"


@preserves("an upload flows while it is made", SYNC)
def test_upload(site: Site) -> None:
    received = threading.Event()

    def parts() -> Iterator[bytes]:
        yield b"first "
        assert received.wait(20)
        yield b"second"

    site.replica.on("/a", reads_first(received))
    got = site.session().post("/a", content=parts())
    assert (got.content, site.replica.last.body) == (b"done", b"first second")
    assert site.replica.last.get("Transfer-Encoding") == "chunked"


@preserves("an upload flows while it is made")
@pytest.mark.parametrize("where", ["at once", "later"])
def test_a_generator_that_fails(site: Site, where: str) -> None:
    """The error is the caller's own, and no replica takes half a body for a whole one."""

    def parts() -> Iterator[bytes]:
        if where == "later":
            yield b"first"
        raise LookupError("no more stock")

    async def parts_async() -> AsyncIterator[bytes]:
        for part in parts():
            yield part

    kind = site.driver.errors.root if site.driver.name == "aiohttp" else LookupError
    with pytest.raises(kind):
        site.session().post("/a", content=parts_async() if site.driver.asynchronous else parts())
    assert not any(request.complete for request in site.replica.requests)
    assert len(site.replica.requests) <= 1
