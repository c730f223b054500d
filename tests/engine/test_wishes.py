"""What a decorator is told: which service, how often, how long, and after what wait."""

from collections import deque
from contextlib import suppress
from typing import Any

import pytest
import tenacity

from balancemw import Balancer, RetryPolicy, UnknownService
from tests.engine.stage import Answer, Stage, refused, reset


@pytest.fixture
def stage() -> Stage:
    return Stage(3)


def test_an_unknown_service_is_refused_at_decoration_with_a_hint():
    balancer = Balancer({"services": {"inventory": {"nodes": ["http://a:1"]}}})
    with pytest.raises(UnknownService, match=r"'inventry'.*did you mean 'inventory'"):
        balancer.call("inventry")


@pytest.mark.parametrize(
    ("wishes", "problem"),
    [
        ({"timeout": 0}, "timeout"),
        ({"timeout": -1}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"timeout": float("inf")}, "timeout"),
        ({"attempts": 0}, "attempts"),
        ({"attempts": 1.5}, "attempts"),
        ({"attempts": 2, "retry": RetryPolicy(2)}, "attempts= and retry="),
    ],
)
def test_wishes_that_make_no_sense_are_refused_at_once(stage: Stage, wishes: dict[str, Any], problem: str):
    with pytest.raises(ValueError, match=problem):
        stage.balancer.call("s", **wishes)
    with pytest.raises(ValueError, match=problem):
        stage.service.attempts(**wishes)


def test_a_policy_of_no_attempts_is_refused():
    with pytest.raises(ValueError, match="attempts"):
        RetryPolicy(0)


@pytest.mark.parametrize("wish", [{"attempts": 2}, {"retry": RetryPolicy(2)}])
def test_attempts_are_tries_in_all(stage: Stage, wish: dict[str, Any]):
    stage.all(refused)
    stage.calls(1, **wish)
    assert len(stage.sent) == 2


def test_a_policy_stops_and_waits_as_tenacity_says(stage: Stage):
    stage.all(reset)
    policy = RetryPolicy(stop=tenacity.stop_after_attempt(5), wait=tenacity.wait_incrementing(start=1, increment=2))
    stage.calls(1, idempotent=True, retry=policy)
    assert len(stage.sent) == 5
    assert stage.clock.slept == [1, 3, 5, 7]


def test_a_policys_wait_is_kept_even_where_nothing_was_sent(stage: Stage):
    stage.all(refused)
    stage.calls(1, retry=RetryPolicy(3, wait=tenacity.wait_fixed(2)))
    assert stage.clock.slept == [2, 2]


def test_tenacity_sees_the_attempts_and_outcomes(stage: Stage):
    seen = []

    def stop(state: tenacity.RetryCallState) -> bool:
        assert state.outcome is not None
        failed = state.outcome.failed
        seen.append((state.attempt_number, type(state.outcome.exception()) if failed else state.outcome.result()))
        return state.attempt_number == 3

    answer = Answer(503)
    script: deque[object] = deque([ConnectionResetError(104, "lost"), answer, TimeoutError("late")])
    stage.all(script.popleft)
    with pytest.raises(TimeoutError):
        stage.call(idempotent=True, retry=RetryPolicy(stop=stop))
    assert seen == [(1, ConnectionResetError), (2, answer), (3, TimeoutError)]


@pytest.mark.parametrize(("seconds", "tries"), [(4, 2), (6, 1)])
@pytest.mark.parametrize("looped", [False, True])
def test_a_policys_time_counts_from_the_first_try_on(seconds: float, tries: int, looped: bool):
    stage = Stage(2)
    stage.takes = seconds
    script = deque([reset(), Answer()])
    stage.all(script.popleft)
    wishes = {"idempotent": True, "retry": RetryPolicy(stop=tenacity.stop_after_delay(5))}

    def loop() -> None:
        for attempt in stage.service.attempts(**wishes):
            with attempt as node:
                stage.replica(node)

    with suppress(ConnectionResetError):
        loop() if looped else stage.call(**wishes)
    assert len(stage.sent) == tries
