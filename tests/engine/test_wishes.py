"""What a decorator is told: which service, how often, how long, and after what wait."""

import re
from collections import deque
from contextlib import suppress
from typing import Any

import pytest
import tenacity

from balancemw import Balancer, Node, RetryPolicy, UnknownService, balanced
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
        ({"attempts": True}, "attempts"),
        ({"attempts": "2"}, "attempts"),
        ({"attempts": 1.5}, "attempts"),
        ({"attempts": 2, "retry": RetryPolicy(2)}, "attempts= and retry="),
    ],
)
async def test_wishes_that_make_no_sense_are_refused_at_once(stage: Stage, wishes: dict[str, Any], problem: str):
    with pytest.raises(ValueError, match=problem):
        stage.balancer.call("s", **wishes)
    with pytest.raises(ValueError, match=problem):
        stage.service.attempts(**wishes)
    with pytest.raises(ValueError, match=problem):
        loop(stage, wishes)
    with pytest.raises(ValueError, match=problem):
        await loop_async(stage, wishes)


def loop(stage: Stage, wishes: dict[str, Any]) -> None:
    for _ in stage.service.attempts(**wishes):
        pytest.fail("it began")


async def loop_async(stage: Stage, wishes: dict[str, Any]) -> None:
    async for _ in stage.service.attempts(**wishes):
        pytest.fail("it began")


@pytest.mark.parametrize(
    ("wishes", "problem"),
    [
        ({"timeout": "x"}, "timeout is a number of seconds above 0, not 'x'"),
        ({"timeout": True}, "timeout is a number of seconds above 0, not True"),
        ({"idempotent": "yes"}, "idempotent is True or False, not 'yes'"),
        ({"idempotent": None}, "idempotent is True or False, not None"),
        ({"retry": 3}, r"retry is a RetryPolicy, such as RetryPolicy(attempts=3), not 3"),
        ({"retry": tenacity.stop_after_attempt}, "retry is a RetryPolicy"),
        ({"key": 5}, "key is a string"),
    ],
)
async def test_wishes_of_the_wrong_type_are_refused_before_any_call(stage: Stage, wishes: dict[str, Any], problem: str):
    refused_here = []
    for decorator in (stage.balancer.call, balanced):
        with pytest.raises(TypeError, match=re.escape(problem)) as raised:
            decorator("s", **wishes)
        refused_here.append(str(raised.value))
    with pytest.raises(TypeError, match=re.escape(problem)):
        loop(stage, wishes)
    with pytest.raises(TypeError, match=re.escape(problem)):
        await loop_async(stage, wishes)
    assert len(set(refused_here)) == 1
    assert "\n" not in refused_here[0]


def test_the_key_of_a_loop_has_no_arguments_to_be_made_of(stage: Stage):
    with pytest.raises(TypeError, match=r"key is a string, not <function"):
        stage.service.attempts(key=lambda sku: sku)  # type: ignore[arg-type]
    assert stage.balancer.call("s", key=lambda sku: sku)(lambda node, sku: sku)("sku-1") == "sku-1"


def test_a_decorator_written_without_its_arguments_shows_how_it_is_written(stage: Stage):
    def stock(node: Node) -> None: ...

    decorators: dict[str, Any] = {"balanced": balanced, "balancer.call": stage.balancer.call}
    for name, decorator in decorators.items():
        for function in (stock, staticmethod(stock), classmethod(stock)):
            with pytest.raises(TypeError) as raised:
                decorator(function)
            assert str(raised.value) == f'@{name} has to know the service: write @{name}("inventory") above stock'
        with pytest.raises(TypeError, match="the name of a service is a string, not 5"):
            decorator(5)


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
