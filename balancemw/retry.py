"""How often and after what wait a failed call is tried again: tenacity's policies, asked only once a try has failed.

A first-try success through tenacity costs ten to twenty times what it costs without, so a call enters tenacity with
its first outcome already known, as attempt 1; attempt numbers, stop and wait then are what they would have been.
"""

from dataclasses import dataclass
from random import Random
from typing import Any

from tenacity import DoSleep, RetryCallState, Retrying, stop_after_attempt
from tenacity.stop import StopBaseT
from tenacity.wait import WaitBaseT


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """A policy of one's own for ``retry=``.

    Attributes:
        attempts: tries in all, the first included; 1 never retries. Unused when `stop` is given.
        stop: a stop condition of tenacity's, such as ``stop_after_delay(5) | stop_after_attempt(4)``.
        wait: a wait of tenacity's; None: full jitter as the service's settings say.

    Raises:
        ValueError: `attempts` is no whole number from 1, or `stop` or `wait` is not what tenacity takes.
    """

    attempts: int = 3
    stop: StopBaseT | None = None
    wait: WaitBaseT | None = None

    def __post_init__(self) -> None:
        if isinstance(self.attempts, bool) or not isinstance(self.attempts, int) or self.attempts < 1:
            raise ValueError(
                f"attempts is a whole number, at least 1 as it counts the first try, not {self.attempts!r}"
            )
        if self.stop is not None and not callable(self.stop):
            raise ValueError(f"stop is one of tenacity's objects, such as stop_after_delay(5), not {self.stop!r}")
        if self.wait is not None and not callable(self.wait):
            raise ValueError(f"wait is one of tenacity's objects, such as wait_fixed(1), not {self.wait!r}")


class FullJitter:
    """``uniform(0, min(most, base * 2**n))`` seconds before retry n = 0, 1, …

    Source: M. Brooker, "Exponential Backoff and Jitter" (AWS, 2015).
    """

    __slots__ = ("_base", "_most", "_rng")

    def __init__(self, base: float, most: float, rng: Random) -> None:
        self._base, self._most, self._rng = base, most, rng

    def __call__(self, state: RetryCallState) -> float:
        doublings = min(state.attempt_number - 1, 64)
        return self._rng.uniform(0.0, min(self._most, self._base * 2.0**doublings))


class Schedule:
    """One failing call's conversation with tenacity.

    Args:
        policy: when to stop, and perhaps how long to wait.
        jitter: the wait where the policy names none.
        began: when the call began, for tenacity's conditions on elapsed time.
    """

    def __init__(self, policy: RetryPolicy, jitter: FullJitter, began: float) -> None:
        self._retrying = Retrying(
            stop=policy.stop or stop_after_attempt(policy.attempts),
            wait=policy.wait or jitter,
            retry=lambda _: True,  # whether the fault may be retried at all is decided before tenacity is asked
            retry_error_callback=lambda _: None,
        )
        self._retrying.begin()
        self._state = RetryCallState(self._retrying, None, (), {})
        self._state.start_time = began

    def over(self, now: float) -> bool:
        """Whether no try is to follow the first, as things are now and whatever comes of it."""
        self._state.outcome_timestamp = now
        return bool(self._retrying.stop(self._state))

    def delay(self, result: object, error: BaseException | None, now: float, tries: int = 0) -> float | None:
        """Seconds to wait before the next try, or None when there is to be none.

        Args:
            result: of the try.
            error: that it ended with instead.
            now: the time, on the clock of `began`.
            tries: how many have ended, where some were made at once, of which only the last is asked about.
        """
        self._state.attempt_number = max(tries, self._state.attempt_number)
        if error is None:
            self._state.set_result(result)
        else:
            self._state.set_exception((type(error), error, error.__traceback__))
        self._state.outcome_timestamp = now  # tenacity took it from the system's clock, which is not always ours
        step: Any = self._retrying.iter(retry_state=self._state)
        if not isinstance(step, DoSleep):
            return None
        self._state.prepare_for_next_attempt()
        return float(step)
