"""What a client makes of an answer."""

import codecs
import datetime

import pytest

from tests.clients.conduct import answer, chunked, deflated, gzipped, redirect, says
from tests.clients.preserves import HTTPX, preserves
from tests.clients.site import Site


@preserves("the response is of the client's own class")
def test_class(site: Site) -> None:
    got = site.session().get("/a")
    assert type(got.raw) is site.driver.response


@preserves("status, reason, header order, case and duplicates are as the replica sent them")
@pytest.mark.parametrize("status", [200, 201, 299, 400, 404, 418, 451, 500, 599])
def test_status_and_headers(site: Site, status: int) -> None:
    site.replica.on("/a", answer(status, b"body", "X-B: 1", "x-A: 2", "Set-Cookie: a=1", "Set-Cookie: b=2", "X-B: 3"))
    got = site.session().get("/a")
    assert (got.status, got.reason, got.content) == (status, "As Told" if status != 200 else "OK", b"body")
    names = list(dict.fromkeys(name for name, _ in got.headers))
    assert names == ["X-B", "x-A", "Set-Cookie", "Content-Length"]
    assert (got.all("X-B"), got.all("Set-Cookie")) == (["1", "3"], ["a=1", "b=2"])


@preserves("the response's url is the one that was asked for")
@preserves("the response tells the request that was made: method, url, headers")
def test_asked(site: Site) -> None:
    got = site.session().request("PUT", "/a?x=1", content=b"work", headers={"X-A": "1"})
    assert got.url == got.asked_url == site.base + "/a?x=1"
    assert (got.asked_method, got.asked_headers["X-A"]) == ("PUT", "1")
    if site.driver.name == "aiohttp":
        assert str(got.raw.real_url) == got.url
        assert got.raw.host == got.raw.url.host
    elif site.driver.name == "requests":
        assert got.raw.request.body == b"work"
    else:
        assert got.raw.request.content == b"work"


@preserves("urls and messages name the service, not the replica's address")
def test_no_address(site: Site) -> None:
    site.replica.on("/a", redirect("/b"))
    site.replica.on("/b", answer(404, b"no"))
    got = site.session().get("/a")
    with pytest.raises(site.driver.errors.status) as refused:
        got.check()
    shown = [repr(got.raw), str(refused.value), *map(repr, (got.headers, got.asked_headers))]
    shown += [got.url, got.asked_url, *(step.url for step in got.history)]
    assert not [text for text in shown if "127.0.0.1" in text]


@preserves("the time that the answer took is told", ("requests", *HTTPX))
def test_elapsed(site: Site) -> None:
    elapsed = site.session().get("/a").raw.elapsed
    assert datetime.timedelta(0) < elapsed < datetime.timedelta(seconds=20)


@preserves("the charset decides how text is decoded")
@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1", "utf-16"])
def test_charset(site: Site, charset: str) -> None:
    text = "grün, 42 £"
    site.replica.on("/a", answer(200, text.encode(charset), f"Content-Type: text/plain; charset={charset}"))
    got = site.session().get("/a")
    assert got.text() == text
    encoding = got.raw.get_encoding() if site.driver.name == "aiohttp" else got.raw.encoding
    assert codecs.lookup(encoding) == codecs.lookup(charset)


@preserves("json is parsed")
def test_json(site: Site) -> None:
    site.replica.on("/a", answer(200, '{"price": "42 €"}'.encode(), "Content-Type: application/json"))
    assert site.session().get("/a").json() == {"price": "42 €"}


@preserves("json that is none: the client's own exception")
def test_no_json(site: Site) -> None:
    site.replica.on("/a", answer(200, b'{"price": ', "Content-Type: application/json"))
    got = site.session().get("/a")
    with pytest.raises(site.driver.errors.invalid_json):
        got.json()


@preserves("204 and 304 have no body, and an empty body is empty")
@pytest.mark.parametrize("status", [200, 204, 304])
def test_empty(site: Site, status: int) -> None:
    site.replica.on("/a", answer(status, b"", "ETag: x"))
    session = site.session()
    for _ in range(2):
        got = session.get("/a")
        assert (got.status, got.content, got.text(), got.all("ETag")) == (status, b"", "", ["x"])
    assert {request.connection for request in site.replica.requests} == {1}


@preserves("chunked bodies are put together")
def test_chunked(site: Site) -> None:
    site.replica.on("/a", chunked(b"one ", b"two ", b"x" * 100_000))
    session = site.session()
    assert session.get("/a").content == b"one two " + b"x" * 100_000
    session.get("/b")
    assert {request.connection for request in site.replica.requests} == {1}


@preserves("chunked bodies are put together")
def test_a_body_until_the_connection_closes(site: Site) -> None:
    site.replica.on("/a", says(b"HTTP/1.1 200 OK\r\n\r\nuntil ", b"the end"))
    assert site.session().get("/a").content == b"until the end"


TEXT = b"again and again " * 1000


@preserves("gzip and deflate are decoded, and can be left as they are")
@pytest.mark.parametrize("coded", [gzipped, deflated])
def test_decoded(site: Site, coded: object) -> None:
    site.replica.on("/a", coded(TEXT, "Content-Type: text/plain"))
    got = site.session().get("/a")
    assert (got.content, got.text()) == (TEXT, TEXT.decode())
    assert len(got.all("Content-Encoding")) == 1


@preserves("gzip and deflate are decoded, and can be left as they are")
def test_left_as_it_is(site: Site) -> None:
    site.replica.on("/a", gzipped(TEXT))
    session = site.session(**({"auto_decompress": False} if site.driver.name == "aiohttp" else {}))
    with session.stream("GET", "/a") as stream:
        if site.driver.name == "aiohttp":
            raw = stream.read()
        elif site.driver.name == "requests":
            raw = stream.raw.raw.read()
        elif site.driver.asynchronous:
            raw = b"".join(stream.each(stream.raw.aiter_raw()))
        else:
            raw = b"".join(stream.raw.iter_raw())
    assert raw[:2] == b"\x1f\x8b"


@preserves("large headers come through")
def test_large_headers(site: Site) -> None:
    many = {f"X-{number}": "x" * 100 for number in range(60)}
    site.replica.on(
        "/a", answer(200, b"", *(f"{name}: {value}" for name, value in many.items()), f"X-Big: {'y' * 7000}")
    )
    got = site.session().get("/a", headers={"X-Big": "z" * 7000, **many})
    assert got.all("X-Big") == ["y" * 7000]
    assert site.replica.last.get("X-Big") == "z" * 7000
    assert sum(name.startswith("X-") for name, _ in got.headers) == 61


@preserves("an error status becomes the client's own exception when asked for, and names the url that was asked for")
@pytest.mark.parametrize("status", [400, 404, 500])
def test_raise_for_status(site: Site, status: int) -> None:
    site.replica.on("/a", answer(status, b"why"))
    got = site.session().get("/a?x=1")
    with pytest.raises(site.driver.errors.status) as refused:
        got.check()
    assert site.base + "/a?x=1" in str(refused.value)
    assert str(status) in str(refused.value)
    if site.driver.name == "aiohttp":
        assert (refused.value.status, refused.value.history) == (status, ())
    else:
        assert (refused.value.response, refused.value.request) == (got.raw, got.raw.request)


@preserves("an error status becomes the client's own exception when asked for, and names the url that was asked for")
def test_raise_for_status_of_the_session(site: Site) -> None:
    site.replica.on("/a", answer(404, b"why"))
    own = {"raise_for_status": True} if site.driver.name == "aiohttp" else {}
    session = site.session(**own)
    if site.driver.name == "requests":
        session.raw.hooks["response"].append(lambda response, **_: response.raise_for_status())
    elif site.driver.name in HTTPX:

        async def later(response: object) -> None:
            response.raise_for_status()

        hook = later if site.driver.asynchronous else lambda response: response.raise_for_status()
        session.raw.event_hooks = {"response": [hook]}
    with pytest.raises(site.driver.errors.status):
        session.get("/a")


@preserves("the response tells the request that was made: method, url, headers")
def test_links(site: Site) -> None:
    site.replica.on("/a", answer(200, b"", 'Link: </b>; rel="next"'))
    links = site.session().get("/a").raw.links
    assert str(links["next"]["url"]) == ("/b" if site.driver.name != "aiohttp" else site.base + "/b")
