"""Where the surface is when the app is mounted below a path, and that it does not get into the app's way."""

import asyncio
import json
from collections.abc import Iterable
from io import BytesIO
from typing import Any, ClassVar

import pytest

import balancemw_starlette
import balancemw_werkzeug
from balancemw import Balancer
from balancemw.admin import LONGEST_BODY
from tests.alerts.notices import alert, webhook

TOKEN = "a-token-of-the-tests"
SETTINGS = {"services": {"s": {"nodes": ["http://a:1", "http://b:1"]}}, "admin": {"token": TOKEN}}
HEADERS = [(b"Authorization", f"Bearer {TOKEN}".encode())]


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": b"the app's"})


async def ask(middleware: Any, path: str, *messages: Any, **scope: Any) -> tuple[int, bytes, list[Any]]:
    """The status and the body of the answer, and the messages that were not received."""
    sent: list[Any] = []
    waiting = list(messages or [{"type": "http.request", "body": b""}])

    async def receive() -> Any:
        if not waiting:
            await asyncio.sleep(3600)
        return waiting.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    whole = {"type": "http", "method": "GET", "path": path, "headers": HEADERS, "query_string": b"", **scope}
    await middleware(whole, receive, send)
    return sent[0]["status"] if sent else 0, b"".join(each.get("body", b"") for each in sent), waiting


@pytest.fixture
def asgi() -> Any:
    return balancemw_starlette.BalanceMiddleware(app, SETTINGS)


class TestAsgi:
    @pytest.mark.parametrize(
        ("path", "root", "status"),
        [
            ("/_balancer/status", "", 200),
            ("/shop/_balancer/status", "/shop", 200),
            ("/_balancer/status", "/shop", 200),  # servers that leave the mount out of the path
            ("/shop/_balancer/status", "", 299),
            ("/shopping/_balancer/status", "/shop", 299),
            ("/_balancers/status", "", 299),
            ("/shop", "/shop", 299),
        ],
    )
    async def test_the_path_is_below_the_mount(self, asgi: Any, path: str, root: str, status: int):
        assert (await ask(asgi, path, root_path=root))[0] == status

    async def test_without_a_token_in_the_settings_the_path_is_the_apps(self):
        bare = balancemw_starlette.BalanceMiddleware(app, {"services": SETTINGS["services"]})
        assert (await ask(bare, "/_balancer/status"))[0] == 299

    async def test_a_body_in_parts(self, asgi: Any):
        body = json.dumps(webhook(alert("a:1"))).encode()
        parts = [{"type": "http.request", "body": body[i : i + 50], "more_body": True} for i in range(0, len(body), 50)]
        status, _, _ = await ask(asgi, "/_balancer/alerts", *parts, {"type": "http.request"}, method="POST")
        assert status == 200
        assert asgi.balancer["s"].available[0].name == "b:1"

    async def test_no_more_is_taken_of_a_body_that_never_ends_than_is_needed_to_say_so(self, asgi: Any):
        parts = [{"type": "http.request", "body": b"x" * 65536, "more_body": True}] * 1000
        status, _, left = await ask(asgi, "/_balancer/alerts", *parts, method="POST")
        assert status == 413
        assert len(left) > 1000 - 6 * LONGEST_BODY // 65536

    async def test_a_client_that_goes_away_gets_no_answer(self, asgi: Any):
        parts = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]
        assert (await ask(asgi, "/_balancer/alerts", *parts, method="POST"))[0] == 0
        assert asgi.balancer.status()["alerts"]["received"] == 0

    async def test_it_does_not_block_the_loop(self, asgi: Any, monkeypatch: pytest.MonkeyPatch):
        entered, go_on = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        status = Balancer.status

        def slow(balancer: Balancer) -> Any:
            loop.call_soon_threadsafe(entered.set)
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(30)
            return status(balancer)

        monkeypatch.setattr(Balancer, "status", slow)
        asking = asyncio.create_task(ask(asgi, "/_balancer/status"))
        await entered.wait()
        assert (await ask(asgi, "/"))[0] == 299
        go_on.set()
        assert (await asking)[0] == 200

    async def test_it_is_not_forwarded(self):
        everything = balancemw_starlette.BalanceMiddleware(app, {**SETTINGS, "routes": {"/": "s"}})
        assert (await ask(everything, "/_balancer/status"))[0] == 200
        assert everything.balancer.status()["services"]["s"]["nodes"][0]["calls"] == 0

    async def test_websockets_are_the_apps(self, asgi: Any):
        assert (await ask(asgi, "/_balancer/status", type="websocket"))[0] == 299


class TestWsgi:
    settings: ClassVar[dict[str, Any]] = SETTINGS

    def ask(self, path: str, body: bytes | None = None, **environ: Any) -> tuple[str, bytes, Any]:
        def wsgi(_: Any, start_response: Any) -> Iterable[bytes]:
            start_response("299 The App's", [])
            return [b""]

        middleware = balancemw_werkzeug.BalanceMiddleware(wsgi, self.settings)
        statuses: list[str] = []
        whole = {
            "REQUEST_METHOD": "GET" if body is None else "POST",
            "PATH_INFO": path,
            "HTTP_AUTHORIZATION": f"Bearer {TOKEN}",
            "wsgi.input": BytesIO(body or b""),
            **environ,
        }
        answer = middleware(
            whole, lambda status, headers, exc_info=None: statuses.append(status) or (lambda data: None)
        )  # type: ignore[func-returns-value]
        return statuses[0], b"".join(answer), middleware.balancer

    @pytest.mark.parametrize(
        ("path", "status"),
        [("/_balancer/status", "200 OK"), ("/_balancers/status", "299 The App's"), ("", "299 The App's")],
    )
    def test_the_path_is_below_the_mount(self, path: str, status: str):
        assert self.ask(path, SCRIPT_NAME="/shop")[0] == status

    def test_a_path_that_is_not_ascii(self):
        path = "/_balancer/services/s/nodes/ü:1".encode().decode("latin-1")
        status, body, _ = self.ask(path, b'{"action": "down"}', CONTENT_LENGTH="18")
        assert status == "404 Not Found"
        assert json.loads(body)["detail"].startswith("'ü:1' is not a node")

    def test_a_body_without_a_length_is_read_only_where_it_has_an_end(self):
        body = json.dumps(webhook(alert("a:1"))).encode()
        assert self.ask("/_balancer/alerts", body)[0] == "400 Bad Request"
        assert self.ask("/_balancer/alerts", body, **{"wsgi.input_terminated": True})[0] == "200 OK"
        status, _, balancer = self.ask("/_balancer/alerts", body + b"{", CONTENT_LENGTH=str(len(body)))
        assert status == "200 OK"
        assert [node.name for node in balancer["s"].available] == ["b:1"]

    def test_no_more_is_read_than_shows_that_it_is_too_long(self):
        class Endless(BytesIO):
            given = 0

            def read(self, size: int | None = -1) -> bytes:
                assert size is not None
                assert size > 0
                self.given += size
                return b"x" * size

        stream = Endless()
        status, _, _ = self.ask("/_balancer/alerts", b"", **{"wsgi.input": stream, "wsgi.input_terminated": True})
        assert (status[:4], stream.given) == ("413 ", LONGEST_BODY + 1)

    def test_head(self):
        assert self.ask("/_balancer/status", REQUEST_METHOD="HEAD")[:2] == ("200 OK", b"")


class TestWsgiWithRoutes(TestWsgi):
    """It is not forwarded."""

    settings: ClassVar[dict[str, Any]] = {**SETTINGS, "routes": {"/_balancer": "s"}}
