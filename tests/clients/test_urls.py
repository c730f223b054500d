"""Which urls go to a service, and how they arrive."""

import pytest

from tests.clients.conduct import answer
from tests.clients.preserves import HTTPX, balanced_only, preserves
from tests.clients.replica import serving
from tests.clients.site import SERVICE, Site

OURS = ("x-request-timeout-ms", "x-envoy-attempt-count")

TARGETS = ["/", "/a%2Fb?x=1+2&x=%20", "/a%2fb", "/%7Ejoe/~joe", "/p;v=1;w", "/?", "/a//b", "/%C3%BC", "/?a&b=&=c"]
TIDIED = {  # what clients make of them
    "aiohttp": {"/?": "/"},
    "requests": {"/%7Ejoe/~joe": "/~joe/~joe", "/?": "/", "/a%2fb": "/a%2Fb"},
}


def untouched(site: Site) -> bool:
    return not any(site.replica.last.all(name) for name in OURS)


@preserves("path, query and percent-encoding reach the replica byte for byte")
@pytest.mark.parametrize("target", TARGETS)
def test_the_target_is_sent_as_it_is(site: Site, target: str) -> None:
    answer = site.session().get(site.driver.url(site.base + target))
    expected = TIDIED.get(site.driver.name, {}).get(target, target)
    assert site.replica.last.target == expected
    assert answer.url == site.base + expected


@preserves("path, query and percent-encoding reach the replica byte for byte")
@balanced_only
def test_a_node_may_have_a_path_of_its_own(site: Site) -> None:
    site.serve(SERVICE, site.replica.url + "/v1")
    answer = site.session().get(site.driver.url(site.base + "/a%2Fb?x=1+2&x=%20"))
    assert site.replica.last.target == "/v1/a%2Fb?x=1+2&x=%20"
    assert answer.url == site.base + "/a%2Fb?x=1+2&x=%20"


@preserves("parameters given apart from the url are added to it as ever")
def test_parameters(site: Site) -> None:
    session = site.session()
    answer = session.get("/a", params={"q": "a b&c", "n": "1"})
    assert site.replica.last.target.replace("%20", "+") == "/a?q=a+b%26c&n=1"
    assert answer.url == site.base + site.replica.last.target


@preserves("a fragment stays with the caller and is never sent")
def test_a_fragment(site: Site) -> None:
    answer = site.session().get("/a?x=1#part")
    assert site.replica.last.target == "/a?x=1"
    assert answer.url == site.base + ("/a?x=1" if site.driver.name == "aiohttp" else "/a?x=1#part")


@preserves("user and password in the url become the Authorization header")
def test_userinfo(site: Site) -> None:
    site.session().get(site.base.replace("://", "://joe:s%40cret@") + "/a")
    assert site.replica.last.get("Authorization") == "Basic am9lOnNAY3JldA=="
    assert site.replica.last.all("Host") == [site.host]


@preserves("the host of a service is known in any case, and with any port")
def test_upper_case(site: Site) -> None:
    answer = site.session().get(site.base.replace(SERVICE, SERVICE.upper()) + "/a")
    assert (answer.status, site.replica.last.target) == (200, "/a")
    assert site.replica.last.get("Host").lower() == site.host


@preserves("the host of a service is known in any case, and with any port")
@balanced_only
@pytest.mark.parametrize("port", [80, 8080, 65535])
def test_a_port(site: Site, port: int) -> None:
    answer = site.session().get(f"http://{SERVICE}:{port}/a")
    assert (answer.status, site.replica.last.target) == (200, "/a")
    told = "" if port == 80 else f":{port}"
    shown = f":{port}" if site.driver.name == "requests" else told
    assert answer.url == f"http://{SERVICE}{shown}/a"
    assert site.replica.last.get("Host") == SERVICE + told


@preserves("a host that only looks like a service is left alone")
@pytest.mark.parametrize("host", ["inventory.evil.example", "my-inventory", "inventory-2", "inventor"])
def test_a_host_that_looks_like_a_service(site: Site, host: str) -> None:
    with serving(answer(200, b"stranger")) as stranger:
        site.names.known[host] = "127.0.0.1"
        got = site.session().get(f"http://{host}:{stranger.port}/a")
        assert got.content == b"stranger"
        assert not any(stranger.last.all(name) for name in OURS)
    assert site.replica.requests == []


@preserves("a host that only looks like a service is left alone")
@pytest.mark.parametrize("user", ["inventory", "inventory:80"])
def test_a_user_who_is_called_like_a_service(site: Site, user: str) -> None:
    with serving(answer(200, b"stranger")) as stranger:
        got = site.session().get(f"http://{user}@127.0.0.1:{stranger.port}/a")
    assert got.content == b"stranger"
    assert site.replica.requests == []


@preserves("hosts that are no services are left alone, IPv6 addresses among them")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_an_address(site: Site, host: str) -> None:
    with serving(answer(200, b"stranger"), host) as stranger:
        got = site.session().get(stranger.url + "/a?x=1")
        assert (got.content, got.url) == (b"stranger", stranger.url + "/a?x=1")
        assert stranger.last.get("Host") == stranger.url.removeprefix("http://")
        assert not any(stranger.last.all(name) for name in OURS)
    assert site.replica.requests == []


@preserves("a session's base url may be a service", ("aiohttp", *HTTPX))
def test_a_base_url(site: Site) -> None:
    session = site.session(base_url=site.base + "/v2/")
    session.base = ""
    answer = session.get("stock/1?x=1")
    assert site.replica.last.target == "/v2/stock/1?x=1"
    assert answer.url == site.base + "/v2/stock/1?x=1"
