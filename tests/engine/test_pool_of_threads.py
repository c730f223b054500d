"""A bounded number of threads, that come when needed and go when idle."""

import os
import threading
import time

import pytest

from balancemw.threads import Threads
from tests.adapters.watching import eventually


def test_there_are_none_until_they_are_needed_and_never_more_than_so_many():
    threads, go = Threads(most=3), threading.Event()
    assert threads.count == 0
    assert [threads.start(go.wait) for _ in range(5)] == [True, True, True, False, False]
    assert threads.count == 3
    go.set()
    eventually(lambda: len(threads._idle) == 3)
    assert threads.start(lambda: None)
    eventually(lambda: len(threads._idle) == 3)
    threads.close()
    assert threads.count == 0


def test_some_can_be_spared_for_others():
    threads, go = Threads(most=3), threading.Event()
    assert [threads.start(go.wait, spare=1) for _ in range(3)] == [True, True, False]
    assert threads.start(go.wait)
    go.set()
    threads.close()


def test_one_that_is_idle_is_used_again():
    threads = Threads()
    seen: list[threading.Thread] = []
    for count in range(1, 6):
        threads.start(lambda: seen.append(threading.current_thread()))
        eventually(lambda count=count: len(seen) == count and len(threads._idle) == 1)
    assert len(set(seen)) == 1
    assert seen[0].daemon
    threads.close()
    seen[0].join()


def test_what_is_idle_ends():
    threads, seen = Threads(idle=0.001), list[threading.Thread]()
    threads.start(lambda: seen.append(threading.current_thread()))
    eventually(lambda: seen and threads.count == 0)
    seen[0].join()
    done = threading.Event()
    assert threads.start(done.set)
    assert done.wait(30.0)


def test_jobs_that_come_as_threads_go_are_done():
    threads = Threads(most=4, idle=0.0001)
    done = []
    given = 0
    for number in range(500):
        given += threads.start(lambda number=number: done.append(number))
        time.sleep(0.0002 * (number % 3))
    eventually(lambda: len(done) == given)
    eventually(lambda: threads.count == 0)


def test_closing_ends_those_that_are_idle_and_they_come_again_when_needed():
    threads, go, done = Threads(), threading.Event(), threading.Event()
    threads.start(go.wait)
    threads.close()
    assert threads.count == 1
    go.set()
    eventually(lambda: len(threads._idle) == 1)
    threads.close()
    assert threads.count == 0
    assert threads.start(done.set)
    assert done.wait(30.0)
    eventually(lambda: len(threads._idle) == 1)
    threads.close()


def test_where_the_system_allows_no_more_there_are_none(monkeypatch: pytest.MonkeyPatch):
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    threads = Threads()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert not threads.start(lambda: None)
    assert threads.count == 0


def test_a_forked_process_has_none_of_its_parents():
    threads = Threads()
    threads.start(lambda: None)
    eventually(lambda: len(threads._idle) == 1)  # a child that took it for its own would wait for it
    child = os.fork()
    if not child:
        done = threading.Event()
        os._exit(0 if threads.start(done.set) and done.wait(10.0) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    threads.close()
