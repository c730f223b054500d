"""How async functions are ended when their time is up, and what cancelling from outside does."""

import asyncio
import gc
import weakref
from collections import deque
from collections.abc import AsyncIterator

import pytest

from balancemw import DeadlineExceeded, Node, deadline, remaining
from tests.engine.clock import virtual_run
from tests.engine.stage import Stage

# -- the time of one try


def test_the_time_of_one_try_ends_an_async_function_by_cancelling_it():
    stage = Stage(3, timeout=None, attempt_timeout=2, retry={"backoff": 0})
    ends = []

    @stage.balancer.call("s", idempotent=True)
    async def hang(node: Node) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ends.append(stage.clock())

    start = stage.clock()
    with pytest.raises(TimeoutError) as caught:
        virtual_run(hang(), stage.clock)
    assert not isinstance(caught.value, DeadlineExceeded)
    assert [end - start for end in ends] == pytest.approx([2, 4, 6])
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert len(caught.value.__notes__) == 2
    assert stage.in_flight() == 0


def test_the_time_of_the_whole_call_ends_an_async_function_too():
    stage = Stage(3, timeout=5, attempt_timeout=2, retry={"backoff": 0, "attempts": 9})

    @stage.balancer.call("s", idempotent=True)
    async def hang(node: Node) -> None:
        stage.sent.append(node.host)
        await asyncio.Event().wait()

    start = stage.clock()
    with pytest.raises(DeadlineExceeded) as caught:
        virtual_run(hang(), stage.clock)
    assert stage.clock() - start == pytest.approx(5)
    assert len(stage.sent) == 3
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert stage.in_flight() == 0


def test_an_async_function_that_is_not_idempotent_is_not_sent_again_when_its_try_times_out():
    stage = Stage(3, attempt_timeout=2)

    @stage.balancer.call("s")
    async def hang(node: Node) -> None:
        stage.sent.append(node.host)
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        virtual_run(hang(), stage.clock)
    assert len(stage.sent) == 1


def test_an_async_function_that_finishes_on_time_leaves_no_timer_that_hits_what_follows():
    stage = Stage(1, attempt_timeout=2)

    @stage.balancer.call("s")
    async def quick(node: Node) -> str:
        await asyncio.sleep(1.9)
        return "ok"

    async def flow() -> list[str]:
        found = [await quick()]
        await asyncio.sleep(5)
        return [*found, await quick()]

    assert virtual_run(flow(), stage.clock) == ["ok", "ok"]


def test_without_an_event_loop_an_async_function_is_not_timed():
    stage = Stage(1)

    @stage.balancer.call("s")
    async def call(node: Node) -> str:
        return node.host

    def drive() -> str:
        with pytest.raises(StopIteration) as done:  # as a framework with a loop of its own would
            call().send(None)
        return done.value.value

    async def in_a_callback() -> str:
        found: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(lambda: found.set_result(drive()))
        return await found

    assert drive() == "n0"
    assert virtual_run(in_a_callback(), stage.clock) == "n0"
    assert stage.in_flight() == 0


def test_many_tasks_with_different_times_are_each_ended_at_their_own():
    stage = Stage(3, timeout=None, attempt_timeout=60, retry={"attempts": 1})

    async def one(seconds: float) -> tuple[float, str]:
        @stage.balancer.call("s", timeout=seconds)
        async def hang(node: Node) -> None:
            await asyncio.Event().wait()

        start = stage.clock()
        try:
            await hang()
        except DeadlineExceeded:
            return stage.clock() - start, "deadline"
        return 0, "?"

    async def flow() -> list[tuple[float, str]]:
        return await asyncio.gather(*(one(seconds) for seconds in (5, 1, 3, 0.5, 4)))

    found = virtual_run(flow(), stage.clock)
    assert [seconds for seconds, _ in found] == pytest.approx([5, 1, 3, 0.5, 4])
    assert stage.in_flight() == 0


# -- cancellation from outside


@pytest.mark.parametrize("idempotent", [True, False])
def test_cancelling_the_task_is_not_swallowed_and_counts_against_nobody(idempotent: bool):
    stage = Stage(2)

    @stage.balancer.call("s", idempotent=idempotent)
    async def hang(node: Node) -> None:
        stage.sent.append(node.host)
        await asyncio.Event().wait()

    async def flow() -> None:
        for _ in range(20):
            task = asyncio.create_task(hang())
            await asyncio.sleep(0.1)
            assert stage.in_flight() == 1
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert task.cancelled()

    virtual_run(flow(), stage.clock)
    assert len(stage.sent) == 20
    assert stage.in_flight() == 0
    assert [each["failures"] for each in stage.status()["nodes"]] == [0, 0]
    assert [each["success_rate"] for each in stage.status()["nodes"]] == [None, None]
    assert stage.available() == {"n0", "n1"}


def test_a_timeout_of_the_callers_own_around_the_call_is_the_callers():
    stage = Stage(2, attempt_timeout=10)

    @stage.balancer.call("s", idempotent=True)
    async def hang(node: Node) -> None:
        stage.sent.append(node.host)
        await asyncio.Event().wait()

    async def flow() -> None:
        async with asyncio.timeout(3):
            await hang()

    with pytest.raises(TimeoutError) as caught:
        virtual_run(flow(), stage.clock)
    assert not isinstance(caught.value, DeadlineExceeded)
    assert len(stage.sent) == 1
    assert sum(each["failures"] for each in stage.status()["nodes"]) == 0


def test_cancelled_by_both_at_once_the_task_is_cancelled():
    stage = Stage(2, attempt_timeout=3)

    @stage.balancer.call("s", idempotent=True)
    async def hang(node: Node) -> None:
        stage.sent.append(node.host)
        await asyncio.Event().wait()

    async def flow() -> None:
        task = asyncio.create_task(hang())
        asyncio.get_running_loop().call_later(3, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task

    virtual_run(flow(), stage.clock)
    assert len(stage.sent) == 1


def test_cancelled_while_it_waits_for_the_next_try_nothing_is_left_open():
    stage = Stage(1, retry={"backoff": 50, "backoff_max": 50}, timeout=None)

    @stage.balancer.call("s", idempotent=True)
    async def fail(node: Node) -> None:
        stage.sent.append(node.host)
        raise ConnectionResetError(104, "lost")

    async def flow() -> None:
        task = asyncio.create_task(fail())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    virtual_run(flow(), stage.clock)
    assert len(stage.sent) == 1
    assert stage.in_flight() == 0


def test_a_task_remembers_no_cancellation_that_was_only_a_timeout():
    stage = Stage(2, attempt_timeout=1, retry={"backoff": 0})
    script = deque([60, 0])

    @stage.balancer.call("s", idempotent=True)
    async def first_hangs(node: Node) -> str:
        await asyncio.sleep(script.popleft())
        return node.host

    async def flow() -> tuple[str, int]:
        found = await first_hangs()
        async with asyncio.timeout(5):
            await asyncio.sleep(1)
        task = asyncio.current_task()
        assert task is not None
        return found, task.cancelling()

    found, cancelling = virtual_run(flow(), stage.clock)
    assert found in ("n0", "n1")
    assert cancelling == 0


def test_a_task_that_made_a_call_goes_without_waiting_for_the_garbage_collector():
    stage = Stage(1)

    @stage.balancer.call("s")
    async def call(_: Node) -> None:
        await asyncio.sleep(0.1)

    async def flow() -> None:
        task = asyncio.create_task(call())  # its context remembers the try
        gone = weakref.ref(task)
        await task
        del task
        await asyncio.sleep(0)
        assert gone() is None

    gc.disable()
    try:
        virtual_run(flow(), stage.clock)
    finally:
        gc.enable()


def test_an_async_generator_that_its_reader_leaves_behind_bounds_nothing_more():
    """The event loop closes it, in a context of its own; what it had set is still set where it was read."""
    stage = Stage(3, attempt_timeout=10)

    async def rows() -> AsyncIterator[int]:
        async for attempt in stage.service.attempts():
            with attempt, deadline(5):
                yield 1
                yield 2

    async def main() -> None:
        reading = rows()
        assert await anext(reading) == 1
        assert remaining() is not None
        await asyncio.create_task(reading.aclose())  # type: ignore[attr-defined]
        assert remaining() is None
        assert stage.in_flight() == 0

    asyncio.run(main())
