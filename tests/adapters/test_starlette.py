"""The ASGI middleware inside Starlette and FastAPI: what a request sees, and what its client may say."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from fastapi import Request as FastAPIRequest
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from balancemw import Balancer, deadline, remaining
from balancemw.balancer import current
from balancemw.context import REQUEST
from balancemw_starlette import BalanceMiddleware
from tests.adapters.asgi import app_of, async_view, call, failing_view, get, sync_view
from tests.adapters.calls import TRIES, ask, ask_async, settings, within, without_nodes

# -- what a request sees


@pytest.mark.parametrize("view", [sync_view, async_view])
def test_balanced_calls_find_the_balancer_in_sync_and_async_views(view):
    answer = get(view, settings=settings(7001))
    assert answer.status_code == 200
    assert set(answer.text.split()) == {"127.0.0.1:7001"}


@pytest.mark.parametrize("lifespan", [True, False])
def test_the_request_carries_the_balancer_with_and_without_a_lifespan(lifespan):
    balancer = Balancer(settings())

    async def view(request: Request) -> Response:
        return PlainTextResponse(str(request.state.balancer is balancer))

    client = TestClient(app_of(view, balancer=balancer))
    if lifespan:
        with client:
            assert client.get("/").text == "True"
    else:
        assert client.get("/").text == "True"


def test_the_state_of_the_lifespan_is_kept():
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, str]]:
        yield {"own": f"kept {ask()}"}

    async def view(request: Request) -> Response:
        return PlainTextResponse(f"{request.state.own}, {type(request.state.balancer).__name__}")

    app = Starlette(routes=[Route("/", view)], lifespan=lifespan)
    app.add_middleware(BalanceMiddleware, settings=settings(7001))
    with TestClient(app) as client:
        assert client.get("/").text == "kept 127.0.0.1:7001, Balancer"


def test_two_apps_in_one_process_have_a_balancer_each():
    first, second = (TestClient(app_of(sync_view, settings=settings(port))) for port in (7001, 7002))
    assert [client.get("/").text for client in (first, second, first)] == [
        "127.0.0.1:7001",
        "127.0.0.1:7002",
        "127.0.0.1:7001",
    ]


def test_the_balancer_becomes_the_process_own():
    middleware = BalanceMiddleware(sync_view, settings())
    assert current() is middleware.balancer


def test_fastapi_dependencies_see_the_request():
    app = FastAPI()
    app.add_middleware(BalanceMiddleware, settings=settings(7001))

    def sync_dependency(request: FastAPIRequest) -> Iterator[str]:
        yield f"{ask()} {request.state.balancer['inventory'].name}"

    async def async_dependency() -> str:
        return await ask_async()

    @app.get("/")
    def view(
        one: Annotated[str, Depends(sync_dependency)], two: Annotated[str, Depends(async_dependency)]
    ) -> list[str]:
        return [one, two, ask()]

    answer = TestClient(app).get("/")
    assert answer.json() == ["127.0.0.1:7001 inventory", "127.0.0.1:7001", "127.0.0.1:7001"]


@pytest.mark.parametrize("place", ["outside", "inside"])
def test_a_base_http_middleware_does_no_harm(place):
    async def dispatch(request: Request, call_next: Any) -> Response:
        response = await call_next(request)
        response.headers["x-dispatched"] = "yes"
        return response

    app = Starlette(routes=[Route("/", async_view), Route("/sync", sync_view), Route("/none", failing_view)])
    layers: list[tuple[Any, dict[str, Any]]] = [
        (BaseHTTPMiddleware, {"dispatch": dispatch}),
        (BalanceMiddleware, {"balancer": without_nodes()}),
    ]
    for layer, options in layers if place == "inside" else reversed(layers):
        app.add_middleware(layer, **options)
    answer = TestClient(app).get("/sync")
    assert answer.status_code == 503
    assert ("x-dispatched" in answer.headers) == (place == "outside")
    app.user_middleware[0 if place == "inside" else 1].kwargs["balancer"]["inventory"].clear("127.0.0.1:7001")
    for path in ("/", "/sync"):
        answer = TestClient(app).get(path)
        assert (answer.status_code, answer.headers["x-dispatched"]) == (200, "yes")


def test_a_streamed_body_makes_balanced_calls():
    def chunks() -> Iterator[str]:
        for _ in range(3):
            yield ask() + "\n"

    async def async_chunks() -> AsyncIterator[str]:
        for _ in range(3):
            yield await ask_async() + " " + within(0.0, 5.0) + "\n"

    headers = {"x-request-timeout-ms": "5000"}
    answer = get(lambda request: StreamingResponse(chunks()), settings=settings(7001))
    assert answer.text == "127.0.0.1:7001\n" * 3
    answer = get(lambda request: StreamingResponse(async_chunks()), settings=settings(7001), headers=headers)
    assert answer.text == "127.0.0.1:7001 yes\n" * 3


async def test_nothing_is_left_in_the_context_of_the_caller():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert current() is middleware.balancer
        await PlainTextResponse(within(0.0, 2.0))(scope, receive, send)

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise KeyError("mine")

    headers = [(b"x-request-timeout-ms", b"2000")]
    middleware = BalanceMiddleware(app, settings())
    before = REQUEST.get()
    with deadline(60.0):
        assert (await call(middleware, headers=headers))[1]["body"] == b"yes"
        left = remaining()
        assert left is not None
        assert left > 2.0
    with pytest.raises(KeyError, match="mine"):
        await call(BalanceMiddleware(broken, settings()), headers=headers)
    assert REQUEST.get() is before
    assert remaining() is None


async def test_a_request_abandoned_in_its_midst_is_closed_from_any_context():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.get_running_loop().create_future()

    running = call(BalanceMiddleware(app, settings()))
    running.send(None)

    async def elsewhere() -> None:
        running.close()

    await asyncio.create_task(elsewhere())


# -- what the client says


@pytest.mark.parametrize(
    ("headers", "low", "high"),
    [
        ([("x-request-timeout-ms", "2000")], 1.0, 2.0),
        ([("X-Envoy-Expected-Rq-Timeout-Ms", "2000")], 1.0, 2.0),
        ([("grpc-timeout", "2S")], 1.0, 2.0),
        ([("x-request-timeout-ms", "2000"), ("x-request-timeout-ms", "4000")], 1.0, 2.0),
        ([("x-request-timeout-ms", "99999999")], 2.0, 5.0),
        ([("x-request-timeout-ms", "-1")], 2.0, 5.0),
        ([("x-request-timeout-ms", "2e0")], 2.0, 5.0),
        ([("x-request-timeout-ms", "")], 2.0, 5.0),
        ([], 2.0, 5.0),
    ],
)
def test_a_deadline_header_shortens_the_time_and_never_lengthens_it(headers, low, high):
    answer = get(lambda request: PlainTextResponse(within(low, high)), settings=settings(timeout=5), headers=headers)
    assert answer.text == "yes"


async def test_a_header_may_hold_any_bytes():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse(within(2.0, 5.0))(scope, receive, send)

    headers = [(b"x-request-timeout-ms", b"\xb2\xff"), (b"x-envoy-attempt-count", b"\xb2\xff")]
    sent = await call(BalanceMiddleware(app, settings(timeout=5)), headers=headers)
    assert sent[1]["body"] == b"yes"


def test_without_a_header_and_a_timeout_nothing_bounds_the_request():
    async def view(request: Request) -> Response:
        return PlainTextResponse(repr(remaining()))

    assert get(view, settings=settings()).text == "None"


@pytest.mark.parametrize(("count", "tries"), [("1", 3), ("2", 1), ("nonsense", 3), (None, 3)])
def test_a_request_that_is_a_retry_makes_no_retries_of_its_own(count, tries):
    headers = {} if count is None else {"x-envoy-attempt-count": count}
    with pytest.raises(ConnectionResetError):
        get(failing_view, settings=settings(), headers=headers)
    assert len(TRIES) == tries


def test_chain_stop_can_be_turned_off():
    with pytest.raises(ConnectionResetError):
        get(failing_view, settings=settings(chain_stop=False), headers={"x-envoy-attempt-count": "2"})
    assert len(TRIES) == 3
