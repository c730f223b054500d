"""Proxies of the environment are for the world outside."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients.conduct import answer
from tests.clients.preserves import HTTPX, balanced_only, preserves
from tests.clients.replica import Replica, serving
from tests.clients.site import SERVICE, Site

LINE = "proxies of the environment are never used for a service, and for others as ever"


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Replica]:
    with serving(answer(200, b"by proxy")) as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        yield proxy


def trusting(site: Site) -> dict[str, Any]:
    """A transport that is given to httpx replaces proxies altogether, unless it is mounted for some hosts."""
    if site.driver.name in HTTPX:
        return {"mounted": SERVICE}
    return {"trust_env": True} if site.driver.name == "aiohttp" else {}


@preserves(LINE)
@balanced_only
def test_not_for_a_service(site: Site, proxy: Replica) -> None:
    session = site.session(**trusting(site))
    assert session.get("/a").content == b"ok"
    assert session.get("http://INVENTORY:8080/a").content == b"ok"
    with site.opened(**({"trust_env": True} if site.driver.name == "aiohttp" else {})) as another:
        assert another.get("/a").content == b"ok"
    assert site.replica.last.target == "/a"
    assert proxy.requests == []


@preserves(LINE)
def test_for_others(site: Site, proxy: Replica) -> None:
    got = site.session(**trusting(site)).get("http://elsewhere.example/a?x=1")
    assert (got.content, got.url) == (b"by proxy", "http://elsewhere.example/a?x=1")
    assert proxy.last.target == "http://elsewhere.example/a?x=1"
    assert proxy.last.get("Host") == "elsewhere.example"
    assert not proxy.last.all("x-envoy-attempt-count")
