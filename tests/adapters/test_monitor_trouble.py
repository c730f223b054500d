"""The monitor in trouble: stuck, without threads, with errors that nobody expected."""

import asyncio
import gc
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from math import inf
from random import Random
from typing import Any, cast

import pytest

from balancemw import monitor
from balancemw.checks import NotMade, Outcome
from balancemw.pool import Pool
from balancemw.probe import Probe
from tests.adapters import callables
from tests.adapters.watching import PATIENCE, SYNC, Watched, alone, eventually, threads, watching
from tests.engine.clock import FakeClock


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    with alone():
        yield


def test_one_that_cannot_end_is_not_waited_for_for_long(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(monitor, "_FAREWELL", 0.05)
    go_on, stuck = threading.Event(), threading.Event()
    watched = Watched(["http://one:1"], kind="tests.adapters.callables:later")

    def block(_: object) -> bool:  # the whole event loop, as an async function must not
        stuck.set()
        return go_on.wait(PATIENCE)

    callables.ANSWERS["http://one:1"] = block
    watched.balancer.start()
    assert stuck.wait(PATIENCE)
    watched.balancer.close()
    assert len(threads()) == 1
    go_on.set()


def test_one_that_is_stuck_is_replaced_and_ends_when_it_notices(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(monitor, "_DEAD_AFTER", 0.2)
    monkeypatch.setattr(monitor, "_LONGEST_SLEEP", 0.02)
    go_on, stuck = threading.Event(), threading.Event()
    nodes = ["http://one:1", "http://two:2"]
    with watching(nodes[:1], kind="tests.adapters.callables:later") as watched:

        def block(_: object) -> bool:
            stuck.set()
            return go_on.wait(PATIENCE)

        callables.ANSWERS[nodes[0]] = block
        assert stuck.wait(PATIENCE)
        callables.CALLS.clear()
        callables.ANSWERS.clear()
        watched.service.replace(
            nodes
        )  # before, a check of the second could be stuck with the first, and not be repeated

        def used() -> bool:
            watched.balancer.start()
            return len(threads()) == 2 and callables.CALLS[nodes[1]] > 3

        eventually(used)
        assert "no sign of life" in caplog.text
        go_on.set()
        eventually(lambda: len(threads()) == 1)
        callables.CALLS.clear()
        eventually(lambda: callables.CALLS[nodes[0]] > 1)
        eventually(lambda: callables.CALLS[nodes[1]] > 1)


def test_where_no_thread_can_be_had_calls_go_on_and_it_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    watched = Watched(["http://one:1"], kind=SYNC)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        for _ in range(3):
            watched.balancer.start()
        assert watched.service.pick().name == "one:1"
        watched.balancer.close()
        watched.balancer.start()
    assert caplog.text.count("cannot be started") == 2
    monkeypatch.setattr(monitor, "_DEAD_AFTER", 0.0)
    watched.balancer.start()
    assert len(threads()) == 1
    monkeypatch.undo()
    watched.balancer.close()


def test_a_balancer_that_is_forgotten_takes_its_thread_along():
    watched = Watched(["http://one:1"], kind=SYNC)
    watched.balancer.start()
    watched.wait_until_proven()
    gone = weakref.ref(watched.balancer)
    del watched

    def forgotten() -> bool:
        gc.collect()
        return gone() is None and not threads()

    eventually(forgotten)


def test_an_unexpected_error_is_logged_and_checks_go_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    node = "http://one:1"
    monkeypatch.setattr(monitor, "_LONGEST_SLEEP", 0.02)
    with watching([node], kind=SYNC):
        eventually(lambda: callables.CALLS[node] > 2)
        for method in ("record", "due"):
            with monkeypatch.context() as patch:
                patch.setattr(Probe, method, lambda *_: 1 / 0)
                eventually(lambda: "ZeroDivisionError" in caplog.text)
            caplog.clear()
            callables.CALLS.clear()
            eventually(lambda: callables.CALLS[node] > 2)
    assert not caplog.records


def test_a_listener_that_exits_ends_nothing(caplog: pytest.LogCaptureFixture):
    nodes = ["http://one:1", "http://two:2"]
    with watching(nodes, kind=SYNC, fall=1) as watched:
        watched.wait_until_proven()
        stop = watched.balancer.subscribe(lambda _: sys.exit(3))
        callables.ANSWERS[nodes[0]] = lambda _: False
        watched.wait_for("down")
        eventually(lambda: "SystemExit: 3" in caplog.text)
        stop()
        callables.ANSWERS.clear()
        watched.wait_for("readmitted")


def test_a_thread_that_ended_is_replaced_in_time(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    def fail() -> None:
        raise MemoryError("nothing left")

    watched = Watched(["http://one:1"], kind=SYNC)
    with monkeypatch.context() as patch:
        patch.setattr(monitor, "open_session", fail)
        watched.balancer.start()
        eventually(lambda: "MemoryError: nothing left" in caplog.text)
        eventually(lambda: not threads())
    watched.balancer.start()
    assert not threads()  # not seen for less than it takes to be missed
    with monkeypatch.context() as patch:
        patch.setattr(monitor, "_DEAD_AFTER", 0.0)
        watched.balancer.start()
    watched.wait_until_proven()
    watched.balancer.close()


def test_there_may_be_nothing_left_to_stop(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    watched = Watched(["http://one:1"], kind=SYNC)
    with monkeypatch.context() as patch:
        patch.setattr(monitor.asyncio, "timeout", lambda _: 1 / 0)
        watched.balancer.start()
        eventually(lambda: "ZeroDivisionError" in caplog.text)
        eventually(lambda: not threads())
    watched.balancer.close()
    watched.balancer.start()
    watched.wait_until_proven()
    watched.balancer.close()


def test_checks_that_cannot_be_made_are_told_once_and_held_against_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    node, tries = "http://one:1", list[int]()

    async def fail(*_: object) -> Outcome:
        tries.append(1)
        raise NotMade("too many open files")

    with watching([node], kind=SYNC, fall=1) as watched:
        watched.wait_until_proven()
        for times in (1, 2):
            tries.clear()
            with monkeypatch.context() as patch:
                patch.setattr("balancemw.checks.Check.__call__", fail)
                eventually(lambda: len(tries) > 5)
            assert caplog.text.count("too many open files") == times
            callables.CALLS.clear()
            eventually(lambda: callables.CALLS[node] > 2)
        assert not watched.told


def test_no_more_checks_than_a_bound_are_under_way_at_a_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(monitor, "_AT_ONCE", 4)
    now, most = 0, 0

    async def check(*_: object) -> Outcome:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await monitor.asyncio.sleep(0.01)
        now -= 1
        return Outcome(True)

    monkeypatch.setattr("balancemw.checks.Check.__call__", check)
    with watching([f"http://node:{port}" for port in range(1, 31)], kind=SYNC) as watched:
        watched.wait_until_proven()
        eventually(lambda: most == 4)
    assert most == 4


def test_a_clock_that_is_moved_by_hand_moves_the_checks():
    clock, node = FakeClock(), "http://one:1"
    with watching([node], clock=clock, kind=SYNC, interval=1000, fast_interval=1000, jitter=0):
        begin = clock()
        eventually(lambda: clock.advance(100.0) or callables.CALLS[node] > 3)
        assert callables.CALLS[node] <= 1 + (clock() - begin) / 1000


def monitor_of(*pools: Pool, leads: Callable[[str], bool] = lambda _: True) -> monitor.Monitor:
    return monitor.Monitor(pools, clock=FakeClock(), rng=Random(1), leads=leads)


def test_a_worker_that_is_relieved_makes_no_check_that_had_come_to_its_turn():
    leads = {"s"}
    watched = Watched(["http://one:1"], kind=SYNC)
    one = monitor_of(watched.service.pool, leads=leads.__contains__)
    life: Any = monitor._Life(one)
    one._life = one._followed = life
    begun: list[Any] = []
    life.work_on = begun.append
    session = cast(Any, None)
    for _ in range(2):
        assert one.advance(life, session) is not None
        one._clock.advance(10.0)  # type: ignore[attr-defined]
    assert len(begun) == 1
    leads.clear()
    asyncio.run(begun.pop())
    assert callables.CALLS["http://one:1"] == 0
    assert one.advance(life, session) == monitor._POLL  # and follows
    leads.add("s")
    assert one.advance(life, session) is not None  # and when it is called again, it begins again
    assert one._led == leads


def test_only_the_checks_of_the_service_that_is_meant_are_hastened():
    pools = [Watched(["http://one:1"], kind=SYNC).service.pool for _ in range(2)]
    one = monitor_of(*pools)
    for probe, _ in one._probed:
        probe.start(one._clock())
    one.hasten(pools[1], pools[1].roster.find("one:1"))
    assert [probe.next_due == -inf for probe, _ in one._probed] == [False, True]


def test_what_a_node_says_of_itself_to_a_check_is_heeded():
    watched = Watched(["http://one:1", "http://two:1"], kind="http")
    one = monitor_of(watched.service.pool)
    (probe, _), peer = one._probed[0], watched.service.pool.roster.find("one:1")
    probe.start(one._clock())
    one._conclude(probe, peer, Outcome(False, "503", said="draining"))
    assert peer.marks["self"].kind == "drain"
    watched.balancer.close()
