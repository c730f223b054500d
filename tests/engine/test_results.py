"""What a balanced call goes by, and what its caller gets."""

import asyncio
from collections import deque
from typing import Any

import pytest
import requests
import tenacity

from balancemw import Node, RetryPolicy
from tests.engine.clock import virtual_run
from tests.engine.stage import FAULTS, Answer, Stage


@pytest.fixture
def stage() -> Stage:
    return Stage(3)


# -- the key


def hosts_of(stage: Stage, key: Any, *args: Any) -> set[str]:
    function = stage.balancer.call("s", key=key)(lambda node, *args, **kwargs: node.host)
    return {function(*args) for _ in range(50)}


def test_a_key_binds_calls_to_a_node():
    stage = Stage(5, strategy="consistent_hash")
    assert len(hosts_of(stage, "customer-7")) == 1
    assert len({next(iter(hosts_of(stage, f"customer-{i}"))) for i in range(50)}) == 5
    assert len(hosts_of(stage, None)) > 1


def test_a_key_may_be_made_of_the_calls_arguments():
    stage = Stage(5, strategy="consistent_hash")
    seen = []

    def customer(order: int, customer: str = "?", *, note: str = "") -> str:
        seen.append((order, customer, note))
        return customer

    function = stage.balancer.call("s", key=customer)(lambda node, *args, **kwargs: node.host)
    assert len({function(i, "c", note="x") for i in range(20)}) == 1
    assert seen[:2] == [(0, "c", "x"), (1, "c", "x")]


def test_a_key_of_a_method_is_made_of_its_arguments():
    stage = Stage(5, strategy="consistent_hash")

    class Shop:
        @stage.balancer.call("s", key=lambda self, order, customer: customer)
        def order(self, node: Node, order: int, customer: int) -> str:
            return node.host

    assert len({Shop().order(i, 7) for i in range(20)}) == 1
    assert len({Shop().order(1, i) for i in range(50)}) > 1


def test_a_key_that_is_no_string_and_one_that_is_not_there():
    stage = Stage(5, strategy="consistent_hash")
    assert hosts_of(stage, lambda order: order, 7) == hosts_of(stage, "7", 7)
    assert len(hosts_of(stage, lambda order: None, 7)) > 1


def test_a_key_function_that_raises_opens_no_call():
    stage = Stage(2, strategy="consistent_hash")
    with pytest.raises(ZeroDivisionError):
        hosts_of(stage, lambda order: 1 // 0, 7)
    assert stage.in_flight() == 0
    assert stage.status()["budget"]["calls"] == 0


# -- what the caller gets


def test_when_tries_run_out_the_last_exception_goes_up_and_tells_of_the_earlier_ones(stage: Stage):
    errors = [
        ConnectionRefusedError(111, "Connection refused"),
        ConnectionResetError(104, "lost"),
        TimeoutError("late"),
    ]
    script = deque(errors)
    stage.all(script.popleft)
    with pytest.raises(TimeoutError) as caught:
        stage.call(idempotent=True)
    assert caught.value is errors[-1]
    first, second = caught.value.__notes__
    assert first.startswith(f"{stage.sent[0]}:80: refused, 0.010 s: ")
    assert second.startswith(f"{stage.sent[1]}:80: reset, 0.010 s: ")
    assert not any("\n" in note for note in caught.value.__notes__)


def test_a_response_among_the_earlier_tries_is_told_too(stage: Stage):
    script: deque[object] = deque([Answer(502), KeyError("gone")])
    stage.all(script.popleft)
    with pytest.raises(KeyError) as caught:
        stage.call(idempotent=True)
    assert caught.value.__notes__ == [f"{stage.sent[0]}:80: unavailable, 0.010 s: 502 Bad Gateway"]


def test_an_only_try_leaves_no_note(stage: Stage):
    stage.all(FAULTS["application"])
    with pytest.raises(KeyError) as caught:
        stage.call(idempotent=True)
    assert not hasattr(caught.value, "__notes__")


def test_when_tries_run_out_the_last_response_is_returned(stage: Stage):
    script = deque([Answer(502), Answer(503), Answer(504)])
    stage.all(script.popleft)
    assert stage.call(idempotent=True).status_code == 504


def test_a_response_carried_by_an_exception_is_judged_by_its_status(stage: Stage):
    def does() -> Exception:
        response = requests.Response()
        response.status_code = next(statuses)
        return requests.HTTPError("for url", response=response)

    statuses = iter([503, 404])
    stage.all(does)
    with pytest.raises(requests.HTTPError) as caught:
        stage.call(idempotent=True)
    assert caught.value.response.status_code == 404
    assert len(stage.sent) == 2
    assert stage.told(stage.sent[1])["success_rate"] == 1


def test_an_exception_raised_from_a_clients_error_is_the_functions_own(stage: Stage):
    class OutOfStock(Exception):
        pass

    def does(node: Node) -> None:
        stage.sent.append(node.host)
        try:
            raise requests.ConnectionError("lost")
        except requests.ConnectionError as error:
            raise OutOfStock from error

    with pytest.raises(OutOfStock):
        stage.balancer.call("s", idempotent=True)(does)()
    assert len(stage.sent) == 1
    assert stage.told(stage.sent[0])["failures"] == 0


@pytest.mark.parametrize("result", [None, 0, "503", {"status": 503}, [503], 503, b"", (1,), {1}, object(), True])
def test_results_without_a_status_are_successes(stage: Stage, result: object):
    assert stage.balancer.call("s", idempotent=True)(lambda node: result)() is result
    assert sum(each["calls"] for each in stage.status()["nodes"]) == 1
    assert {each["success_rate"] for each in stage.status()["nodes"]} == {None, 1.0}


def test_async_results_are_judged_alike_and_closed_when_replaced(stage: Stage):
    class AsyncAnswer(Answer):
        async def aclose(self) -> None:
            await asyncio.sleep(0)
            self.closed = True

        def close(self) -> None:
            raise RuntimeError("not this one")

    class Failing(Answer):
        def close(self) -> None:
            raise RuntimeError("cannot be closed")

    answers = [AsyncAnswer(502), Failing(503), Answer(504), Answer(200)]
    script = deque(answers)

    @stage.balancer.call("s", idempotent=True, attempts=4)
    async def stock(node: Node) -> Answer:
        return script.popleft()

    assert virtual_run(stock(), stage.clock) is answers[-1]
    assert [answer.closed for answer in answers] == [True, False, True, False]


def test_a_response_that_cannot_be_closed_is_replaced_all_the_same(stage: Stage):
    class Failing(Answer):
        def close(self) -> None:
            raise RuntimeError("cannot be closed")

    class Stubborn:
        status = 503
        close = None

    script: deque[object] = deque([Failing(503), Stubborn(), "fine"])
    stage.all(script.popleft)
    assert stage.call(idempotent=True) == "fine"


def test_async_waits_are_waited_on_the_loop(stage: Stage):
    @stage.balancer.call("s", idempotent=True, retry=RetryPolicy(3, wait=tenacity.wait_fixed(2)))
    async def fail(node: Node) -> None:
        raise ConnectionResetError(104, "lost")

    start = stage.clock()
    with pytest.raises(ConnectionResetError) as caught:
        virtual_run(fail(), stage.clock)
    assert stage.clock() - start == pytest.approx(4)
    assert stage.clock.slept == []
    assert len(caught.value.__notes__) == 2
