"""Retry policies: tenacity's own stop and wait objects, and full jitter."""

import random
from collections.abc import Callable
from dataclasses import FrozenInstanceError

import pytest
import tenacity
from hypothesis import given
from hypothesis import strategies as st

from balancemw import RetryPolicy
from balancemw.retry import FullJitter, Schedule
from tests.engine.stage import Stage, unavailable

ERROR = ConnectionResetError("gone")
NOW = 1000.0


class Delayed(Exception):
    """An error that says how long to wait, as ``wait_exception`` reads it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


def schedule(policy: RetryPolicy, *, base: float = 0.025, most: float = 0.25, ago: float = 0.0) -> Schedule:
    return Schedule(policy, FullJitter(base, most, random.Random(1)), NOW - ago)


def delays(policy: RetryPolicy, failures: int = 20, **rest: float) -> list[float]:
    """The waits that a call gets that goes on failing."""
    found, asked = [], schedule(policy, **rest)
    for _ in range(failures):
        delay = asked.delay(None, ERROR, NOW)
        if delay is None:
            break
        found.append(delay)
    return found


class TestAttempts:
    @pytest.mark.parametrize("attempts", [1, 2, 3, 10])
    def test_tries_in_all_with_the_first(self, attempts: int):
        assert len(delays(RetryPolicy(attempts))) == attempts - 1

    def test_three_unless_told_otherwise(self):
        assert len(delays(RetryPolicy())) == 2

    @pytest.mark.parametrize("attempts", [0, -1, 2.5, float("nan"), float("inf"), "3", None])
    def test_other_values_are_refused(self, attempts):
        with pytest.raises(ValueError, match="attempts is a whole number, at least 1 as it counts the first try, not"):
            RetryPolicy(attempts)

    @pytest.mark.parametrize("name", ["stop", "wait"])
    def test_what_is_no_condition_of_tenacitys_is_refused_at_once(self, name: str):
        with pytest.raises(
            ValueError, match=f"{name} is one of tenacity's objects, such as {name}_[a-z_]+.[15]., not 3"
        ):
            RetryPolicy(**{name: 3})

    def test_frozen_and_comparable(self):
        policy = RetryPolicy(4)
        with pytest.raises(FrozenInstanceError):
            policy.attempts = 5  # type: ignore[misc]
        assert policy == RetryPolicy(4)
        assert policy != RetryPolicy(5)


class TestStop:
    def test_replaces_the_number_of_attempts(self):
        assert len(delays(RetryPolicy(2, stop=tenacity.stop_after_attempt(5)))) == 4

    def test_never(self):
        assert len(delays(RetryPolicy(stop=tenacity.stop_never))) == 20

    @pytest.mark.parametrize(("ago", "tries"), [(0.0, 4), (99.0, 4), (101.0, 1)])
    def test_the_time_counts_from_the_beginning_of_the_call(self, ago: float, tries: int):
        stop = tenacity.stop_after_delay(100) | tenacity.stop_after_attempt(4)
        assert len(delays(RetryPolicy(stop=stop), ago=ago)) == tries - 1

    def test_both(self):
        stop = tenacity.stop_after_delay(100) & tenacity.stop_after_attempt(2)
        assert len(delays(RetryPolicy(stop=stop))) == 20
        assert len(delays(RetryPolicy(stop=stop), ago=101.0)) == 1

    def test_before_a_wait_that_would_be_too_long(self):
        policy = RetryPolicy(stop=tenacity.stop_before_delay(100), wait=tenacity.wait_fixed(60))
        assert delays(policy) == [60.0] * 20
        assert delays(policy, ago=50.0) == []

    def test_a_function_of_ones_own(self):
        seen: list[tuple[int, BaseException | None]] = []

        def stop(state: tenacity.RetryCallState) -> bool:
            assert state.outcome is not None
            seen.append((state.attempt_number, state.outcome.exception()))
            return state.attempt_number == 3

        assert len(delays(RetryPolicy(stop=stop))) == 2
        assert seen == [(1, ERROR), (2, ERROR), (3, ERROR)]


class TestWait:
    @pytest.mark.parametrize(
        ("wait", "waits"),
        [
            (tenacity.wait_fixed(0.5), [0.5, 0.5, 0.5]),
            (tenacity.wait_none(), [0.0, 0.0, 0.0]),
            (tenacity.wait_incrementing(start=1, increment=2), [1.0, 3.0, 5.0]),
            (tenacity.wait_exponential(multiplier=1), [1.0, 2.0, 4.0]),
            (tenacity.wait_chain(tenacity.wait_fixed(3), tenacity.wait_fixed(7)), [3.0, 7.0, 7.0]),
            (tenacity.wait_fixed(1) + tenacity.wait_fixed(2), [3.0, 3.0, 3.0]),
            (lambda state: state.attempt_number * 10.0, [10.0, 20.0, 30.0]),
        ],
    )
    def test_as_tenacity_has_it(self, wait: Callable[[tenacity.RetryCallState], float], waits: list[float]):
        assert delays(RetryPolicy(4, wait=wait)) == waits

    def test_by_the_error(self):
        asked = schedule(RetryPolicy(wait=tenacity.wait_exception(lambda error: error.seconds)))  # type: ignore[attr-defined]
        assert asked.delay(None, Delayed(7.0), NOW) == 7.0
        assert asked.delay(None, Delayed(0.5), NOW) == 0.5
        assert asked.delay(None, Delayed(7.0), NOW) is None

    def test_by_the_result(self):
        def wait(state: tenacity.RetryCallState) -> float:
            assert state.outcome is not None
            return float(state.outcome.result())

        asked = schedule(RetryPolicy(wait=wait))
        assert asked.delay(7, None, NOW) == 7.0
        assert asked.delay(3, None, NOW) == 3.0

    def test_what_was_slept_so_far(self):
        seen: list[float] = []

        def wait(state: tenacity.RetryCallState) -> float:
            seen.append(state.idle_for)
            return 2.0

        delays(RetryPolicy(4, wait=wait))
        assert seen == [0.0, 2.0, 4.0, 6.0]  # tenacity asks for a wait even before it stops

    def test_calls_that_fail_at_once_do_not_get_in_each_others_way(self):
        policy = RetryPolicy(3, wait=tenacity.wait_incrementing(start=1, increment=1))
        one, other = schedule(policy), schedule(policy)
        assert (one.delay(None, ERROR, NOW), other.delay(None, ERROR, NOW)) == (1.0, 1.0)
        assert (one.delay(None, ERROR, NOW), one.delay(None, ERROR, NOW)) == (2.0, None)
        assert (other.delay(None, ERROR, NOW), other.delay(None, ERROR, NOW)) == (2.0, None)

    def test_the_error_is_neither_raised_nor_kept_from_others(self):
        asked = schedule(RetryPolicy(1))
        assert asked.delay(None, KeyboardInterrupt(), NOW) is None


class TestFullJitter:
    @given(st.floats(0.0, 100.0), st.floats(0.0, 100.0), st.integers(0, 2**32))
    def test_between_nothing_and_the_doubling_bound(self, base: float, most: float, seed: int):
        jitter = FullJitter(base, most, random.Random(seed))
        asked = Schedule(RetryPolicy(stop=tenacity.stop_never), jitter, 0.0)
        for n in range(100):
            delay = asked.delay(None, ERROR, NOW)
            assert delay is not None
            assert 0.0 <= delay <= min(most, base * 2.0**n)

    def test_spread_over_the_whole_of_it(self):
        rng = random.Random(7)
        for n, bound in enumerate([0.025, 0.05, 0.1, 0.2, 0.25, 0.25]):
            state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
            state.attempt_number = n + 1
            waits = sorted(FullJitter(0.025, 0.25, rng)(state) for _ in range(1000))
            assert waits[0] < 0.02 * bound
            assert waits[-1] > 0.98 * bound
            assert sum(waits) / 1000 == pytest.approx(bound / 2, rel=0.1)

    def test_seeded(self):
        assert delays(RetryPolicy(5)) == delays(RetryPolicy(5))


class TestInCalls:
    """The same, seen from the calls that they are for."""

    @pytest.mark.parametrize(("takes", "tries"), [(30.0, 4), (40.0, 3), (99.0, 2), (101.0, 1)])
    @pytest.mark.parametrize("loop", [False, True])
    def test_the_time_counts_from_the_beginning_of_the_first_try(self, takes: float, tries: int, loop: bool):
        stage = Stage(6, timeout=None, attempt_timeout=None)
        stage.all(unavailable)
        stage.takes = takes
        stop = tenacity.stop_after_delay(100) | tenacity.stop_after_attempt(4)
        wishes = {"idempotent": True, "retry": RetryPolicy(stop=stop, wait=tenacity.wait_none())}
        if loop:
            for attempt in stage.service.attempts(**wishes):
                with attempt as node:
                    attempt.observe(stage.replica(node))
        else:
            stage.call(**wishes)
        assert len(stage.sent) == tries
