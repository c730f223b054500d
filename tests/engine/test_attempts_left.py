"""The loop over attempts, left by break, return, continue or an exception, or used otherwise than it should be."""

from collections.abc import Iterator
from typing import Any

import pytest

from balancemw import Attempt, DeadlineExceeded, NoNodeAvailable, remaining
from balancemw.context import current_bound
from tests.engine.stage import Answer, Stage, reset, unavailable


@pytest.fixture
def stage() -> Stage:
    return Stage(3)


def settled(stage: Stage) -> bool:
    """Whether nothing is left behind: no call open, no bound."""
    return stage.in_flight() == 0 and current_bound() is None


def loop(stage: Stage, **wishes: Any) -> None:
    """Calls whose results are not looked at."""
    for attempt in stage.service.attempts(**wishes):
        with attempt as node:
            stage.replica(node)


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


def test_an_attempt_is_given_back_once(stage: Stage):
    attempt = next(iter(stage.service.attempts()))
    assert not attempt.__exit__(None, None, None)
    with attempt as node:
        pass
    assert not attempt.__exit__(KeyError, KeyError("later"), None)
    assert stage.told(node.host)["calls"] == 1
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
        loop(stage)
    assert stage.sent == []
    assert settled(stage)


def test_time_that_is_up_is_told_where_a_try_begins():
    stage = Stage(3, timeout=5, retry={"backoff": 1, "backoff_max": 1})
    stage.all(reset)
    stage.takes = 1

    def dawdle() -> None:
        for attempt in stage.service.attempts(idempotent=True):
            stage.clock.advance(4 if stage.sent else 0)  # the code between two tries takes time as well
            with attempt as node:
                stage.replica(node)

    with pytest.raises(DeadlineExceeded) as caught:
        dawdle()
    assert len(stage.sent) == 1
    assert isinstance(caught.value.__cause__, ConnectionResetError)
    assert caught.value.__notes__[0].startswith(f"{stage.sent[0]}:80: reset, 1.000 s: ")


def test_the_callers_time_ends_a_try_in_deadline_exceeded():
    stage = Stage(3, timeout=5)
    stage.all(lambda: TimeoutError("of the client"))
    stage.takes = 5
    with pytest.raises(DeadlineExceeded) as caught:
        loop(stage, idempotent=True)
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


def test_generators_that_take_turns_leave_no_bound_behind():
    stage = Stage(3, attempt_timeout=10)

    def rows() -> Iterator[float | None]:
        for attempt in stage.service.attempts():
            with attempt:
                yield remaining()
                yield remaining()

    first, second, third = rows(), rows(), rows()
    assert [next(reading) for reading in (first, second, third)] == [10, 10, 10]
    for reading in (first, third):
        assert list(reading) == [10]
    assert remaining() == 10  # the second is still on
    assert list(second) == [10]
    assert settled(stage)
    stage.clock.advance(60)
    stage.balancer.call("s")(stage.replica)()
