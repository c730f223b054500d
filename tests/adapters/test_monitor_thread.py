"""The life of the monitor's thread: when it begins, and how it ends."""

import logging
import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from balancemw import Balancer, monitor
from balancemw.health import Mark
from tests.adapters import callables
from tests.adapters.watching import PATIENCE, SYNC, Replicas, Watched, alone, eventually, threads


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    with alone():
        yield


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
