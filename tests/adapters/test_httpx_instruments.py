"""What instruments the libraries' transports finds requests of the libraries' own there, and may change them."""

from typing import Any

import pytest

from tests.adapters.httpx_callers import FLAVOURS, Flavour, balanced, caller
from tests.adapters.scripted import scripted


@pytest.fixture(params=FLAVOURS, ids=str)
def flavour(request: pytest.FixtureRequest) -> Flavour:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def found(flavour: Flavour, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The requests that an instrumented transport was given; each goes on with one header set and one replaced."""
    requests: list[Any] = []
    kind = flavour.module.AsyncHTTPTransport if flavour.is_async else flavour.module.HTTPTransport
    name = "handle_async_request" if flavour.is_async else "handle_request"
    wrapped = getattr(kind, name)

    def instrumented(transport: Any, request: Any) -> Any:
        requests.append(request)
        request.headers["traceparent"] = "00-1-2-01"
        request.headers["user-agent"] = "traced"
        return wrapped(transport, request)

    monkeypatch.setattr(kind, name, instrumented)
    return requests


def test_it_finds_a_request_of_the_library(flavour: Flavour, found: list[Any]) -> None:
    with scripted() as [replica], caller(flavour, balanced([replica], "/v1")) as client:
        client.get("http://inventory/stock/%C3%A4?a=b%20c", headers={"X-Own": "yes"})
        [request] = found
        assert isinstance(request, flavour.module.Request)
        assert isinstance(request.url, flavour.module.URL)
        assert str(request.url) == f"{replica.url}/v1/stock/%C3%A4?a=b%20c"
        assert (request.url.path, request.url.query) == ("/v1/stock/ä", b"a=b%20c")
        assert isinstance(request.headers, flavour.module.Headers)
        assert request.headers["x-own"] == "yes"
        assert request.headers["X-Envoy-Attempt-Count"] == "1"
        assert flavour.module.Headers(request.headers)["host"] == "inventory"


def test_what_it_sets_reaches_the_replica(flavour: Flavour, found: list[Any]) -> None:
    with scripted() as [replica], caller(flavour, balanced([replica])) as client:
        response = client.get("http://inventory/")
        headers = replica.seen[0].headers
        assert headers["traceparent"] == "00-1-2-01"
        assert headers["user-agent"] == "traced"
        assert headers["x-envoy-attempt-count"] == "1"
        assert "traceparent" not in response.request.headers
        assert len(found) == 1


def test_its_headers_can_be_changed_like_any(flavour: Flavour, found: list[Any]) -> None:
    with scripted() as [replica], caller(flavour, balanced([replica])) as client:
        client.get("http://inventory/")
        headers = found[0].headers
        headers.update({"user-agent": "again", "x-more": "1"})
        del headers["traceparent"]
        assert dict(headers.raw)[b"x-more"] == b"1"
        assert headers["user-agent"] == "again"
        assert b"traceparent" not in dict(headers.raw)
