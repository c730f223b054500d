"""Sync calls that are hedged: both tries in threads, of which the one that is not needed ends when it likes."""

import _thread
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from itertools import product
from queue import SimpleQueue
from typing import Any

import pytest

from balancemw import Balancer, Node, deadline, remaining
from balancemw.threads import SPARE, Threads
from tests.adapters.watching import eventually
from tests.engine.stage import Answer

ASKED: ContextVar[str] = ContextVar("asked", default="")


class Arrival:
    """A call that has reached its node, and is under way until it is told how to end."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.thread = threading.current_thread()
        self.asked = ASKED.get()
        self.left = remaining()
        self.left_at_the_end: float | None = None
        self._ends: SimpleQueue[object] = SimpleQueue()

    def end(self, what: object) -> None:
        self._ends.put(what)

    def wait(self) -> object:
        what = self._ends.get()
        self.left_at_the_end = remaining()
        if isinstance(what, BaseException):
            raise what
        return what


class Call(threading.Thread):
    """A call in a thread of its own."""

    def __init__(self, balanced: Callable[[], object]) -> None:
        super().__init__()
        self._balanced = balanced
        self.result: object = None
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.result = self._balanced()
        except BaseException as error:
            self.error = error

    def outcome(self) -> object:
        self.join()
        return self.error or self.result


class Site:
    """A service whose calls are under way until the test says how each ends."""

    def __init__(self, **settings: Any) -> None:
        own = {
            "nodes": [f"http://n{i}:80" for i in range(3)],
            "strategy": "round_robin",
            "hedge": {"delay": 0.001, "max_extra": 1.0},
            "retry": {"backoff": 0.0},
        }
        self.balancer = Balancer({"services": {"s": own | settings}})
        self.arrived: list[Arrival] = []
        self.threads = self.balancer._threads

    def serve(self, node: Node) -> object:
        arrival = Arrival(node)
        self.arrived.append(arrival)
        return arrival.wait()

    def balanced(self) -> Callable[[], object]:
        return self.balancer.call("s", idempotent=True)(self.serve)

    def begin(self) -> Call:
        return Call(self.balanced())

    def reached(self, count: int) -> list[Arrival]:
        eventually(lambda: len(self.arrived) >= count)
        return self.arrived

    def in_flight(self) -> int:
        services: Any = self.balancer.status()["services"]
        return sum(node["in_flight"] for node in services["s"]["nodes"])

    def delay(self) -> float | None:
        services: Any = self.balancer.status()["services"]
        delay: float | None = services["s"]["hedge"]["delay_ms"]
        return delay

    def quiet(self) -> None:
        """Let all end that is under way; then nothing may be left."""
        for arrival in self.arrived:
            arrival.end("the end")
        eventually(lambda: self.in_flight() == 0)
        eventually(lambda: len(self.threads._idle) == self.threads.count)
        self.threads.close()
        self.balancer.close()
        eventually(lambda: not any(thread.name == "balancemw-try" for thread in threading.enumerate()))


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.quiet()


def test_the_hedge_answers_and_the_first_ends_when_it_likes_with_no_time_left(site: Site):
    call = site.begin()
    first, second = site.reached(2)
    assert first.node != second.node
    second.end("hedge")
    assert call.outcome() == "hedge"
    assert site.in_flight() == 1
    late = Answer()
    first.end(late)
    eventually(lambda: late.closed)
    assert first.left_at_the_end == 0.001
    eventually(lambda: site.in_flight() == 0)


def test_the_first_answers_and_what_its_hedge_brings_is_closed(site: Site):
    call = site.begin()
    first, second = site.reached(2)
    first.end("first")
    assert call.outcome() == "first"
    late = Answer()
    second.end(late)
    eventually(lambda: late.closed)


def test_an_answer_in_time_is_all_there_is():
    site = Site(hedge={"delay": 60.0})
    call = site.begin()
    site.reached(1)[0].end("first")
    assert call.outcome() == "first"
    assert len(site.arrived) == 1
    site.quiet()


def test_both_see_what_their_caller_sees(site: Site):
    def caller() -> object:
        ASKED.set("by me")
        with deadline(5.0):
            return site.balanced()()

    call = Call(caller)
    first, second = site.reached(2)
    second.end("hedge")
    assert call.outcome() == "hedge"
    assert first.asked == second.asked == "by me"
    assert first.left is not None
    assert second.left is not None
    assert second.left < first.left <= 5.0
    assert len({first.thread, second.thread, call}) == 3


def test_a_failure_waits_for_the_other(site: Site):
    for failing in (0, 1):
        call = site.begin()
        pair = site.reached(2)[-2:]
        pair[failing].end(Answer(503))
        pair[1 - failing].end("answer")
        assert call.outcome() == "answer"
        site.arrived.clear()


def test_when_both_fail_the_third_node_is_tried_by_the_caller_itself(site: Site):
    call = site.begin()
    first, second = site.reached(2)
    closed = Answer(503)
    first.end(closed)
    second.end(ConnectionResetError())
    third = site.reached(3)[2]
    assert third.thread is call
    third.end("third")
    assert call.outcome() == "third"
    assert closed.closed
    assert len({first.node, second.node, third.node}) == 3


def test_when_all_fail_the_last_error_tells_of_the_others(site: Site):
    call = site.begin()
    first, second = site.reached(2)
    first.end(ConnectionResetError())
    second.end(ConnectionResetError())
    site.reached(3)[2].end(ConnectionRefusedError())
    error = call.outcome()
    assert isinstance(error, ConnectionRefusedError)
    assert len(error.__notes__) == 2


def test_what_would_not_be_tried_again_is_raised_at_once(site: Site):
    call = site.begin()
    site.reached(2)[0].end(KeyError("no such product"))
    assert isinstance(call.outcome(), KeyError)


def test_a_call_waits_for_no_thread_but_goes_without_a_hedge(site: Site):
    site.balancer["s"]._threads = site.threads = Threads(most=SPARE + 1)
    first = site.begin()
    site.reached(2)
    second = site.begin()
    alone = site.reached(3)[2]
    assert alone.thread is second
    alone.end("alone")
    assert second.outcome() == "alone"
    site.arrived[0].end("first")
    assert first.outcome() == "first"


class Taken(Threads):
    """Of which first tries get one, and then no others are left."""

    def start(self, job: Callable[[], object], *, spare: int = 0) -> bool:
        return spare > 0 and super().start(job, spare=spare)


def test_a_hedge_that_gets_no_thread_is_not_sent(site: Site):
    site.balancer["s"]._threads = site.threads = Taken()
    call = site.begin()
    first = site.reached(1)[0]
    hedging = site.balancer["s"].pool.hedging
    eventually(lambda: hedging and hedging.hedges)
    eventually(lambda: site.in_flight() == 1)
    first.end("first")
    assert call.outcome() == "first"
    assert len(site.arrived) == 1


def test_an_interrupt_ends_the_call_and_nothing_else(site: Site):
    def interrupting(node: Node) -> object:
        arrival = Arrival(node)
        site.arrived.append(arrival)
        if len(site.arrived) == 2:
            _thread.interrupt_main()
        return arrival.wait()

    with pytest.raises(KeyboardInterrupt):
        site.balancer.call("s", idempotent=True)(interrupting)()
    assert site.in_flight() == 2
    site.quiet()


def test_what_may_not_be_repeated_is_not(site: Site):
    call = Call(site.balancer.call("s")(site.serve))
    arrival = site.reached(1)[0]
    assert arrival.thread is call
    time.sleep(0.01)
    arrival.end("once")
    assert call.outcome() == "once"
    assert len(site.arrived) == 1


def test_the_percentile_is_of_what_was_seen_whether_or_not_it_could_be_hedged():
    site = Site(hedge={"delay": "p50", "max_extra": 1.0})
    balanced = site.balancer.call("s", idempotent=True)(lambda node: node.host)
    for _ in range(10):
        assert site.delay() is None
        balanced()
    assert site.delay() == 1.0
    call = site.begin()
    site.reached(2)[1].end("hedge")
    assert call.outcome() == "hedge"
    site.quiet()


OUTCOMES = {"good": "answer", "failed": ConnectionResetError, "final": KeyError}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize(("first", "second"), list(product(OUTCOMES, OUTCOMES)))
def test_whatever_happens_nothing_is_left(site: Site, first: str, second: str, order: tuple[int, int]):
    call = site.begin()
    pair = site.reached(2)
    for index in order:
        what = OUTCOMES[(first, second)[index]]
        pair[index].end(what() if isinstance(what, type) else f"{what} {index}")
    if first == second == "failed":
        site.reached(3)[2].end("answer 2")
    told = call.outcome()
    if "final" not in (first, second):
        assert str(told).startswith("answer")
    eventually(lambda: site.in_flight() == 0)
