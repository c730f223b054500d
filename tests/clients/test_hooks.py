"""What users hang into a client sees one request, whatever the adapter makes of it."""

from typing import Any

import aiohttp
import pytest

from tests.clients.conduct import answer, closes, redirect
from tests.clients.preserves import HTTPX, only, preserves
from tests.clients.site import Site

LINE = "hooks and traces see one request, by the url that was asked for"


@preserves(LINE)
@only("requests", *HTTPX)
def test_hooks(site: Site) -> None:
    seen: list[tuple[str, str]] = []

    def hook(what: Any, **_: Any) -> None:
        seen.append((type(what).__name__, str(what.url)))

    async def hook_async(what: Any) -> None:
        hook(what)

    site.replica.on("/a", redirect("/b"))
    session = site.session()
    if site.driver.name == "requests":
        session.raw.hooks["response"].append(hook)
    else:
        each = hook_async if site.driver.asynchronous else hook
        session.raw.event_hooks = {"request": [each], "response": [each]}
    assert session.get("/a").content == b"ok"
    answers = [("Response", site.base + path) for path in ("/a", "/b")]
    asked = [("Request", site.base + path) for path in ("/a", "/b")]
    assert seen == (answers if site.driver.name == "requests" else [asked[0], answers[0], asked[1], answers[1]])


@preserves(LINE)
@only("requests", *HTTPX)
def test_a_hook_that_reads(site: Site) -> None:
    """It may read the body, and replace the answer (requests) or change the request (httpx)."""
    read: list[bytes] = []

    def reads(response: Any, **_: Any) -> None:
        read.append(response.content if site.driver.name == "requests" else response.read())

    async def reads_async(response: Any) -> None:
        read.append(await response.aread())

    def signs(request: Any) -> None:
        request.headers["X-Hook"] = "1"

    async def signs_async(request: Any) -> None:
        signs(request)

    session = site.session()
    if site.driver.name == "requests":
        session.raw.hooks["response"].append(reads)
    elif site.driver.asynchronous:
        session.raw.event_hooks = {"request": [signs_async], "response": [reads_async]}
    else:
        session.raw.event_hooks = {"request": [signs], "response": [reads]}
    assert session.get("/a").content == b"ok"
    assert read == [b"ok"]
    assert site.replica.last.get("X-Hook") == (None if site.driver.name == "requests" else "1")


def traces(seen: list[tuple[str, str]]) -> aiohttp.TraceConfig:
    config = aiohttp.TraceConfig()

    async def tell(session: Any, context: Any, params: Any) -> None:
        name = type(params).__name__.removeprefix("Trace").removesuffix("Params")
        seen.append((name, str(params.url)))

    for signal in ("start", "end", "redirect", "exception"):
        getattr(config, f"on_request_{signal}").append(tell)
    return config


@preserves(LINE)
@only("aiohttp")
def test_traces(site: Site) -> None:
    seen: list[tuple[str, str]] = []
    site.replica.on("/a", redirect("/b"))
    site.session(trace_configs=[traces(seen)]).get("/a")
    a, b = site.base + "/a", site.base + "/b"
    assert seen == [("RequestStart", a), ("RequestRedirect", a), ("RequestEnd", b)]


@preserves(LINE)
@only("aiohttp")
def test_traces_of_a_failure(site: Site) -> None:
    seen: list[tuple[str, str]] = []
    site.replica.on("/a", closes)
    with pytest.raises(site.driver.errors.root):
        site.session(trace_configs=[traces(seen)]).post("/a", content=b"work")
    assert seen == [("RequestStart", site.base + "/a"), ("RequestException", site.base + "/a")]


@preserves(LINE)
@only("aiohttp")
@pytest.mark.parametrize("where", ["before", "after"])
def test_middlewares_of_the_callers_own(site: Site, where: str) -> None:
    """They see the request that was made, and may change it; of another's retries they see nothing."""
    seen: list[str] = []

    async def signs(request: Any, handler: Any) -> Any:
        seen.append(request.method)
        request.headers["X-Own"] = str(len(seen))
        return await handler(request)

    site.session(middlewares=(signs,)).get("/a")
    assert (seen, site.replica.last.get("X-Own")) == (["GET"], "1")


@preserves(LINE)
@only(*HTTPX)
def test_extensions(site: Site) -> None:
    """Traces of httpx see the connection, and what the transport says of it comes through."""
    events: list[str] = []

    def trace(name: str, info: Any) -> None:
        events.append(name)

    async def trace_async(name: str, info: Any) -> None:
        events.append(name)

    got = site.session().get("/a", extensions={"trace": trace_async if site.driver.asynchronous else trace})
    assert "http11.send_request_headers.started" in events
    assert events[-1].endswith(".complete")
    assert got.raw.http_version == "HTTP/1.1"
    assert got.raw.extensions["reason_phrase"] == b"OK"
    assert "network_stream" in got.raw.extensions


@preserves(LINE)
@only("requests")
def test_prepared(site: Site) -> None:
    """A request that was prepared is sent as it is, and is the one that the response tells of."""
    requests = pytest.importorskip("requests")
    session = site.session().raw
    prepared = session.prepare_request(requests.Request("PUT", site.base + "/a", data=b"work", headers={"X-A": "1"}))
    before = (prepared.url, dict(prepared.headers), prepared.body)
    got = session.send(prepared, timeout=20)
    assert got.request is prepared
    assert (prepared.url, dict(prepared.headers), prepared.body) == before


@preserves(LINE)
@only("requests")
def test_next(site: Site) -> None:
    site.replica.on("/a", redirect("/b"))
    site.replica.on("/b", answer(200, b"there"))
    session = site.session().raw
    got = session.get(site.base + "/a", allow_redirects=False, timeout=20)
    assert got.is_redirect
    assert session.send(got.next, timeout=20).content == b"there"
    assert [each.content for each in session.resolve_redirects(got, got.request, timeout=20)] == [b"there"]
