"""Forwarding and load reports: the front tells its own load and not a replica's, of which it hears for itself."""

from collections.abc import Iterator
from typing import Any

import pytest

from balancemw import Balancer
from balancemw.orca import BINARY, HEADERS, REPORT, LoadReport, read
from balancemw_werkzeug import BalanceMiddleware as WSGIMiddleware
from tests.adapters.http_server import Got, Told, answering
from tests.engine.heedful import HEEDFUL
from tests.forward.stage import Server, serving
from tests.forward.test_asgi import request, serve
from tests.forward.test_http import ask
from tests.forward.test_wsgi import Given

SAID = "TEXT eps=0.5, named_metrics.in_flight=77.0"
HEARD = LoadReport(eps=0.5, named_metrics={"in_flight": 77.0})
FORMAT = "endpoint-load-metrics-format"


def replica(got: Got) -> Told:
    """Answers how it was asked, with a report in every header that there is for one, asked or not."""
    said = "TEXT eps=0.5, named_metrics.in_flight=77.0"
    headers = [(name.title(), said if name == REPORT else "JSON {}") for name in (*HEADERS, BINARY)]
    return Told(str(got.headers.get_all(FORMAT)).encode(), headers=tuple(headers))


def settings(url: str, **inbound: Any) -> dict[str, Any]:
    return {
        "services": {
            "heeded": {"nodes": [url], "strategy": HEEDFUL},
            "unheeded": {"nodes": [url], "strategy": "round_robin"},
        },
        "routes": {"/heeded": "heeded", "/unheeded": "unheeded"},
        "inbound": {"drain_seconds": 0, **inbound},
    }


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with answering(replica) as url:
        yield url


@pytest.fixture(scope="module", params=["h11", "wsgi", "flask", "django", "django-asgi", "django-mixed"])
def front(request: pytest.FixtureRequest, url: str) -> Iterator[Server]:
    with serving(settings(url), request.param) as server:
        yield server


def reports_of(headers: Any) -> list[tuple[str, str]]:
    return [(name.lower(), value) for name, value in headers if name.lower() in (*HEADERS, BINARY)]


@pytest.mark.parametrize(("service", "asked"), [("heeded", "['text']"), ("unheeded", "None")])
@pytest.mark.parametrize("form", ["text", "json", "nonsense", None])
def test_each_hop_asks_and_answers_for_itself(front: Server, service: str, asked: str, form: str | None):
    got: Any = ask(front, f"/{service}/a", headers={} if form is None else {FORMAT: form})
    assert (got.status, got.content.decode()) == (200, asked)
    told = reports_of(got.headers.items())
    if form not in ("text", "json"):
        assert told == []
        return
    ((name, value),) = told
    report = read(value)
    assert name == REPORT
    assert value.startswith(form.upper())
    assert report is not None
    assert report.rps_fractional > 0.0
    assert report.named_metrics["in_flight"] < 77.0


def heard(balancer: Balancer) -> list[LoadReport | None]:
    pools = [service.pool for service in balancer.services.values()]
    return [peer.report for pool in pools for peer in pool.roster.peers.values()]


async def test_an_asgi_front_hears_what_the_replica_says(url: str):
    async def own(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("a request for the app")

    from balancemw_starlette import BalanceMiddleware

    balancer = Balancer(settings(url, report_load=False))
    app = BalanceMiddleware(own, balancer=balancer)
    try:
        for service in balancer.services:
            head = (await serve(app, request(b""), path=f"/{service}/a", headers=[(FORMAT.encode(), b"text")]))[0]
            assert reports_of((name.decode(), value.decode()) for name, value in head["headers"]) == []
    finally:
        await app._forwarding.sessions.close()  # type: ignore[union-attr]
        balancer.close()
    assert heard(balancer) == [HEARD, None]


def test_a_wsgi_front_hears_what_the_replica_says(url: str):
    def own(environ: Any, start_response: Any) -> Any:
        raise AssertionError("a request for the app")

    balancer = Balancer(settings(url, report_load=False))
    app = WSGIMiddleware(own, balancer=balancer)
    for service in balancer.services:
        given = Given(app, f"/{service}/a", HTTP_ENDPOINT_LOAD_METRICS_FORMAT="text")
        assert given.status == 200
        assert reports_of(given.headers.items()) == []
        list(given.body)
        given.body.close()
    balancer.close()
    assert heard(balancer) == [HEARD, None]
