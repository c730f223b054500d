"""A request that asks for a load report is answered with one, inside each framework and under real servers."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

import pytest
import requests
from django.test import override_settings
from starlette.testclient import TestClient
from werkzeug.test import Client

from balancemw import Balancer, Node
from balancemw import balancer as process
from balancemw.orca import FORMAT, REPORT, LoadReport, read
from balancemw_django import balancer as django_balancer
from balancemw_flask import Balance
from balancemw_requests import mount
from balancemw_starlette import BalanceMiddleware as ASGIMiddleware
from balancemw_werkzeug import BalanceMiddleware as WSGIMiddleware
from tests.adapters.django_handlers import under_asgi, under_wsgi
from tests.adapters.reporting_apps import OWN, flask_app, starlette_app
from tests.adapters.servers import PATIENCE, gunicorn, uvicorn
from tests.adapters.watching import eventually
from tests.engine.heedful import HEEDFUL

TOKEN = "a-token-of-the-tests"
SERVICES: dict[str, Any] = {"services": {"inventory": {"nodes": ["http://127.0.0.1:1"]}, "empty": {"nodes": []}}}

pytestmark = pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume:Warning")


class Got(NamedTuple):
    """An answer: its status, its body, and the value of its header with a report."""

    status: int
    body: bytes
    said: str | None

    @property
    def report(self) -> LoadReport | None:
        return None if self.said is None else read(self.said)


class Site:
    """An app and who asks it.

    Attributes:
        balancer: of the app.
        paths: what stands in the app for the paths that tests ask for.
    """

    def __init__(self, balancer: Balancer, send: Callable[..., tuple[int, Any, bytes]], **paths: str) -> None:
        self.balancer = balancer
        self._send = send
        self._paths = paths

    def get(self, path: str, asked: str | None = None, **headers: str) -> Got:
        if asked is not None:
            headers[FORMAT] = asked
        status, told, body = self._send(self._paths.get(path[1:], path), headers)
        said = [value for name, value in dict(told).items() if name.lower() == REPORT]
        assert len(said) <= 1
        return Got(status, body, said[0] if said else None)


Make = Callable[..., Site]
"""Makes a site, with these settings below ``inbound``."""


def _settings(inbound: dict[str, Any]) -> dict[str, Any]:
    return {**SERVICES, "inbound": {"health_path": "/healthz", **inbound}, "admin": {"token": TOKEN}}


def starlette_site(_: ExitStack, **inbound: Any) -> Site:
    balancer = Balancer(_settings(inbound))
    client = TestClient(ASGIMiddleware(starlette_app(), balancer=balancer), raise_server_exceptions=False)

    def send(path: str, headers: dict[str, str]) -> tuple[int, Any, bytes]:
        answer = client.get(path, headers=headers)
        return answer.status_code, answer.headers.items(), answer.content

    return Site(balancer, send)


def _sends(client: Client) -> Callable[..., tuple[int, Any, bytes]]:
    def send(path: str, headers: dict[str, str]) -> tuple[int, Any, bytes]:
        answer = client.get(path, headers=headers)
        body = answer.data
        answer.close()  # as every server does
        return answer.status_code, answer.headers.items(), body

    return send


def werkzeug_site(_: ExitStack, **inbound: Any) -> Site:
    balancer = Balancer(_settings(inbound))
    return Site(balancer, _sends(Client(WSGIMiddleware(flask_app(), balancer=balancer))))


def flask_site(_: ExitStack, **inbound: Any) -> Site:
    app = flask_app()
    app.config["BALANCEMW"] = _settings(inbound)
    Balance(app)
    return Site(app.extensions["balancemw"], _sends(app.test_client()))


def _django(get: Callable[..., Any], kind: str) -> Callable[..., Site]:
    def make(stack: ExitStack, **inbound: Any) -> Site:
        import_module("tests.adapters.django_site")
        stack.enter_context(override_settings(BALANCEMW=_settings(inbound)))
        process.install_lazily(django_balancer)

        def send(path: str, headers: dict[str, str]) -> tuple[int, Any, bytes]:
            answer = get(path, headers)
            return answer.status, answer.headers, answer.body.encode()

        views = {"": "show", "stream": "stream", "fail": "broken", "busy": "five-hundred", "none": "none", "own": "own"}
        return Site(django_balancer(), send, **{path: f"/{kind}/{view}" for path, view in views.items()})

    return make


SITES: dict[str, Callable[..., Site]] = {
    "starlette": starlette_site,
    "werkzeug": werkzeug_site,
    "flask": flask_site,
    "django wsgi sync": _django(under_wsgi, "sync"),
    "django wsgi async": _django(under_wsgi, "async"),
    "django asgi sync": _django(under_asgi, "sync"),
    "django asgi async": _django(under_asgi, "async"),
}


@pytest.fixture(params=SITES)
def make(request: pytest.FixtureRequest) -> Iterator[Make]:
    with ExitStack() as stack:
        yield partial(SITES[request.param], stack)


@pytest.fixture
def site(make: Make) -> Site:
    return make()


# -- whether it is answered


@pytest.mark.parametrize("form", ["text", "json", "TEXT", " Json", "text, json"])
def test_who_asks_is_told(site: Site, form: str):
    got = site.get("/", form)
    assert got.status == 200
    assert got.said is not None
    assert got.said.startswith("JSON {" if "json" in form.lower() and "," not in form else "TEXT ")
    report = got.report
    assert report is not None
    assert (report.rps_fractional, report.eps, report.named_metrics) == (1.0, 0.0, {"in_flight": 0.0})


@pytest.mark.parametrize("form", [None, "", "bin", "xml", "text/plain"])
def test_nobody_else_is(site: Site, form: str | None):
    assert site.get("/", form).said is None


def test_an_app_may_keep_it_to_itself(make: Make):
    site = make(report_load=False)
    assert site.get("/", "text").said is None
    assert site.get("/own", "text").said == OWN


def test_a_report_of_the_apps_own_stands(site: Site):
    assert site.get("/own", "text").said == OWN
    assert site.get("/own", "json").said == OWN
    assert site.get("/own").said == OWN


@pytest.mark.parametrize("path", ["/stream", "/fail", "/busy", "/missing", "/none"])
def test_every_answer_has_one(site: Site, path: str):
    got = site.get(path, "text")
    assert got.report is not None
    assert got.report.named_metrics["in_flight"] == 0.0
    assert (got.report.eps > 0.0) == (got.status >= 500)


def test_one_that_goes_tells_it_too(site: Site):
    site.balancer.drain("for a test")
    assert site.get("/", "text").report is not None


@pytest.mark.parametrize("path", ["/healthz", "/_balancer/status", "/_balancer/nothing"])
def test_questions_about_the_app_are_none_of_its_requests(site: Site, path: str):
    for _ in range(3):
        assert site.get(path, "text").said is None
    assert site.balancer.presence.served == 0
    report = site.get("/", "text").report
    assert report is not None
    assert report.rps_fractional == 1.0


# -- what it says


def test_rates_count_what_nobody_asked_about(site: Site):
    for path in ("/", "/stream", "/missing", "/busy", "/fail"):
        site.get(path)
    presence = site.balancer.presence
    assert (presence.served, presence.errors, presence.in_flight) == (5, 2, 0)
    report = site.get("/", "text").report
    assert report is not None
    assert report.rps_fractional == pytest.approx(3 * report.eps, abs=0.01)  # 6 of them, and 2 errors
    assert report.rps_fractional > 0.5


def test_latency_is_told_from_the_second_time_on(site: Site):
    first, second = (site.get("/", "text").report for _ in range(2))
    assert first is not None
    assert second is not None
    assert "latency" not in first.named_metrics
    assert 0.0 < second.named_metrics["latency"] < PATIENCE


def test_the_app_may_say_how_busy_it_is(site: Site):
    site.balancer.report_utilization(lambda: 0.25)
    report = site.get("/", "text").report
    assert report is not None
    assert report.application_utilization == 0.25


# -- what goes wrong outside of the app's answers


async def test_an_asgi_app_that_raises_before_it_answers_has_failed_once():
    balancer = Balancer(SERVICES)
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/late":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"a", "more_body": True})
        raise KeyError("of the app")

    async def send(message: Any) -> None:
        sent.append(message)

    for path, errors in [("/late", 0), ("/", 1)]:
        scope = {"type": "http", "method": "GET", "path": path, "headers": []}
        with pytest.raises(KeyError):
            await ASGIMiddleware(app, balancer=balancer)(scope, send, send)  # type: ignore[arg-type]
        assert (balancer.presence.errors, balancer.presence.in_flight) == (errors, 0)


async def test_a_client_that_goes_away_is_no_error():
    balancer = Balancer(SERVICES)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(PATIENCE)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    task = asyncio.create_task(ASGIMiddleware(app, balancer=balancer)(scope, None, None))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert balancer.presence.in_flight == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (balancer.presence.errors, balancer.presence.in_flight) == (0, 0)


@pytest.mark.parametrize("lazy", [False, True])
def test_a_wsgi_app_that_raises_before_it_answers_has_failed_once(lazy: bool):
    balancer = Balancer(SERVICES)

    def fails() -> Iterator[bytes]:
        raise KeyError("of the app")
        yield b""

    def app(environ: Any, start_response: Any) -> Any:
        if not lazy:
            raise KeyError("of the app")
        start_response("200 OK", [])
        return fails()

    def serve() -> None:  # as every server does
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "wsgi.url_scheme": "http"}
        body: Any = WSGIMiddleware(app, balancer=balancer)(environ, lambda *_: lambda _: None)  # type: ignore[arg-type,return-value]
        try:
            list(body)
        finally:
            body.close()

    with pytest.raises(KeyError):
        serve()
    assert (balancer.presence.errors, balancer.presence.in_flight) == (1, 0)


# -- real servers


def _asks(url: str, path: str = "/") -> LoadReport:
    answer = requests.get(url + path, headers={FORMAT: "text"}, timeout=PATIENCE)
    report = read(answer.headers[REPORT])
    assert report is not None
    return report


SERVERS: dict[str, Callable[[], Any]] = {
    "uvicorn": lambda: uvicorn("tests.adapters.reporting_apps:asgi"),
    "gunicorn": lambda: gunicorn("tests.adapters.reporting_apps:wsgi"),
}


@pytest.mark.parametrize("server", SERVERS)
def test_a_server_counts_all_that_it_has_under_way(server: str):
    with SERVERS[server]() as url, ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(requests.get, f"{url}/wait", timeout=PATIENCE) for _ in range(4)]
        eventually(lambda: _asks(url).named_metrics["in_flight"] == 4.0)
        assert _asks(url).rps_fractional > 0.0
        _asks(url, "/go")
        assert [each.result().text for each in waiting] == ["waited"] * 4
        eventually(lambda: _asks(url).named_metrics["in_flight"] == 0.0)
        eventually(lambda: _asks(url).cpu_utilization > 0.0)
        assert "latency" in _asks(url).named_metrics


def test_each_worker_answers_for_itself():
    with gunicorn("tests.adapters.reporting_apps:wsgi", workers=2, threads=2) as url:
        seen: dict[str, LoadReport] = {}

        def ask() -> bool:
            answer = requests.get(url, headers={FORMAT: "text", "Connection": "close"}, timeout=PATIENCE)
            report = read(answer.headers[REPORT])
            assert report is not None
            seen[answer.text.split()[0]] = report
            return len(seen) == 2

        eventually(ask)
        assert min(report.rps_fractional for report in seen.values()) > 0.0


def test_clients_hear_of_every_replica_that_our_middleware_serves():
    with SERVERS["uvicorn"]() as first, SERVERS["gunicorn"]() as second:
        balancer = Balancer({"services": {"inventory": {"nodes": [first, second], "strategy": HEEDFUL}}})
        inventory = balancer["inventory"]

        @balancer.call("inventory")
        def stock(node: Node) -> requests.Response:  # a function of one's own asks for itself
            return requests.get(node.url, headers=dict(inventory.request_headers), timeout=PATIENCE)

        with balancer, requests.Session() as session:
            mount(session, balancer)
            client = partial(session.get, "http://inventory/", timeout=PATIENCE)
            for ask, form in [(client, "text"), (partial(client, headers={FORMAT: "json"}), "json"), (stock, "text")]:
                for peer in inventory.pool.roster.peers.values():
                    peer.report = None
                assert [ask().text.split()[1] for _ in range(2)] == [form] * 2
                for peer in inventory.pool.roster.peers.values():
                    assert peer.report is not None
                    assert peer.report.rps_fractional > 0.0
                    assert peer.report.named_metrics["in_flight"] <= 1.0
            assert {*peer.report.named_metrics} == {"in_flight", "latency"}
