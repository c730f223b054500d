"""The loop over attempts: when it goes on, when it ends, and what goes up."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import tenacity

from balancemw import Attempt, DeadlineExceeded, NoNodeAvailable, RetryPolicy, remaining
from balancemw.context import BOUND
from tests.engine.stage import FAULTS, Answer, Stage, refused, reset, unavailable


@pytest.fixture
def stage() -> Stage:
    return Stage(3)


def settled(stage: Stage) -> bool:
    """Whether nothing is left behind: no call open, no bound."""
    return stage.in_flight() == 0 and BOUND.get() is None


def loop(stage: Stage, **wishes: Any) -> None:
    """Calls whose results are not looked at."""
    for attempt in stage.service.attempts(**wishes):
        with attempt as node:
            stage.replica(node)


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
        loop(stage)
    assert len(stage.sent) == 3
    assert [note.split(",")[0] for note in caught.value.__notes__] == [f"{host}:80: refused" for host in stage.sent[:2]]
    assert settled(stage)


def test_an_exception_that_must_not_be_retried_goes_up_at_once(stage: Stage):
    stage.all(reset)
    with pytest.raises(ConnectionResetError):
        loop(stage)
    assert len(stage.sent) == 1
    assert settled(stage)


def end_of(call: Callable[[], object]) -> tuple[object, object]:
    """What comes of a call: a status, or an exception's type and notes."""
    try:
        answer: Any = call()
    except BaseException as error:
        return type(error), getattr(error, "__notes__", None)
    return answer.status_code, None


@pytest.mark.parametrize("kind", sorted(FAULTS))
@pytest.mark.parametrize("idempotent", [True, False])
def test_loop_and_decorator_try_alike(kind: str, idempotent: bool):
    looped, decorated = Stage(3), Stage(3)
    for stage in (looped, decorated):
        stage.all(FAULTS[kind])

    def observing() -> object:
        answer = None
        for attempt in looped.service.attempts(idempotent=idempotent):
            with attempt as node:
                answer = attempt.observe(looped.replica(node))
        return answer

    assert end_of(observing) == end_of(lambda: decorated.call(idempotent=idempotent))
    assert looped.sent == decorated.sent
    assert looped.clock.slept == decorated.clock.slept


def test_when_an_observed_failure_is_the_last_the_loop_just_ends(stage: Stage):
    answer = None
    for attempt in stage.service.attempts(idempotent=True, attempts=2):
        with attempt:
            answer = attempt.observe(Answer(503))
    assert answer is not None
    assert answer.status_code == 503


def test_raised_after_it_was_observed_the_exception_decides(stage: Stage):
    def read() -> None:
        for attempt in stage.service.attempts(idempotent=True):
            with attempt as node:
                stage.sent.append(node.host)
                attempt.observe(Answer(503))
                raise KeyError("no such field")

    with pytest.raises(KeyError):
        read()
    assert len(stage.sent) == 1
    assert sum(each["failures"] for each in stage.status()["nodes"]) == 0


def test_wishes_are_those_of_the_decorator(stage: Stage):
    stage.all(reset)
    policy = RetryPolicy(stop=tenacity.stop_after_attempt(4), wait=tenacity.wait_fixed(2))
    with pytest.raises(ConnectionResetError):
        loop(stage, idempotent=True, retry=policy)
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
