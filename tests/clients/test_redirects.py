"""Redirects stay in the client's hands, and a service's in the balancer's."""

import pytest

from tests.clients.conduct import answer, depending, redirect
from tests.clients.preserves import balanced_only, preserves
from tests.clients.replica import serving
from tests.clients.site import SERVICE, Site

LOCATIONS = ["/b", "b", "../b", "{base}/b", "//{host}/b", "/b?x=1#part"]


@preserves("relative, absolute and protocol-relative redirects lead to the service again")
@preserves("history tells every step by its own url")
@pytest.mark.parametrize("location", LOCATIONS)
def test_forms(site: Site, location: str) -> None:
    site.replica.on("/a", redirect(location.format(base=site.base, host=site.host)))
    site.replica.on("/b", answer(200, b"there"))
    got = site.session().get("/a")
    assert (got.status, got.content) == (200, b"there")
    assert got.url.partition("?")[0] == site.base + "/b"
    assert [(step.status, step.url) for step in got.history] == [(302, site.base + "/a")]
    assert [request.get("Host") for request in site.replica.requests] == [site.host] * 2
    assert all(isinstance(step.raw, site.driver.response) for step in got.history)


@preserves("relative, absolute and protocol-relative redirects lead to the service again")
@balanced_only
def test_the_replica_takes_the_host_it_was_called_by_for_its_own(site: Site) -> None:
    site.replica.on("/a", depending(lambda request: redirect(f"http://{request.get('Host')}/b")))
    got = site.session().get("/a")
    assert got.url == site.base + "/b"
    assert site.replica.last.get("x-envoy-attempt-count") == "1"


@preserves("history tells every step by its own url")
def test_history(site: Site) -> None:
    for here, there in ("ab", "bc", "cd"):
        site.replica.on(f"/{here}", redirect(f"/{there}", 301))
    got = site.session().get("/a")
    assert got.url == site.base + "/d"
    assert [step.url for step in got.history] == [f"{site.base}/{name}" for name in "abc"]
    assert [step.asked_url for step in got.history] == [f"{site.base}/{name}" for name in "abc"]
    assert {request.connection for request in site.replica.requests} == {1}


@preserves("redirects are not followed when not asked for, and the next step is told")
def test_not_followed(site: Site) -> None:
    site.replica.on("/a", redirect("/b"))
    got = site.session().get("/a", follow=False)
    assert (got.status, got.url, got.history) == (302, site.base + "/a", [])
    assert got.all("Location") == ["/b"]
    following = getattr(got.raw, "next", None) or getattr(got.raw, "next_request", None)
    if site.driver.name != "aiohttp":
        assert str(following.url) == site.base + "/b"
    assert len(site.replica.requests) == 1


@preserves("301, 302 and 303 turn POST into GET, 307 and 308 repeat it with its body")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_methods(site: Site, status: int) -> None:
    site.replica.on("/a", redirect("/b", status))
    got = site.session().post("/a", content=b"work", headers={"Content-Type": "text/plain"})
    assert got.url == site.base + "/b"
    first, second = site.replica.requests
    assert (first.method, first.body) == ("POST", b"work")
    if status in (307, 308):
        assert (second.method, second.body, second.get("Content-Type")) == ("POST", b"work", "text/plain")
    else:
        assert (second.method, second.body, second.get("Content-Length")) == ("GET", b"", None)


@preserves("301, 302 and 303 turn POST into GET, 307 and 308 repeat it with its body")
@pytest.mark.parametrize("status", [302, 303, 307])
def test_other_methods(site: Site, status: int) -> None:
    site.replica.on("/a", redirect("/b", status))
    session = site.session()
    session.request("HEAD", "/a")
    session.request("PUT", "/a", content=b"work")
    methods = [request.method for request in site.replica.asked("/b")]
    rewritten = status == 303 or (status == 302 and site.driver.name != "aiohttp")
    assert methods == ["HEAD", "GET" if rewritten else "PUT"]


@preserves("too many redirects are the client's own exception")
def test_too_many(site: Site) -> None:
    site.replica.on("/a", redirect("/a"))
    of_request = site.driver.name == "aiohttp"
    session = site.session(**({} if of_request else {"max_redirects": 3}))
    with pytest.raises(site.driver.errors.redirects):
        session.get("/a", **({"max_redirects": 3} if of_request else {}))
    assert 3 <= len(site.replica.requests) <= 4


@preserves("a redirect leads out of the service, into another one, and back")
def test_out_and_back(site: Site) -> None:
    with serving(answer()) as other, serving(answer()) as stranger:
        site.serve("pricing", other)
        site.replica.on("/a", redirect(stranger.url + "/b"))
        stranger.on("/b", redirect(site.url_of("pricing", other) + "/c"))
        other.on("/c", redirect(site.base + "/d"))
        got = site.session().get("/a")
        assert [step.url for step in got.history] == [
            site.base + "/a",
            stranger.url + "/b",
            site.url_of("pricing", other) + "/c",
        ]
        assert got.url == site.base + "/d"
        assert [request.path for request in site.replica.requests] == ["/a", "/d"]
        assert stranger.last.get("Host") == stranger.url.removeprefix("http://")
        assert stranger.last.get("x-envoy-attempt-count") is None
        assert other.last.get("Host").partition(":")[0] == "pricing"


@preserves("credentials are dropped when a redirect leads to another origin, and kept within one")
@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("to_a_service", [True, False])
def test_credentials(site: Site, inside: bool, to_a_service: bool) -> None:
    with serving(answer()) as other:
        site.serve("pricing", other)
        elsewhere = site.url_of("pricing", other) if to_a_service else other.url
        site.replica.on("/a", redirect("/b" if inside else elsewhere + "/b"))
        site.session().get("/a", headers={"Authorization": "Bearer s3cret"})
        last = site.replica.last if inside else other.last
        assert site.replica.requests[0].get("Authorization") == "Bearer s3cret"
        assert last.path == "/b"
        assert last.get("Authorization") == ("Bearer s3cret" if inside else None)


@preserves("credentials are dropped when a redirect leads to another origin, and kept within one")
def test_credentials_are_not_for_the_replicas_own_address(site: Site) -> None:
    site.replica.on("/a", redirect(site.replica.url + "/b"))
    got = site.session().get("/a", auth=("joe", "s3cret"))
    assert got.url == site.replica.url + "/b"
    assert site.replica.requests[0].get("Authorization") is not None
    assert site.replica.last.get("Authorization") is None
    assert site.replica.last.get("Host") != SERVICE
