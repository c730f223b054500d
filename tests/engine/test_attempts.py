"""The loop over attempts: when it goes on, when it ends, and what goes up."""

from collections import deque
from collections.abc import Callable
from typing import Any

import pytest
import tenacity

from balancemw import RetryPolicy
from balancemw.context import current_bound
from tests.engine.stage import FAULTS, Answer, Stage, refused, reset, unavailable


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


def test_what_is_raised_after_a_good_result_is_no_failure_of_the_node(stage: Stage):
    def call() -> None:
        for attempt in stage.service.attempts(idempotent=True):
            with attempt:
                attempt.observe(Answer(200))
                raise ValueError("no JSON")

    with pytest.raises(ValueError, match="no JSON"):
        call()
    assert sum(each["failures"] for each in stage.status()["nodes"]) == 0
    assert settled(stage)


def test_when_an_observed_failure_is_the_last_the_loop_just_ends(stage: Stage):
    answer = None
    for attempt in stage.service.attempts(idempotent=True, attempts=2):
        with attempt:
            answer = attempt.observe(Answer(503))
    assert answer is not None
    assert answer.status_code == 503


def test_raised_after_a_failure_was_observed_the_exception_goes_up_and_the_node_failed(stage: Stage):
    def read() -> None:
        for attempt in stage.service.attempts(idempotent=True):
            with attempt as node:
                stage.sent.append(node.host)
                attempt.observe(Answer(503))
                raise KeyError("no such field")

    with pytest.raises(KeyError):
        read()
    assert len(stage.sent) == 1
    assert sum(each["failures"] for each in stage.status()["nodes"]) == 1
    assert settled(stage)


def test_wishes_are_those_of_the_decorator(stage: Stage):
    stage.all(reset)
    policy = RetryPolicy(stop=tenacity.stop_after_attempt(4), wait=tenacity.wait_fixed(2))
    with pytest.raises(ConnectionResetError):
        loop(stage, idempotent=True, retry=policy)
    assert len(stage.sent) == 4
    assert stage.clock.slept == [2, 2, 2]


def test_tenacity_sees_what_was_observed_and_what_was_raised(stage: Stage):
    seen = []

    def stop(state: tenacity.RetryCallState) -> bool:
        assert state.outcome is not None
        seen.append(state.outcome.exception() or state.outcome.result())
        return len(seen) == 3

    outcomes = [Answer(503), ConnectionResetError(104, "lost"), Answer(502)]
    script = deque(outcomes)
    for attempt in stage.service.attempts(idempotent=True, retry=RetryPolicy(stop=stop)):
        with attempt:
            outcome = script.popleft()
            if isinstance(outcome, Exception):
                raise outcome
            attempt.observe(outcome)
    assert seen == outcomes


def test_a_key_binds_all_first_tries_to_one_node():
    stage = Stage(5, strategy="consistent_hash")
    for _ in range(10):
        for attempt in stage.service.attempts(key="customer-7"):
            with attempt as node:
                stage.replica(node)
    assert len(set(stage.sent)) == 1
