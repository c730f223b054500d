"""What Django, and middleware around ours, make of a request, seen from inside."""

import asyncio
import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.http import HttpRequest, StreamingHttpResponse
from django.test import AsyncRequestFactory, RequestFactory, override_settings

import tests.adapters.django_site  # noqa: F401  configures Django
from balancemw import Balancer, SettingsError
from balancemw_django import own
from balancemw_django.forwarding import Forwarding
from tests.forward.stage import Replica, replicas, until


@pytest.fixture(scope="module")
def replica() -> Iterator[Replica]:
    with replicas("") as (one,):
        yield one


@pytest.fixture
def balancer(replica: Replica) -> Balancer:
    return Balancer({"services": {"inventory": {"nodes": [replica.url]}}, "routes": {"/api": "inventory"}})


def node(balancer: Balancer) -> dict[str, Any]:
    services: Any = balancer.status()["services"]
    found: dict[str, Any] = services["inventory"]["nodes"][0]
    return found


def echo_of(response: Any) -> Any:
    assert response.status_code == 200
    assert isinstance(response, StreamingHttpResponse)
    content = b"".join(response)  # type: ignore[arg-type]
    response.close()
    return json.loads(content)


async def content_of(response: Any) -> bytes:
    return b"".join([part async for part in response])


def post(data: bytes, path: str = "/api/x") -> HttpRequest:
    return RequestFactory().post(path, data, content_type="application/octet-stream")


def test_a_request_of_wsgi(balancer: Balancer):
    assert echo_of(Forwarding(balancer).answer(post(b"abc")))["size"] == 3
    assert Forwarding(balancer).answer(post(b"abc", "/own")) is None


def test_a_body_that_middleware_has_read(balancer: Balancer):
    request = post(b"abc")
    assert request.body == b"abc"
    assert echo_of(Forwarding(balancer).answer(request))["size"] == 3


@pytest.mark.parametrize("path", ["/api/caf\u00e9/\u20ac", "/api/%25"])
def test_a_path_that_django_has_decoded(balancer: Balancer, path: str):
    seen = echo_of(Forwarding(balancer).answer(RequestFactory().get(path)))["target"]
    assert seen in ("/caf%C3%A9/%E2%82%AC", "/%25")


async def test_middleware_around_it_is_async_under_wsgi(balancer: Balancer):
    response = await Forwarding(balancer).answer_async(post(b"abc"))
    assert echo_of(response)["size"] == 3
    assert await Forwarding(balancer).answer_async(post(b"", "/own")) is None


async def test_a_request_of_asgi(balancer: Balancer):
    request = AsyncRequestFactory().post("/api/x", b"x" * 200_000, content_type="text/x")
    response = await Forwarding(balancer).answer_async(request)
    assert json.loads(await content_of(response))["size"] == 200_000


async def test_an_answer_of_asgi_that_is_closed_half_way(balancer: Balancer):
    request: Any = AsyncRequestFactory().get("/api/download?size=100000000")
    response: Any = await Forwarding(balancer).answer_async(request)
    assert await anext(aiter(response))
    assert node(balancer)["in_flight"] == 1
    response.close()
    while node(balancer)["in_flight"]:
        await asyncio.sleep(0.01)
    assert node(balancer)["failures"] == 0


async def test_a_view_that_is_cancelled_ends_the_replicas_request(balancer: Balancer):
    request: Any = AsyncRequestFactory().get("/api/hang")
    forwarding = Forwarding(balancer)
    task = asyncio.create_task(forwarding.answer_async(request))
    while not node(balancer)["in_flight"]:
        assert not task.done()
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    while node(balancer)["in_flight"]:
        await asyncio.sleep(0.01)
    assert node(balancer)["failures"] == 0


def test_cookies_and_repeated_headers(balancer: Balancer):
    response: Any = Forwarding(balancer).answer(RequestFactory().get("/api/x"))
    assert [value for name, value in response.items() if name == "Set-Cookie"] == ["a=1", "b=2; Path=/"]
    response["X-Outer"] = "1"
    assert ("X-Outer", "1") in list(response.items())
    response.close()
    until(lambda: node(balancer)["in_flight"] == 0)


def test_without_urllib3_it_is_told_what_to_install(replica: Replica, monkeypatch: pytest.MonkeyPatch):
    for module in [name for name in sys.modules if name.startswith("balancemw_werkzeug.") or name == "urllib3"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.delitem(sys.modules, "balancemw_django.forwarding")
    monkeypatch.setitem(sys.modules, "urllib3", None)
    settings = {"services": {"inventory": {"nodes": [replica.url]}}, "routes": {"/api": "inventory"}}
    with (
        override_settings(BALANCEMW=settings),
        pytest.raises(SettingsError, match=r"BALANCEMW: routes: .*urllib3.*balancemw\[django\]"),
    ):
        own.forwarding()
