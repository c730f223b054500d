"""Async calls that are hedged: who is cancelled, what is waited for, and that nothing is left behind."""

import asyncio
from collections.abc import AsyncIterator
from contextvars import ContextVar
from itertools import product
from typing import Any

import pytest

from balancemw import Balancer, Node, deadline, remaining
from balancemw.call import Call
from balancemw.race import Outcome, Race
from balancemw.racing import _Rival
from balancemw.service import CallOptions
from balancemw.tries import Terms, Try, first_try
from tests.engine.stage import Answer

ASKED: ContextVar[str] = ContextVar("asked", default="")


class Site:
    """A service whose calls are under way until the test says how each ends.

    Attributes:
        arrived: the calls in their order, each with what decides it.
        cancelled: the nodes whose calls were cancelled.
    """

    def __init__(self, nodes: int = 3, **settings: Any) -> None:
        own = {
            "nodes": [f"http://n{i}:80" for i in range(nodes)],
            "strategy": "round_robin",
            "hedge": {"delay": 0.001, "max_extra": 1.0},
            "retry": {"backoff": 0.0},
        }
        self.balancer = Balancer({"services": {"s": own | settings}})
        self.pool = self.balancer["s"].pool
        self.arrived: list[tuple[Node, asyncio.Future[object]]] = []
        self.cancelled: list[Node] = []
        self.seen: list[tuple[str, float | None]] = []
        self.balanced = self.balancer.call("s", idempotent=True)(self._serve)

    async def _serve(self, node: Node) -> object:
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self.arrived.append((node, future))
        self.seen.append((ASKED.get(), remaining()))
        try:
            return await future
        except asyncio.CancelledError:
            self.cancelled.append(node)
            raise

    def begin(self) -> "asyncio.Task[Any]":
        return asyncio.create_task(self.balanced())

    async def reached(self, count: int) -> None:
        """Wait until that many calls are under way, or have been."""
        while len(self.arrived) < count:
            await asyncio.sleep(0.001)

    def end(self, index: int, what: object) -> None:
        future = self.arrived[index][1]
        if isinstance(what, BaseException):
            future.set_exception(what)
        else:
            future.set_result(what)

    def in_flight(self) -> int:
        services: Any = self.balancer.status()["services"]
        return sum(node["in_flight"] for node in services["s"]["nodes"])

    def delay(self) -> float | None:
        services: Any = self.balancer.status()["services"]
        delay: float | None = services["s"]["hedge"]["delay_ms"]
        return delay

    async def quiet(self) -> None:
        """Wait until no task is left but the test's own, and then nothing may be in flight."""
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0.001)
        assert self.in_flight() == 0


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    yield site
    await site.quiet()
    site.balancer.close()


async def test_the_hedge_answers_and_the_first_is_cancelled_before_that_is_told(site: Site):
    call = site.begin()
    await site.reached(2)
    (first, _), (second, _) = site.arrived
    assert first != second
    site.end(1, "hedge")
    assert await call == "hedge"
    assert site.cancelled == [first]
    assert site.in_flight() == 0
    assert call.cancelling() == 0


async def test_the_first_answers_and_the_hedge_is_cancelled_before_that_is_told(site: Site):
    call = site.begin()
    await site.reached(2)
    site.end(0, "first")
    assert await call == "first"
    assert site.cancelled == [site.arrived[1][0]]
    assert site.in_flight() == 0


async def test_an_answer_in_time_is_all_there_is(site: Site):
    site = Site(hedge={"delay": 60.0})
    call = site.begin()
    await site.reached(1)
    site.end(0, "first")
    assert await call == "first"
    assert len(site.arrived) == 1
    site.balancer.close()


async def test_both_see_what_their_caller_sees(site: Site):
    ASKED.set("by me")
    with deadline(5.0):
        call = site.begin()
        await site.reached(2)
    site.end(1, "hedge")
    await call
    (first, left), (second, left_then) = site.seen
    assert first == second == "by me"
    assert left is not None
    assert left_then is not None
    assert left_then < left <= 5.0


async def test_the_outer_bound_holds_again_afterwards(site: Site):
    async def caller() -> tuple[object, float | None]:
        with deadline(50.0):
            return await site.balanced(), remaining()

    call = asyncio.create_task(caller())
    await site.reached(2)
    site.end(1, "hedge")
    _, left = await call
    assert left is not None
    assert left > 20.0  # the deadline's, and not the attempt's 10 s


async def test_a_first_that_fails_waits_for_its_hedge(site: Site):
    call = site.begin()
    await site.reached(2)
    site.end(0, ConnectionResetError())
    await asyncio.sleep(0.005)
    assert len(site.arrived) == 2
    site.end(1, "hedge")
    assert await call == "hedge"
    assert not site.cancelled


async def test_a_hedge_that_fails_leaves_the_first_alone(site: Site):
    call = site.begin()
    await site.reached(2)
    site.end(1, ConnectionResetError())
    await asyncio.sleep(0.005)
    assert len(site.arrived) == 2
    site.end(0, "first")
    assert await call == "first"
    assert not site.cancelled


async def test_when_both_fail_the_third_node_is_tried(site: Site):
    call = site.begin()
    await site.reached(2)
    closed = Answer(503)
    site.end(0, closed)
    site.end(1, ConnectionResetError())
    await site.reached(3)
    assert closed.closed
    assert len({node for node, _ in site.arrived}) == 3
    site.end(2, "third")
    assert await call == "third"


async def test_when_all_fail_the_last_error_tells_of_the_others(site: Site):
    call = site.begin()
    await site.reached(2)
    site.end(0, ConnectionResetError())
    site.end(1, ConnectionResetError())
    await site.reached(3)
    site.end(2, ConnectionRefusedError())
    with pytest.raises(ConnectionRefusedError) as caught:
        await call
    assert len(caught.value.__notes__) == 2
    assert all("reset" in note for note in caught.value.__notes__)


async def test_what_would_not_be_tried_again_is_raised_at_once(site: Site):
    call = site.begin()
    await site.reached(2)
    site.end(0, KeyError("no such product"))
    with pytest.raises(KeyError) as caught:
        await call
    assert site.cancelled == [site.arrived[1][0]]
    assert "cancelled" in caught.value.__notes__[0]


async def test_a_caller_that_goes_away_takes_both_along(site: Site):
    call = site.begin()
    await site.reached(2)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await site.quiet()
    assert {node for node, _ in site.arrived} == set(site.cancelled)


async def test_a_caller_that_goes_away_while_the_hedge_is_waited_for(site: Site):
    call = site.begin()
    await site.reached(2)
    site.end(0, ConnectionResetError())
    await asyncio.sleep(0.005)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await site.quiet()
    assert site.cancelled == [site.arrived[1][0]]


async def test_a_timeout_around_the_call_is_the_callers_own(site: Site):
    async def caller() -> None:
        async with asyncio.timeout(0.05):
            await site.balanced()

    call = asyncio.create_task(caller())
    with pytest.raises(TimeoutError):
        await call
    assert len(site.cancelled) == 2


async def test_attempt_timeouts_end_both(site: Site):
    site = Site(nodes=2, attempt_timeout=0.02, retry={"attempts": 2})
    with pytest.raises(TimeoutError) as caught:
        await site.balanced()
    assert len(site.arrived) == 2
    assert "timeout" in caught.value.__notes__[0]
    await site.quiet()
    site.balancer.close()


async def test_a_loser_that_takes_its_time_to_go_does_not_keep_the_answer(site: Site):
    go = asyncio.Event()
    ended = []

    async def stubborn(node: Node) -> str:
        if not ended and len(site.arrived):
            try:
                await asyncio.Event().wait()
            finally:
                await go.wait()
                ended.append(node)
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        site.arrived.append((node, future))
        return str(await future)

    call = asyncio.create_task(site.balancer.call("s", idempotent=True)(stubborn)())
    await site.reached(1)
    while site.in_flight() < 2:
        await asyncio.sleep(0.001)
    site.end(0, "first")
    assert await call == "first"
    assert not ended
    assert site.in_flight() == 1
    go.set()
    await site.quiet()
    assert ended


async def test_what_a_loser_brings_all_the_same_is_closed(site: Site):
    late = Answer()

    async def unstoppable(node: Node) -> object:
        site.arrived.append((node, asyncio.get_running_loop().create_future()))
        if len(site.arrived) == 1:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                return late
        return "hedge"

    assert await site.balancer.call("s", idempotent=True)(unstoppable)() == "hedge"
    assert late.closed
    assert site.in_flight() == 0


async def test_a_hedge_that_is_cancelled_before_its_first_step_is_given_back(site: Site):
    terms: Terms = site.balancer["s"].terms(CallOptions(idempotent=True))
    task = asyncio.current_task()
    assert task is not None
    for error in (None, ConnectionResetError()):
        first = first_try(terms, None)
        call = Call(terms, None, first)
        race = Race(call, terms, None, first)
        race.due_in()

        async def send(attempt: Try) -> object:
            return await site._serve(attempt.node)

        async def discard(result: object) -> None: ...

        rival = _Rival(race, send, discard, task)
        rival.begin()
        assert site.in_flight() == 2
        if error is None:
            outcome = await rival.meet(Outcome(first, "first", None))
            assert outcome.result == "first"
            call.succeed(first)
        else:  # its loop ends all tasks just then
            assert rival._task is not None
            rival._task.cancel()
            outcome = await rival.meet(Outcome(first, None, error))
            assert isinstance(outcome.error, asyncio.CancelledError)
            race.give_back(outcome)
        assert not site.arrived
        assert site.in_flight() == 0


async def test_the_percentile_is_of_what_was_seen_whether_or_not_it_could_be_hedged(site: Site):
    async def told(node: Node) -> str:
        return node.host

    site = Site(hedge={"delay": "p50", "max_extra": 1.0})
    balanced = site.balancer.call("s", idempotent=True)(told)
    for _ in range(10):
        assert site.delay() is None
        await balanced()
    assert site.delay() == 1.0
    call = site.begin()
    await site.reached(2)
    site.end(1, "hedge")
    assert await call == "hedge"
    await site.quiet()
    site.balancer.close()


OUTCOMES = {"good": "answer", "failed": ConnectionResetError, "final": KeyError}


@pytest.mark.parametrize("cancel", ["never", "before", "between", "after"])
@pytest.mark.parametrize("order", ["first", "hedge", "together"])
@pytest.mark.parametrize(("first", "second"), list(product(OUTCOMES, OUTCOMES)))
async def test_whatever_happens_nothing_is_left(site: Site, first: str, second: str, order: str, cancel: str):
    def end(index: int, kind: str) -> None:
        what = OUTCOMES[kind]
        if not site.arrived[index][1].done():
            site.end(index, what() if isinstance(what, type) else f"{what} {index}")

    call = site.begin()
    await site.reached(2)
    if cancel == "before":
        call.cancel()
    steps = [(0, first), (1, second)] if order != "hedge" else [(1, second), (0, first)]
    for position, step in enumerate(steps):
        if position and order != "together":
            await asyncio.sleep(0.002)
        if position and cancel == "between":
            call.cancel()
        end(*step)
    if cancel == "after":
        call.cancel()
    while not call.done():
        await asyncio.sleep(0.001)
        if len(site.arrived) > 2:
            end(2, "good")
    await site.quiet()
    if cancel == "never":
        told = "error" if call.exception() else str(call.result())
        if "good" in (first, second) and "final" not in (first, second):
            assert told.startswith("answer")
        if first == second == "failed":
            assert told == "answer 2"
    services: Any = site.balancer.status()["services"]
    assert services["s"]["hedge"]["hedges"] == 1
