"""What servers and outer apps of all kinds make of a request, seen from inside of WSGI."""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from io import BytesIO
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from urllib3.exceptions import HTTPError
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import make_server

from balancemw import SettingsError
from balancemw_werkzeug import BalanceMiddleware, forwarding
from tests.forward.stage import PATIENCE, Replica, replicas


@pytest.fixture(scope="module")
def replica() -> Iterator[Replica]:
    with replicas("") as (one,):
        yield one


def settings(replica: Replica, **options: Any) -> dict[str, Any]:
    return {
        "services": {"inventory": {"nodes": [replica.url], **options}},
        "routes": {"/api": "inventory", "/small": {"service": "inventory", "body_limit": 3}},
    }


def own(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"the app's own"]


@pytest.fixture
def app(replica: Replica) -> BalanceMiddleware:
    return BalanceMiddleware(own, settings(replica))


class Given:
    """The answer of an app that a server has called, whose body nobody has asked for yet."""

    def __init__(self, app: Any, path: str = "/api/x", body: bytes | None = None, **environ: Any) -> None:
        asked: dict[str, Any] = {
            "SCRIPT_NAME": "",
            "PATH_INFO": path,
            "QUERY_STRING": "",
            "SERVER_PROTOCOL": "HTTP/1.1",
            **environ,
        }
        if body is not None:
            asked = {"REQUEST_METHOD": "POST", "CONTENT_LENGTH": str(len(body)), "wsgi.input": BytesIO(body)} | asked
        setup_testing_defaults(asked)
        self.heads: list[tuple[str, list[tuple[str, str]]]] = []
        self.body: Any = app(asked, self._start)
        self._parts: Iterator[bytes] | None = None

    def _start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
        self.heads.append((status, headers))
        return lambda _: None

    def part(self) -> bytes:
        """The next part of the body."""
        if self._parts is None:
            self._parts = iter(self.body)
        return next(self._parts)

    @property
    def status(self) -> int:
        assert len(self.heads) == 1
        return int(self.heads[0][0][:3])

    @property
    def headers(self) -> dict[str, str]:
        return {name.lower(): value for name, value in self.heads[0][1]}

    def read(self) -> bytes:
        content = b"".join(self.body)
        if hasattr(self.body, "close"):
            self.body.close()
        return content

    def echo(self) -> Any:
        content = self.read()
        assert self.status == 200
        return json.loads(content)


def node(app: BalanceMiddleware) -> dict[str, Any]:
    services: Any = app.balancer.status()["services"]
    found: dict[str, Any] = services["inventory"]["nodes"][0]
    return found


class TestEnvirons:
    def test_the_least_that_a_server_may_tell(self, app: BalanceMiddleware):
        seen = Given(app, REMOTE_ADDR="").echo()
        assert seen["target"] == "/x"
        assert "x-forwarded-for" not in seen["head"].lower()

    def test_it_is_what_the_standard_asks_for(self, app: BalanceMiddleware):
        assert Given(validator(app), "/api/download", QUERY_STRING="size=100000").read()  # type: ignore[arg-type]
        assert Given(validator(app), body=b"abc").echo()["size"] == 3  # type: ignore[arg-type]
        assert Given(validator(app), "/none").read() == b"the app's own"  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("path", "raw", "target"),
        [
            ("/api/a b", "/api/a%20b", "/a%20b"),
            ("/api/a/b", "/api/a%2Fb?x=1", "/a%2Fb"),
            ("/api/a/b", "http://shop.example/api/a%2Fb", "/a%2Fb"),
            ("/api/new", "/old/path", "/new"),  # an outer app has put another path in place
            ("/api/caf\xc3\xa9%", None, "/caf%C3%A9%25"),
        ],
    )
    @pytest.mark.parametrize("name", ["RAW_URI", "REQUEST_URI"])
    def test_paths(self, app: BalanceMiddleware, path: str, raw: str | None, target: str, name: str):
        told = {} if raw is None else {name: raw}
        assert Given(app, path, **told).echo()["target"] == target

    @pytest.mark.parametrize("mount", ["/inner", "/caf\xc3\xa9", "/a b/c"])
    @pytest.mark.parametrize("told", [False, True])
    def test_in_a_mounted_app(self, app: BalanceMiddleware, replica: Replica, mount: str, told: bool):
        quoted = {"/inner": "/inner", "/caf\xc3\xa9": "/caf%C3%A9", "/a b/c": "/a%20b/c"}[mount]
        outer = DispatcherMiddleware(own, {mount: app})  # type: ignore[dict-item]
        raw = {"RAW_URI": f"{quoted}/api/x"} if told else {}
        seen = Given(outer, f"{mount}/api/x", **raw).echo()
        assert seen["target"] == "/x"
        assert f"x-forwarded-prefix: {quoted}/api\r\n" in seen["head"].lower().replace("%c3%a9", "%C3%A9")
        answer = Given(outer, f"{mount}/api/redirect", QUERY_STRING=f"to={replica.url}/y", HTTP_HOST="shop.example")
        assert answer.headers["location"] == f"http://shop.example{quoted}/api/y"
        answer.read()

    def test_a_chunked_body_without_an_end(self, app: BalanceMiddleware):
        chunked = {"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": ""}
        answer = Given(app, body=b"abc", **chunked)
        assert (answer.status, answer.headers["content-type"]) == (411, "application/problem+json")
        assert Given(app, body=b"abc", **chunked, **{"wsgi.input_terminated": True}).echo()["size"] == 3

    def test_no_routes_no_forwarding(self, replica: Replica):
        app = BalanceMiddleware(own, {**settings(replica), "routes": {}})
        assert Given(app).read() == b"the app's own"
        assert app._app is own


class TestBodies:
    @pytest.mark.parametrize("size", [0, 3, 4])
    def test_that_end_early(self, app: BalanceMiddleware, size: int):
        answer = Given(app, body=b"abcd"[:size], CONTENT_LENGTH="5")
        assert answer.status == 400
        assert (node(app)["failures"], node(app)["in_flight"]) == (0, 0)

    def test_no_more_is_read_than_was_declared(self, app: BalanceMiddleware):
        stream = BytesIO(b"abcdefgh")
        assert Given(app, body=b"", CONTENT_LENGTH="5", **{"wsgi.input": stream}).echo()["size"] == 5
        assert stream.read() == b"fgh"

    @pytest.mark.parametrize("error", [OSError("gone"), ValueError("chunk"), EOFError()])
    def test_that_cannot_be_read(self, app: BalanceMiddleware, error: Exception):
        class Input:
            def read(self, _: int) -> bytes:
                raise error

        assert Given(app, body=b"", CONTENT_LENGTH="5", **{"wsgi.input": Input()}).status == 400
        assert (node(app)["failures"], node(app)["in_flight"]) == (0, 0)

    def test_that_come_in_crumbs(self, app: BalanceMiddleware):
        class Input:
            left = 100

            def read(self, _: int) -> bytes:
                self.left -= 1
                return b"x" if self.left >= 0 else b""

        assert Given(app, body=b"", CONTENT_LENGTH="100", **{"wsgi.input": Input()}).echo()["size"] == 100


class TestAnswers:
    def test_that_break_off_raise(self, app: BalanceMiddleware):
        answer = Given(app, "/api/half")
        assert answer.part() == b"half"
        with pytest.raises(HTTPError):
            answer.part()
        answer.body.close()
        assert (answer.status, node(app)["failures"], node(app)["in_flight"]) == (200, 1, 0)

    def test_that_break_off_before_they_began_are_none(self, app: BalanceMiddleware):
        answer = Given(app, "/api/nothing")
        assert (answer.status, node(app)["failures"], node(app)["in_flight"]) == (502, 1, 0)

    def test_that_nobody_reads(self, app: BalanceMiddleware):
        answer = Given(app, "/api/download", QUERY_STRING="size=10000000")
        assert node(app)["in_flight"] == 1
        answer.part()
        del answer
        assert (node(app)["failures"], node(app)["in_flight"]) == (0, 0)

    def test_that_are_closed_half_way(self, app: BalanceMiddleware):
        answer = Given(app, "/api/download", QUERY_STRING="size=10000000")
        answer.part()
        answer.body.close()
        answer.body.close()
        assert (node(app)["failures"], node(app)["in_flight"]) == (0, 0)

    @pytest.mark.parametrize("query", ["", "close=1"])
    def test_events_are_not_ended_by_the_time_of_a_try(self, replica: Replica, query: str):
        app = BalanceMiddleware(own, settings(replica, attempt_timeout=2.0))
        answer = Given(app, "/api/events", QUERY_STRING=query)
        assert answer.part() == b"data: 1\n\n"
        later = threading.Timer(2.3, lambda: Given(app, "/api/go").read())
        later.start()
        assert answer.part() == b"data: 2\n\n"
        later.join()
        with pytest.raises(StopIteration):
            answer.part()
        answer.body.close()

    def test_a_mistake_of_ours_is_not_hidden(self, app: BalanceMiddleware, monkeypatch: pytest.MonkeyPatch):
        def fail(*_: object) -> None:
            raise TypeError("ours")

        monkeypatch.setattr(forwarding, "response_head", fail)
        with pytest.raises(TypeError, match="ours"):
            Given(app)
        assert node(app)["in_flight"] == 0


def test_werkzeugs_own_server(app: BalanceMiddleware):
    """It tells no end of a chunked body by itself, and writes HTTP/1.0 unless it is told otherwise."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        connection = HTTPConnection("127.0.0.1", server.server_port, timeout=PATIENCE)
        for chunked in (False, True):
            data = b"x" * 200_000
            connection.request("PUT", "/api/a%2Fb", iter([data]) if chunked else data, encode_chunked=chunked)
            seen = json.loads(connection.getresponse().read())
            assert (seen["size"], seen["target"]) == (200_000, "/a%2Fb")
        connection.request("GET", "/api/download?size=300000&chunked=1")
        assert len(connection.getresponse().read()) == 300_000
        connection.close()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_without_urllib3_it_is_told_what_to_install(replica: Replica, monkeypatch: pytest.MonkeyPatch):
    for module in [name for name in sys.modules if name.startswith("balancemw_werkzeug.") or name == "urllib3"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "urllib3", None)
    with pytest.raises(SettingsError, match=r"routes: .*urllib3.*balancemw\[werkzeug\]"):
        BalanceMiddleware(own, settings(replica))
    BalanceMiddleware(own, {**settings(replica), "routes": {}})
