"""What a single check finds, of real servers and of callables that do what callables can do."""

import asyncio
import gc
import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from balancemw import Node
from balancemw.checks import Check, Loop, NotMade, Outcome, open_session
from balancemw.fault import Kind
from balancemw.settings import ProbeSettings
from tests.adapters import callables
from tests.adapters.failing_server import Peer, serving, steps
from tests.adapters.replicas import free_port

OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
TIMEOUT = 0.2
DEAD = "http://127.0.0.1:{port}"


def answer(status: int, *headers: str, body: str = "") -> str:
    lines = "".join(f"{line}\r\n" for line in headers)
    return f"HTTP/1.1 {status} As it likes\r\n{lines}Content-Length: {len(body)}\r\n\r\n{body}"


def check_all(settings: ProbeSettings, *urls: str) -> list[Outcome]:
    """Checks one after the other, by one `Check` and one session."""

    async def run() -> list[Outcome]:
        check = Check(settings)
        async with open_session() as session:
            return [await check(Node(url), session) for url in urls]

    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(run())


def check(url: str, kind: str = "http", *, timeout: float = 5.0, **settings: Any) -> Outcome:
    return check_all(ProbeSettings(kind=kind, timeout=timeout, **settings), url)[0]


def refusing() -> str:
    return f"http://127.0.0.1:{free_port()}"


# -- http


def test_a_good_answer_passes():
    with serving(steps("hear", OK)) as (server, seen):
        assert check(f"http://{server}") == Outcome(True)
    assert seen[0].startswith(b"GET / HTTP/1.1\r\n")
    assert f"Host: {server}\r\n".encode() in seen[0]
    assert b"User-Agent: balancemw-probe\r\n" in seen[0]


def test_the_path_is_put_behind_the_nodes_own():
    with serving(steps("hear", answer(200))) as (server, seen):
        assert check(f"http://{server}/v1", path="/health?full=1", method="HEAD").passed
    assert seen[0].startswith(b"HEAD /v1/health?full=1 HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("status", "expect", "reason", "fault"),
    [
        (503, ((200, 399),), "503 Service Unavailable, expected 200-399", Kind.UNAVAILABLE),
        (500, ((200, 399),), "500 Internal Server Error, expected 200-399", Kind.SERVER_ERROR),
        (429, ((200, 399),), "429 Too Many Requests, expected 200-399", Kind.OVERLOAD),
        (404, ((200, 299), (401, 401)), "404 Not Found, expected 200-299, 401", None),
        (200, ((204, 204),), "200 OK, expected 204", None),
        (599, ((200, 399),), "599, expected 200-399", Kind.SERVER_ERROR),
    ],
)
def test_an_unexpected_status_fails_and_is_named(
    status: int, expect: tuple[tuple[int, int], ...], reason: str, fault: Kind | None
):
    with serving(steps("hear", answer(status))) as (server, _):
        assert check(f"http://{server}", expect=expect) == Outcome(False, reason, fault)


@pytest.mark.parametrize("status", [200, 302, 399, 401])
def test_any_of_the_expected_statuses_passes(status: int):
    with serving(steps("hear", answer(status))) as (server, _):
        assert check(f"http://{server}", expect=((200, 399), (401, 401))).passed


def test_a_redirect_is_an_answer_and_not_followed():
    with serving(steps("hear", answer(302, "Location: /elsewhere"))) as (server, seen):
        assert check(f"http://{server}").passed
    assert len(seen) == 1


def test_nothing_is_remembered_from_one_check_to_the_next():
    with serving(steps("hear", answer(200, "Set-Cookie: seen=before"))) as (server, seen):
        url = f"http://localhost:{server.rpartition(':')[2]}"  # cookies of bare addresses are forgotten anyway
        assert [each.passed for each in check_all(ProbeSettings(kind="http"), url, url)] == [True, True]
    assert len(seen) == 2
    assert all(b"Cookie" not in request for request in seen)


def test_every_check_makes_a_connection_of_its_own():
    connections: list[Peer] = []

    def script(peer: Peer) -> None:
        connections.append(peer)
        peer.hear()
        peer.say(OK)
        peer.hold()

    with serving(script) as (server, _):
        url = f"http://{server}"
        check_all(ProbeSettings(kind="http"), url, url, url)
    assert len(connections) == 3


def test_a_body_without_end_is_not_read_to_its_end():
    sent = 0

    def script(peer: Peer) -> None:
        nonlocal sent
        peer.hear()
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while sent < 1_000_000_000:
            sent += peer.connection.send(bytes(65536))

    with serving(script) as (server, _):
        assert check(f"http://{server}").passed
    assert sent < 50_000_000


def test_an_answer_that_breaks_off_fails():
    with serving(steps("hear", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it")) as (server, _):
        outcome = check(f"http://{server}")
    assert not outcome.passed
    assert outcome.fault == Kind.RESET


@pytest.mark.parametrize(
    "script", [steps("hold"), steps("hear", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nwell", "hold")]
)
def test_a_node_that_hangs_fails_in_time(script: Any):
    with serving(script) as (server, _):
        outcome = check(f"http://{server}", timeout=TIMEOUT)
    assert outcome == Outcome(False, "no answer within 0.2 s", Kind.TIMEOUT)


def test_a_certificate_that_nobody_trusts_fails():
    with serving(steps("secure", "hear", OK)) as (server, _):
        outcome = check(f"https://{server}")
    assert not outcome.passed
    assert outcome.fault == Kind.TLS
    assert "certificate" in outcome.reason.lower()


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        (steps("hear"), Kind.RESET),
        (steps("hear", "abort"), Kind.RESET),
        (steps("hear", "SSH-2.0-x\r\n"), Kind.PROTOCOL),
    ],
)
def test_other_failures_are_told_apart(script: Any, fault: Kind):
    with serving(script) as (server, _):
        outcome = check(f"http://{server}")
    assert (outcome.passed, outcome.fault) == (False, fault)
    assert outcome.reason


@pytest.mark.parametrize("kind", ["http", "tcp"])
def test_a_dead_node_fails(kind: str):
    outcome = check(refusing(), kind)
    assert (outcome.passed, outcome.fault) == (False, Kind.REFUSED)


def test_proxies_of_the_environment_are_not_for_checks(monkeypatch: pytest.MonkeyPatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, refusing())
    with serving(steps("hear", OK)) as (server, _):
        assert check(f"http://{server}").passed


# -- tcp


def test_a_connection_is_enough_for_tcp():
    with serving(steps("hold")) as (server, seen):
        assert check(f"http://{server}", "tcp", timeout=TIMEOUT).passed
    assert not seen


# -- names


@pytest.mark.parametrize("kind", ["http", "tcp"])
def test_names_are_looked_up_for_each_check(kind: str, monkeypatch: pytest.MonkeyPatch):
    asked: list[object] = []
    real = socket.getaddrinfo

    def lookup(host: Any, *args: Any, **how: Any) -> Any:
        if host != "replica.test":
            return real(host, *args, **how)
        asked.append(threading.current_thread().daemon)
        return real("127.0.0.1", *args, **how)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    with serving(steps("hear", OK)) as (server, _):
        url = f"http://replica.test:{server.rpartition(':')[2]}"
        assert all(each.passed for each in check_all(ProbeSettings(kind=kind), url, url))
    assert asked == [True, True]


@pytest.mark.parametrize("kind", ["http", "tcp"])
def test_a_name_that_does_not_exist_fails(kind: str, monkeypatch: pytest.MonkeyPatch):
    def lookup(*args: Any, **how: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    outcome = check("http://replica.test:80", kind)
    assert (outcome.passed, outcome.fault) == (False, Kind.DNS)


@pytest.mark.parametrize("kind", ["http", "tcp"])
@pytest.mark.parametrize("late", ["found", "not found"])
def test_a_lookup_that_hangs_is_not_begun_again_until_it_returns(kind: str, late: str, monkeypatch: pytest.MonkeyPatch):
    asked, go_on = list[object](), threading.Event()
    real = socket.getaddrinfo

    def lookup(host: Any, *args: Any, **how: Any) -> Any:
        asked.append(host)
        assert go_on.wait(10)
        if late == "not found":
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return real("127.0.0.1", *args, **how)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    url = f"http://replica.test:{free_port()}"

    async def run() -> None:
        check = Check(ProbeSettings(kind=kind, timeout=0.05))
        async with open_session() as session:
            for _ in range(3):
                assert (await check(Node(url), session)).fault == Kind.TIMEOUT
            assert len(asked) == 1
            go_on.set()
            while (await check(Node(url), session)).fault == Kind.TIMEOUT:
                pass
            assert not (await check(Node(url), session)).passed
        assert len(asked) == 2

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(run())


def test_a_lookup_that_fails_when_nobody_waits_any_more_is_forgotten(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    go_on = threading.Event()

    def lookup(*args: Any, **how: Any) -> Any:
        assert go_on.wait(10)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)

    async def run() -> None:
        loop: Any = asyncio.get_running_loop()
        async with open_session() as session:
            await Check(ProbeSettings(kind="tcp", timeout=0.05))(Node("http://replica.test:80"), session)
        go_on.set()
        while loop._lookups:
            await asyncio.sleep(0.001)

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(run())
    gc.collect()
    assert not caplog.records


def test_a_lookup_that_hangs_keeps_no_loop_from_closing(monkeypatch: pytest.MonkeyPatch):
    go_on, threads = threading.Event(), list[threading.Thread]()

    def lookup(*args: Any, **how: Any) -> Any:
        threads.append(threading.current_thread())
        assert go_on.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    assert not check("http://replica.test:80", timeout=0.05).passed
    go_on.set()
    threads[0].join()


# -- trouble of our own


@contextmanager
def no_files_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("kind", ["http", "tcp"])
def test_having_no_files_left_says_nothing_of_the_node(kind: str):
    async def run(url: str) -> None:
        async with open_session() as session:
            with no_files_left(), pytest.raises(NotMade, match="Too many open files"):
                await Check(ProbeSettings(kind=kind))(Node(url), session)

    with serving(steps("hear", OK)) as (server, _), asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(run(f"http://{server}"))


@pytest.mark.parametrize("kind", ["http", "tcp", "tests.adapters.callables:sync"])
def test_having_no_threads_left_says_nothing_of_the_node(kind: str, monkeypatch: pytest.MonkeyPatch):
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def run() -> None:
        check, node = Check(ProbeSettings(kind=kind)), Node("http://localhost:80")
        async with open_session() as session:
            with monkeypatch.context() as patch:
                patch.setattr(threading.Thread, "start", start)
                for _ in range(2):
                    with pytest.raises(NotMade, match="can't start new thread"):
                        await check(node, session)
            if kind not in ("http", "tcp"):
                assert (await check(node, session)).passed

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(run())


# -- callables

SYNC, ASYNC = "tests.adapters.callables:sync", "tests.adapters.callables:later"
KINDS = [SYNC, ASYNC, "tests.adapters.callables:undecided", "tests.adapters.callables:instance"]
URL = "http://replica:80"


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    yield
    callables.ANSWERS.clear()
    callables.CALLS.clear()


class Sick:
    """A result that is false and cannot say why."""

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        raise ValueError("no words for it")


def ask(kind: str, result: object) -> Outcome:
    callables.ANSWERS[URL] = lambda _: result
    return check(URL, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_the_truth_of_what_a_callable_returns_decides(kind: str):
    assert ask(kind, True) == ask(kind, "well") == Outcome(True)
    assert ask(kind, False) == Outcome(False, "it returned False")
    assert ask(kind, None) == Outcome(False, "it returned None")
    assert ask(kind, Sick()) == Outcome(False, "ValueError: no words for it", Kind.APPLICATION)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("error", "reason", "fault"),
    [
        (ConnectionRefusedError(111, "refused"), "ConnectionRefusedError: [Errno 111] refused", Kind.REFUSED),
        (RuntimeError("the queue is too long"), "RuntimeError: the queue is too long", Kind.APPLICATION),
        (SystemExit(3), "SystemExit: 3", Kind.CANCELLED),
        (KeyboardInterrupt(), "KeyboardInterrupt", Kind.CANCELLED),
        (asyncio.CancelledError(), "it was cancelled", Kind.CANCELLED),
    ],
)
def test_a_callable_that_raises_fails(kind: str, error: BaseException, reason: str, fault: Kind):
    def raise_it(_: Node) -> None:
        raise error

    callables.ANSWERS[URL] = raise_it
    assert check(URL, kind) == Outcome(False, reason, fault)


def test_even_an_end_of_iteration_is_only_a_failure():
    callables.ANSWERS[URL] = lambda _: next(iter(()))
    assert "StopIteration" in check(URL, SYNC).reason


def test_a_plain_callable_runs_in_a_daemon_thread():
    assert check(URL, "tests.adapters.callables:thread_name").reason == "ValueError: balancemw-check"


def test_a_plain_callable_that_hangs_is_not_called_again_until_it_returns(caplog: pytest.LogCaptureFixture):
    go_on, other = threading.Event(), "http://other:80"
    callables.ANSWERS[URL] = lambda _: go_on.wait(10)
    check = Check(ProbeSettings(kind=SYNC, timeout=0.05))

    async def run() -> None:
        async with open_session() as session:
            assert await check(Node(URL), session) == Outcome(False, "no answer within 0.05 s", Kind.TIMEOUT)
            for _ in range(3):
                again = await check(Node(URL), session)
                assert not again.passed
                assert again.reason.startswith("it was called 0.")
                assert again.reason.endswith(" s ago and has not returned")
                assert again.fault == Kind.TIMEOUT
            assert (await check(Node(other), session)).passed
            assert dict(callables.CALLS) == {URL: 1, other: 1}
            go_on.set()
            while not (await check(Node(URL), session)).passed:
                await asyncio.sleep(0.001)
            assert callables.CALLS[URL] == 2

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(run())
    assert not caplog.records


def test_one_that_returns_after_its_loop_is_gone_bothers_nobody():
    go_on, threads = threading.Event(), list[threading.Thread]()

    def hang(_: Node) -> bool:
        threads.append(threading.current_thread())
        return go_on.wait(10)

    callables.ANSWERS[URL] = hang
    assert not check(URL, SYNC, timeout=0.05).passed
    go_on.set()
    threads[0].join()


@pytest.mark.parametrize("kind", [ASYNC, "tests.adapters.callables:undecided"])
def test_an_async_callable_that_hangs_is_cancelled(kind: str):
    ended: list[str] = []

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    callables.ANSWERS[URL] = lambda _: hang()

    async def run() -> None:
        check = Check(ProbeSettings(kind=kind, timeout=0.05))
        async with open_session() as session:
            for calls in (1, 2):
                assert (await check(Node(URL), session)).reason == "no answer within 0.05 s"
                while len(ended) < calls:
                    await asyncio.sleep(0.001)

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(run())
    assert ended == ["cancelled"] * 2


def test_an_async_callable_that_does_not_end_when_cancelled_is_not_called_again():
    go_on = asyncio.Event()

    async def hang() -> bool:
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                continue
        raise RuntimeError("too late for anybody to hear it")

    callables.ANSWERS[URL] = lambda _: hang()

    async def run() -> None:
        check = Check(ProbeSettings(kind=ASYNC, timeout=0.05))
        async with open_session() as session:
            assert (await check(Node(URL), session)).reason == "no answer within 0.05 s"
            assert "has not returned" in (await check(Node(URL), session)).reason
            go_on.set()
            await asyncio.sleep(0)
            callables.ANSWERS.clear()
            while not (await check(Node(URL), session)).passed:
                await asyncio.sleep(0.001)
        assert callables.CALLS[URL] == 2

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(run())


def test_in_a_child_process_nothing_hangs_yet():
    go_on = threading.Event()
    callables.ANSWERS[URL] = lambda _: go_on.wait(10)
    check = Check(ProbeSettings(kind=SYNC, timeout=0.05))

    async def run() -> None:
        async with open_session() as session:
            await check(Node(URL), session)
            callables.ANSWERS.clear()
            check.after_fork()
            assert (await check(Node(URL), session)).passed
        go_on.set()

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(run())
