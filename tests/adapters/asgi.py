"""ASGI apps of one view each, and what calls them."""

import json
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from balancemw import Balancer
from balancemw_starlette import BalanceMiddleware
from tests.adapters.calls import ask, ask_async, fail, settings

Messages = list[dict[str, Any]]


def app_of(view: Callable[..., Any], **options: Any) -> Starlette:
    """A Starlette app with one view and the middleware."""
    app = Starlette(routes=[Route("/", view)])
    app.add_middleware(BalanceMiddleware, **(options or {"settings": settings()}))
    return app


def get(view: Callable[..., Any], *, headers: Any = None, **options: Any) -> Any:
    """What such an app answers."""
    return TestClient(app_of(view, **options)).get("/", headers=headers)


def sync_view(request: Request) -> Response:
    return PlainTextResponse(ask())


async def async_view(request: Request) -> Response:
    return PlainTextResponse(await ask_async() + " " + ask())


def failing_view(request: Request) -> Response:
    return PlainTextResponse(fail())


async def call(app: Any, *, method: str = "GET", headers: Any = (), kind: str = "http") -> Messages:
    """What a plain ASGI app sends for one request, in the context of the caller."""
    sent: Messages = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(dict(message))

    scope = {"type": kind, "method": method, "path": "/", "headers": list(headers), "query_string": b""}
    await app(scope, receive, send)
    return sent


def nodes(balancer: Balancer) -> Any:
    """What the balancer shows of its nodes, as a reader of its status gets it."""
    return json.loads(json.dumps(balancer.status()))["services"]["inventory"]["nodes"]
