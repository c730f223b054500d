"""Whoever the caller is, the replica is told as ever."""

import hashlib
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import requests

from tests.clients.conduct import answer, depending
from tests.clients.preserves import HTTPX, preserves
from tests.clients.replica import Conduct, Request
from tests.clients.site import Site

BASIC = "Basic am9lOnMzY3JldA=="
JOE = ("joe", "s3cret")


def auth_of(site: Site) -> dict[str, Any]:
    """Basic authentication as an option of the session."""
    return {"auth": JOE} if site.driver.name != "aiohttp" else {"headers": {"Authorization": BASIC}}


@preserves("basic authentication")
def test_basic(site: Site) -> None:
    site.session().get("/a", auth=JOE)
    assert site.replica.last.all("Authorization") == [BASIC]


@preserves("basic authentication")
def test_basic_of_the_session(site: Site) -> None:
    session = site.session(**auth_of(site))
    session.get("/a")
    assert site.replica.last.all("Authorization") == [BASIC]


@preserves("basic authentication", ("aiohttp",))
@pytest.mark.filterwarnings("ignore:.*auth:DeprecationWarning")
def test_basic_as_it_was_given_once(site: Site) -> None:
    site.session(auth=aiohttp.BasicAuth(*JOE)).get("/a")
    assert site.replica.last.all("Authorization") == [BASIC]


@preserves("basic authentication")
def test_refused(site: Site) -> None:
    site.replica.on("/a", answer(401, b"no", 'WWW-Authenticate: Basic realm="stock"'))
    got = site.session().get("/a", auth=JOE)
    assert (got.status, got.content, len(site.replica.requests)) == (401, b"no", 1)


CHALLENGE = 'Digest realm="stock", nonce="f00", qop="auth", opaque="0", algorithm="SHA-256"'


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def admits(request: Request) -> Conduct:
    """RFC 7616, 3.4.1."""
    given = request.get("Authorization")
    if given is None:
        return answer(401, b"who?", f"WWW-Authenticate: {CHALLENGE}")
    said = {name: value.strip('"') for name, value in re.findall(r'(\w+)=("[^"]*"|[^\s,]+)', given)}
    who = digest("joe:stock:s3cret")
    what = digest(f"{request.method}:{request.target}")
    expected = digest(f"{who}:f00:{said['nc']}:{said['cnonce']}:auth:{what}")
    right = (said["response"], said["uri"], said["nonce"]) == (expected, request.target, "f00")
    return answer(200, request.body) if right else answer(403, b"wrong")


def with_digest(site: Site) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of the session and of the request."""
    if site.driver.name == "aiohttp":
        return {"middlewares": (aiohttp.DigestAuthMiddleware(*JOE),)}, {}
    if site.driver.name == "requests":
        return {}, {"auth": requests.auth.HTTPDigestAuth(*JOE)}
    return {}, {"auth": site.driver.module.DigestAuth(*JOE)}


@preserves("digest authentication, challenge and all")
@pytest.mark.parametrize("target", ["/a", "/a%2Fb?x=1&y=%C3%BC"])
def test_digest(site: Site, target: str) -> None:
    site.replica.on("*", depending(admits))
    of_session, of_request = with_digest(site)
    session = site.session(**of_session)
    got = session.post(site.driver.url(site.base + target), content=b"work", **of_request)
    assert (got.status, got.content) == (200, b"work")
    assert got.url == site.base + target
    assert [request.body for request in site.replica.requests] == [b"work", b"work"]
    assert {request.connection for request in site.replica.requests} == {1}
    again = session.post(site.driver.url(site.base + target), content=b"more", **of_request)
    assert (again.status, again.content) == (200, b"more")


@preserves("netrc is looked up by the service's name")
def test_netrc(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login nobody password wrong\nmachine inventory login joe password s3cret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    own: dict[str, Any] = {}
    if site.driver.name == "aiohttp":
        own["trust_env"] = True
    elif site.driver.name in HTTPX:
        own["auth"] = site.driver.module.NetRCAuth(str(netrc))
    site.session(**own).get("/a")
    assert site.replica.last.all("Authorization") == [BASIC]


@preserves("an authentication of the caller's own sees the request and may change it", ("requests", *HTTPX))
def test_own(site: Site) -> None:
    seen: list[str] = []

    def sign(request: Any) -> Any:
        seen.append(str(request.url))
        request.headers["X-Signed"] = f"{request.method} {request.url}"
        return request

    site.session().get("/a", auth=sign)
    assert seen == [site.base + "/a"]
    assert site.replica.last.get("X-Signed") == f"GET {site.base}/a"


@preserves("an authentication of the caller's own sees the request and may change it", HTTPX)
def test_own_with_a_challenge(site: Site) -> None:
    class Asking(site.driver.module.Auth):  # type: ignore[misc, name-defined]
        requires_response_body = True

        def auth_flow(self, request: Any) -> Any:
            response = yield request
            request.headers["X-Token"] = response.json()["token"] + str(response.status_code)
            yield request

    site.replica.on("/a", answer(401, b'{"token": "t"}'), answer(200, b"in"))
    got = site.session().get("/a", auth=Asking())
    assert (got.content, [step.status for step in got.history]) == (b"in", [401])
    assert site.replica.last.get("X-Token") == "t401"
