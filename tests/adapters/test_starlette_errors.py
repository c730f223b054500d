"""What the ASGI middleware does with errors, and what goes on after an answer."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from balancemw import Balancer, DeadlineExceeded, NoNodeAvailable, balanced
from balancemw_starlette import BalanceMiddleware
from tests.adapters.asgi import app_of, async_view, call, get, nodes, sync_view
from tests.adapters.calls import ask, measure, settings, within, without_nodes

# -- errors


@pytest.mark.parametrize("view", [sync_view, async_view])
def test_without_a_node_the_answer_is_503(view):
    answer = get(view, balancer=without_nodes())
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json()["status"] == 503
    assert "127.0.0.1" not in answer.text
    assert "inventory" not in answer.text


def test_past_the_deadline_the_answer_is_504():
    answer = get(sync_view, settings=settings(), headers={"x-request-timeout-ms": "0"})
    assert (answer.status_code, answer.headers["content-type"]) == (504, "application/problem+json")
    assert answer.json()["status"] == 504


def test_a_deadline_cuts_off_a_call_that_takes_too_long():
    @balanced("inventory", idempotent=True)
    async def hang(node: Any) -> None:
        await asyncio.get_running_loop().create_future()

    async def view(request: Request) -> Response:
        await hang()
        raise AssertionError

    balancer = Balancer(settings())
    answer = get(view, balancer=balancer, headers={"x-request-timeout-ms": "50"})
    assert answer.status_code == 504
    assert all(node["failures"] == 0 for node in nodes(balancer))  # the client's haste is nobody's fault


async def test_the_answer_to_head_has_no_body():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        ask()

    middleware = BalanceMiddleware(app, balancer=without_nodes())
    (start, body), (start_of_get, body_of_get) = await call(middleware, method="HEAD"), await call(middleware)
    assert start == start_of_get
    assert (start["status"], body["body"]) == (503, b"")
    assert dict(start["headers"])[b"content-length"] == str(len(body_of_get["body"])).encode()


def test_the_handler_of_the_app_wins():
    app = app_of(sync_view, balancer=without_nodes())
    app.add_exception_handler(NoNodeAvailable, lambda request, error: PlainTextResponse("closed", 418))
    assert TestClient(app).get("/").status_code == 418


def test_other_errors_pass_untouched():
    def view(request: Request) -> Response:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        get(view)
    assert TestClient(app_of(view), raise_server_exceptions=False).get("/").text == "Internal Server Error"


@pytest.mark.parametrize("error", [NoNodeAvailable, DeadlineExceeded])
async def test_once_the_answer_has_begun_errors_go_up(error):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise error("too late")

    with pytest.raises(error):
        await call(BalanceMiddleware(app, settings()))


@pytest.mark.parametrize("shape", ["around", "mounted", "debug"])
def test_an_app_that_answers_500_before_it_raises_does_not_hide_our_errors(shape):
    inner = Starlette(routes=[Route("/", sync_view)], debug=shape == "debug")
    if shape == "mounted":
        app: Any = Starlette(routes=[Mount("/", inner)])
        app.add_middleware(BalanceMiddleware, balancer=without_nodes())
    else:
        app = BalanceMiddleware(inner, balancer=without_nodes())
    answer = TestClient(app).get("/")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")


def test_around_an_app_other_errors_are_answered_by_it_and_go_up():
    def view(request: Request) -> Response:
        raise KeyError("mine")

    app = BalanceMiddleware(Starlette(routes=[Route("/", view)]), settings())
    with pytest.raises(KeyError, match="mine"):
        TestClient(app).get("/")
    answer = TestClient(app, raise_server_exceptions=False).get("/")
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")


def test_the_app_may_answer_500_itself_in_one_piece_and_streamed():
    def chunks() -> Iterator[str]:
        yield "in "
        yield "pieces"

    assert get(lambda request: JSONResponse({"own": 1}, 500)).json() == {"own": 1}
    streamed = get(lambda request: StreamingResponse(chunks(), 500))
    assert (streamed.status_code, streamed.text) == (500, "in pieces")


async def test_a_streamed_500_is_not_held_back():
    seen: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        assert [message["type"] for message in seen] == ["http.response.start", "http.response.body"]
        await send({"type": "http.response.body", "body": b"b"})

    async def send(message: Any) -> None:
        seen.append(message)

    await BalanceMiddleware(app, settings())({"type": "http", "method": "GET", "headers": []}, None, send)
    assert [message.get("body") for message in seen] == [None, b"a", b"b"]


# -- what goes on after the answer, and who goes away


def test_a_background_task_is_not_bound_by_the_deadline_of_the_request():
    left: list[Any] = []

    async def view(request: Request) -> Response:
        return PlainTextResponse(within(0.0, 5.0), background=BackgroundTask(lambda: left.append((measure(), ask()))))

    answer = get(view, settings=settings(7001, timeout=5), headers={"x-request-timeout-ms": "5000"})
    assert answer.text == "yes"
    ((seconds, node),) = left
    assert seconds > 5.0  # the attempt_timeout of the service
    assert node == "127.0.0.1:7001"


async def test_a_client_that_goes_away_is_no_fault_of_a_node():
    entered = asyncio.Event()

    @balanced("inventory", idempotent=True)
    async def hang(node: Any) -> None:
        entered.set()
        await asyncio.get_running_loop().create_future()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await hang()

    balancer = Balancer(settings())
    request = asyncio.create_task(call(BalanceMiddleware(app, balancer=balancer)))
    await entered.wait()
    assert sum(node["in_flight"] for node in nodes(balancer)) == 1
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert sum(node["in_flight"] + node["failures"] for node in nodes(balancer)) == 0
