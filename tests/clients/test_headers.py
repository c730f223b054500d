"""What a request says of itself."""

import pytest

from tests.clients.conduct import answer, informs
from tests.clients.preserves import HTTPX, preserves
from tests.clients.replica import Peer, Request
from tests.clients.site import Site

OURS = {"x-request-timeout-ms", "x-envoy-attempt-count"}


@preserves("every method reaches the replica as it is")
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PURGE"])
def test_methods(site: Site, method: str) -> None:
    body = {"content": b"work"} if method in ("POST", "PUT", "PATCH", "PURGE") else {}
    got = site.session().request(method, "/a", **body)
    assert got.status == 200
    assert (site.replica.last.method, site.replica.last.body) == (method, body.get("content", b""))
    assert got.asked_method == method


@preserves("header names keep their case")
def test_case(site: Site) -> None:
    site.session().get("/a", headers={"X-CaSe": "Kept", "x-low": "kept"})
    assert ("X-CaSe", "Kept") in site.replica.last.fields
    assert ("x-low", "kept") in site.replica.last.fields


@preserves("repeated headers are all sent", ("aiohttp", *HTTPX))
def test_repeated(site: Site) -> None:
    site.session().get("/a", headers=[("X-A", "1"), ("X-B", "0"), ("X-A", "2")])
    assert site.replica.last.all("X-A") == ["1", "2"]


@preserves("a Host header of the caller's own is sent instead of the service's name")
def test_host(site: Site) -> None:
    session = site.session()
    session.get("/a", headers={"Host": "tenant.example"})
    session.get("/a")
    assert [request.all("Host") for request in site.replica.requests] == [["tenant.example"], [site.host]]


@preserves("the client's own default headers and user agent are sent")
def test_defaults(site: Site) -> None:
    site.session().get("/a")
    last = site.replica.last
    name = site.driver.name.removesuffix(" async")
    assert name in last.get("User-Agent").lower()
    assert last.get("Accept") == "*/*"
    assert {"gzip", "deflate"} <= set(last.get("Accept-Encoding").split(", "))
    names = [field.lower() for field, _ in last.fields]
    assert len(set(names)) == len(names)
    assert not {"content-length", "transfer-encoding", "content-type"} & set(names)


@preserves("headers of the session and of the request are merged as ever")
def test_merged(site: Site) -> None:
    session = site.session() if site.driver.name == "requests" else site.session(headers={"X-A": "1", "X-B": "1"})
    if site.driver.name == "requests":
        session.raw.headers.update({"X-A": "1", "X-B": "1"})
    session.get("/a", headers={"X-B": "2", "X-C": "2"})
    session.get("/a")
    asked = [{name: request.get(name) for name in ("X-A", "X-B", "X-C")} for request in site.replica.requests]
    assert asked == [{"X-A": "1", "X-B": "2", "X-C": "2"}, {"X-A": "1", "X-B": "1", "X-C": None}]


@preserves("an answer to HEAD has headers and no body")
def test_head(site: Site) -> None:
    site.replica.on("/a", answer(200, b"0123456789", "X-A: 1"))
    session = site.session()
    got = session.request("HEAD", "/a")
    assert (got.status, got.content, got.all("X-A"), got.all("Content-Length")) == (200, b"", ["1"], ["10"])
    assert session.get("/a").content == b"0123456789"
    assert {request.connection for request in site.replica.requests} == {1}


@preserves("Expect: 100-continue waits for the replica", ("aiohttp",))
@pytest.mark.parametrize("work", [b"work", b""])
def test_continue(site: Site, work: bytes) -> None:
    early: list[bytes] = []

    def asks(peer: Peer, request: Request) -> None:
        peer.socket.settimeout(0.05)
        try:
            early.append(peer.socket.recv(1))
        except TimeoutError:
            early.append(b"")
        peer.socket.settimeout(None)
        informs(b"HTTP/1.1 100 Continue\r\n\r\n", answer(200, b"done"))(peer, request)

    site.replica.on("/a", asks)
    got = site.session().post("/a", content=work, expect100=True)
    assert (got.status, got.content) == (200, b"done")
    assert (early, site.replica.last.body) == ([b""], work)
    assert site.replica.last.get("Expect").lower() == "100-continue"


@preserves("Expect: 100-continue waits for the replica", ("aiohttp",))
def test_a_final_answer_instead(site: Site) -> None:
    def refuses(peer: Peer, request: Request) -> None:
        peer.say(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        peer.finish()

    site.replica.on("/a", refuses)
    got = site.session().post("/a", content=b"work", expect100=True)
    assert (got.status, got.content, len(site.replica.requests)) == (417, b"no", 1)


@preserves("answers that are not final are passed over")
def test_continue_that_nobody_asked_for(site: Site) -> None:
    site.replica.on("/a", informs(b"HTTP/1.1 100 Continue\r\n\r\n", answer(200, b"done")))
    session = site.session()
    assert session.post("/a", content=b"work").content == b"done"
    assert session.get("/b").content == b"ok"
    assert {request.connection for request in site.replica.requests} == {1}


@preserves("answers that are not final are passed over", ("aiohttp", *HTTPX))  # requests takes 103 for the answer
def test_early_hints(site: Site) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    site.replica.on("/a", informs(hints + hints, answer(200, b"done", "X-A: 1")))
    got = site.session().get("/a")
    assert (got.status, got.content, got.all("X-A")) == (200, b"done", ["1"])
    assert got.all("Link") in ([], ["</a.css>"])
