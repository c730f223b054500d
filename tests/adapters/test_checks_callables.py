"""Checks by callables of the user's, which may do all that callables can do."""

import asyncio
import gc
import re
import threading
from collections.abc import Iterator

import pytest

from balancemw import Node, checks
from balancemw.checks import Check, Loop, NotMade, Outcome, open_session
from balancemw.fault import Kind
from balancemw.settings import ProbeSettings
from tests.adapters import callables
from tests.adapters.checking import be_patient, check, until
from tests.adapters.watching import eventually

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
            be_patient(check)
            for _ in range(3):
                again = await check(Node(URL), session)
                assert not again.passed
                assert re.fullmatch(r"it was called \d+\.\d s ago and has not returned", again.reason)
                assert again.fault == Kind.TIMEOUT
            assert (await check(Node(other), session)).passed
            await until(lambda: callables.CALLS[URL])
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
    eventually(lambda: threads)
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
            be_patient(check)
            go_on.set()
            await asyncio.sleep(0)
            callables.ANSWERS.clear()
            while not (await check(Node(URL), session)).passed:
                await asyncio.sleep(0.001)
        assert callables.CALLS[URL] == 2

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(run())


def test_one_that_is_given_up_the_moment_it_fails_leaves_no_error_for_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """As at the end of a process, where the monitor gives up its checks and no thread can be had any more."""

    async def fail(_: object) -> None:
        giving_up.cancel()
        raise NotMade("can't start new thread")

    async def run() -> None:
        nonlocal giving_up
        async with open_session() as session:
            giving_up = asyncio.ensure_future(Check(ProbeSettings(kind=SYNC))(Node(URL), session))
            await asyncio.wait([giving_up])
            assert giving_up.cancelled()

    giving_up: asyncio.Future[Outcome]
    monkeypatch.setattr(checks, "in_thread", fail)
    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(run())
    gc.collect()
    assert not caplog.records


def test_in_a_child_process_nothing_hangs_yet():
    go_on = threading.Event()
    callables.ANSWERS[URL] = lambda _: go_on.wait(10)
    check = Check(ProbeSettings(kind=SYNC, timeout=0.05))

    async def run() -> None:
        async with open_session() as session:
            await check(Node(URL), session)
            await until(lambda: callables.CALLS[URL])
            callables.ANSWERS.clear()
            check.after_fork()
            be_patient(check)
            assert (await check(Node(URL), session)).passed
        go_on.set()

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(run())
