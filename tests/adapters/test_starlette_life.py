"""The ASGI middleware beside requests: websockets, lifespan, other scopes, and its settings."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from balancemw import Balancer, NoNodeAvailable, SettingsError, remaining
from balancemw_starlette import BalanceMiddleware
from tests.adapters.asgi import app_of, call, sync_view
from tests.adapters.calls import ask, ask_async, settings, without_nodes

# -- websockets, lifespan, and what else there may be


def test_a_websocket_passes_through_and_sees_the_balancer():
    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        async for text in websocket.iter_text():
            name = websocket.state.balancer["inventory"].name
            await websocket.send_text(f"{text} {name} {await ask_async()} {remaining()}")

    app = Starlette(routes=[WebSocketRoute("/", echo)])
    app.add_middleware(BalanceMiddleware, settings=settings(7001, timeout=5))
    with TestClient(app).websocket_connect("/", headers={"x-request-timeout-ms": "1"}) as websocket:
        for word in ("one", "two"):
            websocket.send_text(word)
            assert websocket.receive_text() == f"{word} inventory 127.0.0.1:7001 None"


def test_an_error_in_a_websocket_passes_untouched():
    async def view(websocket: WebSocket) -> None:
        await ask_async()

    app = Starlette(routes=[WebSocketRoute("/", view)])
    app.add_middleware(BalanceMiddleware, balancer=without_nodes())
    with pytest.raises(NoNodeAvailable), TestClient(app).websocket_connect("/"):
        pass


async def test_an_unknown_scope_passes_through():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "unheard.of", "scope": dict(scope)})

    assert await call(BalanceMiddleware(app, settings()), kind="unheard") == [
        {
            "type": "unheard.of",
            "scope": {"type": "unheard", "method": "GET", "path": "/", "headers": [], "query_string": b""},
        }
    ]


@pytest.fixture
def life(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is done to balancers, in order."""
    told: list[str] = []
    start, close = Balancer.start, Balancer.close
    monkeypatch.setattr(Balancer, "start", lambda self: (told.append("start"), start(self))[1])
    monkeypatch.setattr(Balancer, "close", lambda self: (told.append("close"), close(self))[1])
    return told


def test_a_balancer_of_its_own_is_closed_at_shutdown_and_opened_again(life):
    app = app_of(sync_view, settings=settings())
    with TestClient(app) as client:
        assert client.get("/").status_code == 200
        assert life == []  # background work begins with the first call, which needs no start
    assert life == ["close"]
    with TestClient(app):
        assert life == ["close", "start"]
    assert life == ["close", "start", "close"]


def test_a_balancer_that_was_handed_in_is_left_to_its_maker(life):
    with TestClient(app_of(sync_view, balancer=Balancer(settings()))):
        pass
    assert life == []


def test_what_an_app_does_at_startup_finds_its_own_balancer():
    found: list[str] = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        found.append(ask())
        yield
        found.append(await ask_async())

    app = BalanceMiddleware(Starlette(lifespan=lifespan), settings(7001))
    BalanceMiddleware(Starlette(), settings(7002))  # the process's own
    with TestClient(app):
        pass
    assert found == ["127.0.0.1:7001"] * 2


def test_a_startup_that_fails_stays_a_failure(life):
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        raise OSError("no database")
        yield

    app = Starlette(lifespan=lifespan)
    app.add_middleware(BalanceMiddleware, settings=settings())
    with pytest.raises(OSError, match="no database"), TestClient(app):
        pass
    assert life == ["close"]


@pytest.mark.parametrize("refuses", ["raises", "returns"])
def test_an_app_without_a_lifespan_gets_one(life, refuses):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            if refuses == "raises":
                raise ValueError("only http")
            return
        await PlainTextResponse(ask())(scope, receive, send)

    with TestClient(BalanceMiddleware(app, settings(7001))) as client:
        assert client.get("/").text == "127.0.0.1:7001"
        assert life == []
    assert life == ["close"]


# -- settings


def test_settings_come_from_the_file_that_the_environment_names(tmp_path, monkeypatch):
    path = tmp_path / "balancemw.toml"
    path.write_text('[services.inventory]\nnodes = ["http://127.0.0.1:7009"]\n')
    monkeypatch.setenv("BALANCEMW_SETTINGS", str(path))
    app = Starlette(routes=[Route("/", sync_view)])
    app.add_middleware(BalanceMiddleware)
    assert TestClient(app).get("/").text == "127.0.0.1:7009"


def test_without_settings_the_error_says_what_to_do():
    with pytest.raises(SettingsError, match="BALANCEMW_SETTINGS"):
        BalanceMiddleware(sync_view)


def test_settings_and_a_balancer_are_one_too_many():
    with pytest.raises(TypeError, match="one of them"):
        BalanceMiddleware(sync_view, settings(), balancer=Balancer(settings()))


def test_settings_are_no_balancer():
    with pytest.raises(TypeError, match=r"^balancer= is a Balancer, no dict; what one is made of is settings=$"):
        BalanceMiddleware(sync_view, balancer=settings())
