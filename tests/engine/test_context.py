"""Deadlines: who sees which, and how much of it is left."""

import asyncio
import math
import threading
from collections.abc import AsyncIterator, Iterator
from contextvars import Context, copy_context
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancemw import deadline, remaining
from balancemw.context import BOUND, REQUEST, Bound, Request, enter_request, time_left
from tests.engine.clock import FakeClock, virtual_run
from tests.engine.stage import TimedRequest

HOUR = 3600.0
LONG = 1e6  # seconds: no test takes so long that it could not tell these from each other
LONGER = 1e9


@pytest.fixture(autouse=True)
def own_context() -> Iterator[None]:
    token = BOUND.set(None)
    yield
    BOUND.reset(token)


def left() -> float:
    """What `remaining` says, rounded up to what was granted less than an hour ago."""
    seconds = remaining()
    assert seconds is not None
    return next(granted for granted in (0.001, LONG, LONGER) if granted - HOUR < seconds <= granted)


def bound_by(clock: FakeClock, seconds: float) -> None:
    BOUND.set(Bound(clock() + seconds, clock))


class TestRemaining:
    def test_nothing_bounds(self):
        assert remaining() is None

    def test_counts_down(self):
        clock = FakeClock()
        bound_by(clock, 2.0)
        assert remaining() == 2.0
        clock.advance(0.5)
        assert remaining() == 1.5

    @pytest.mark.parametrize("passed", [1.9995, 2.0, 2.5, 1000.0])
    def test_never_below_a_millisecond(self, passed: float):
        clock = FakeClock()
        bound_by(clock, 2.0)
        clock.advance(passed)
        assert remaining() == 0.001

    def test_the_engine_is_told_by_how_much_it_is_late(self):
        clock = FakeClock()
        bound_by(clock, 2.0)
        clock.advance(5.0)
        assert time_left(BOUND.get()) == -3.0

    def test_an_infinite_bound_is_none(self):
        BOUND.set(Bound(math.inf))
        assert remaining() is None


class TestDeadline:
    def test_inside_and_outside(self):
        with deadline(LONG):
            assert left() == LONG
        assert remaining() is None

    def test_left_by_an_exception_too(self):
        with pytest.raises(KeyError), deadline(LONG):
            raise KeyError
        assert remaining() is None

    @pytest.mark.parametrize(("outer", "inner"), [(LONG, LONGER), (LONGER, LONG), (LONG, math.inf)])
    def test_the_shorter_wins(self, outer: float, inner: float):
        with deadline(outer):
            with deadline(inner):
                assert left() == LONG
            assert left() == min(outer, LONGER)

    def test_shorter_than_what_the_attempt_or_request_has_left(self):
        clock = FakeClock()
        bound_by(clock, LONGER)
        clock.advance(LONGER - LONG)
        with deadline(LONGER):
            assert left() == LONG
        assert remaining() == LONG

    def test_none_is_left_of_a_bound_that_has_passed(self):
        clock = FakeClock()
        bound_by(clock, 1.0)
        clock.advance(HOUR)
        with deadline(LONG):
            assert remaining() == 0.001
            assert time_left(BOUND.get()) < -HOUR + 10.0

    def test_zero_is_over_at_once(self):
        with deadline(0):
            assert remaining() == 0.001
            assert time_left(BOUND.get()) <= 0.0

    def test_infinite_bounds_nothing(self):
        with deadline(math.inf):
            assert remaining() is None

    @pytest.mark.parametrize("seconds", [None, "2", True, [2]])
    def test_what_is_no_number_is_refused(self, seconds: Any):
        with pytest.raises(TypeError, match="a deadline is a number of seconds from now, not"):
            deadline(seconds)

    @pytest.mark.parametrize("seconds", [-1, -1e-9, float("nan"), float("-inf")])
    def test_what_is_no_time_is_refused(self, seconds: float):
        with pytest.raises(ValueError, match="a deadline is a number of seconds from now, not"):
            deadline(seconds)

    @given(st.lists(st.sampled_from([LONG, LONGER, math.inf]), max_size=6))
    def test_any_nesting(self, granted: list[float]):
        def enter(depth: int) -> None:
            shortest = min(granted[:depth], default=math.inf)
            assert (math.inf if remaining() is None else left()) == shortest
            if depth < len(granted):
                with deadline(granted[depth]):
                    enter(depth + 1)
                assert (math.inf if remaining() is None else left()) == shortest

        Context().run(enter, 0)


class TestOneObjectManyTimes:
    def test_again(self):
        block = deadline(LONG)
        for _ in range(2):
            with block:
                assert left() == LONG
            assert remaining() is None

    def test_inside_itself(self):
        block = deadline(LONG)
        with block:
            with block:
                assert left() == LONG
            assert left() == LONG
        assert remaining() is None

    def test_around_another(self):
        block = deadline(LONGER)
        with block, deadline(LONG), block:
            assert left() == LONG
        assert remaining() is None

    def test_in_two_threads_at_once(self):
        block, together, wrong = deadline(LONG), threading.Barrier(2, timeout=30), []

        def work() -> None:
            try:
                with block:
                    together.wait()  # both are inside
                    assert left() == LONG
                assert remaining() is None
            except BaseException as error:
                wrong.append(error)

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert not wrong

    def test_in_two_tasks_that_overlap(self):
        block = deadline(LONG)

        async def work(before: float, inside: float) -> None:
            await asyncio.sleep(before)
            with block:
                await asyncio.sleep(inside)
                assert left() == LONG
            assert remaining() is None

        async def both() -> None:
            await asyncio.gather(work(0.0, 2.0), work(1.0, 2.0), work(1.5, 0.1))

        virtual_run(both())

    def test_left_in_another_context_than_entered(self):
        async def numbers() -> AsyncIterator[int]:
            with deadline(LONG):
                yield 1

        async def main() -> None:
            stream = numbers()
            await asyncio.create_task(anext(stream))  # type: ignore[arg-type]
            with deadline(LONGER):
                await stream.aclose()
                assert left() == LONGER
            assert remaining() is None

        virtual_run(main())


class TestIsolation:
    def test_a_new_thread_is_not_bound(self):
        seen: list[float | None] = []
        with deadline(LONG):
            thread = threading.Thread(target=lambda: seen.append(remaining()))
            thread.start()
            thread.join(30)
        assert seen == [None]

    def test_what_a_thread_bounds_is_its_own(self):
        inside, done = threading.Event(), threading.Event()

        def work() -> None:
            with deadline(LONG):
                inside.set()
                done.wait(30)

        thread = threading.Thread(target=work)
        thread.start()
        assert inside.wait(30)
        assert remaining() is None
        done.set()
        thread.join(30)

    def test_a_copied_context_is_bound_as_well(self):
        with deadline(LONG):
            inherited = copy_context()
        assert remaining() is None
        assert inherited.run(left) == LONG

    def test_tasks_inherit_and_keep_their_own_to_themselves(self):
        async def child() -> float:
            assert left() == LONGER
            with deadline(LONG):
                await asyncio.sleep(1.0)
                return left()

        async def parent() -> None:
            with deadline(LONGER):
                children = [asyncio.create_task(child()) for _ in range(3)]
                await asyncio.sleep(0.5)  # they are inside their own
                assert left() == LONGER
                assert await asyncio.gather(*children) == [LONG] * 3
            assert remaining() is None

        virtual_run(parent())


class TestRequest:
    def test_entering_makes_its_deadline_the_bound(self):
        clock = FakeClock()
        request = TimedRequest("the balancer", clock() + 3.0, clock)

        def serve() -> float | None:
            enter_request(request)
            assert REQUEST.get() is request
            clock.advance(1.0)
            return remaining()

        assert Context().run(serve) == 2.0
        assert remaining() is None

    def test_without_a_deadline_nothing_bounds_it(self):
        def serve() -> float | None:
            BOUND.set(Bound(0.0))  # of whatever ran in this context before
            enter_request(Request("the balancer"))
            return remaining()

        assert Context().run(serve) is None

    def test_what_a_request_is_unless_told_otherwise(self):
        request = Request("the balancer")
        assert (request.balancer, request.retries_allowed, request.until) == ("the balancer", True, math.inf)
