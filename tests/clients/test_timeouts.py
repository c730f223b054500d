"""Time is the caller's: its own forms of it, and nothing is sent when it is up."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import pytest
import urllib3

from tests.adapters.watching import eventually
from tests.clients.conduct import answer, hangs, waits
from tests.clients.drivers.common import Times
from tests.clients.preserves import ASYNC, HTTPX, SYNC, balanced_only, only, preserves
from tests.clients.replica import Peer, Replica, Request, serving
from tests.clients.site import SERVICE, Site

SHORT = 0.1
WHOLE = 0.5
"""Longer, where it bounds also what comes before the answer: it must not be over before the request has arrived."""


def forms(site: Site) -> dict[str, Any]:
    """The same bound on reading, in every form that the client takes."""
    if site.driver.name == "aiohttp":
        return {"an object": aiohttp.ClientTimeout(sock_read=SHORT), "total": aiohttp.ClientTimeout(total=WHOLE)}
    if site.driver.name == "requests":
        return {
            "a number": SHORT,
            "a pair": (20, SHORT),
            "half a pair": (None, SHORT),
            "an object": urllib3.Timeout(connect=20, read=SHORT),
        }
    timeout = site.driver.module.Timeout
    return {"a number": SHORT, "a tuple": (20, SHORT, 20, 20), "an object": timeout(20, read=SHORT)}


FORMS = {
    "aiohttp": ("an object", "total"),
    "requests": ("a number", "a pair", "half a pair", "an object"),
    **dict.fromkeys(HTTPX, ("a number", "a tuple", "an object")),
}


def check_sent(site: Site, *paths: str) -> None:
    """These were sent, each once: where a client has given up, the replica may have its turn to read only now."""
    eventually(lambda: len(site.replica.requests) >= len(paths))
    assert sorted(request.path for request in site.replica.requests) == sorted(paths)


def expected(site: Site, form: str) -> type[BaseException]:
    return TimeoutError if form == "total" else site.driver.errors.read_timeout


@preserves("a timeout of the request, in every form that the client takes")
@preserves("no answer in time: the client's own exception")
@pytest.mark.parametrize("form", sorted({form for forms in FORMS.values() for form in forms}))
def test_of_the_request(site: Site, form: str) -> None:
    site.replica.on("/a", hangs)
    session = site.session()
    if form not in FORMS[site.driver.name]:
        assert form not in forms(site)
        return
    with pytest.raises(expected(site, form)):
        session.post("/a", times=None, timeout=forms(site)[form])
    check_sent(site, "/a")
    assert session.post("/b").content == b"ok"


@preserves("a timeout of the session", ("aiohttp", *HTTPX))
def test_of_the_session(site: Site) -> None:
    site.replica.on("/a", hangs)
    for form in FORMS[site.driver.name]:
        with site.opened(timeout=forms(site)[form]) as session, pytest.raises(expected(site, form)):
            session.post("/a", times=None)
    check_sent(site, *(["/a"] * len(FORMS[site.driver.name])))


@preserves("a timeout of the request, in every form that the client takes")
def test_none(site: Site) -> None:
    gate = threading.Event()
    site.replica.on("/a", waits(gate, answer(200, b"at last")))
    own = {"timeout": aiohttp.ClientTimeout() if site.driver.name == "aiohttp" else None}
    timer = threading.Timer(0.05, gate.set)
    timer.start()
    assert site.session().get("/a", times=None, **own).content == b"at last"
    timer.join()


@preserves("a timeout of the request, in every form that the client takes")
@only("requests", *HTTPX)
def test_the_request_is_shown_with_the_time_that_it_was_given(site: Site) -> None:
    got = site.session().get("/a", times=None, timeout=7)
    if site.driver.name in HTTPX:
        assert got.raw.request.extensions["timeout"] == dict.fromkeys(("connect", "read", "write", "pool"), 7)


@pytest.fixture
def spare(site: Site) -> Iterator[Replica]:
    """A second replica, which gets what the first one does not answer."""
    with serving(answer(200, b"spare")) as spare:
        site.serve(SERVICE, site.replica, {"url": spare.url, "priority": 1})
        yield spare


@preserves("the total time is one for the whole call, and nothing is sent after it", ("aiohttp",))
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_total(site: Site, spare: Replica, method: str) -> None:
    site.replica.on("/a", hangs)
    session = site.session()
    with pytest.raises(TimeoutError):
        session.request(method, "/a", times=None, timeout=aiohttp.ClientTimeout(total=WHOLE))
    session.get("/b")  # whatever had been sent meanwhile would have come before this
    check_sent(site, "/a", "/b")
    assert spare.requests == []


def cancelling(session: Any, site: Site, reached: Callable[[], bool]) -> BaseException | None:
    """Start a request, cancel it when the replica has been reached, and return what came of it."""

    async def run() -> BaseException | None:
        send = site.driver.send(session.raw, "GET", session.place("/a"), site.driver.options(times=None, follow=True))

        async def whole() -> Any:
            return await site.driver.read(await send)

        task = asyncio.ensure_future(whole())
        while not reached():
            await asyncio.sleep(0.001)
        task.cancel()
        (result,) = await asyncio.gather(task, return_exceptions=True)
        return result if isinstance(result, BaseException) else None

    return session.wait(run())


@preserves("a call that is cancelled ends at once, and nothing is sent after it", ASYNC)
def test_cancelled(site: Site, spare: Replica) -> None:
    left = threading.Event()

    def tells(peer: Peer, request: Request) -> None:
        hangs(peer, request)
        left.set()

    site.replica.on("/a", tells)
    session = site.session()
    outcome = cancelling(session, site, lambda: bool(site.replica.asked("/a")))
    assert isinstance(outcome, asyncio.CancelledError)
    assert left.wait(20)
    assert session.get("/b").content == b"ok"
    assert spare.requests == []
    assert len(site.replica.requests) == 2


@preserves("a call that is cancelled ends at once, and nothing is sent after it", ASYNC)
def test_cancelled_while_the_body_is_read(site: Site) -> None:
    left = threading.Event()

    def stalls(peer: Peer, request: Request) -> None:
        peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        peer.open = False
        peer.drain()
        left.set()

    site.replica.on("/a", stalls)
    with site.opened() as session:
        outcome = cancelling(session, site, lambda: bool(site.replica.asked("/a")))
        assert isinstance(outcome, asyncio.CancelledError)
    assert left.wait(20)


@only(*SYNC, *ASYNC)
@balanced_only
def test_an_attempt_has_its_own_time(site: Site) -> None:
    with serving(answer(200, b"spare")) as spare:
        site.serve(SERVICE, site.replica, {"url": spare.url, "priority": 1}, attempt_timeout=0.5)
        site.replica.on("/a", hangs)
        session = site.session()
        assert session.get("/a").content == b"spare"
        with pytest.raises(site.driver.errors.root):
            session.post("/a")
        assert [request.method for request in spare.requests] == ["GET"]


@only(*SYNC, *ASYNC)
@balanced_only
def test_no_attempt_is_given_more_than_the_caller_has(site: Site, spare: Replica) -> None:
    site.replica.on("/a", hangs)
    assert site.session().get("/a", times=Times(read=0.5)).content == b"spare"
