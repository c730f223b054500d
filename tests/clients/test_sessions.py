"""Sessions, and the connections that they keep."""

import asyncio
import copy
import pickle
import socket
import threading
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha1
from typing import Any

import aiohttp
import pytest

from balancemw import balancer as process
from tests.clients.conduct import answer, depending, says
from tests.clients.preserves import ASYNC, HTTPX, SYNC, preserves
from tests.clients.replica import Peer, Request
from tests.clients.site import SERVICE, Site


@preserves("a connection is used again")
def test_kept(site: Site) -> None:
    session = site.session()
    for method in ("GET", "POST", "HEAD", "PUT", "OPTIONS"):
        session.request(method, "/a")
    assert {request.connection for request in site.replica.requests} == {1}


@preserves("a connection is used again")
def test_kept_after_a_stream(site: Site) -> None:
    session = site.session()
    with session.stream("GET", "/a") as stream:
        assert stream.read() == b"ok"
    session.get("/b")
    assert {request.connection for request in site.replica.requests} == {1}


@preserves("a connection is used again")
def test_a_connection_that_the_replica_has_closed_meanwhile(site: Site) -> None:
    closed = threading.Event()

    def last_one(peer: Peer, request: Request) -> None:
        answer(200, b"last")(peer, request)
        peer.socket.shutdown(socket.SHUT_WR)  # without having said so
        closed.set()
        peer.finish()

    site.replica.on("/a", last_one)
    session = site.session()
    assert session.get("/a").content == b"last"
    assert closed.wait(20)
    assert session.get("/b").content == b"ok"
    assert [request.path for request in site.replica.requests] == ["/a", "/b"]


@preserves("a connection is not used again when the replica says so")
def test_not_kept(site: Site) -> None:
    site.replica.on("*", answer(200, b"ok", "Connection: close"))
    session = site.session()
    for _ in range(3):
        assert session.get("/a").content == b"ok"
    assert [request.connection for request in site.replica.requests] == [1, 2, 3]


@preserves("a connection is not used again when the replica says so")
def test_an_old_server(site: Site) -> None:
    site.replica.on("*", says(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold"))
    session = site.session()
    assert [session.get("/a").content for _ in range(2)] == [b"old"] * 2
    assert [request.connection for request in site.replica.requests] == [1, 2]


def echoes(request: Request) -> Any:
    return answer(200, f"{request.method} {request.target} ".encode() + request.body)


@preserves("requests run at once, each with its own answer")
@preserves("one session serves many threads", SYNC)
def test_many_in_threads(site: Site) -> None:
    many_at_once(site)


@preserves("requests run at once, each with its own answer", ASYNC)
def test_many_in_tasks(site: Site) -> None:
    many_at_once(site)


def many_at_once(site: Site) -> None:
    site.replica.on("*", depending(echoes))
    calls = [("POST", f"{site.base}/{number}", {"content": b"x" * number}) for number in range(32)]
    bodies = site.session().together(*calls)
    assert bodies == [f"POST /{number} ".encode() + b"x" * number for number in range(32)]
    assert len(site.replica.requests) == 32


@preserves("the client's own limit of connections holds", ("aiohttp", *HTTPX))
def test_limit(site: Site) -> None:
    lock, open_now, most = threading.Lock(), 0, 0

    def counts(peer: Peer, request: Request) -> None:
        nonlocal open_now, most
        with lock:
            open_now += 1
            most = max(most, open_now)
        peer.listen(request)
        threading.Event().wait(0.005)  # so that others could come, if they may
        with lock:
            open_now -= 1
        answer(200, b"ok")(peer, request)

    site.replica.on("*", counts)
    calls = [("GET", site.base + "/a", {})] * 12
    assert site.session(limit=2).together(*calls) == [b"ok"] * 12
    assert most == 2
    assert len(site.replica.peers) == 2


@preserves("closing the client closes its connections")
def test_closing(site: Site) -> None:
    with site.opened() as session:
        session.get("/a")
        (peer,) = site.replica.peers
        assert not peer.over.is_set()
    assert peer.over.wait(20)


@preserves("a closed client says so", ("aiohttp", *HTTPX))
def test_closed(site: Site) -> None:
    session = site.session()
    session.get("/a")
    session.close()
    with pytest.raises(RuntimeError, match="closed"):
        session.get("/b")
    assert len(site.replica.requests) == 1


@preserves("one balancer serves several event loops", ASYNC)
def test_loops_one_after_the_other(site: Site) -> None:
    balancer = site.balancer() if site.balanced else None
    for _ in range(3):
        with site.opened(balancer) as session:
            assert session.get("/a").content == b"ok"


@preserves("one balancer serves several event loops", ASYNC)
def test_loops_at_once(site: Site) -> None:
    site.replica.on("*", depending(echoes))
    balancer = site.balancer() if site.balanced else None
    ready = threading.Barrier(3, timeout=20)

    def loop(number: int) -> list[Any]:
        with site.opened(balancer) as session:
            ready.wait()
            return session.together(*[("GET", f"{site.base}/{number}/{each}", {}) for each in range(10)])

    with ThreadPoolExecutor(3) as threads:
        results = list(threads.map(loop, range(3)))
    assert results == [[f"GET /{number}/{each} ".encode() for each in range(10)] for number in range(3)]


@preserves("a session can be pickled and copied", ("requests",))
@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda session: pickle.loads(pickle.dumps(session))])
def test_copied(site: Site, how: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a session is unpickled, it takes the balancer that it finds there."""
    site.replica.on("/a", answer(200, b"first", "Set-Cookie: a=1"))
    session = site.session()
    monkeypatch.setattr(process._process, "balancer", site.balancer())
    session.raw.headers["X-A"] = "1"
    session.get("/a")
    with how(session.raw) as copied:
        got = copied.get(site.base + "/b")
    assert (got.content, got.url) == (b"ok", site.base + "/b")
    last = site.replica.last
    assert (last.get("X-A"), last.get("Cookie")) == ("1", "a=1")


@preserves("a response can be pickled", ("requests", *HTTPX))
def test_a_response_pickled(site: Site) -> None:
    site.replica.on("/a", answer(200, b"kept", "X-A: 1"))
    got = site.session().get("/a?x=1").raw
    again = pickle.loads(pickle.dumps(got))
    assert (again.status_code, again.content, again.headers["X-A"]) == (200, b"kept", "1")
    assert again.url == got.url
    assert str(again.request.url) == site.base + "/a?x=1"


def upgrades(peer: Peer, request: Request) -> None:
    """RFC 6455: say hello in one frame, and wait for the client's goodbye."""
    key = request.get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accepted = b64encode(sha1(key.encode()).digest()).decode()
    peer.say(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accepted.encode() + b"\r\n\r\n\x81\x05hello"
    )
    peer.open = False
    peer.socket.recv(2)
    peer.say(b"\x88\x02\x03\xe8")
    peer.drain()


@preserves("websockets are opened through the session", ("aiohttp",))
def test_websocket(site: Site) -> None:
    site.replica.on("/ws", upgrades)
    session = site.session()

    async def talk() -> tuple[str, int | None]:
        async with session.raw.ws_connect(site.base + "/ws") as socket:
            said = await socket.receive_str()
            await socket.close()
            return said, socket.close_code

    assert session.wait(talk()) == ("hello", 1000)
    assert site.replica.last.get("Host") == site.host
    assert len(site.replica.requests) == 1


@preserves("websockets are opened through the session", ("aiohttp",))
def test_websocket_refused(site: Site) -> None:
    site.replica.on("/ws", answer(403, b"no"))
    session = site.session()

    async def talk() -> None:
        async with asyncio.timeout(20), session.raw.ws_connect(site.base + "/ws"):
            raise AssertionError("it was refused")

    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        session.wait(talk())
    assert refused.value.status == 403
    assert SERVICE in str(refused.value)
