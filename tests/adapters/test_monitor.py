"""The monitor at work: real replica processes, real threads, real forks and real ends of processes."""

import gc
import logging
import os
import random
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from balancemw import Balancer, Event, monitor
from balancemw.checks import NotMade, Outcome
from balancemw.context import REQUEST, deadline, remaining
from balancemw.health import Mark
from balancemw.probe import Probe
from tests.adapters import callables
from tests.adapters.failing_server import serving, steps
from tests.adapters.replicas import Replica
from tests.engine.clock import FakeClock

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 20.0
FAST = {"interval": 0.1, "fast_interval": 0.05, "down_interval": 0.1, "timeout": 0.3}
SYNC = "tests.adapters.callables:sync"

Replicas = Callable[[int], list[Replica]]


def eventually(holds: Callable[[], object], what: str = "") -> None:
    """Wait until `holds()`."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"not within {PATIENCE:g} s: {what or holds}"
        time.sleep(0.005)


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "balancemw-monitor"]


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """No test leaves a thread or an answer behind for the next."""
    assert not threads()
    yield
    callables.ANSWERS.clear()
    callables.CALLS.clear()
    for thread in threads():
        thread.join(PATIENCE)
    assert not threads()


class Watched:
    """A balancer with one service, and what it told."""

    def __init__(
        self,
        nodes: list[str],
        *,
        clock: Any = time.monotonic,
        rng: random.Random | None = None,
        **probe: object,
    ) -> None:
        self.settings = {"services": {"s": {"nodes": nodes, "probe": {"kind": "http", **FAST, **probe}}}}
        self.balancer = Balancer(self.settings, clock=clock, rng=rng)
        self.service = self.balancer["s"]
        self.told: list[Event] = []
        self.balancer.subscribe(self.told.append)

    def available(self) -> set[str]:
        return {node.url for node in self.service.available}

    def events(self, name: str) -> list[Event]:
        return [each for each in self.told if each.event == name]

    def wait_for(self, name: str, count: int = 1) -> Event:
        eventually(lambda: len(self.events(name)) >= count, f"{count} × {name} in {self.told}")
        return self.events(name)[count - 1]

    def wait_until_proven(self) -> None:
        probe: Any = self.service.pool.must_wait
        eventually(lambda: probe.__self__.proven, "a passed check")


@contextmanager
def watching(nodes: list[str], *, clock: Any = time.monotonic, **probe: object) -> Iterator[Watched]:
    watched = Watched(nodes, clock=clock, **probe)
    with watched.balancer:
        yield watched


def urls(replicas: list[Replica]) -> list[str]:
    return [replica.url for replica in replicas]


# -- replicas that fail


@pytest.mark.parametrize("kind", ["http", "tcp"])
def test_a_replica_that_dies_is_out_without_any_call_and_back_when_it_is(replicas: Replicas, kind: str):
    nodes = replicas(3)
    with watching(urls(nodes), kind=kind) as watched:
        watched.wait_until_proven()
        nodes[0].kill()
        down = watched.wait_for("down")
        assert (down.node, down.source, down.fault) == (nodes[0].url.removeprefix("http://"), "probe", "refused")
        assert watched.available() == set(urls(nodes[1:]))
        nodes[0].restart()
        assert watched.wait_for("readmitted").source == "probe"
        assert watched.available() == set(urls(nodes))
        assert not [each for each in watched.told if each.event in ("failed", "ejected")]


def test_a_replica_that_hangs_or_answers_with_errors_is_out(replicas: Replicas):
    nodes = replicas(3)
    with watching(urls(nodes), path="/health") as watched:
        watched.wait_until_proven()
        nodes[0].hang()
        down = watched.wait_for("down")
        assert (down.fault, down.reason) == ("timeout", "3 checks in a row failed: no answer within 0.3 s")
        nodes[0].recover()
        watched.wait_for("readmitted")
        nodes[1].status(503)
        down = watched.wait_for("down", 2)
        assert down.fault == "unavailable"
        assert down.reason == "3 checks in a row failed: 503 Service Unavailable, expected 200-399"
        assert watched.available() == {nodes[0].url, nodes[2].url}


def test_replicas_without_the_path_that_is_checked_stay_in_and_the_log_says_why(
    replicas: Replicas, caplog: pytest.LogCaptureFixture
):
    nodes = replicas(2)
    for node in nodes:
        node.status(404)
    with watching(urls(nodes), path="/helthz") as watched:
        told = watched.wait_for("probe_unproven")
        assert (told.node, told.source) == (None, "probe")
        received = nodes[0].received
        eventually(lambda: nodes[0].received > received + 3)
        assert watched.available() == set(urls(nodes))
        assert len(watched.told) == 1
        (record,) = [each for each in caplog.records if each.name == "balancemw"]
        assert record.levelno == logging.WARNING
        assert "GET /helthz" in record.message
        assert "404 Not Found" in record.message
        nodes[0].recover()
        watched.wait_for("probe_proven")
        assert watched.wait_for("down").node == nodes[1].url.removeprefix("http://")


def test_a_certificate_that_nobody_trusts_proves_nothing():
    script = steps("secure", "hear", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    with serving(script) as (server, _), watching([f"https://{server}"]) as watched:
        assert "certificate" in watched.wait_for("probe_unproven").reason


def test_what_calls_find_is_undone_by_a_check_once_the_time_is_over(replicas: Replicas):
    nodes = replicas(2)
    settings: Any = {"nodes": urls(nodes), "probe": {"kind": "http", **FAST}, "ejection": {"base": 0.4, "max": 0.4}}
    with Balancer({"services": {"s": settings}}) as balancer:
        told: list[Event] = []
        balancer.subscribe(told.append)
        probe: Any = balancer["s"].pool.must_wait
        eventually(lambda: probe.__self__.proven)

        def refused(node: Any) -> None:
            raise ConnectionRefusedError(111, f"so says the test of {node}")

        with pytest.raises(ConnectionRefusedError):
            balancer.call("s", attempts=1)(refused)()
        eventually(lambda: [each for each in told if each.event == "readmitted"])
        out, back = [each for each in told if each.event != "failed"]
        assert (out.event, out.source) == ("ejected", "traffic")
        assert (back.event, back.source) == ("readmitted", "probe")
        assert back.time - out.time >= 0.2  # half of it, by lot, at least


@pytest.mark.parametrize("kind", [SYNC, "tests.adapters.callables:later"])
def test_a_callable_decides(kind: str):
    nodes = ["http://one:1", "http://two:2"]
    with watching(nodes, kind=kind) as watched:
        watched.wait_until_proven()
        callables.ANSWERS[nodes[0]] = lambda _: False
        assert watched.wait_for("down").reason == "3 checks in a row failed: it returned False"
        callables.ANSWERS.clear()
        watched.wait_for("readmitted")


def test_a_callable_that_hangs_takes_its_node_out_and_is_called_once():
    go_on, nodes = threading.Event(), ["http://one:1", "http://two:2"]
    with watching(nodes, kind=SYNC) as watched:
        watched.wait_until_proven()
        calls = 0

        def hang(_: object) -> bool:
            nonlocal calls
            calls += 1
            return go_on.wait(PATIENCE)

        callables.ANSWERS[nodes[0]] = hang
        assert "has not returned" in watched.wait_for("down").reason
        assert calls == 1
        assert watched.available() == {nodes[1]}
        go_on.set()
        watched.wait_for("readmitted")


def test_a_check_inherits_nothing_from_the_call_that_started_the_thread():
    seen: list[object] = []
    node = "http://one:1"
    callables.ANSWERS[node] = lambda _: seen.append((remaining(), REQUEST.get()))
    watched = Watched([node], kind=SYNC)
    with deadline(5.0):
        watched.service.pick()
    eventually(lambda: seen)
    watched.balancer.close()
    assert seen[0] == (None, None)


# -- the thread


def test_nothing_runs_before_the_first_call_nor_without_a_probe():
    watched = Watched(["http://one:1"], kind=SYNC)
    assert not threads()
    bare = Balancer({"services": {"s": {"nodes": ["http://one:1"]}}})
    bare.start()
    assert bare["s"].pick().name == "one:1"
    assert not threads()
    watched.service.pick()
    assert len(threads()) == 1
    assert threads()[0].daemon
    watched.balancer.close()
    bare.close()


def test_however_many_ask_for_it_there_is_one_thread():
    watched = Watched(["http://one:1"], kind=SYNC)
    barrier = threading.Barrier(16)

    def ask() -> None:
        barrier.wait()
        for _ in range(50):
            watched.balancer.start()

    asking = [threading.Thread(target=ask) for _ in range(16)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert len(threads()) == 1
    watched.balancer.close()


def test_one_who_comes_late_to_the_lock_starts_no_second_one():
    watched = Watched(["http://one:1"], kind=SYNC)
    inner: Any = watched.balancer._monitor
    lock = inner._lock

    class Contended:
        def __enter__(self) -> None:
            inner._lock = lock
            inner.ensure()  # another thread gets in first
            lock.acquire()

        def __exit__(self, *_: object) -> None:
            lock.release()

    inner._lock = Contended()
    inner.ensure()
    assert len(threads()) == 1
    watched.balancer.close()


def test_stop_ends_it_and_start_begins_it_anew():
    node = "http://one:1"
    watched = Watched([node], kind=SYNC)
    for _ in range(3):
        watched.balancer.start()
        callables.CALLS.clear()
        eventually(lambda: callables.CALLS[node] > 2)
        watched.balancer.close()
        assert not threads()
        watched.balancer.close()
    assert watched.service.pick().url == node
    assert not threads()


class Eager(random.Random):
    """Leaves nothing to chance: every check is made as early as may be."""

    def uniform(self, a: float, b: float) -> float:
        return a


SELDOM = {"interval": 1000, "fast_interval": 1000, "down_interval": 1000}


def test_stop_wakes_it_from_a_long_sleep():
    watched = Watched(["http://one:1"], kind=SYNC, rng=Eager(), jitter=0, **SELDOM)
    watched.balancer.start()
    watched.wait_until_proven()
    watched.balancer.close()
    assert not threads()


def test_a_result_wakes_it_when_the_next_check_is_due_sooner_than_it_thought():
    watched = Watched(["http://one:1"], kind=SYNC, rng=Eager(), jitter=1, **SELDOM)
    watched.balancer.start()
    eventually(lambda: callables.CALLS["http://one:1"] > 20)
    watched.balancer.close()


def test_stop_right_after_the_start_ends_it_too():
    watched = Watched(["http://one:1"], kind=SYNC)
    for _ in range(50):
        watched.balancer.start()
        watched.balancer.close()
        assert not threads()


def test_what_is_under_way_ends_with_it(replicas: Replicas):
    (node,) = replicas(1)
    node.hang()
    watched = Watched([node.url], timeout=60)
    watched.balancer.start()
    eventually(lambda: node.received)
    watched.balancer.close()
    assert not threads()
    assert not watched.told


def test_what_one_finds_after_it_was_replaced_is_not_heeded():
    go_on, asked, node = threading.Event(), threading.Event(), "http://one:1"

    async def wait() -> bool:
        asked.set()
        while not go_on.is_set():
            await monitor.asyncio.sleep(0.001)
        return False

    watched = Watched([node], kind="tests.adapters.callables:later", fall=1, timeout=PATIENCE)
    watched.balancer.start()
    watched.wait_until_proven()
    callables.ANSWERS[node] = lambda _: wait()
    assert asked.wait(PATIENCE)
    inner: Any = watched.balancer._monitor
    inner._life = None
    go_on.set()
    eventually(lambda: not threads())
    assert not watched.told


def test_once_it_is_stopped_no_node_waits_for_it():
    watched = Watched(["http://one:1", "http://two:2"], kind=SYNC)
    watched.balancer.start()
    watched.wait_until_proven()
    pool, now = watched.service.pool, time.monotonic()
    (peer, _) = pool.roster.peers.values()
    pool.mark(peer, Mark("traffic", "ejected", "for a test", now - 2.0, now + 60.0), now)
    assert pool.must_wait(peer, now + 61.0)
    watched.balancer.close()
    assert not pool.must_wait(peer, now + 61.0)


def test_a_listener_may_stop_it_from_within(caplog: pytest.LogCaptureFixture):
    nodes = ["http://one:1", "http://two:2"]
    watched = Watched(nodes, kind=SYNC, fall=1)
    watched.balancer.subscribe(lambda event: watched.balancer.close())
    watched.balancer.start()
    watched.wait_until_proven()
    callables.ANSWERS[nodes[0]] = lambda _: False
    watched.wait_for("down")
    eventually(lambda: not threads())
    assert not [record for record in caplog.records if record.levelno > logging.WARNING]


def test_a_callable_may_stop_it_too():
    watched = Watched(["http://one:1"], kind="tests.adapters.callables:later")
    callables.ANSWERS["http://one:1"] = lambda _: watched.balancer.close()
    watched.balancer.start()
    eventually(lambda: not threads())


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
    with watching(nodes, kind="tests.adapters.callables:later") as watched:

        def block(_: object) -> bool:
            stuck.set()
            return go_on.wait(PATIENCE)

        callables.ANSWERS[nodes[0]] = block
        assert stuck.wait(PATIENCE)
        callables.CALLS.clear()
        callables.ANSWERS.clear()

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


# -- forks and ends of processes


def run_script(script: str) -> "subprocess.CompletedProcess[str]":
    """Runs `script` in a fresh interpreter that treats warnings as errors."""
    return subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-W", FORKS, "-c", PREAMBLE + script],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "adapters")])},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


FORKS = "ignore:This process:DeprecationWarning"  # that it has threads and forks is the point

PREAMBLE = f"""
import os, threading, time, logging
logging.getLogger("asyncio").setLevel(logging.ERROR)  # it tells of every slow step in development mode
logging.getLogger("balancemw").setLevel(logging.ERROR)
from balancemw import Balancer
from tests.adapters import callables
FAST = {FAST!r}
def eventually(holds):
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.005)
def balancer(**probe):
    nodes = ["http://one:1", "http://two:2"]
    probe = {{"kind": "{SYNC}", **FAST, **probe}}
    return Balancer({{"services": {{"s": {{"nodes": nodes, "probe": probe}}}}}})
"""


def test_a_script_that_just_ends_ends_silently(replicas: Replicas):
    nodes = replicas(2)
    nodes[1].hang()
    ended = run_script(
        f"""
for kind in ("http", "tcp", "tests.adapters.callables:sync", "tests.adapters.callables:later"):
    probe = {{"kind": kind, **FAST, "timeout": 20}}
    other = Balancer({{"services": {{"s": {{"nodes": {urls(nodes)!r}, "probe": probe}}}}}})
    eventually(lambda: other["s"].pick() and other["s"].pool.must_wait.__self__.proven)
    globals()[kind] = other
"""
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.parametrize("kind", ["sync", "later", "undecided"])
def test_a_callable_that_hangs_keeps_no_script_from_ending(kind: str):
    ended = run_script(
        f"""
stuck = threading.Event()
async def wait():
    stuck.set()
    await callables.asyncio.Event().wait()
def hang(node):
    if {kind!r} != "sync":
        return wait()
    stuck.set()
    time.sleep(1000)
callables.ANSWERS["http://one:1"] = hang
watched = balancer(kind="tests.adapters.callables:{kind}")
watched["s"].pick()
assert stuck.wait(30)
"""
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_a_lookup_that_hangs_keeps_no_script_from_ending():
    ended = run_script(
        """
import socket
stuck = threading.Event()
def lookup(*args, **how):
    stuck.set()
    time.sleep(1000)
socket.getaddrinfo = lookup
watched = balancer(kind="http")
watched["s"].pick()
assert stuck.wait(30)
"""
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_an_async_callable_that_blocks_everything_keeps_no_script_from_ending():
    ended = run_script(
        """
stuck = threading.Event()
def block(node):
    stuck.set()
    time.sleep(1000)
callables.ANSWERS["http://one:1"] = block
watched = balancer(kind="tests.adapters.callables:later")
watched["s"].pick()
assert stuck.wait(30)
"""
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


FORK = """
def child(code):
    pid = os.fork()
    if pid == 0:
        try:
            code()
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, status
def names():
    return [thread.name for thread in threading.enumerate() if thread.name == "balancemw-monitor"]
watched = balancer(fall=1)
service = watched["s"]
service.pick()
probe = service.pool.must_wait.__self__
eventually(lambda: probe.proven)
"""


def test_a_forked_child_checks_again_from_its_first_call_on():
    ended = run_script(
        FORK
        + """
def code():
    before = sum(callables.CALLS.values())
    service.pick()
    eventually(lambda: sum(callables.CALLS.values()) > before + 4)
    assert names() == ["balancemw-monitor"], names()
    callables.ANSWERS["http://one:1"] = lambda node: False
    eventually(lambda: [node.name for node in service.available] == ["two:2"])
    watched.close()
    assert not names()
child(code)
before = sum(callables.CALLS.values())
eventually(lambda: sum(callables.CALLS.values()) > before + 4)
assert len(service.available) == 2
watched.close()
"""
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_so_does_one_that_was_forked_without_pythons_knowledge():
    """As uWSGI does: no hook runs, and the parent's thread is said to be alive in the child."""
    ended = run_script(
        FORK
        + """
import ctypes
os.fork = ctypes.PyDLL(None).fork
def code():
    assert names() == ["balancemw-monitor"]
    before = sum(callables.CALLS.values())
    service.pick()
    eventually(lambda: service.pick() and sum(callables.CALLS.values()) > before + 4)
calls = sum(callables.CALLS.values())
eventually(lambda: sum(callables.CALLS.values()) > calls)
time.sleep(0.02)  # the monitor sleeps now: whoever waits for the interpreter at the fork, the child would wait for
child(code)
"""
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_what_was_forgotten_in_a_fork_ends_where_it_is_not(monkeypatch: pytest.MonkeyPatch):
    """What a child does, done in one process: the thread that is its parent's is neither told nor waited for."""
    watched = Watched(["http://one:1"], kind=SYNC)
    watched.balancer.start()
    watched.wait_until_proven()
    inner: Any = watched.balancer._monitor
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        patch.setattr(threading.Thread, "join", lambda *_: pytest.fail("waits for a thread that is not there"))
        inner._life.end()
    inner.after_fork()
    eventually(lambda: not threads())
    inner.ensure()
    callables.CALLS.clear()
    eventually(lambda: callables.CALLS["http://one:1"] > 2)
    watched.balancer.close()


def test_a_child_may_stop_what_it_never_started():
    ended = run_script(
        FORK
        + """
import balancemw.balancer
balancemw.balancer._alive.clear()
monitor = watched._monitor
def code():
    monitor.stop()
    watched.start()
    assert names()
child(code)
assert len(names()) == 1
watched.close()
"""
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_a_lock_that_was_held_during_the_fork_is_no_ones_in_the_child():
    ended = run_script(
        FORK
        + """
watched.close()
lock = watched._monitor._lock
lock.acquire()
def code():
    watched.start()
    before = sum(callables.CALLS.values())
    eventually(lambda: sum(callables.CALLS.values()) > before + 4)
child(code)
lock.release()
"""
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_a_call_that_hung_in_the_parent_does_not_hang_in_the_child():
    ended = run_script(
        FORK
        + """
stuck = threading.Event()
def hang(node):
    stuck.set()
    time.sleep(1000)
callables.ANSWERS["http://one:1"] = hang
assert stuck.wait(30)
def code():
    callables.ANSWERS.clear()
    before = callables.CALLS["http://one:1"]
    service.pick()
    eventually(lambda: service.pick() and callables.CALLS["http://one:1"] > before + 1)
child(code)
"""
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
