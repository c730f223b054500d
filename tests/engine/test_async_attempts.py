"""The loop over attempts in async code."""

import asyncio
import gc
from collections import deque
from collections.abc import AsyncIterator

import pytest
import tenacity

from balancemw import DeadlineExceeded, RetryPolicy
from balancemw.context import current_bound
from tests.engine.clock import virtual_run
from tests.engine.stage import Answer, Stage


@pytest.fixture
def stage() -> Stage:
    return Stage(3)


def settled(stage: Stage) -> bool:
    """Whether nothing is left behind: no call open, no bound."""
    return stage.in_flight() == 0 and current_bound() is None


def test_async_for_tries_and_waits_alike(stage: Stage):
    script = deque([Answer(503), ConnectionResetError(104, "lost"), Answer(200)])

    async def flow() -> object:
        answer = None
        policy = RetryPolicy(3, wait=tenacity.wait_fixed(2))
        async for attempt in stage.service.attempts(idempotent=True, retry=policy):
            with attempt as node:
                stage.sent.append(node.host)
                outcome = script.popleft()
                if isinstance(outcome, Exception):
                    raise outcome
                answer = attempt.observe(outcome)
        return answer

    start = stage.clock()
    assert virtual_run(flow(), stage.clock).status_code == 200
    assert sorted(stage.sent) == ["n0", "n1", "n2"]
    assert stage.clock() - start == pytest.approx(4)
    assert stage.clock.slept == []
    assert settled(stage)


def test_async_for_ends_a_try_that_takes_too_long():
    stage = Stage(3, attempt_timeout=2, timeout=None, retry={"backoff": 0})

    async def flow() -> None:
        async for attempt in stage.service.attempts(idempotent=True):
            with attempt as node:
                stage.sent.append(node.host)
                await asyncio.Event().wait()

    start = stage.clock()
    with pytest.raises(TimeoutError) as caught:
        virtual_run(flow(), stage.clock)
    assert stage.clock() - start == pytest.approx(6)
    assert len(stage.sent) == 3
    assert len(caught.value.__notes__) == 2
    assert isinstance(caught.value.__cause__, asyncio.CancelledError)
    assert [each["failures"] for each in stage.status()["nodes"]] == [1, 1, 1]
    assert settled(stage)


def test_async_for_ends_with_the_time_of_the_whole_call():
    stage = Stage(3, attempt_timeout=2, timeout=3, retry={"backoff": 0})

    async def flow() -> None:
        async for attempt in stage.service.attempts(idempotent=True):
            with attempt as node:
                stage.sent.append(node.host)
                await asyncio.Event().wait()

    with pytest.raises(DeadlineExceeded):
        virtual_run(flow(), stage.clock)
    assert len(stage.sent) == 2


def test_a_try_that_succeeds_late_in_async_for_is_a_success():
    stage = Stage(1, attempt_timeout=2)

    async def flow() -> str:
        async for attempt in stage.service.attempts():
            with attempt:
                await asyncio.sleep(1.5)
                return "done"
        return "never"

    assert virtual_run(flow(), stage.clock) == "done"
    assert settled(stage)


def test_cancelling_a_task_inside_async_for_ends_it(stage: Stage):
    async def loop() -> None:
        async for attempt in stage.service.attempts(idempotent=True):
            with attempt as node:
                stage.sent.append(node.host)
                await asyncio.Event().wait()

    async def flow() -> None:
        task = asyncio.create_task(loop())
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    virtual_run(flow(), stage.clock)
    assert len(stage.sent) == 1
    assert sum(each["failures"] for each in stage.status()["nodes"]) == 0
    assert settled(stage)


def test_an_abandoned_async_generator_gives_its_try_back(stage: Stage):
    async def rows() -> AsyncIterator[str]:
        async for attempt in stage.service.attempts(idempotent=True):
            with attempt as node:
                stage.sent.append(node.host)
                yield "row 1"
                yield "row 2"

    async def flow() -> None:
        async for row in rows():
            assert row == "row 1"
            break
        assert stage.in_flight() <= 1
        gc.collect()
        await asyncio.sleep(0.1)

    virtual_run(flow(), stage.clock)
    assert stage.in_flight() == 0
    assert stage.told(stage.sent[0])["failures"] == 0


def test_a_plain_for_in_async_code_leaves_the_timing_to_the_client():
    stage = Stage(1, attempt_timeout=2)

    async def flow() -> str:
        for attempt in stage.service.attempts():
            with attempt:
                await asyncio.sleep(5)
                return "done"
        return "never"

    assert virtual_run(flow(), stage.clock) == "done"
