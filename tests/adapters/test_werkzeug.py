"""The WSGI middleware, by itself: around plain apps, inside the validators of wsgiref and werkzeug, under gunicorn."""

import gc
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from functools import partial
from io import BytesIO
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import pytest
import requests
from werkzeug.middleware.lint import LintMiddleware
from werkzeug.test import Client, TestResponse
from werkzeug.wrappers import Request, Response

from balancemw import Balancer, DeadlineExceeded, NoNodeAvailable, SettingsError, balanced, deadline, remaining
from balancemw.balancer import current
from balancemw.context import REQUEST
from balancemw_werkzeug import BalanceMiddleware
from tests.adapters.calls import TRIES, ask, fail, measure, settings, within, without_nodes
from tests.adapters.servers import gunicorn

Body = Iterable[bytes]

TEXT = [("Content-Type", "text/plain")]


def answering(text: Callable[[], str]) -> WSGIApplication:
    """An app that answers what `text` returns."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Body:
        return Response(text())(environ, start_response)

    return app


def streaming(chunks: Callable[[], Iterator[bytes]]) -> WSGIApplication:
    """An app that begins its answer at once, and streams `chunks`."""

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Body:
        start_response("200 OK", [*TEXT, ("X-Own", "yes")])
        return chunks()

    return app


class Server:
    """The server's end of the protocol: what it is told and given."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, list[tuple[str, str]]]] = []
        self.written: list[bytes] = []

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        assert not self.begun, "begun twice"
        self.begun.append((status, headers))
        return self.written.append

    def call(self, app: WSGIApplication, **environ: Any) -> Body:
        whole: WSGIEnvironment = {"QUERY_STRING": "", **environ}
        setup_testing_defaults(whole)
        return app(whole, self.start_response)


Get = Callable[..., TestResponse]


@pytest.fixture(params=[validator, LintMiddleware])
def checked(request: pytest.FixtureRequest) -> Callable[..., Get]:
    """Gets from an app in the middleware, with a checker of the protocol on either side of it."""
    checker = request.param

    def client(app: WSGIApplication, **options: Any) -> Get:
        middleware = BalanceMiddleware(checker(app), **(options or {"settings": settings(7001)}))
        return partial(Client(checker(middleware)).get, "/", buffered=True)  # to the end, and closed

    return client


# -- what a request sees


def test_balanced_calls_find_the_balancer(checked):
    assert checked(answering(ask))().text == "127.0.0.1:7001"


def test_the_environment_carries_the_balancer(checked):
    balancer = Balancer(settings())

    @Request.application
    def app(request: Request) -> Response:
        return Response(str(request.environ["balancemw.balancer"] is balancer))

    assert checked(app, balancer=balancer)().text == "True"


def test_two_apps_in_one_process_have_a_balancer_each(checked):
    first, second = (checked(answering(ask), settings=settings(port)) for port in (7001, 7002))
    assert [get().text[-4:] for get in (first, second, first)] == ["7001", "7002", "7001"]


def test_the_balancer_becomes_the_process_own():
    assert BalanceMiddleware(answering(ask), settings()).balancer is current()


def test_a_streamed_body_makes_balanced_calls(checked):
    def chunks() -> Iterator[bytes]:
        for _ in range(3):
            yield f"{ask()} {within(1.0, 2.0)}\n".encode()

    answer = checked(streaming(chunks))(headers={"x-request-timeout-ms": "2000"})
    assert answer.text == "127.0.0.1:7001 yes\n" * 3
    assert answer.headers["x-own"] == "yes"


def test_an_app_that_is_a_generator_makes_balanced_calls(checked):
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Body:
        text = ask().encode()
        start_response("200 OK", TEXT)
        yield text

    assert checked(app)().text == "127.0.0.1:7001"


def test_an_app_may_use_the_write_function():
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Body:
        write = start_response("200 OK", TEXT)
        write(b"written, ")
        write(b"and ")
        return [ask().encode()]

    server = Server()
    body = server.call(BalanceMiddleware(app, settings(7001)))
    assert [status for status, _ in server.begun] == ["200 OK"]
    assert [*server.written, *body] == [b"written, ", b"and ", b"127.0.0.1:7001"]


def test_an_app_may_replace_its_own_beginning(checked):
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Body:
        start_response("200 OK", TEXT)
        try:
            raise KeyError("mine")
        except KeyError:
            start_response("418 I'm a teapot", TEXT, sys.exc_info())
        return iter([b"short"])

    answer = checked(app)()
    assert (answer.status_code, answer.text) == (418, "short")


def test_an_app_that_begins_twice_is_told_so_by_the_server():
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Body:
        start_response("200 OK", TEXT)
        start_response("201 Created", TEXT)
        return []

    with pytest.raises(AssertionError, match="begun twice"):
        Server().call(BalanceMiddleware(app, settings()))


def test_the_body_is_closed_once_and_in_its_context():
    closed: list[str] = []

    class Chunks:
        def __iter__(self) -> Iterator[bytes]:
            return iter([b"one", b"two"])

        def close(self) -> None:
            closed.append(f"{ask()} {measure()}")

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Body:
        start_response("200 OK", TEXT)
        return Chunks()

    middleware = BalanceMiddleware(app, settings(7001))
    BalanceMiddleware(app, settings(7002))  # the process's own
    body: Any = Server().call(middleware)
    assert list(body) == [b"one", b"two"]
    body.close()
    body.close()
    assert len(closed) == 1
    assert closed[0].startswith("127.0.0.1:7001")


def test_what_runs_when_the_body_is_closed_is_not_bound_by_the_deadline(checked):
    left: list[float | None] = []

    @Request.application
    def app(request: Request) -> Response:
        response = Response(within(0.0, 2.0))
        response.call_on_close(lambda: left.append(remaining()))
        return response

    assert checked(app)(headers={"x-request-timeout-ms": "2000"}).text == "yes"
    assert left == [None]


@pytest.mark.parametrize("body", [[b"one"], (b"one", b"two"), FileWrapper(BytesIO(b"of a file"))])
def test_lists_and_files_reach_the_server_as_they_are(body):
    server = Server()
    middleware = BalanceMiddleware(streaming(lambda: body), settings())
    assert server.call(middleware, **{"wsgi.file_wrapper": FileWrapper}) is body
    assert [status for status, _ in server.begun] == ["200 OK"]


OWN: ContextVar[str] = ContextVar("OWN", default="unset")


def test_nothing_is_left_in_the_thread_even_when_the_body_is_abandoned():
    def chunks() -> Iterator[bytes]:
        OWN.set("set")
        yield ask().encode()
        yield b"never asked for"

    before = REQUEST.get()
    with deadline(60.0):
        middleware = BalanceMiddleware(streaming(chunks), settings())
        body = iter(Server().call(middleware, HTTP_X_REQUEST_TIMEOUT_MS="2000"))
        assert next(body).startswith(b"127.0.0.1")
        left = remaining()
        assert left is not None
        assert left > 2.0
    assert OWN.get() == "unset"
    assert REQUEST.get() is before
    assert remaining() is None


def test_an_abandoned_body_goes_without_waiting_for_the_garbage_collector():
    ended: list[str] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Body:
        start_response("200 OK", TEXT)
        try:
            yield b"one"
            yield b"never asked for"
        finally:
            ended.append("yes")

    gc.disable()
    try:
        assert next(iter(Server().call(BalanceMiddleware(app, settings())))) == b"one"
        assert ended == ["yes"]
    finally:
        gc.enable()


def test_a_body_may_be_iterated_in_another_thread():
    def chunks() -> Iterator[bytes]:
        yield ask().encode()

    body = Server().call(BalanceMiddleware(streaming(chunks), settings(7001)))
    seen: list[bytes] = []
    thread = threading.Thread(target=lambda: seen.extend(body))
    thread.start()
    thread.join()
    assert seen == [b"127.0.0.1:7001"]


# -- what the client says


@pytest.mark.parametrize(
    ("headers", "low", "high"),
    [
        ({"x-request-timeout-ms": "2000"}, 1.0, 2.0),
        ({"x-request-timeout-ms": "2000,4000"}, 1.0, 2.0),  # as gunicorn joins repeated ones
        ({"grpc-timeout": "2S"}, 1.0, 2.0),
        ({"x-request-timeout-ms": "99999999"}, 2.0, 5.0),
        ({"x-request-timeout-ms": "soon"}, 2.0, 5.0),
        ({}, 2.0, 5.0),
    ],
)
def test_a_deadline_header_shortens_the_time_and_never_lengthens_it(checked, headers, low, high):
    get = checked(answering(lambda: within(low, high)), settings=settings(timeout=5))
    assert get(headers=headers).text == "yes"


def test_the_headers_are_those_of_the_settings(checked):
    get = checked(answering(lambda: within(1.0, 2.0)), settings=settings(deadline_headers=["X-Patience"]))
    assert get(headers={"x-patience": "2000", "x-request-timeout-ms": "1"}).text == "yes"


@pytest.mark.parametrize(("count", "tries"), [("1", 3), ("2", 1), ("2,1", 1), ("many", 3)])
def test_a_request_that_is_a_retry_makes_no_retries_of_its_own(checked, count, tries):
    with pytest.raises(ConnectionResetError):
        checked(answering(fail), settings=settings())(headers={"x-envoy-attempt-count": count})
    assert len(TRIES) == tries


# -- errors


def test_without_a_node_the_answer_is_503(checked):
    answer = checked(answering(ask), balancer=without_nodes())()
    assert answer.status == "503 Service Unavailable"
    assert answer.content_type == "application/problem+json"
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json["status"] == 503
    assert "127.0.0.1" not in answer.text


def test_past_the_deadline_the_answer_is_504(checked):
    answer = checked(answering(ask))(headers={"x-request-timeout-ms": "0"})
    assert (answer.status_code, answer.content_type) == (504, "application/problem+json")


@pytest.mark.parametrize("app", [answering(ask), streaming(lambda: (ask().encode() for _ in range(1)))])
def test_the_answer_to_head_has_no_body(app):
    server = Server()
    body = server.call(BalanceMiddleware(app, balancer=without_nodes()), REQUEST_METHOD="HEAD")
    assert b"".join(body) == b""
    ((status, headers),) = server.begun
    assert status.startswith("503 ")
    assert int(dict(headers)["content-length"]) > 0


def test_a_body_that_fails_before_its_first_part_is_answered_like_any_failure(checked):
    closed: list[bool] = []

    class Chunks:
        def __iter__(self) -> Iterator[bytes]:
            yield ask().encode()

        def close(self) -> None:
            closed.append(True)

    answer = checked(streaming(Chunks), balancer=without_nodes())()
    assert (answer.status_code, answer.content_type) == (503, "application/problem+json")
    assert "x-own" not in answer.headers
    assert closed == [True]


def test_a_body_that_fails_before_its_first_part_by_an_error_of_its_own_is_closed_and_counted_out():
    closed: list[str] = []

    class Chunks:
        def __iter__(self) -> Iterator[bytes]:
            raise KeyError("mine")

        def close(self) -> None:
            closed.append(ask())

    middleware = BalanceMiddleware(streaming(Chunks), settings(7001))
    with pytest.raises(KeyError, match="mine"):
        list(Server().call(middleware))
    presence = middleware.balancer.presence
    assert (closed, presence.in_flight, presence.errors) == (["127.0.0.1:7001"], 0, 1)


def test_an_answer_that_the_server_refuses_is_counted_out_and_its_body_closed():
    closed: list[bool] = []

    def chunks() -> Iterator[bytes]:
        try:
            yield b"one"
        finally:
            closed.append(True)

    def refuse(status: str, headers: Any, exc_info: Any = None) -> Any:
        raise ValueError("no such header")

    middleware = BalanceMiddleware(streaming(chunks), settings())
    environ: WSGIEnvironment = {}
    setup_testing_defaults(environ)
    with pytest.raises(ValueError, match="no such header"):
        middleware(environ, refuse)
    assert (closed, middleware.balancer.presence.in_flight) == ([True], 0)


@pytest.mark.parametrize("body", [[b"one"], iter([b"one"])])
def test_an_app_that_begins_no_answer_has_failed_and_the_server_hears_of_no_beginning(body: Body):
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Body:
        return body

    server, middleware = Server(), BalanceMiddleware(app, settings())
    given: Any = server.call(middleware)
    assert b"".join(given) == b"one"
    if given is not body:
        given.close()
    presence = middleware.balancer.presence
    assert (server.begun, presence.in_flight, presence.served, presence.errors) == ([], 0, 1, 1)


def test_each_part_is_taken_when_the_server_asks_for_it_but_for_the_first():
    taken: list[int] = []

    def chunks() -> Iterator[bytes]:
        for number in range(3):
            taken.append(number)
            yield b"%d" % number

    server = Server()
    body = iter(server.call(BalanceMiddleware(streaming(chunks), settings())))
    assert (taken, len(server.begun)) == ([0], 1)  # without it nobody knows yet whether an error will take its place
    assert (next(body), taken) == (b"0", [0])
    assert (next(body), taken) == (b"1", [0, 1])
    assert list(body) == [b"2"]


@pytest.mark.parametrize("error", [NoNodeAvailable, DeadlineExceeded])
def test_once_the_answer_has_begun_errors_go_up(error):
    def chunks() -> Iterator[bytes]:
        yield b"one"
        raise error("too late")

    def writes(environ: WSGIEnvironment, start_response: StartResponse) -> Body:
        start_response("200 OK", TEXT)(b"one")
        raise error("too late")

    for app in (streaming(chunks), writes):
        server = Server()
        with pytest.raises(error):
            server.written.extend(server.call(BalanceMiddleware(app, settings())))
        assert [status for status, _ in server.begun] == ["200 OK"]
        assert server.written == [b"one"]


def test_other_errors_pass_untouched():
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Body:
        raise KeyError("mine")

    def chunks() -> Iterator[bytes]:
        raise KeyError("mine")
        yield b""

    for broken in (app, streaming(chunks)):
        with pytest.raises(KeyError, match="mine"):
            list(Server().call(BalanceMiddleware(broken, settings())))


def test_an_empty_body_is_an_answer(checked):
    answer = checked(streaming(lambda: iter(())))()
    assert (answer.status_code, answer.headers["x-own"], answer.data) == (200, "yes", b"")


# -- settings


def test_settings_come_from_the_file_that_the_environment_names(tmp_path, monkeypatch):
    path = tmp_path / "balancemw.toml"
    path.write_text('[services.inventory]\nnodes = ["http://127.0.0.1:7009"]\n')
    monkeypatch.setenv("BALANCEMW_SETTINGS", str(path))
    middleware = BalanceMiddleware(answering(ask))
    assert b"".join(Server().call(middleware)) == b"127.0.0.1:7009"


def test_without_settings_the_error_says_what_to_do():
    with pytest.raises(SettingsError, match="BALANCEMW_SETTINGS"):
        BalanceMiddleware(answering(ask))


def test_settings_and_a_balancer_are_one_too_many():
    with pytest.raises(TypeError, match="one of them"):
        BalanceMiddleware(answering(ask), settings(), balancer=Balancer(settings()))


def test_settings_are_no_balancer():
    with pytest.raises(TypeError, match=r"^balancer= is a Balancer, no dict; what one is made of is settings=$"):
        BalanceMiddleware(answering(ask), balancer=settings())


# -- a real server


@balanced("inventory", idempotent=True)
def late(node: Any) -> bytes:
    raise AssertionError("there is no node to ask")


def failing_chunks() -> Iterator[bytes]:
    yield late()


served = BalanceMiddleware(streaming(failing_chunks), balancer=without_nodes())


def test_under_gunicorn_a_replaced_beginning_leaves_nothing_behind():
    with gunicorn("tests.adapters.test_werkzeug:served") as base:
        answer = requests.get(base, timeout=30)
    assert answer.status_code == 503
    assert answer.json()["status"] == 503
    assert "x-own" not in answer.headers
    assert answer.headers["content-type"] == "application/problem+json"
