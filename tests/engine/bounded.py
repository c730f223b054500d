"""What may happen inside a timeout: each scenario takes what makes the bounds, and tells what came of it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tests.engine.clock import VirtualLoop

Bound = Callable[[float], Any]
"""Makes an async context manager that bounds its block to so many seconds."""

Scenario = Callable[[Bound], Awaitable[object]]


def this_task() -> "asyncio.Task[Any]":
    """The task that is running."""
    task = asyncio.current_task()
    assert task is not None
    return task


def cancel_in(seconds: float) -> None:
    """Someone else cancels the current task."""
    asyncio.get_running_loop().call_later(seconds, this_task().cancel)


async def in_time(bound: Bound) -> str:
    async with bound(2):
        await asyncio.sleep(1)
    await asyncio.sleep(5)  # the bound is over: it must not come after us
    return "done"


async def too_late(bound: Bound) -> str:
    async with bound(1):
        await asyncio.sleep(5)
    return "not reached"


async def caught_outside(bound: Bound) -> tuple[str, int]:
    try:
        async with bound(1):
            await asyncio.sleep(5)
    except TimeoutError as error:
        await asyncio.sleep(1)
        return f"timed out through {type(error.__cause__).__name__}", this_task().cancelling()
    return "not reached", -1


async def at_once(bound: Bound) -> str:
    async with bound(0):
        await asyncio.sleep(5)
    return "not reached"


async def long_over(bound: Bound) -> str:
    async with bound(-3):
        await asyncio.sleep(5)
    return "not reached"


async def never_awaits(bound: Bound) -> str:
    async with bound(0):
        pass
    await asyncio.sleep(1)
    return "done"


async def at_the_same_moment(bound: Bound) -> str:
    async with bound(1):
        await asyncio.sleep(1)
    return "done"


async def result_and_timeout_in_one_step(bound: Bound) -> str:
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(1, future.set_result, "answer")
    async with bound(1):
        return str(await future)


async def fails_by_itself(bound: Bound) -> str:
    async with bound(1):
        raise ValueError
    return "not reached"


async def timeout_of_its_own(bound: Bound) -> str:
    async with bound(2), asyncio.timeout(1):
        await asyncio.sleep(5)
    return "not reached"


async def swallowed(bound: Bound) -> tuple[str, int]:
    async with bound(1):
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            await asyncio.sleep(1)  # is not cancelled again
    await asyncio.sleep(1)
    return "done", this_task().cancelling()


async def turned_into_another_error(bound: Bound) -> str:
    async with bound(1):
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            raise KeyError from None
    return "not reached"


async def cleaned_up_slowly(bound: Bound) -> str:
    async with bound(1):
        try:
            await asyncio.sleep(5)
        finally:
            await asyncio.sleep(2)
    return "not reached"


async def raises_cancelled_without_being_so(bound: Bound) -> str:
    async with bound(1):
        raise asyncio.CancelledError
    return "not reached"


async def cancelled_before(bound: Bound) -> str:
    cancel_in(1)
    async with bound(2):
        await asyncio.sleep(5)
    return "not reached"


async def cancelled_just_before(bound: Bound) -> str:
    cancel_in(1)
    async with bound(1):
        await asyncio.sleep(5)
    return "not reached"


async def cancelled_just_after(bound: Bound) -> str:
    async with bound(1):
        cancel_in(1)
        await asyncio.sleep(5)
    return "not reached"


async def cancelled_during_clean_up(bound: Bound) -> str:
    cancel_in(2)
    async with bound(1):
        try:
            await asyncio.sleep(5)
        finally:
            await asyncio.sleep(3)
    return "not reached"


async def cancelled_after(bound: Bound) -> str:
    cancel_in(2)
    try:
        async with bound(1):
            await asyncio.sleep(5)
    except TimeoutError:
        await asyncio.sleep(5)
    return "not reached"


async def cancelled_earlier_and_going_on(bound: Bound) -> tuple[str, int]:
    cancel_in(1)
    try:
        await asyncio.sleep(5)
    except asyncio.CancelledError:
        pass  # and not uncancelled
    try:
        async with bound(1):
            await asyncio.sleep(5)
    except TimeoutError:
        return "timed out", this_task().cancelling()
    return "not reached", -1


async def inner_is_shorter(bound: Bound) -> str:
    try:
        async with bound(5):
            try:
                async with bound(1):
                    await asyncio.sleep(9)
            except TimeoutError:
                await asyncio.sleep(9)
    except TimeoutError:
        return "both, one after the other"
    return "not reached"


async def outer_is_shorter(bound: Bound) -> str:
    async with bound(1):
        try:
            async with bound(5):
                await asyncio.sleep(9)
        except TimeoutError:
            return "not reached"
    return "not reached"


async def both_at_once(bound: Bound) -> str:
    try:
        async with bound(1):
            try:
                async with bound(1):
                    await asyncio.sleep(9)
            except TimeoutError:
                return "not reached"
    except TimeoutError:
        return "the outer one"
    return "not reached"


async def one_after_the_other(bound: Bound) -> list[str]:
    told = []
    for seconds in (1, 3, 1):
        try:
            async with bound(2):
                await asyncio.sleep(seconds)
            told.append("in time")
        except TimeoutError:
            told.append("too late")
    return told


async def in_a_group(bound: Bound) -> str:
    async with bound(1), asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(5))
        group.create_task(asyncio.sleep(9))
    return "not reached"


async def group_fails_inside(bound: Bound) -> str:
    async def fail() -> None:
        await asyncio.sleep(1)
        raise KeyError

    try:
        async with bound(2), asyncio.TaskGroup() as group:
            group.create_task(fail())
            await asyncio.sleep(9)
    except ExceptionGroup:
        return f"the group's error, {this_task().cancelling()} owed"
    return "not reached"


async def loop_was_blocked(bound: Bound) -> str:
    async with bound(1):
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.clock.advance(50)
        await asyncio.sleep(5)
    return "not reached"


SCENARIOS: dict[Scenario, object] = {  # and what should come of each
    in_time: "done",
    too_late: TimeoutError,
    caught_outside: ("timed out through CancelledError", 0),
    at_once: TimeoutError,
    long_over: TimeoutError,
    never_awaits: "done",
    at_the_same_moment: TimeoutError,
    result_and_timeout_in_one_step: TimeoutError,
    fails_by_itself: ValueError,
    timeout_of_its_own: TimeoutError,
    swallowed: ("done", 0),
    turned_into_another_error: KeyError,
    cleaned_up_slowly: TimeoutError,
    raises_cancelled_without_being_so: asyncio.CancelledError,
    cancelled_before: asyncio.CancelledError,
    cancelled_just_before: asyncio.CancelledError,
    cancelled_just_after: asyncio.CancelledError,
    cancelled_during_clean_up: asyncio.CancelledError,
    cancelled_after: asyncio.CancelledError,
    cancelled_earlier_and_going_on: ("timed out", 1),
    inner_is_shorter: "both, one after the other",
    outer_is_shorter: TimeoutError,
    both_at_once: "the outer one",
    one_after_the_other: ["in time", "too late", "in time"],
    in_a_group: TimeoutError,
    group_fails_inside: "the group's error, 0 owed",
    loop_was_blocked: TimeoutError,
}
