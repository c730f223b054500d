"""Cookies belong to the service's name."""

import pytest

from tests.clients.conduct import answer, redirect
from tests.clients.preserves import HTTPX, preserves
from tests.clients.replica import Request, serving
from tests.clients.site import Site

STOCK = "stock.example"  # the rules for domains are for names with dots


def sent(request: Request) -> dict[str, str]:
    pairs = (request.get("Cookie") or "").split("; ")
    return dict(pair.split("=", 1) for pair in pairs if pair)


@preserves("cookies are stored for the service's name, also those of a redirect, and sent again")
def test_stored_and_sent(site: Site) -> None:
    site.replica.on("/a", redirect("/b", 302, "Set-Cookie: first=1"))
    site.replica.on("/b", answer(200, b"", "Set-Cookie: second=2; Path=/", "Set-Cookie: third=3"))
    session = site.session()
    got = session.get("/a")
    assert got.cookies() == {"second": "2", "third": "3"}
    assert got.history[0].cookies() == {"first": "1"}
    session.get("/c")
    assert [sent(request) for request in site.replica.requests] == [
        {},
        {"first": "1"},
        {"first": "1", "second": "2", "third": "3"},
    ]


@preserves("cookies are stored for the service's name, also those of a redirect, and sent again")
def test_expired(site: Site) -> None:
    site.replica.on("/a", answer(200, b"", "Set-Cookie: a=1"), answer(200, b"", "Set-Cookie: a=; Max-Age=0"))
    session = site.session()
    for path in ("/a", "/b", "/a", "/b"):
        session.get(path)
    assert [sent(request) for request in site.replica.asked("/b")] == [{"a": "1"}, {}]


@preserves("path, domain and secure decide where a cookie is sent")
def test_where_to(site: Site) -> None:
    site.replica.on(
        "/a",
        answer(
            200,
            b"",
            "Set-Cookie: host=1",
            "Set-Cookie: by_path=1; Path=/p",
            f"Set-Cookie: by_domain=1; Domain={STOCK}",
            "Set-Cookie: by_secure=1; Secure",
            "Set-Cookie: foreign=1; Domain=other.example",
        ),
    )
    for name in (STOCK, f"sub.{STOCK}", "other.example"):
        site.serve(name, site.replica)
    stock, sub, other = (site.url_of(name, site.replica) for name in (STOCK, f"sub.{STOCK}", "other.example"))
    session = site.session()
    for url in (stock + "/a", stock + "/p", stock + "/q", sub + "/p", other + "/p"):
        session.get(url)
    below = (
        {"by_domain"} if site.driver.name == "aiohttp" else {"host", "by_path", "by_domain"}
    )  # http.cookiejar is liberal
    assert [sent(request).keys() for request in site.replica.requests] == [
        set(),
        {"host", "by_path", "by_domain"},
        {"host", "by_domain"},
        below,
        set(),
    ]


@preserves("a service's cookies never go to the replica's own address")
@pytest.mark.parametrize("method", ["asked", "redirected"])
def test_not_to_the_address(site: Site, method: str) -> None:
    site.replica.on("/a", answer(200, b"", "Set-Cookie: a=1", "Set-Cookie: b=1; Domain=127.0.0.1"))
    site.replica.on("/away", redirect(site.replica.url + "/b"))
    session = site.session()
    session.get("/a")
    session.get(site.replica.url + "/b" if method == "asked" else "/away")
    assert site.replica.last.path == "/b"
    assert sent(site.replica.last) == {}


@preserves("a service's cookies never go to the replica's own address")
def test_not_to_another_service(site: Site) -> None:
    with serving(answer()) as other:
        site.serve("pricing", other)
        site.replica.on("/a", answer(200, b"", "Set-Cookie: a=1"))
        session = site.session()
        session.get("/a")
        session.get(site.url_of("pricing", other) + "/a")
        assert sent(other.last) == {}


@preserves("cookies of the session and of the request are sent together")
def test_of_session_and_request(site: Site) -> None:
    session = site.session() if site.driver.name == "requests" else site.session(cookies={"of": "session"})
    if site.driver.name == "requests":
        session.raw.cookies["of"] = "session"
    session.get("/a", cookies={"and": "request"})
    session.get("/a")
    assert sent(site.replica.requests[0]) == {"of": "session", "and": "request"}
    assert sent(site.replica.requests[1]) == {"of": "session"}


@preserves("cookies of the session and of the request are sent together")
def test_a_header_of_the_callers_own(site: Site) -> None:
    site.replica.on("/a", answer(200, b"", "Set-Cookie: kept=1"))
    session = site.session()
    session.get("/a")
    session.get("/b", headers={"Cookie": "own=2"})
    kept = {} if site.driver.name == "requests" or site.driver.name in HTTPX else {"kept": "1"}
    assert sent(site.replica.last) == {"own": "2", **kept}
