"""Timeouts of async attempts: the rules of ``asyncio.timeout``, at the price of one timer for all."""

import asyncio
import gc
import sys
import threading
import time
import weakref
from types import TracebackType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancemw.timeouts import Clock, Watch, watch
from tests.engine.bounded import SCENARIOS, Bound, Scenario
from tests.engine.clock import FakeClock, VirtualLoop, virtual_run


class watching:  # noqa: N801  stands in for asyncio.timeout
    """A watch, used as an attempt uses it."""

    def __init__(self, seconds: float, clock: Clock | None = None) -> None:
        self._clock = clock or asyncio.get_running_loop().time
        self._seconds = seconds
        self._watch: Watch | None = None

    async def __aenter__(self) -> None:
        self._watch = watch(self._clock() + self._seconds, self._clock)
        assert self._watch is not None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        assert self._watch is not None
        if self._watch.end(error):
            raise TimeoutError from error


def outcome(scenario: Scenario, bound: Bound) -> tuple[object, float, int]:
    """What a task that runs `scenario` comes to, after how many seconds, and how many cancellations it still owes."""

    async def main() -> tuple[object, float, int]:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(scenario(bound))
        begin = loop.time()
        await asyncio.wait([task])
        if task.cancelled():
            result: object = asyncio.CancelledError
        else:
            error = task.exception()
            result = task.result() if error is None else type(error)
        return result, round(loop.time() - begin, 6), task.cancelling()

    return virtual_run(main())


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_as_asyncio_has_it(scenario: Scenario):
    found = outcome(scenario, watching)
    assert found[0] == SCENARIOS[scenario]
    assert found == outcome(scenario, asyncio.timeout)


async def attempt(starts: float, bound: float, takes: float, clock: Clock | None = None) -> tuple[bool, float]:
    """Whether it came to its end, and when it was over."""
    await asyncio.sleep(starts)
    try:
        async with watching(bound, clock):
            await asyncio.sleep(takes)
        return True, asyncio.get_running_loop().time()
    except TimeoutError:
        return False, asyncio.get_running_loop().time()


class CountingLoop(VirtualLoop):
    """Counts the timers that are set."""

    timers = 0

    def call_at(self, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:
        self.timers += 1
        return super().call_at(*args, **kwargs)


class TestMany:
    @given(
        st.lists(
            st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40)).map(
                lambda steps: (steps[0] / 4, steps[1] / 4 + 0.1, steps[2] / 4)  # never ends just when its time is up
            ),
            max_size=30,
        )
    )
    def test_each_ends_when_its_own_time_is_up_and_not_before(self, attempts: list[tuple[float, float, float]]):
        clock = FakeClock(0.0)

        async def main() -> list[tuple[bool, float]]:
            return await asyncio.gather(*(attempt(*each) for each in attempts))

        for (starts, bound, takes), (well, ended) in zip(attempts, virtual_run(main(), clock), strict=True):
            assert well == (takes < bound)
            assert ended == pytest.approx(starts + min(takes, bound), abs=1e-6)

    def test_one_timer_serves_them_all(self):
        async def main() -> int:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, CountingLoop)
            before = loop.timers
            for _ in range(1000):
                async with watching(10):
                    loop.clock.advance(0.001)
            return loop.timers - before

        with asyncio.Runner(loop_factory=CountingLoop) as runner:
            assert runner.run(main()) == 1

    def test_an_idle_loop_has_none(self):
        async def main() -> None:
            async with watching(10):
                pass
            await asyncio.sleep(20)
            await asyncio.Event().wait()  # with a timer left, this would not be seen to be a deadlock

        with pytest.raises(RuntimeError, match="deadlock"):
            virtual_run(main())

    def test_a_shorter_one_that_comes_later_is_not_late(self):
        async def main() -> list[tuple[bool, float]]:
            return await asyncio.gather(
                attempt(0, 100, 200), attempt(1, 5, 200), attempt(2, 1, 200), attempt(3, 1, 0.5)
            )

        assert virtual_run(main(), FakeClock(0.0)) == [(False, 100.0), (False, 6.0), (False, 3.0), (True, 3.5)]

    def test_all_that_are_late_end_when_the_loop_was_blocked(self):
        async def block() -> None:
            await asyncio.sleep(0.5)
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualLoop)
            loop.clock.advance(50)

        async def main() -> list[tuple[bool, float]]:
            *ended, _ = await asyncio.gather(*(attempt(0, bound, 99) for bound in (3, 1, 2, 60)), block())
            return ended

        assert virtual_run(main(), FakeClock(0.0)) == [(False, 50.5)] * 3 + [(False, 60.0)]

    def test_a_task_that_is_over_although_its_watch_is_not_hurts_nobody(self):
        async def leaves_it() -> None:
            assert watch(asyncio.get_running_loop().time() + 1, asyncio.get_running_loop().time) is not None

        async def main() -> tuple[bool, float]:
            await asyncio.create_task(leaves_it())
            return await attempt(0, 5, 9)

        assert virtual_run(main(), FakeClock(0.0)) == (False, 5.0)

    def test_a_clock_of_its_own_that_differs_from_the_loops(self):
        clock = FakeClock(5_000_000.0)

        async def main() -> tuple[bool, float]:
            return await attempt(0, 5, 9, clock)

        assert virtual_run(main(), FakeClock(0.0)) == (False, 5.0)


class TestWhere:
    def test_no_task_no_watch(self):
        assert watch(time.monotonic() + 1, time.monotonic) is None

    def test_a_callback_of_a_loop_is_no_task(self):
        async def main() -> list[Watch | None]:
            found: list[Watch | None] = []
            asyncio.get_running_loop().call_soon(lambda: found.append(watch(time.monotonic() + 1, time.monotonic)))
            await asyncio.sleep(1)
            return found

        assert virtual_run(main()) == [None]

    @pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")
    def test_eager_tasks(self):
        async def main() -> list[tuple[bool, float]]:
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
            return await asyncio.gather(attempt(0, 1, 5), attempt(0, 5, 1), attempt(0, 3, 0))

        assert virtual_run(main(), FakeClock(0.0)) == [(False, 1.0), (True, 1.0), (True, 0.0)]


async def both() -> list[bool]:
    """On a real loop: one attempt that never answers, one that does."""
    ended = await asyncio.gather(attempt(0, 0.02, 600), attempt(0, 600, 0.0))
    return [well for well, _ in ended]


class TestRealLoops:
    def test_one_after_the_other_in_the_same_thread(self):
        for _ in range(3):
            assert asyncio.run(both()) == [False, True]

    def test_a_loop_that_was_closed_with_a_watch_open(self):
        async def abandoned() -> None:
            watch(time.monotonic() + 0.01, time.monotonic)

        loop = asyncio.new_event_loop()
        loop.run_until_complete(abandoned())
        loop.close()
        assert asyncio.run(both()) == [False, True]

    def test_one_that_moves_to_another_thread_while_the_first_runs_another(self):
        moving, met, done = asyncio.new_event_loop(), threading.Barrier(2), threading.Event()
        moving.run_until_complete(attempt(0, 600, 0.0))

        async def occupy() -> None:
            met.wait()
            done.wait()

        thread = threading.Thread(target=moving.run_until_complete, args=(occupy(),))
        thread.start()
        met.wait()
        try:
            assert asyncio.run(both()) == [False, True]
        finally:
            done.set()
            thread.join()
            moving.close()

    def test_taking_turns_in_the_same_thread(self):
        loops = [asyncio.new_event_loop() for _ in range(2)]
        hanging = [loop.create_task(attempt(0, 0.02, 600)) for loop in loops]
        for loop in (*loops, *loops):  # each has an attempt open while the other runs
            assert loop.run_until_complete(attempt(0, 600, 0.0))[0] is True
        for loop, task in zip(loops, hanging, strict=True):
            assert loop.run_until_complete(task)[0] is False
            loop.close()

    def test_several_in_threads_at_once(self):
        ended: list[list[bool]] = []

        def work() -> None:
            for _ in range(3):
                ended.append(asyncio.run(both()))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert ended == [[False, True]] * 12

    def test_one_that_is_gone_is_not_kept_once_another_runs(self):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(both())
        loop.close()
        gone = weakref.ref(loop)
        del loop
        asyncio.run(both())
        gc.collect()
        assert gone() is None


class TestVirtualTime:
    """That the loop which the tests rely on keeps its promises."""

    def test_hours_pass_at_once_and_the_clock_shows_them(self):
        clock = FakeClock()

        async def main() -> float:
            await asyncio.gather(asyncio.sleep(3600), asyncio.sleep(7200))
            return asyncio.get_running_loop().time()

        assert virtual_run(main(), clock) == clock() == pytest.approx(1000.0 + 7200.0)

    def test_a_deadlock_is_an_error_and_not_a_hang(self):
        async def main() -> None:
            await asyncio.Event().wait()

        with pytest.raises(RuntimeError, match="deadlock"):
            virtual_run(main())

    def test_a_clock_that_sleeps_and_never_goes_back(self):
        clock = FakeClock()
        clock.sleep(1.5)
        clock.advance(0.5)
        assert (clock(), clock.slept) == (1002.0, [1.5])
        with pytest.raises(ValueError, match="does not go back"):
            clock.advance(-1)
