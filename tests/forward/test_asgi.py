"""What servers and outer apps of all kinds make of a request, seen from inside."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from balancemw import Balancer
from balancemw_starlette import BalanceMiddleware, inflow
from balancemw_starlette.forwarding import BrokenOff
from tests.forward.stage import Replica, replicas

Messages = list[dict[str, Any]]


@pytest.fixture(scope="module")
def replica() -> Iterator[Replica]:
    with replicas("") as (one,):
        yield one


def settings(replica: Replica, **options: Any) -> dict[str, Any]:
    return {
        "services": {"inventory": {"nodes": [replica.url], **options}},
        "routes": {"/api": "inventory", "/small": {"service": "inventory", "body_limit": 3}},
    }


async def own(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"  # it takes no part in the lifespan
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"the app's own"})


def request(*parts: bytes, more: bool = False) -> Messages:
    """The messages of a request with these parts of a body."""
    last = len(parts) - 1
    return [
        {"type": "http.request", "body": part, "more_body": more or number < last} for number, part in enumerate(parts)
    ]


async def serve(app: Any, messages: Messages, *, then: Any = None, **scope: Any) -> Messages:
    """What `app` sends for one request, of which `messages` come and then what `then()` returns, or nothing."""
    sent: Messages = []
    coming = iter(messages)

    async def receive() -> Any:
        message = next(coming, None)
        if message is None:
            return then() if then is not None else await asyncio.Event().wait()
        return message

    async def send(message: Any) -> None:
        sent.append(dict(message))

    usual = {"type": "http", "method": "GET", "path": "/api/x", "headers": [], "query_string": b"", "scheme": "http"}
    await app({**usual, "http_version": "1.1", **scope}, receive, send)
    return sent


def echo_of(sent: Messages) -> Any:
    assert sent[0]["status"] == 200
    return json.loads(b"".join(message["body"] for message in sent[1:]))


@pytest.fixture
async def app(replica: Replica) -> AsyncIterator[BalanceMiddleware]:
    async with lasting(BalanceMiddleware(own, settings(replica))) as app:
        yield app


class lasting:  # noqa: N801  it reads as a phrase
    """An app in whose lifespan a block runs."""

    def __init__(self, app: BalanceMiddleware) -> None:
        self.app = app

    async def __aenter__(self) -> BalanceMiddleware:
        return self.app

    async def __aexit__(self, *_: object) -> None:
        words = iter(["lifespan.startup", "lifespan.shutdown"])

        async def receive() -> Any:
            return {"type": next(words)}

        async def send(message: Any) -> None:
            pass

        await self.app({"type": "lifespan"}, receive, send)
        assert not self.app._forwarding or not self.app._forwarding.sessions._sessions


class TestScopes:
    async def test_the_least_that_a_server_may_tell(self, app: BalanceMiddleware):
        seen = echo_of(await serve(app, request(b"")))
        assert seen["target"] == "/x"
        assert "x-forwarded-for" not in seen["head"]

    async def test_the_app_hears_nothing_of_it(self, app: BalanceMiddleware):
        assert (await serve(app, request(b""), path="/other"))[1]["body"] == b"the app's own"
        assert (await serve(app, request(b""), path="/apis", raw_path=b"/apis"))[1]["body"] == b"the app's own"

    @pytest.mark.parametrize(
        ("scope", "target"),
        [
            ({"path": "/api/a b", "raw_path": b"/api/a%20b"}, "/a%20b"),
            ({"path": "/api/a/b", "raw_path": b"/api/a%2Fb"}, "/a%2Fb"),
            ({"path": "/api/a%b\u00e9"}, "/a%25b%C3%A9"),
            ({"path": "/api/a", "raw_path": b"/api/a?x=1", "query_string": b"x=1"}, "/a?x=1"),
            ({"path": "/api/new", "raw_path": b"/old/path"}, "/new"),  # an outer app has put another path in place
            ({"path": "/m/api/x", "raw_path": b"/m/api/x", "root_path": "/m"}, "/x"),
            ({"path": "/m/api/x", "raw_path": b"/api/x", "root_path": "/m"}, "/x"),
            ({"path": "/api/x", "raw_path": b"/m/api/x", "root_path": "/m"}, "/x"),
            ({"path": "/api/x", "raw_path": b"/api/x", "root_path": "/m"}, "/x"),
        ],
    )
    async def test_paths(self, app: BalanceMiddleware, scope: dict[str, Any], target: str):
        assert echo_of(await serve(app, request(b""), **scope))["target"] == target

    async def test_http_2_need_not_say_that_a_body_follows(self, app: BalanceMiddleware):
        parts = [b"x" * 70000, b"y"]
        seen = echo_of(await serve(app, request(*parts), method="POST", http_version="2"))
        assert seen["size"] == 70001
        assert "transfer-encoding: chunked" in seen["head"].lower()
        seen = echo_of(await serve(app, request(b""), http_version="2"))
        assert "transfer-encoding" not in seen["head"].lower()

    async def test_a_header_that_cannot_be_written(self, app: BalanceMiddleware):
        sent = await serve(app, request(b""), headers=[(b"x-a", b"caf\xe9")])
        assert sent[0]["status"] == 400

    async def test_no_routes_no_forwarding(self, replica: Replica):
        app = BalanceMiddleware(own, {**settings(replica), "routes": {}})
        assert (await serve(app, request(b"")))[1]["body"] == b"the app's own"
        assert app._forwarding is None


class TestBodies:
    @pytest.mark.parametrize("parts", [[b"abc"], [b"abc", b"defg"], [b"abcdefg", b"h"]])
    async def test_of_another_length_than_declared(self, app: BalanceMiddleware, parts: list[bytes]):
        sent = await serve(app, request(*parts), method="POST", headers=[(b"content-length", b"5")])
        assert sent[0]["status"] == 400
        assert app.balancer.status()["services"]["inventory"]["nodes"][0]["failures"] == 0  # type: ignore[index]

    async def test_a_client_that_stops_in_the_middle(self, app: BalanceMiddleware, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(inflow, "_PATIENCE", 0.2)
        monkeypatch.setattr(inflow, "_BEAT", 0.05)
        sent = await serve(app, request(b"abc", more=True), method="POST", headers=[(b"content-length", b"5")])
        assert sent[0]["status"] == 408
        assert app.balancer.status()["services"]["inventory"]["nodes"][0]["in_flight"] == 0  # type: ignore[index]

    async def test_a_client_that_leaves_in_the_middle(self, app: BalanceMiddleware):
        gone = {"type": "http.disconnect"}
        sent = await serve(
            app, request(b"abc", more=True), then=lambda: gone, method="POST", headers=[(b"content-length", b"5")]
        )
        assert sent == []

    async def test_a_server_that_repeats_itself(self, app: BalanceMiddleware):
        seen = echo_of(await serve(app, request(b""), then=lambda: request(b"")[0]))
        assert seen["size"] == 0

    async def test_a_server_that_fails(self, app: BalanceMiddleware):
        def fail() -> None:
            raise RuntimeError("the server's own")

        with pytest.raises(RuntimeError, match="the server's own"):
            await serve(app, request(b""), then=fail, path="/api/hang")


class TestEnds:
    async def test_an_answer_that_breaks_off_breaks_off(self, app: BalanceMiddleware):
        with pytest.raises(BrokenOff):
            await serve(app, request(b""), path="/api/half")

    async def test_whoever_cancels_us_is_obeyed(self, app: BalanceMiddleware):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await serve(app, request(b""), path="/api/hang")
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    async def test_who_left_does_not_cancel_who_comes_after(self, app: BalanceMiddleware):
        for _ in range(5):
            await serve(app, request(b""), then=lambda: {"type": "http.disconnect"}, path="/api/hang")
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(0)

    async def test_a_mistake_of_ours_is_not_hidden(self, app: BalanceMiddleware, monkeypatch: pytest.MonkeyPatch):
        def fail(*_: object) -> None:
            raise TypeError("ours")

        monkeypatch.setattr("balancemw_starlette.forwarding.response_head", fail)
        with pytest.raises(TypeError, match="ours"):
            await serve(app, request(b""))


class TestStarlette:
    def test_around_an_app(self, replica: Replica):
        async def view(request: Request) -> Response:
            return PlainTextResponse("view")

        app = Starlette(routes=[Route("/", view)])
        app.add_middleware(BalanceMiddleware, settings=settings(replica))
        with TestClient(app) as client:
            assert client.get("/").text == "view"
            assert client.post("/api/x?a=1", content=b"abc").json()["size"] == 3
            assert client.get("/api/x").cookies["a"] == "1"

    def test_in_a_mounted_app(self, replica: Replica):
        async def view(request: Request) -> Response:
            return PlainTextResponse("view")

        inner = BalanceMiddleware(Starlette(routes=[Route("/view", view)]), settings(replica))
        with TestClient(Starlette(routes=[Mount("/inner", inner)])) as client:
            assert client.get("/inner/view").text == "view"
            head = client.get("/inner/api/x").json()["head"]
            assert "x-forwarded-prefix: /inner/api\r\n" in head
            answer = client.get(f"/inner/api/redirect?to={replica.url}/y", follow_redirects=False)
            assert answer.headers["location"] == "http://testserver/inner/api/y"

    def test_below_a_middleware_that_wraps_requests(self, replica: Replica):
        async def dispatch(request: Request, call_next: Any) -> Response:
            response: Response = await call_next(request)
            response.headers["x-outer"] = "1"
            return response

        app = BaseHTTPMiddleware(BalanceMiddleware(own, settings(replica)), dispatch)
        with TestClient(app) as client:
            answer = client.post("/api/x", content=iter([b"abc", b"def"]))
            assert (answer.json()["size"], answer.headers["x-outer"]) == (6, "1")

    def test_without_a_lifespan_nothing_is_left_behind(self, replica: Replica):
        """Each request in a loop of its own, which is closed without a word."""
        app = BalanceMiddleware(own, settings(replica))
        client = TestClient(app)
        for _ in range(5):
            assert client.get("/api/x").status_code == 200
        assert app._forwarding is not None
        assert len(app._forwarding.sessions._sessions) == 1
        del app, client
        gc.collect()


def test_a_balancer_may_be_shared(replica: Replica):
    balancer = Balancer(settings(replica))
    for _ in range(2):
        with TestClient(BalanceMiddleware(own, balancer=balancer)) as client:
            assert client.get("/api/x").status_code == 200
