"""What checks need beside the node: names that can be looked up, files, threads."""

import asyncio
import gc
import resource
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trustme

from balancemw import Node
from balancemw.checks import Check, Loop, NotMade, open_session
from balancemw.fault import Kind
from balancemw.settings import ProbeSettings
from tests.adapters.checking import OK, be_patient, check, check_all, until
from tests.adapters.failing_server import serving, steps
from tests.adapters.replicas import free_port
from tests.adapters.watching import eventually

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
            await until(lambda: asked)
            assert len(asked) == 1
            be_patient(check)
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
        await until(lambda: not loop._lookups)

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
    eventually(lambda: threads)
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


# -- connections


def test_a_connection_that_is_given_up_as_it_is_made_is_not_left_open():
    authority, sockets = trustme.CA(), list[Any]()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)

    class GivesUp(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            sockets.append(transport.get_extra_info("socket"))
            attempts[0].cancel()  # the handshake is done, and the other side is in no hurry to say goodbye

    attempts: list[asyncio.Task[Any]] = []

    async def run(port: int) -> None:
        loop = asyncio.get_running_loop()
        attempts.append(loop.create_task(loop.create_connection(GivesUp, "127.0.0.1", port, ssl=client)))
        await asyncio.wait(attempts)
        assert attempts[0].cancelled()

    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with server.wrap_socket(connection, server_side=True):
                go_on.wait(10)

        go_on, thread = threading.Event(), threading.Thread(target=serve)
        thread.start()
        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(run(listening.getsockname()[1]))
        go_on.set()
        thread.join()
    assert [each.fileno() for each in sockets] == [-1]


def test_a_loop_may_be_closed_twice():
    loop = Loop()
    loop.close()
    loop.close()
    assert loop.is_closed()
