"""The health document, the header of an app that goes, and the count of its requests, inside each framework."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket
from werkzeug.test import Client

from balancemw import Balancer, NoNodeAvailable
from balancemw.presence import STATE
from balancemw_flask import Balance
from balancemw_starlette import BalanceMiddleware as ASGIMiddleware
from balancemw_werkzeug import BalanceMiddleware as WSGIMiddleware
from tests.adapters.calls import settings

Get = Callable[..., Any]
Site = tuple[Balancer, Get]
"""A balancer, and what asks its app: (path, method) -> (status, headers in lower case, body)."""


def starlette_site() -> Site:
    balancer = Balancer(settings(health_path="/healthz"))

    async def view(request: Request) -> Response:
        return PlainTextResponse(f"{balancer.presence.in_flight}")

    async def fail(request: Request) -> Response:
        raise KeyError("of the app")

    async def none(request: Request) -> Response:
        raise NoNodeAvailable("none is left", 1.0)

    async def stream(request: Request) -> Response:
        async def chunks() -> AsyncIterator[str]:
            yield f"{balancer.presence.in_flight}"

        return StreamingResponse(chunks())

    async def talk(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(f"{balancer.presence.in_flight}")
        await socket.close()

    routes = [
        *(Route(path, each) for path, each in {"/": view, "/fail": fail, "/none": none, "/stream": stream}.items()),
        WebSocketRoute("/talk", talk),
    ]
    app = ASGIMiddleware(Starlette(routes=routes), balancer=balancer)
    client = TestClient(app, raise_server_exceptions=False)

    def get(path: str, method: str = "GET") -> Any:
        answer = client.request(method, path)
        return answer.status_code, dict(answer.headers), answer.content

    return balancer, get


def _views(balancer: Callable[[], Balancer]) -> Flask:
    app = Flask(__name__)

    @app.get("/")
    def view() -> str:
        return f"{balancer().presence.in_flight}"

    @app.get("/fail")
    def fail() -> str:
        raise KeyError("of the app")

    @app.get("/none")
    def none() -> str:
        raise NoNodeAvailable("none is left", 1.0)

    @app.get("/stream")
    def stream() -> Any:
        def chunks() -> Iterator[str]:
            yield f"{balancer().presence.in_flight}"

        return app.response_class(chunks())

    return app


def _asks(client: Client) -> Get:
    def get(path: str, method: str = "GET") -> Any:
        answer = client.open(path, method=method)
        body = answer.data
        answer.close()  # as every server does
        return answer.status_code, {name.lower(): value for name, value in answer.headers.items()}, body

    return get


def werkzeug_site() -> Site:
    balancer = Balancer(settings(health_path="/healthz"))
    app = _views(lambda: balancer)
    return balancer, _asks(Client(WSGIMiddleware(app, balancer=balancer)))


def flask_site() -> Site:
    app = _views(lambda: app.extensions["balancemw"])
    app.config["BALANCEMW"] = settings(health_path="/healthz")
    Balance(app)
    return app.extensions["balancemw"], _asks(app.test_client())


@pytest.fixture(params=[starlette_site, werkzeug_site, flask_site])
def site(request: pytest.FixtureRequest) -> Site:
    return request.param()


def test_the_health_document(site: Site):
    balancer, get = site
    status, headers, body = get("/healthz")
    assert (status, headers["content-type"]) == (200, "application/json")
    assert STATE not in headers
    told = json.loads(body)
    assert (told["state"], told["in_flight"], told["requests"]) == ("up", 0, 0)
    balancer.drain("for a test")
    status, headers, body = get("/healthz")
    assert (status, headers[STATE], json.loads(body)["state"]) == (503, "draining", "draining")
    assert get("/healthz", "HEAD")[::2] == (503, b"")
    assert get("/healthz", "POST")[0] == 405
    balancer.resume()
    assert get("/healthz")[0] == 200


def test_it_names_nothing_of_what_is_behind(site: Site):
    _, get = site
    _, headers, body = get("/healthz")
    assert set(json.loads(body)) == {"state", "since", "in_flight", "requests"}
    for word in ("inventory", "127.0.0.1", "700"):
        assert word not in f"{headers}{body!r}".replace(str(json.loads(body)["since"]), "")


@pytest.mark.parametrize(
    ("path", "statuses"),
    [("/", {200}), ("/stream", {200}), ("/fail", {500}), ("/none", {500, 503}), ("/missing", {404})],
)
def test_every_answer_says_that_the_app_goes_and_every_request_is_counted_out(
    site: Site, path: str, statuses: set[int]
):
    balancer, get = site
    status, headers, _ = get(path)
    assert status in statuses
    assert STATE not in headers
    balancer.drain("for a test")
    status, headers, body = get(path)
    assert status in statuses
    assert headers[STATE] == "draining"
    if status == 200:
        assert body == b"1"
    assert (balancer.presence.in_flight, balancer.presence.served) == (0, 2)


def test_without_a_path_the_app_answers_as_it_did():
    balancer = Balancer(settings())
    get = _asks(Client(WSGIMiddleware(_views(lambda: balancer), balancer=balancer)))
    assert get("/healthz")[0] == 404


def test_a_body_that_is_not_read_to_its_end_is_counted_out_when_it_is_closed():
    balancer = Balancer(settings())

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"1"
        yield b"2"

    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "wsgi.url_scheme": "http"}
    body: Any = WSGIMiddleware(app, balancer=balancer)(environ, lambda *_: lambda _: None)  # type: ignore[arg-type,return-value]
    assert next(iter(body)) == b"1"
    assert balancer.presence.in_flight == 1
    body.close()
    body.close()
    assert balancer.presence.in_flight == 0


def test_a_websocket_is_no_request():
    balancer = Balancer(settings(health_path="/healthz"))

    async def talk(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(f"{balancer.presence.in_flight}")
        await socket.close()

    app = ASGIMiddleware(Starlette(routes=[WebSocketRoute("/healthz", talk)]), balancer=balancer)
    with TestClient(app).websocket_connect("/healthz") as socket:
        assert socket.receive_text() == "0"


@pytest.mark.parametrize(("version", "closes"), [("1.1", True), ("1.0", True), ("2", False), ("3", False)])
async def test_only_where_there_is_such_a_header_the_connection_is_to_be_closed(version: str, closes: bool):
    balancer = Balancer(settings())
    balancer.drain("for a test")
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "http_version": version}
    await ASGIMiddleware(app, balancer=balancer)(scope, receive, send)
    headers = dict(sent[0]["headers"])
    assert headers[STATE.encode()] == b"draining"
    assert (headers.get(b"connection") == b"close") == closes
