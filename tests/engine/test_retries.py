"""Which failed try is followed by another, where it goes, and how long it waits."""

import contextvars
import time
from collections import deque
from contextlib import suppress
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancemw import NoNodeAvailable
from balancemw.context import Request, enter_request
from tests.engine.stage import FAULTS, Answer, Stage, refused, reset

# -- which faults are retried (three attempts, three nodes that all do the same)

ALWAYS = ("refused", "dns", "tls", "connect_timeout", "overload 429")
IF_IDEMPOTENT = ("timeout", "reset", "protocol", "overload 503", "unavailable")
NEVER = ("server_error", "cancelled", "application")


def tries(kind: str, *, idempotent: bool) -> int:
    stage = Stage(3)
    stage.all(FAULTS[kind])
    with suppress(Exception, KeyboardInterrupt):
        stage.call(idempotent=idempotent)
    return len(stage.sent)


@pytest.mark.parametrize("kind", ALWAYS)
def test_what_was_provably_not_worked_on_is_always_tried_again(kind: str):
    assert tries(kind, idempotent=False) == tries(kind, idempotent=True) == 3


@pytest.mark.parametrize("kind", IF_IDEMPOTENT)
def test_what_may_have_been_worked_on_is_tried_again_only_if_idempotent(kind: str):
    assert tries(kind, idempotent=False) == 1
    assert tries(kind, idempotent=True) == 3


@pytest.mark.parametrize("kind", NEVER)
def test_some_faults_are_never_tried_again(kind: str):
    assert tries(kind, idempotent=False) == tries(kind, idempotent=True) == 1


@given(st.lists(st.sampled_from(sorted(FAULTS)), min_size=1, max_size=6), st.integers(1, 6))
def test_a_call_that_is_not_idempotent_is_never_sent_again_once_it_may_have_arrived(kinds: list[str], attempts: int):
    stage = Stage(3, retry={"attempts": attempts})
    script = deque(kinds)
    stage.all(lambda: FAULTS[script.popleft()]() if script else Answer())
    with suppress(Exception, KeyboardInterrupt):
        stage.call()
    repeated = kinds[: len(stage.sent) - 1]
    assert set(repeated) <= set(ALWAYS)
    assert len(stage.sent) <= attempts
    assert stage.in_flight() == 0


@pytest.mark.parametrize(("status", "expected"), [(500, 3), (418, 3), (503, 1), (429, 3)])
def test_the_statuses_of_the_settings_are_what_is_tried_again(status: int, expected: int):
    stage = Stage(3, retry={"statuses": [500, 418]})
    stage.all(lambda: Answer(status))
    assert stage.call(idempotent=True).status_code == status
    assert len(stage.sent) == expected


def test_one_attempt_is_no_retry():
    stage = Stage(3, retry={"attempts": 1})
    stage.all(refused)
    with pytest.raises(ConnectionRefusedError):
        stage.call(idempotent=True)
    assert len(stage.sent) == 1


def test_a_response_that_another_try_replaces_is_closed_and_the_last_one_is_not():
    answers = [Answer(503), Answer(502), Answer(504)]
    stage = Stage(3)
    script = deque(answers)
    stage.all(script.popleft)
    assert stage.call(idempotent=True) is answers[-1]
    assert [answer.closed for answer in answers] == [True, True, False]


# -- where the next try goes


def test_nodes_that_were_not_tried_yet_come_first():
    stage = Stage(5, retry={"attempts": 5})
    stage.all(reset)
    stage.calls(1, idempotent=True)
    assert sorted(stage.sent) == ["n0", "n1", "n2", "n3", "n4"]


@pytest.mark.parametrize(
    "strategy", ["random", "weighted_random", "weighted_round_robin", "least_requests", "peak_ewma", "consistent_hash"]
)
def test_every_strategy_tries_other_nodes_first(strategy: str):
    stage = Stage(4, strategy=strategy, retry={"attempts": 4, "budget_floor": 1000})
    stage.all(reset)
    for _ in range(4):
        stage.sent.clear()
        stage.calls(1, idempotent=True, key="k")
        assert sorted(stage.sent) == ["n0", "n1", "n2", "n3"]


def test_when_every_node_was_tried_all_are_eligible_again():
    stage = Stage(2, retry={"attempts": 5})
    stage.all(reset)
    stage.calls(1, idempotent=True)
    assert len(stage.sent) == 5
    assert set(stage.sent[:2]) == {"n0", "n1"}


def test_a_lone_node_is_tried_again():
    stage = Stage(1)
    script = deque([reset(), reset(), Answer()])
    stage.all(script.popleft)
    assert stage.call(idempotent=True).status_code == 200
    assert stage.sent == ["n0"] * 3


PRIORITIES = [
    {"url": "http://n0:80"},
    {"url": "http://n1:80", "priority": 1},
    {"url": "http://n2:80", "priority": 1},
    {"url": "http://n3:80", "priority": 7},
]


def test_a_retry_goes_to_the_next_priority_when_its_own_has_no_untried_node():
    stage = Stage(PRIORITIES, retry={"attempts": 5})
    stage.all(reset)
    stage.calls(1, idempotent=True)
    assert stage.sent[0] == "n0"
    assert set(stage.sent[1:3]) == {"n1", "n2"}
    assert stage.sent[3:] == ["n3", "n0"]


# -- how long it waits


def test_there_is_no_wait_before_another_node_when_nothing_was_sent():
    stage = Stage(3)
    stage.all(refused)
    stage.calls(1)
    assert len(stage.sent) == 3
    assert stage.clock.slept == []


def test_the_wait_is_jittered_in_full_doubles_and_is_capped():
    waits = []
    for seed in range(200):
        stage = Stage(1, seed=seed, retry={"attempts": 6, "backoff": 0.1, "backoff_max": 0.5})
        stage.all(reset)
        stage.calls(1, idempotent=True)
        waits.append(stage.clock.slept)
    for nth, most in enumerate((0.1, 0.2, 0.4, 0.5, 0.5)):
        seen = [wait[nth] for wait in waits]
        assert 0 <= min(seen) < most * 0.1
        assert most * 0.9 < max(seen) <= most


def test_refused_by_the_last_node_there_is_a_wait():
    stage = Stage(1, retry={"backoff": 0.1})
    stage.all(refused)
    stage.calls(1)
    assert len(stage.clock.slept) == 2


def test_a_lone_node_is_given_the_time_it_asked_for():
    stage = Stage(1)
    script = deque([Answer(429, Retry_After="7"), Answer()])
    stage.all(script.popleft)
    assert stage.call().status_code == 200
    assert stage.clock.slept == [pytest.approx(7)]


def test_what_a_node_asks_for_is_capped():
    stage = Stage(1, retry={"retry_after_max": 2})
    script = deque([Answer(503, Retry_After="3600"), Answer()])
    stage.all(script.popleft)
    assert stage.call(idempotent=True).status_code == 200
    assert stage.clock.slept == [pytest.approx(2)]


def test_a_retry_after_may_be_a_date():
    stage = Stage(1, timeout=None)
    script = deque([Answer(429, Retry_After=formatdate(time.time() + 7200, usegmt=True)), Answer()])
    stage.all(script.popleft)
    assert stage.call().status_code == 200
    assert stage.clock.slept == [pytest.approx(300)]


def test_no_time_for_what_a_node_asked_for_is_no_retry():
    stage = Stage(1, timeout=5)
    stage.all(lambda: Answer(429, Retry_After="7"))
    assert stage.call().status_code == 429
    assert len(stage.sent) == 1
    assert stage.clock.slept == []


def test_another_node_is_asked_without_waiting_for_the_one_that_rests():
    stage = Stage(2)
    script = deque([Answer(429, Retry_After="7"), Answer()])
    stage.all(script.popleft)
    assert stage.call().status_code == 200
    assert sum(stage.clock.slept) <= 0.025
    assert len(set(stage.sent)) == 2


def test_where_all_rest_the_one_that_is_ready_first_is_waited_for_and_asked():
    stage = Stage(2, retry={"attempts": 3})
    seconds = iter(["9", "4"])
    stage.all(lambda: Answer(429, Retry_After=wait) if (wait := next(seconds, None)) else Answer())
    assert stage.call().status_code == 200
    assert sum(stage.clock.slept) == pytest.approx(4, abs=0.05)
    assert stage.sent[2] == stage.sent[1]


# -- when there is none


@pytest.mark.parametrize("kind", sorted(FAULTS))
def test_a_request_that_is_a_retry_itself_is_not_multiplied(kind: str):
    def serve() -> None:
        enter_request(Request(stage.balancer, retries_allowed=False))
        with suppress(Exception, KeyboardInterrupt):
            stage.call(idempotent=True)

    stage = Stage(3)
    stage.all(FAULTS[kind])
    contextvars.copy_context().run(serve)
    unsent = kind in ("refused", "dns", "tls", "connect_timeout")
    assert len(stage.sent) == (3 if unsent else 1)


def test_the_clients_own_error_goes_up_when_nobody_is_left_to_try():
    def does() -> object:
        for node in stage.service.nodes:
            stage.service.mark(node, "down", reason="maintenance")
        return ConnectionRefusedError(111, "Connection refused")

    stage = Stage(2)
    stage.all(does)
    with pytest.raises(ConnectionRefusedError):
        stage.call()
    assert len(stage.sent) == 1


def test_nodes_that_are_all_taken_out_during_the_wait_are_missed_and_the_tries_are_told():
    def sleep(seconds: float) -> None:
        stage.service.mark("n0:80", "down", reason="maintenance")

    stage = Stage(1)
    stage.service._sleep = sleep
    stage.all(refused)
    with pytest.raises(NoNodeAvailable) as caught:
        stage.call()
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    assert caught.value.__notes__ == ["n0:80: refused, 0.010 s: ConnectionRefusedError: [Errno 111] Connection refused"]
    assert stage.in_flight() == 0


def test_the_clients_own_response_goes_up_unclosed_when_nobody_is_left_to_try():
    def does() -> object:
        stage.service.replace([])
        return Answer(503)

    stage = Stage(2)
    stage.all(does)
    answer = stage.call(idempotent=True)
    assert (answer.status_code, answer.closed) == (503, False)
