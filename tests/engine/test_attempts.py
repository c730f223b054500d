"""The loop over attempts: when it goes on, when it ends, and what goes up."""

import asyncio
import gc
from collections import deque
from collections.abc import AsyncIterator, Iterator

import pytest
import tenacity

from balancemw import Attempt, DeadlineExceeded, NoNodeAvailable, RetryPolicy, remaining
from balancemw.context import BOUND
from tests.engine.clock import virtual_run
from tests.engine.stage import FAULTS, Answer, Stage, refused, reset, unavailable


@pytest.fixture
def stage() -> Stage:
    return Stage(3)


def settled(stage: Stage) -> bool:
    """Whether nothing is left behind: no call open, no bound."""
    return stage.in_flight() == 0 and BOUND.get() is None


# -- when it ends


def test_a_try_that_is_not_observed_is_a_success(stage: Stage):
    nodes = []
    for attempt in stage.service.attempts(idempotent=True):
        with attempt as node:
            nodes.append(node)
    assert len(nodes) == 1
    assert nodes[0] in stage.service.nodes
    assert stage.told(nodes[0].host)["success_rate"] == 1
    assert settled(stage)


def test_observe_returns_what_it_is_given_and_decides(stage: Stage):
    stage.all(unavailable)
    answers = []
    for attempt in stage.service.attempts(idempotent=True):
        with attempt as node:
            answers.append(attempt.observe(stage.replica(node)))
    assert [answer.status_code for answer in answers] == [503, 503, 503]
    assert [each["failures"] for each in stage.status()["nodes"]] == [1, 1, 1]
    assert settled(stage)


def test_the_loop_ends_with_the_first_good_result(stage: Stage):
    script = deque([Answer(503), Answer(200), Answer(200)])
    for attempt in stage.service.attempts(idempotent=True):
        with attempt:
            answer = attempt.observe(script.popleft())
    assert answer.status_code == 200
    assert len(script) == 1


def test_what_is_observed_last_counts(stage: Stage):
    tries = 0
    for attempt in stage.service.attempts(idempotent=True):
        with attempt:
            tries += 1
            attempt.observe(Answer(503))
            attempt.observe(Answer(200))
    assert tries == 1
    assert sum(each["failures"] for each in stage.status()["nodes"]) == 0


def test_an_exception_is_followed_by_another_try_where_that_is_safe(stage: Stage):
    stage.all(refused)
    with pytest.raises(ConnectionRefusedError) as caught:
        for attempt in stage.service.attempts():
            with attempt as node:
                stage.replica(node)
    assert len(stage.sent) == 3
    assert [note.split(",")[0] for note in caught.value.__notes__] == [f"{host}:80: refused" for host in stage.sent[:2]]
    assert settled(stage)


def test_an_exception_that_must_not_be_retried_goes_up_at_once(stage: Stage):
    stage.all(reset)
    with pytest.raises(ConnectionResetError):
        for attempt in stage.service.attempts():
            with attempt as node:
                stage.replica(node)
    assert len(stage.sent) == 1
    assert settled(stage)


@pytest.mark.parametrize("kind", sorted(FAULTS))
@pytest.mark.parametrize("idempotent", [True, False])
def test_loop_and_decorator_try_alike(kind: str, idempotent: bool):
    loop, decorated = Stage(3), Stage(3)
    for stage in (loop, decorated):
        stage.all(FAULTS[kind])
    answer = error = None
    try:
        for attempt in loop.service.attempts(idempotent=idempotent):
            with attempt as node:
                answer = attempt.observe(loop.replica(node))
    except BaseException as raised:
        error = raised
    try:
        result = decorated.call(idempotent=idempotent)
    except BaseException as raised:
        assert type(raised) is type(error)
        assert getattr(raised, "__notes__", None) == getattr(error, "__notes__", None)
    else:
        assert result.status_code == answer.status_code
    assert loop.sent == decorated.sent
    assert loop.clock.slept == decorated.clock.slept


def test_when_an_observed_failure_is_the_last_the_loop_just_ends(stage: Stage):
    answer = None
    for attempt in stage.service.attempts(idempotent=True, attempts=2):
        with attempt:
            answer = attempt.observe(Answer(503))
    assert answer is not None
    assert answer.status_code == 503


def test_raised_after_it_was_observed_the_exception_decides(stage: Stage):
    tries = 0
    with pytest.raises(KeyError):
        for attempt in stage.service.attempts(idempotent=True):
            with attempt:
                tries += 1
                attempt.observe(Answer(503))
                raise KeyError("no such field")
    assert tries == 1
    assert sum(each["failures"] for each in stage.status()["nodes"]) == 0


def test_wishes_are_those_of_the_decorator(stage: Stage):
    stage.all(reset)
    policy = RetryPolicy(stop=tenacity.stop_after_attempt(4), wait=tenacity.wait_fixed(2))
    with pytest.raises(ConnectionResetError):
        for attempt in stage.service.attempts(idempotent=True, retry=policy):
            with attempt as node:
                stage.replica(node)
    assert len(stage.sent) == 4
    assert stage.clock.slept == [2, 2, 2]


def test_a_key_binds_all_first_tries_to_one_node():
    stage = Stage(5, strategy="consistent_hash")
    for _ in range(10):
        for attempt in stage.service.attempts(key="customer-7"):
            with attempt as node:
                stage.replica(node)
    assert len(set(stage.sent)) == 1


# -- how code leaves it


def test_break_inside_a_try_ends_it_as_a_success(stage: Stage):
    for attempt in stage.service.attempts(idempotent=True):
        with attempt as node:
            stage.replica(node)
            break
    assert len(stage.sent) == 1
    assert stage.told(stage.sent[0])["success_rate"] == 1
    assert settled(stage)


def test_break_after_a_failure_keeps_the_failure(stage: Stage):
    for attempt in stage.service.attempts(idempotent=True):
        with attempt as node:
            stage.sent.append(node.host)
            attempt.observe(Answer(503))
            break
    assert len(stage.sent) == 1
    assert stage.told(stage.sent[0])["failures"] == 1
    assert settled(stage)


def test_return_inside_a_try(stage: Stage):
    def stock() -> object:
        for attempt in stage.service.attempts(idempotent=True):
            with attempt as node:
                return stage.replica(node)
        return None

    assert stock().status_code == 200
    assert settled(stage)


def test_continue_inside_a_try_ends_the_loop_unless_it_failed(stage: Stage):
    tries = 0
    for attempt in stage.service.attempts(idempotent=True):
        with attempt:
            tries += 1
            if tries < 3:
                attempt.observe(Answer(503))
            continue
    assert tries == 3
    assert settled(stage)


def test_an_attempt_that_is_not_entered_calls_nobody_and_ends_the_loop(stage: Stage):
    rounds = 0
    for _ in stage.service.attempts(idempotent=True):
        rounds += 1
    assert rounds == 1
    assert stage.status()["budget"]["calls"] == 0
    assert settled(stage)


def test_an_attempt_is_one_try(stage: Stage):
    attempt = next(iter(stage.service.attempts()))
    with attempt:
        pass
    with pytest.raises(RuntimeError, match="one try"), attempt:
        pass
    assert isinstance(attempt, Attempt)
    assert settled(stage)


def test_an_attempt_can_only_be_observed_while_it_is_open(stage: Stage):
    rounds = 0
    for attempt in stage.service.attempts(idempotent=True):
        rounds += 1
        with pytest.raises(RuntimeError, match="inside"):
            attempt.observe(Answer(503))
        with attempt:
            pass
        with pytest.raises(RuntimeError, match="inside"):
            attempt.observe(Answer(503))
    assert rounds == 1


def test_the_loop_may_run_again_as_a_new_call(stage: Stage):
    attempts = stage.service.attempts(idempotent=True)
    for _ in range(2):
        for attempt in attempts:
            with attempt as node:
                stage.replica(node)
    assert stage.status()["budget"]["calls"] == 2


def test_loops_inside_loops_have_their_own_tries_and_time():
    stage = Stage(3, attempt_timeout=10, timeout=30)
    stage.all(unavailable)
    seen = []
    for outer in stage.service.attempts(idempotent=True, attempts=2):
        with outer as node:
            for inner in stage.service.attempts(timeout=4):
                with inner:
                    seen.append(remaining())
            seen.append(remaining())
            outer.observe(stage.replica(node))
    assert seen == pytest.approx([4, 10, 4, 10])
    assert settled(stage)


def test_no_node_is_told_where_a_try_begins(stage: Stage):
    stage.service.replace([])
    with pytest.raises(NoNodeAvailable):
        for attempt in stage.service.attempts():
            with attempt:
                raise AssertionError("nobody is there")
    assert settled(stage)


def test_time_that_is_up_is_told_where_a_try_begins():
    stage = Stage(3, timeout=5, retry={"backoff": 1, "backoff_max": 1})
    with pytest.raises(DeadlineExceeded) as caught:
        for attempt in stage.service.attempts(idempotent=True):
            stage.clock.advance(4 if stage.sent else 0)  # the code between two tries takes time as well
            with attempt as node:
                stage.sent.append(node.host)
                stage.clock.advance(1)
                raise ConnectionResetError(104, "lost")
    assert len(stage.sent) == 1
    assert isinstance(caught.value.__cause__, ConnectionResetError)
    assert caught.value.__notes__[0].startswith(f"{stage.sent[0]}:80: reset, 1.000 s: ")


def test_the_callers_time_ends_a_try_in_deadline_exceeded():
    stage = Stage(3, timeout=5)
    with pytest.raises(DeadlineExceeded) as caught:
        for attempt in stage.service.attempts(idempotent=True):
            with attempt:
                stage.clock.advance(5)
                raise TimeoutError("of the client")
    assert str(caught.value.__cause__) == "of the client"
    assert settled(stage)


def test_a_generator_that_is_closed_in_the_middle_of_a_try_gives_it_back(stage: Stage):
    def rows() -> Iterator[str]:
        for attempt in stage.service.attempts(idempotent=True):
            with attempt as node:
                stage.sent.append(node.host)
                yield "row 1"
                yield "row 2"

    reading = rows()
    assert next(reading) == "row 1"
    assert stage.in_flight() == 1
    reading.close()
    assert len(stage.sent) == 1
    assert stage.told(stage.sent[0])["failures"] == 0
    assert settled(stage)


# -- async


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
