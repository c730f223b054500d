"""How much an outage may be made worse by retries."""

import pytest

from tests.engine.stage import FAULTS, Answer, Stage, unavailable


def outage(stage: Stage, seconds: float, rate: float) -> tuple[list[float], list[float]]:
    """All nodes fail under `rate` calls a second; returns when calls were made, and when replicas saw them."""
    stage.takes, arrivals, calls = 0, [], []

    def replica(node: object) -> object:
        arrivals.append(stage.clock())
        return Answer(503)

    balanced = stage.balancer.call("s", idempotent=True)(replica)
    for _ in range(int(seconds * rate)):
        calls.append(stage.clock())
        balanced()
        stage.clock.advance(1 / rate)
    return calls, arrivals


def most_over(times: list[float], ends: list[float], window: float) -> list[int]:
    return [sum(end - window < time <= end for time in times) for end in ends]


@pytest.mark.parametrize(
    ("window", "rate"),
    [(4, 5), (4, 40), (4, 200), (10, 5), (10, 20), (10, 40), (10, 200)],
)
def test_with_everything_down_replicas_receive_little_more_than_the_calls(rate: float, window: float):
    stage = Stage(3, retry={"backoff": 0})
    start = stage.clock()
    calls, arrivals = outage(stage, 12, rate)
    ends = [start + tenths / 10 for tenths in range(1, 121)]
    allowed = [1.2 * made + 10 * window for made in most_over(calls, ends, window)]
    assert all(seen <= most for seen, most in zip(most_over(arrivals, ends, window), allowed, strict=True))
    assert len(arrivals) > 1.15 * len(calls)  # and what is allowed is made use of


def test_a_spent_budget_is_told_once_and_not_with_every_call():
    stage = Stage(3, retry={"backoff": 0})
    outage(stage, 10, 200)
    told = stage.happened("budget_exhausted")
    assert 1 <= len(told) <= 3
    assert told[0].source == "pool"
    assert told[0].node is None
    assert stage.status()["budget"]["refused"] > 1000


def test_without_share_and_floor_there_are_no_retries():
    stage = Stage(3, retry={"budget": 0, "budget_floor": 0})
    stage.all(unavailable)
    stage.calls(20, idempotent=True)
    assert len(stage.sent) == 20


def test_retries_before_anything_was_sent_count_against_the_budget_too():
    stage = Stage(3, retry={"budget": 0, "budget_floor": 1})
    stage.all(FAULTS["connect_timeout"])
    stage.calls(20)
    assert len(stage.sent) == 24
