"""How long a call, a try and a request may take, and what becomes of those that take longer."""

import asyncio
import contextvars
import math
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import requests

from balancemw import BalanceError, DeadlineExceeded, Node, deadline, remaining
from balancemw.context import BOUND, Bound, current_bound, enter_request
from tests.engine.clock import virtual_run
from tests.engine.stage import Stage, TimedRequest, refused


def in_request(stage: Stage, seconds: float | None, function: Callable[[], Any]) -> Any:
    """What `function` returns inside an inbound request that has `seconds` left."""

    def serve() -> Any:
        end = math.inf if seconds is None else stage.clock() + seconds
        enter_request(TimedRequest(stage.balancer, end, stage.clock))
        return function()

    return contextvars.copy_context().run(serve)


def hanging(stage: Stage, error: type[Exception] = requests.ReadTimeout) -> Callable[[Node], Any]:
    """A sync client whose replicas never answer: it keeps to `remaining()` and gives up with `error`."""

    def replica(node: Node) -> Any:
        stage.sent.append(node.host)
        left = remaining()
        assert left is not None
        stage.clock.advance(left)
        raise error("too late")

    return replica


# -- remaining


def test_a_try_may_take_the_shorter_of_its_own_time_and_the_calls():
    stage = Stage(1, timeout=30, attempt_timeout=10)
    seen = []
    stage.balancer.call("s")(lambda node: seen.append(remaining()))()
    stage.balancer.call("s", timeout=4)(lambda node: seen.append(remaining()))()
    for attempt in stage.service.attempts(timeout=3):
        with attempt:
            seen.append(remaining())
    assert seen == [10, 4, 3]
    assert remaining() is None


def test_a_later_try_has_what_the_earlier_ones_and_the_waits_left():
    stage = Stage(3, timeout=5, attempt_timeout=3, retry={"backoff": 0})
    seen: list[float | None] = []

    def replica(node: Node) -> None:
        seen.append(remaining())
        stage.clock.advance(2)
        raise ConnectionResetError(104, "lost")

    with pytest.raises(ConnectionResetError):
        stage.balancer.call("s", idempotent=True)(replica)()
    assert seen == [3, 3, 1]


def test_without_any_limit_nothing_is_bounded():
    stage = Stage(1, timeout=None, attempt_timeout=None)
    assert stage.balancer.call("s")(lambda node: remaining())() is None

    @stage.balancer.call("s")
    async def slow(node: Node) -> str:
        await asyncio.sleep(86_400)
        return "done"

    assert virtual_run(slow(), stage.clock) == "done"


def test_a_call_inside_a_call_is_bounded_by_the_outer_try():
    stage = Stage(1, timeout=30, attempt_timeout=10)
    inner = stage.balancer.call("s")(lambda node: remaining())

    def outer(node: Node) -> tuple[float | None, float | None]:
        stage.clock.advance(6)
        found = inner()
        return found, remaining()

    assert stage.balancer.call("s")(outer)() == (4, 4)


def test_a_call_inside_a_call_without_limits_has_its_own():
    unlimited, stage = Stage(1, timeout=None, attempt_timeout=None), Stage(1, attempt_timeout=10)
    inner = stage.balancer.call("s")(lambda node: remaining())
    assert unlimited.balancer.call("s")(lambda node: inner())() == 10


def test_a_deadline_bounds_what_is_called_inside_it():
    stage = Stage(1)
    bounded = stage.balancer.call("s")(lambda node: remaining())
    with deadline(2):
        inside = bounded()
        with deadline(5):
            assert remaining() <= 2
    assert inside is not None
    assert 0 < inside <= 2
    assert bounded() == 10


# -- the whole call's time


def test_the_time_of_the_whole_call_spans_tries_and_waits():
    stage = Stage(3, timeout=25, attempt_timeout=10)
    start = stage.clock()
    with pytest.raises(DeadlineExceeded) as caught:
        stage.balancer.call("s", idempotent=True)(hanging(stage))()
    assert stage.clock() - start == pytest.approx(25)
    assert len(stage.sent) == 3
    assert isinstance(caught.value, TimeoutError)
    assert isinstance(caught.value, BalanceError)
    assert isinstance(caught.value.__cause__, requests.ReadTimeout)
    assert [": timeout, " in note or ": deadline, " in note for note in caught.value.__notes__] == [True] * 3


@pytest.mark.parametrize("error", [requests.ReadTimeout, requests.ConnectTimeout, httpx.ReadTimeout, TimeoutError])
def test_a_client_that_times_out_because_the_call_is_over_means_deadline_exceeded(error: type[Exception]):
    stage = Stage(1, timeout=2)
    with pytest.raises(DeadlineExceeded) as caught:
        stage.balancer.call("s", idempotent=True)(hanging(stage, error))()
    assert type(caught.value.__cause__) is error
    assert (stage.states(), stage.told("n0")["failures"]) == ({"n0": "up"}, 0)
    assert len(stage.sent) == 1


def test_a_client_may_give_up_a_moment_early():
    stage = Stage(2, timeout=2)

    def replica(node: Node) -> None:
        stage.clock.advance(1.995)
        raise requests.ReadTimeout("too late")

    with pytest.raises(DeadlineExceeded):
        stage.balancer.call("s", idempotent=True)(replica)()


def test_a_failure_of_another_kind_is_told_as_it_is_even_when_time_is_up():
    stage = Stage(2, timeout=2)

    def replica(node: Node) -> None:
        stage.sent.append(node.host)
        stage.clock.advance(3)
        raise ConnectionResetError(104, "lost")

    with pytest.raises(ConnectionResetError):
        stage.balancer.call("s", idempotent=True)(replica)()
    assert len(stage.sent) == 1


def test_an_answer_that_comes_too_late_is_an_answer():
    stage = Stage(1, timeout=2)

    def replica(node: Node) -> str:
        stage.clock.advance(3)
        return "late"

    assert stage.balancer.call("s")(replica)() == "late"


def test_a_wait_that_oversleeps_ends_in_deadline_exceeded_from_the_last_error():
    stage = Stage(1, timeout=2, retry={"backoff": 1, "backoff_max": 1})
    stage.balancer["s"]._sleep = lambda seconds: stage.clock.advance(10)  # a machine that was suspended, for one
    stage.all(refused)
    with pytest.raises(DeadlineExceeded) as caught:
        stage.call()
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    assert len(stage.sent) == 1


def test_there_is_no_retry_that_could_only_start_too_late():
    stage = Stage(1, timeout=0.5, retry={"backoff": 1000, "backoff_max": 1000, "attempts": 9})
    stage.all(refused)
    with pytest.raises(ConnectionRefusedError):
        stage.call()
    assert stage.clock.slept == []


def test_the_time_of_one_try_is_a_timeout_like_any_other():
    stage = Stage(3, timeout=None, attempt_timeout=2)
    with pytest.raises(requests.ReadTimeout):
        stage.balancer.call("s", idempotent=True)(hanging(stage))()
    assert len(stage.sent) == 3
    assert [each["failures"] for each in stage.status()["nodes"]] == [1, 1, 1]


# -- inbound requests


def test_the_time_of_the_inbound_request_bounds_every_call():
    stage = Stage(2, attempt_timeout=10)
    assert in_request(stage, 4, stage.balancer.call("s")(lambda node: remaining())) == 4
    assert in_request(stage, 40, stage.balancer.call("s")(lambda node: remaining())) == 10
    assert in_request(stage, None, stage.balancer.call("s")(lambda node: remaining())) == 10


def test_the_inbound_request_bounds_all_tries_together():
    stage = Stage(3, attempt_timeout=2)
    with pytest.raises(DeadlineExceeded):
        in_request(stage, 5, stage.balancer.call("s", idempotent=True)(hanging(stage)))
    assert len(stage.sent) == 3


def test_little_time_is_still_time():
    stage = Stage(2)
    assert in_request(stage, 0.001, stage.balancer.call("s")(lambda node: remaining())) == pytest.approx(0.001)


@pytest.mark.parametrize("seconds", [0, -3])
def test_a_call_that_has_no_time_left_is_not_made(seconds: float):
    stage = Stage(2)
    with pytest.raises(DeadlineExceeded):
        in_request(stage, seconds, stage.call)
    assert stage.sent == []
    assert stage.in_flight() == 0
    assert stage.status()["budget"]["calls"] == 0


def test_an_async_call_that_has_no_time_left_is_not_made():
    stage = Stage(2)

    async def flow() -> None:
        BOUND.set(Bound(stage.clock(), stage.clock))
        await stage.balancer.call("s")(asyncio.sleep)()

    with pytest.raises(DeadlineExceeded):
        virtual_run(flow(), stage.clock)


def test_the_inner_calls_end_of_time_is_not_the_outer_nodes_fault():
    stage = Stage(1, timeout=2)

    def outer(node: Node) -> None:
        raise DeadlineExceeded("of a call inside")

    with pytest.raises(DeadlineExceeded, match="of a call inside"):
        stage.balancer.call("s", idempotent=True)(outer)()
    assert stage.told("n0")["failures"] == 0
    assert stage.told("n0")["calls"] == 1


def test_bounds_are_restored_after_success_failure_and_cancellation():
    stage = Stage(1)
    stage.call()
    assert current_bound() is None
    stage.all(refused)
    stage.calls(1)
    assert current_bound() is None
    for attempt in stage.service.attempts():
        with attempt:
            break
    assert current_bound() is None


def test_after_a_call_holds_what_held_around_it():
    stage, left = Stage(1, attempt_timeout=1), list[float | None]()

    def view() -> None:
        for _ in range(3):
            stage.call()
            left.append(remaining())

    in_request(stage, 5.0, view)
    assert left == pytest.approx([4.99, 4.98, 4.97])  # a call takes 0.01 s


def test_a_block_ends_also_after_a_call_in_it():
    stage = Stage(1, attempt_timeout=1)
    with deadline(3600.0):
        stage.call()
        left = remaining()
        assert left is not None
        assert left > 1.0
    assert remaining() is None


def test_a_block_that_is_left_still_bounds_what_was_asked_for_in_it():
    stage = Stage(1)
    with deadline(5.0):
        block = current_bound()
        stage.call()
    assert block is not None
    assert not block.over


def test_inside_a_call_that_another_one_was_made_in_the_outer_one_holds():
    stage, left = Stage(1, attempt_timeout=1), list[float | None]()

    def outer(_: Node) -> None:
        stage.call()
        left.append(remaining())

    stage.balancer.call("s")(outer)()
    left.append(remaining())
    assert left == [pytest.approx(0.99), None]


def test_what_a_try_leaves_running_has_the_time_that_it_needs():
    stage, left = Stage(1, attempt_timeout=1), list[float | None]()

    async def flow() -> None:
        go, tasks = asyncio.Event(), list[asyncio.Task[None]]()

        async def rest() -> None:
            left.append(remaining())
            await go.wait()
            left.append(remaining())

        async def function(_: Node) -> None:
            tasks.append(asyncio.create_task(rest()))
            await asyncio.sleep(0)

        await stage.balancer.call("s")(function)()
        go.set()
        await tasks[0]

    virtual_run(flow(), stage.clock)
    assert left == [1.0, None]


def test_generators_that_take_turns_leave_no_deadline_behind():
    def within(seconds: float) -> Iterator[None]:
        with deadline(seconds):
            yield

    first, second = within(5), within(60)
    next(first)
    next(second)
    assert list(first) == []
    left = remaining()
    assert left is not None
    assert left <= 5  # the second began inside the first
    assert list(second) == []
    assert remaining() is None
