"""The thread that shares: its beginning, its end, and what it does when something goes wrong."""

import gc
import os
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from balancemw import Balancer
from balancemw import sharing as module
from balancemw.sharing.contact import Contact
from tests.adapters.scripts import run_script
from tests.adapters.watching import PATIENCE, eventually
from tests.engine.clock import FakeClock

NODES = ["http://one:1", "http://two:2", "http://three:3"]


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "balancemw-sharing"]


@pytest.fixture(autouse=True)
def nothing_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    assert not threads()
    monkeypatch.setattr(module, "_FAREWELL", PATIENCE)  # a busy machine may need more than half a second
    yield
    gc.collect()
    for thread in threads():
        thread.join(PATIENCE)
    assert not threads()


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    return {"services": {"s": {"nodes": NODES}}, "state": f"sqlite:///{tmp_path / 'state.db'}"}


def events(balancer: Balancer) -> list[str]:
    return [event.event for event in balancer.journal.after()]


def available(balancer: Balancer) -> set[str]:
    return {node.host for node in balancer["s"].available}


def test_nothing_is_started_before_the_first_call(settings: dict[str, Any], tmp_path: Path):
    balancer = Balancer(settings)
    assert (threads(), list(tmp_path.iterdir())) == ([], [])
    balancer["s"].pick()
    eventually((tmp_path / "state.db").exists)
    balancer.close()
    assert threads() == []


def test_what_is_said_of_a_node_is_shared_also_by_who_has_made_no_call(settings: dict[str, Any]):
    with Balancer(settings) as other:
        fresh = [Balancer(settings) for _ in range(3)]
        fresh[0]["s"].mark("one:1", "down", reason="maintenance")
        eventually(lambda: available(other) == {"two", "three"})
        fresh[1]["s"].clear("one:1")
        eventually(lambda: available(other) == {"one", "two", "three"})
        other["s"].mark("two:2", "down", source="alert", reason="alert")
        eventually(lambda: available(fresh[0]) == {"one", "three"})  # it is told
        fresh[2]["s"].mark("two:2", "up", reason="false alarm")
        eventually(lambda: available(other) == {"one", "two", "three"})
        for balancer in fresh:
            balancer.close()


@pytest.mark.parametrize("said", ["mark('one:1', 'down', reason='disk')", "clear('two:2')"])
def test_a_program_that_says_something_of_a_node_and_is_done_has_told_it(settings: dict[str, Any], said: str):
    with Balancer(settings) as other:
        other["s"].mark("two:2", "down", reason="maintenance")
        eventually(lambda: not other.journal.adrift)
        patient = f"from balancemw import sharing\nsharing._FAREWELL = {PATIENCE}\n"
        done = run_script(f"{patient}Balancer({settings!r})['s'].{said}")
        assert (done.returncode, done.stderr) == (0, "")
        eventually(lambda: available(other) == ({"three"} if "mark" in said else {"one", "two", "three"}))


def test_what_waits_is_told_before_the_end(settings: dict[str, Any]):
    with Balancer(settings) as one, Balancer(settings) as other:
        eventually(lambda: one["s"].pool.budget.workers == other["s"].pool.budget.workers == 2)
        one["s"].mark("one:1", "drain", reason="the last word")
        one.close()
        eventually(lambda: available(other) == {"two", "three"})
        eventually(lambda: other["s"].pool.budget.workers == 1)
        assert events(other) == ["drain"]


def test_after_its_end_calls_and_the_journal_go_on(settings: dict[str, Any]):
    balancer = Balancer(settings)
    with balancer:
        eventually(lambda: not balancer.journal.adrift)
    balancer["s"].mark("one:1", "drain", reason="alone")
    assert balancer["s"].pick().host != "one"
    assert events(balancer) == ["drain"]
    with balancer, Balancer(settings) as other:
        eventually(lambda: available(other) == {"two", "three"})


def test_many_closed_and_opened_at_once(settings: dict[str, Any]):
    def live() -> None:
        with Balancer(settings) as balancer:
            balancer["s"].mark("one:1", "weight", weight=0.5, reason="one of many")

    many = [threading.Thread(target=live) for _ in range(6)]
    for thread in many:
        thread.start()
    for thread in many:
        thread.join(PATIENCE)
    with Balancer(settings) as balancer:
        eventually(lambda: events(balancer).count("weight") >= 1)


def test_a_balancer_that_nobody_uses_goes_and_its_thread_with_it(settings: dict[str, Any]):
    balancer = Balancer(settings)
    balancer.start()
    eventually(threads)
    gone = weakref.ref(balancer)
    del balancer
    eventually(lambda: gc.collect() >= 0 and gone() is None)
    eventually(lambda: not threads())


def test_a_thread_that_cannot_be_started_leaves_the_worker_alone(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    balancer = Balancer(settings)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        balancer.start()
    assert "cannot be started" in caplog.text
    peer = balancer["s"].pool.roster.find("one:1")
    assert balancer["s"].pool.partners.may_try(peer)
    balancer.close()


def test_one_without_a_sign_of_life_is_replaced(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    with Balancer(settings) as balancer:
        eventually(lambda: not balancer.journal.adrift)
        inner: Any = balancer._sharing
        first = inner._life
        with monkeypatch.context() as patch:
            patch.setattr(module, "_DEAD_AFTER", -1.0)
            inner.ensure()
        assert inner._life is not first
        assert "gave no sign of life" in caplog.text
        balancer["s"].mark("one:1", "drain", reason="still told")
        eventually(lambda: "drain" in events(balancer) and not balancer.journal.waiting)
        eventually(lambda: len(threads()) == 1)


def test_what_goes_wrong_is_told_and_tried_again(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    with Balancer(settings) as balancer:
        inner: Any = balancer._sharing
        eventually(lambda: not balancer.journal.adrift)
        with monkeypatch.context() as patch:
            patch.setattr(inner._courier, "round", lambda store, changed: 1 / 0)
            eventually(lambda: "sharing went wrong in an unexpected way" in caplog.text)
            eventually(lambda: "store_lost" in events(balancer))
        eventually(lambda: "store_back" in events(balancer))
        assert events(balancer).count("store_lost") == 1


def test_a_damaged_file_is_told(settings: dict[str, Any], tmp_path: Path):
    (tmp_path / "state.db").write_bytes(b"no database " * 500)
    with Balancer(settings) as balancer:
        eventually(lambda: events(balancer) == ["store_corrupt"])
        eventually(lambda: not balancer.journal.adrift)


def test_a_place_that_does_not_exist(settings: dict[str, Any], tmp_path: Path):
    settings["state"] = f"sqlite:///{tmp_path}/nowhere/state.db"
    with Balancer(settings) as balancer:
        eventually(lambda: events(balancer) == ["store_lost"])
        (lost,) = balancer.journal.after()
        assert (lost.service, lost.node, lost.source) == ("", None, "store")
        assert "nowhere" in lost.reason


def test_a_child_is_another_worker(settings: dict[str, Any]):
    state = settings["state"]
    ended = run_script(
        f"""
def make():
    return Balancer({{"services": {{"s": {{"nodes": {NODES!r}}}}}, "state": {state!r}}})
one = make()
one.start()
one["s"].mark("one:1", "drain", reason="by the parent")
eventually(lambda: one["s"].pool.budget.workers == 1 and not one.journal.waiting)
pid = os.fork()
if pid == 0:
    assert [each.name for each in threading.enumerate()] == ["MainThread"]
    one["s"].pick()
    eventually(lambda: one["s"].pool.budget.workers == 2)
    one["s"].mark("two:2", "drain", reason="by the child")
    eventually(lambda: not one.journal.waiting)
    one.close()
    os._exit(0)
_, status = os.waitpid(pid, 0)
assert status == 0, status
eventually(lambda: [node.host for node in one["s"].available] == ["three"])
eventually(lambda: one["s"].pool.budget.workers == 1)
one.close()
"""
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_what_is_forgotten_in_a_fork_is_the_parents(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    """What a child does, done in one process."""
    balancer = Balancer(settings)
    balancer.start()
    eventually(lambda: not balancer.journal.adrift)
    inner: Any = balancer._sharing
    life, worker = inner._life, inner._courier.worker
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        patch.setattr(threading.Thread, "join", lambda *_: pytest.fail("waits for a thread that is not there"))
        life.thread.end(life.rouse, 1.0)
    inner.after_fork()
    assert inner._courier.worker != worker
    inner.ensure()
    eventually(lambda: not balancer.journal.adrift)
    balancer.close()
    life.thread.end(life.rouse, 1.0)


class TestContact:
    def test_silence_alone_makes_nobody_alone(self):
        clock = FakeClock()
        contact = Contact(clock)
        contact.asks()
        contact.answered()
        clock.advance(1000)  # the process was stopped
        assert not contact.alone

    def test_who_asks_in_vain_is_alone_after_a_while_and_says_so_once(self):
        clock = FakeClock()
        contact = Contact(clock)
        told = []
        for _ in range(10):
            contact.asks()
            told.append(contact.failed())
            clock.advance(0.3)
        assert told.count(True) == 1
        assert contact.alone
        assert contact.answered()
        assert not contact.alone
        assert not contact.answered()

    def test_a_question_that_is_never_answered_is_asked_in_vain(self):
        clock = FakeClock()
        contact = Contact(clock)
        contact.asks()
        clock.advance(9)
        assert not contact.alone
        clock.advance(2)
        assert contact.alone


def test_who_asks_in_vain_acts_alone_and_says_no_more_than_it_knows(settings: dict[str, Any]):
    balancer = Balancer(settings)
    balancer.start()
    eventually(lambda: not balancer.journal.adrift)
    inner: Any = balancer._sharing
    balancer.close()
    inner._courier.contact = type("Alone", (), {"alone": True})()
    for each in inner._shared:
        each.set_alone(alone=False)
    balancer.journal.adrift = False
    inner.ensure()
    assert balancer.journal.adrift
    assert all(each.alone for each in inner._shared)
    inner.stop()


def test_of_two_that_find_no_thread_one_starts_it(settings: dict[str, Any]):
    balancer = Balancer(settings)
    inner: Any = balancer._sharing
    lock, other = inner._lock, object()

    class Late:
        def __enter__(self) -> None:
            inner._life = other  # another caller was quicker

        def __exit__(self, *_: object) -> None: ...

    inner._lock = Late()
    inner.ensure()
    assert inner._life is other
    assert threads() == []
    inner._lock, inner._life = lock, None


def test_a_child_process_begins_anew_with_all_that_it_shares(settings: dict[str, Any]):
    """What a fork's hook does, done in one process."""
    balancer = Balancer(settings)
    inner: Any = balancer._sharing
    worker, alerts = inner._courier.worker, inner._courier.alerts
    assert alerts is not None
    balancer.after_fork()
    assert inner._courier.worker != worker
    assert inner._courier.alerts is alerts


def test_an_error_at_the_end_is_the_end(settings: dict[str, Any], caplog: pytest.LogCaptureFixture):
    balancer = Balancer(settings)
    balancer.start()
    eventually(lambda: not balancer.journal.adrift)
    inner: Any = balancer._sharing
    life, told = inner._life, len(balancer.journal.after())
    life.store.wait = lambda *_: 1 / 0
    life._ending.set()
    eventually(lambda: not threads())
    assert len(balancer.journal.after()) == told
    balancer.close()
