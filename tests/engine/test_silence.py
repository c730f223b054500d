"""A node that accepts and never answers is put out by the age of its open calls, and nobody else is."""

from random import Random

import pytest

from balancemw.silence import LEAST, SEVERAL
from tests.engine.crowd import Crowd, hangs, is_well
from tests.engine.flow import Flow, Latency, lognormal
from tests.engine.stage import FAULTS, Stage

NEVER = 1e9
USUAL = lognormal(0.02, 0.7)
STRATEGIES = ["round_robin", "least_requests", "peak_ewma"]


def hung(*hosts: str, since: float = 10, usual: Latency = USUAL) -> Latency:
    return lambda host, now, rng: NEVER if host in hosts and now >= since else usual(host, now, rng)


def waiting(stage: Stage, host: str = "n0", calls: int = SEVERAL) -> list[object]:
    """That many calls open on `host`, which has answered before."""
    stage.calls(3)
    return [stage.open_on(host) for _ in range(calls)]


def pass_time(stage: Stage, seconds: float, *, without: str = "n0") -> None:
    """Let time pass while the other nodes answer."""
    for _ in range(int(seconds / 0.1)):
        stage.clock.advance(0.09)
        call = stage.open()
        if call.node.host == without:
            call.end(FAULTS["cancelled"])
        else:
            call.end()
        stage.clock.advance(0.01)


# -- it is noticed


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("rate", [50, 900])
def test_before_a_call_times_out_it_is_out_or_gets_no_more_calls(strategy: str, rate: float):
    flow = Flow(3, rate, hung("n0"), strategy=strategy).run(20)
    late = [at for at, host in flow.sent if host == "n0" and at > 13]
    assert len(late) <= 5  # trials
    for event in flow.told("ejected"):
        assert (event.node, event.source, event.fault) == ("n0:80", "traffic", "timeout")
        assert 10 + LEAST < event.time < 13.1


def test_callers_of_a_strategy_that_sees_nothing_are_held_for_seconds_only():
    stage = Stage(3, strategy="round_robin", attempt_timeout=10, timeout=None)
    crowd = Crowd(stage, rate=60, attempts=1)
    crowd.script = [(5, "n0", hangs), (9, "n0", is_well)]
    crowd.run(30)
    assert 0 < crowd.failed() < 60 * 2.5 / 3  # the calls of less than 2.5 s, where 5 timeouts would take 10 s
    assert crowd.failed(since=12) == 0
    assert crowd.share("n0", 25, 30) > 0.2


def test_the_event_says_what_was_seen():
    stage = Stage(3)
    waiting(stage)
    pass_time(stage, 3)
    (event,) = stage.happened("ejected")
    assert (event.node, event.source, event.fault) == ("n0:80", "traffic", "timeout")
    assert event.reason.startswith("3 calls have waited for 1.")
    assert "of answers came none for 1." in event.reason
    assert stage.states() == {"n0": "ejected", "n1": "up", "n2": "up"}


def test_a_node_that_has_never_answered_is_found_too():
    flow = Flow(3, 100, hung("n0", since=0), strategy="round_robin").run(5)
    (event,) = flow.told("ejected")
    assert event.node == "n0:80"
    assert "none ever" in event.reason


# -- what follows


def test_an_answer_to_one_of_those_calls_clears_it_at_once():
    stage = Stage(3)
    calls = waiting(stage)
    pass_time(stage, 3)
    assert stage.states()["n0"] == "ejected"
    calls[0].end()  # type: ignore[attr-defined]
    assert stage.states()["n0"] == "slow_start"
    assert stage.happened("readmitted")[0].source == "traffic"
    for call in calls[1:]:
        call.end()  # type: ignore[attr-defined]
    assert stage.states()["n0"] == "slow_start"


def test_their_timeouts_do_not_put_it_out_again():
    stage = Stage(3)
    calls = waiting(stage, calls=6)
    pass_time(stage, 3)
    until = stage.told("n0")["marks"][0]["until"]
    for call in calls:
        call.end(FAULTS["timeout"])  # type: ignore[attr-defined]
    assert stage.told("n0")["marks"][0]["until"] == until


def test_after_its_time_out_one_call_is_its_trial():
    stage = Stage(3)
    waiting(stage)
    pass_time(stage, 3)
    stage.clock.advance(stage.time_out())
    trial = stage.open_on("n0")
    pass_time(stage, 5)
    assert stage.states()["n0"] == "trial"
    trial.end(FAULTS["timeout"])
    assert stage.states()["n0"] == "ejected"


def test_an_answer_after_it_was_put_out_for_another_reason_clears_nothing():
    stage = Stage(3)
    calls = waiting(stage)
    pass_time(stage, 3)
    stage.clock.advance(stage.time_out())
    stage.open_on("n0").end(FAULTS["refused"])
    calls[0].end()  # type: ignore[attr-defined]
    assert stage.states()["n0"] == "ejected"


# -- it is not seen where there is none


@pytest.mark.parametrize("hosts", [("n0",), ("n0", "n1", "n2")])
def test_the_last_nodes_are_not_put_out(hosts: tuple[str, ...]):
    """A single node, and nodes that hang together: what stalls all is no node's fault."""
    assert Flow(len(hosts), 100, hung(*hosts), strategy="round_robin").run(30).events == []


def test_keep_is_respected():
    flow = Flow(4, 200, hung("n0", "n1", "n2"), strategy="round_robin", ejection={"keep": 0.5}).run(14)
    assert len(flow.pool.available(flow.clock())) >= 2


def polls(host: str, now: float, rng: Random) -> float:
    """Some calls are long polls."""
    return 20 + rng.random() * 10 if rng.random() < 0.3 else 0.01


def reports(host: str, now: float, rng: Random) -> float:
    """A few calls take seconds, and all else next to nothing."""
    return rng.lognormvariate(1, 0.4) if rng.random() < 0.05 else 0.005 * rng.lognormvariate(0, 0.5)


def downloads(host: str, now: float, rng: Random) -> float:
    return rng.lognormvariate(1.5, 1)


def stalls(host: str, now: float, rng: Random) -> float:
    """Everything stops for five seconds at times, at all nodes."""
    left = 25 - now % 30
    return 0.01 + (left if 0 < left <= 5 else 0)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("latency", [polls, reports, downloads, stalls, lognormal(0.2, 1.0)])
@pytest.mark.parametrize("rate", [2, 20])
@pytest.mark.parametrize("nodes", [2, 3, 10])
def test_what_takes_long_is_not_taken_for_a_hang(strategy: str, latency: Latency, rate: float, nodes: int):
    flow = Flow(nodes, rate * nodes, latency, strategy=strategy, ejection={"slow": 0}).run(2000 / rate / nodes)
    assert flow.told("ejected") == []


def test_streams_are_not_waited_for():
    stage = Stage(3)
    pool = stage.service.pool
    stage.calls(3)
    for _ in range(10):
        now = stage.clock()
        peer = pool.begin(now)
        while peer.node.host != "n0":
            pool.succeed(peer, now, now)
            peer = pool.begin(now)
        pool.answered(peer, now, now)
    stage.calls(3)
    pass_time(stage, 10)
    assert stage.happened("ejected") == []
    assert stage.told("n0")["in_flight"] == 10


def test_a_node_that_answers_errors_does_answer():
    stage = Stage(3, ejection={"success_rate": 0})
    stage.calls(3)
    slow = [stage.open_on("n0") for _ in range(5)]
    for _ in range(40):
        stage.open_on("n0").end(FAULTS["server_error"])
        stage.clock.advance(0.1)
    assert stage.happened("ejected") == []
    assert len(slow) == 5


def test_two_calls_are_too_few():
    stage = Stage(3)
    waiting(stage, calls=2)
    pass_time(stage, 8)
    assert stage.happened("ejected") == []


def test_what_took_long_lately_is_given_time():
    stage = Stage(3)
    stage.takes = 2.0
    stage.calls(6)
    stage.takes = 0.01
    waiting(stage)
    pass_time(stage, 3.5)
    assert stage.happened("ejected") == []
    pass_time(stage, 2)
    assert [each.node for each in stage.happened("ejected")] == ["n0:80"]


def test_who_turns_failures_in_a_row_off_turns_this_off():
    flow = Flow(3, 100, hung("n0"), strategy="round_robin", ejection={"consecutive": 0}).run(30)
    assert flow.told("ejected") == []
