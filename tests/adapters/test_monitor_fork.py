"""Forks: the child checks by itself, whatever its parent was about."""

import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.adapters import callables
from tests.adapters.scripts import FORK, run_script
from tests.adapters.watching import SYNC, Watched, alone, eventually, threads


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    with alone():
        yield


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
    """As uWSGI does: no hook runs, and the parent's thread is said to be alive in the child.

    Who asked for the interpreter during the fork, the child would wait for: all others are asleep, or do not ask.
    """
    ended = run_script(
        FORK
        + """
import ctypes, pathlib, sys
os.fork = ctypes.PyDLL(None).fork
usual = sys.getswitchinterval()
def others():
    mine = str(threading.get_native_id())
    tasks = [task for task in pathlib.Path("/proc/self/task").glob("*") if task.name != mine]
    told = [task.joinpath("status").read_text() for task in tasks]
    return [line for text in told for line in text.splitlines() if line.startswith(("State", "voluntary"))]
def asleep():
    try:
        before = others()
        time.sleep(0.02)
        return before == others() and all("sleeping" in line for line in before if line.startswith("State"))
    except OSError:  # one of them has ended
        return False
def code():
    sys.setswitchinterval(usual)
    assert names() == ["balancemw-monitor"]
    before = sum(callables.CALLS.values())
    service.pick()
    eventually(lambda: service.pick() and sum(callables.CALLS.values()) > before + 4)
calls = sum(callables.CALLS.values())
eventually(lambda: sum(callables.CALLS.values()) > calls)
sys.setswitchinterval(1000)
eventually(asleep)
child(code)
sys.setswitchinterval(usual)
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
        inner._life.thread.end(inner._life.rouse, 1.0)
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
