"""What nodes report of their load: asked for and heard only where the strategy goes by it."""

from collections.abc import Callable
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from balancemw import Balancer
from balancemw.exchange import Exchange, services
from balancemw.orca import FORMAT, REPORT, LoadReport
from tests.engine.heedful import HEEDFUL
from tests.engine.stage import Answer, Stage

REPORTED = LoadReport(rps_fractional=5.0, named_metrics={"in_flight": 3.0})
SAID = "TEXT rps_fractional=5.0, eps=0.0, named_metrics.in_flight=3.0"


class Unread(dict[str, str]):
    """Headers of which only these may be looked up."""

    def get(self, name: str, *_: object) -> Any:  # type: ignore[override]
        assert name == "x-balancemw-state"
        return None


def reporting(status: int = 200) -> Answer:
    answer = Answer(status)
    answer.headers[REPORT] = SAID
    return answer


def heard(stage: Stage, host: str = "n0") -> tuple[LoadReport | None, float]:
    peer = next(peer for peer in stage.service.pool.roster.peers.values() if peer.node.host == host)
    return peer.report, peer.reported_at


# -- decorated functions and loops


@pytest.mark.parametrize("status", [200, 404, 500, 503])
def test_a_loop_hears_it_from_any_answer_that_is_observed(status: int):
    stage = Stage(3, strategy=HEEDFUL)
    stage.clock.advance(5)
    stage.open_on("n0").end(lambda: reporting(status))
    assert heard(stage) == (REPORTED, stage.clock())
    assert heard(stage, "n1") == (None, 0.0)


@pytest.mark.parametrize("status", [200, 503])
def test_a_decorated_function_hears_it_from_what_it_returns(status: int):
    stage = Stage(3, strategy=HEEDFUL)
    stage.all(lambda: reporting(status))
    stage.calls(3)
    assert [heard(stage, f"n{i}")[0] for i in range(3)] == [REPORTED] * 3


async def test_an_async_one_as_well():
    stage = Stage(1, strategy=HEEDFUL)

    @stage.balancer.call("s")
    async def ask(node: Any) -> Any:
        return reporting()

    await ask()
    assert heard(stage)[0] == REPORTED


def test_the_last_word_counts_and_silence_takes_nothing_back():
    stage = Stage(1, strategy=HEEDFUL)
    stage.call()
    assert heard(stage) == (None, 0.0)
    stage.all(reporting)
    stage.call()
    at = stage.clock()
    stage.all(Answer)
    stage.call()
    assert heard(stage) == (REPORTED, at)


@pytest.mark.parametrize(
    "headers",
    [None, "text", {REPORT: "TEXT eps=nan"}, {REPORT: b"TEXT eps=1"}, {REPORT: "TEXT " + "x" * 9999}, {REPORT: 5}, []],
)
def test_what_is_no_report_changes_nothing(headers: object):
    stage = Stage(1, strategy=HEEDFUL)
    answer = Answer()
    answer.headers = headers  # type: ignore[assignment]
    stage.all(lambda: answer)
    assert stage.call() is answer
    assert heard(stage) == (None, 0.0)


def test_headers_that_raise_are_left_alone():
    stage = Stage(1, strategy=HEEDFUL)

    class Odd(dict[str, str]):
        def get(self, *_: object) -> Any:
            raise RuntimeError("of its own")

    answer = Answer()
    answer.headers = Odd()
    stage.all(lambda: answer)
    assert stage.call() is answer


@pytest.mark.parametrize("strategy", ["round_robin", "peak_ewma"])
def test_where_nobody_goes_by_it_it_is_not_even_looked_up(strategy: str):
    stage = Stage(1, strategy=strategy)
    answer = Answer()
    answer.headers = Unread({REPORT: SAID})
    stage.all(lambda: answer)
    assert stage.call() is answer
    stage.open_on("n0").end(lambda: answer)
    assert heard(stage) == (None, 0.0)


def test_a_function_of_ones_own_is_told_what_to_ask_with():
    assert Stage(1, strategy=HEEDFUL).service.request_headers == {FORMAT: "text"}
    assert Stage(1).service.request_headers == {}


# -- clients


def exchange(**service: object) -> tuple[Exchange, Callable[[], LoadReport | None], Any]:
    balancer = Balancer({"services": {"s": {"nodes": ["http://n0:80"], **service}}}, rng=Random(1))
    destination = services(balancer)["s"]
    (peer,) = balancer["s"].pool.roster.peers.values()
    return Exchange(destination, destination.repeatable), lambda: peer.report, destination


@pytest.mark.parametrize("status", [200, 500, 503])
def test_an_exchange_hears_it_at_the_head_of_any_answer(status: int):
    exchanged, known, destination = exchange(strategy=HEEDFUL)
    assert destination.asks == ((FORMAT, "text"),)
    exchanged.begin()
    exchanged.refuse(SimpleNamespace(headers={REPORT: SAID}), status)
    assert known() == REPORTED


def test_an_exchange_of_a_service_that_does_not_go_by_it_does_not_ask():
    exchanged, known, destination = exchange()
    assert destination.asks == ()
    exchanged.begin()
    exchanged.refuse(SimpleNamespace(headers=Unread({REPORT: SAID})), 200)
    assert known() is None
