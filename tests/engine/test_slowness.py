"""A node that is much slower than its peers loses share by degrees, and nobody else does."""

from math import exp
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancemw.health import Mark
from balancemw.status import service_status
from balancemw.strategies import BUILT_IN
from tests.engine.flow import START, Flow, Latency, lognormal
from tests.engine.stage import FAULTS, Stage

STRATEGIES = [name for name in BUILT_IN if name != "consistent_hash"]
BLIND = ["random", "round_robin", "weighted_round_robin"]  # to latency


def slow(factor: float, since: float = 30, until: float = 1e9, host: str = "n0", sigma: float = 0.7) -> Latency:
    """All take about 20 ms, but `host` takes `factor` times as long for a while."""
    usual = lognormal(0.02, sigma)
    return lambda each, now, rng: usual(each, now, rng) * (factor if each == host and since <= now < until else 1)


def shares(flow: Flow) -> list[float | None]:
    """The shares that nodes were told to have, in order; None: all of it."""
    return [
        float(each.reason.split("it gets ")[1].split("%")[0]) / 100 if each.event == "weight" else None
        for each in flow.told("weight", "cleared")
    ]


def told(flow: Flow, host: str) -> dict[str, object]:
    nodes = service_status(flow.pool, flow.clock(), 0.0)["nodes"]
    assert isinstance(nodes, list)
    return next(each for each in nodes if each["name"] == f"{host}:80")


# -- a slow node


@pytest.mark.parametrize("strategy", BLIND)
@pytest.mark.parametrize("factor", [3, 10])
def test_a_slow_node_loses_its_share_step_by_step_and_wins_it_back(strategy: str, factor: float):
    flow = Flow(3, 150, slow(factor, 30, 60), strategy=strategy).run(120)
    assert shares(flow) == [0.6, 0.36, 0.22, 0.13, 0.1, 0.17, 0.28, 0.46, 0.77, None]
    assert {each.node for each in flow.events} == {"n0:80"}
    assert flow.events[0].time < 30 + 10
    assert flow.share("n0", 20, 30) == pytest.approx(1 / 3, abs=0.05)
    assert flow.share("n0", 45, 60) < 0.06
    assert flow.share("n0", 100, 120) == pytest.approx(1 / 3, abs=0.05)


@pytest.mark.parametrize("strategy", ["least_requests", "peak_ewma"])
def test_a_strategy_that_feels_latency_is_told_too(strategy: str):
    flow = Flow(3, 300, slow(10, 30, 60), strategy=strategy).run(120)
    assert min(share for share in shares(flow) if share) < 0.3
    assert shares(flow)[-1] is None
    assert flow.share("n0", 45, 60) < 0.06
    assert flow.share("n0", 100, 120) == pytest.approx(1 / 3, abs=0.06)


def test_the_journal_gives_the_figures_and_the_status_the_weight():
    flow = Flow(3, 150, slow(10, 10), strategy="round_robin").run(60)
    (first, *_) = flow.events
    assert (first.event, first.source, first.node, first.service) == ("weight", "traffic", "n0:80", "s")
    assert "answers took" in first.reason
    assert "its peers'" in first.reason
    assert first.reason.endswith("it gets 60% of its share")
    status = told(flow, "n0")
    assert (status["state"], status["weight"]) == ("up", pytest.approx(0.1))
    (mark,) = status["marks"]
    assert (mark["source"], mark["kind"], mark["until"]) == ("traffic", "weight", None)
    assert told(flow, "n1")["weight"] == 1.0
    assert {node.host for node in flow.pool.available(flow.clock())} == {"n0", "n1", "n2"}


def test_two_slow_nodes_of_five_are_both_found():
    usual = lognormal(0.02, 0.5)
    flow = Flow(5, 250, lambda host, now, rng: usual(host, now, rng) * (8 if host in ("n0", "n1") else 1), seed=3)
    flow.run(60)
    assert {each.node for each in flow.told("weight")} == {"n0:80", "n1:80"}


def test_keys_stay_with_their_nodes():
    usual = lognormal(0.02, 0.5)
    flow = Flow(3, 150, lambda host, now, rng: usual(host, now, rng) * (8 if host == "n0" else 1))
    sticky = Flow(3, 150, lambda host, now, rng: usual(host, now, rng) * 8, strategy="consistent_hash")
    flow.run(30)
    assert flow.told("weight")
    before = [sticky.pool.pick(START, str(key), ()).node for key in range(100)]
    peer = sticky.peer("n0")
    sticky.pool.mark(peer, Mark("traffic", "weight", "slow", START, weight=0.1), START)
    assert [sticky.pool.pick(START, str(key), ()).node for key in range(100)] == before


# -- nodes that are not slow


def two_routes(share: float, quick: float, slow: float) -> Latency:
    """Some calls, at any node, take much longer than others."""
    usual = lognormal(1.0, 0.5)
    return lambda host, now, rng: usual(host, now, rng) * (slow if rng.random() < share else quick)


def storms(host: str, now: float, rng: Random) -> float:
    """All nodes are slow together at times: the database behind them is."""
    return (0.2 if 10 < now % 30 < 20 else 0.01) * rng.lognormvariate(0, 0.7)


WELL: dict[str, Latency] = {
    "even": lognormal(0.05, 0.3),
    "with a tail": lognormal(0.05, 1.0),
    "with a long tail": lognormal(0.05, 1.5),
    "an expensive route": two_routes(0.02, 0.01, 2.0),
    "a common expensive route": two_routes(0.2, 0.01, 1.0),
    "slow together": storms,
    "slow at first": lambda host, now, rng: rng.lognormvariate(0, 0.5) * (0.02 + 0.5 * exp(-now)),
}


def steps(low: float, high: float, period: float = 7.0) -> "object":
    """Load that jumps up and down."""
    return lambda now: high if now // period % 2 else low


@pytest.mark.parametrize("strategy", ["round_robin", "least_requests", "peak_ewma"])
@pytest.mark.parametrize("nodes", [3, 10, 50])
@pytest.mark.parametrize("kind", WELL)
def test_equal_nodes_keep_their_share(kind: str, nodes: int, strategy: str):
    flow = Flow(nodes, 5 * nodes, WELL[kind], strategy=strategy).run(6000 / 5 / nodes)
    assert flow.events == []


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    nodes=st.integers(3, 20),
    median=st.floats(0.001, 0.3),
    sigma=st.floats(0.1, 1.5),
    rates=st.tuples(st.floats(1, 20), st.floats(1, 20)),
    strategy=st.sampled_from(STRATEGIES),
)
def test_equal_nodes_keep_their_share_whatever_the_load(
    seed: int, nodes: int, median: float, sigma: float, rates: tuple[float, float], strategy: str
):
    low, high = (rate * nodes for rate in rates)
    flow = Flow(nodes, steps(low, high), lognormal(median, sigma), seed=seed, strategy=strategy)  # type: ignore[arg-type]
    flow.run(3000 / max(low, high))
    assert flow.events == []


@pytest.mark.parametrize("nodes", [1, 2])
def test_of_two_nobody_can_say_which_is_the_odd_one(nodes: int):
    assert Flow(nodes, 100, slow(10), strategy="round_robin").run(60).events == []


def test_what_is_next_to_nothing_does_not_matter():
    flow = Flow(3, 150, lambda host, now, rng: 0.0006 if host == "n0" else 0.0002, strategy="round_robin").run(60)
    assert flow.events == []


def test_it_can_be_turned_off_and_made_less_strict():
    for multiple in (0, 20):
        flow = Flow(3, 150, slow(10), strategy="round_robin", ejection={"slow": multiple}).run(60)
        assert flow.events == []


# -- beside what else is held against it


def eased() -> Flow:
    flow = Flow(3, 150, slow(10, 0), strategy="round_robin").run(40)
    assert told(flow, "n0")["weight"] == pytest.approx(0.1)
    return flow


def test_an_operator_who_says_up_ends_it():
    flow = eased()
    flow.pool.mark(flow.peer("n0"), Mark("operator", "up", "it is as it should be", flow.clock()), flow.clock())
    assert (told(flow, "n0")["weight"], told(flow, "n0")["marks"]) == (1.0, [])
    flow.run(2)
    assert told(flow, "n0")["weight"] == 1.0
    flow.run(30)
    assert told(flow, "n0")["weight"] == pytest.approx(0.1)


def test_an_operators_weight_counts_besides():
    flow = eased()
    now = flow.clock()
    flow.pool.mark(flow.peer("n0"), Mark("operator", "weight", "half as big", now, weight=0.5), now)
    assert told(flow, "n0")["weight"] == pytest.approx(0.05)


@pytest.mark.parametrize(("kind", "state"), [("refused", "ejected"), ("overload 429", "resting")])
def test_what_takes_it_out_takes_its_place_and_it_comes_back_unsuspected(kind: str, state: str):
    stage = Stage(3)
    pool = stage.service.pool
    mark = Mark("traffic", "weight", "slow", stage.clock(), weight=0.5)
    pool.mark(pool.roster.find("n0:80"), mark, stage.clock())
    assert (stage.states()["n0"], stage.told("n0")["weight"]) == ("up", 0.5)
    stage.open_on("n0").end(FAULTS[kind])
    assert stage.states()["n0"] == state
    (only,) = stage.told("n0")["marks"]
    assert only["source"] == "traffic"
    stage.clock.advance(60)
    stage.open_on("n0").end()
    assert stage.told("n0")["marks"] == []
    assert pool.roster.find("n0:80").eased == 1.0


def test_a_slow_node_fails_like_any_other():
    stage = Stage(3)
    pool = stage.service.pool
    pool.mark(pool.roster.find("n0:80"), Mark("traffic", "weight", "slow", stage.clock(), weight=0.5), stage.clock())
    stage.fails("n0", "reset", 5)
    assert stage.states() == {"n0": "ejected", "n1": "up", "n2": "up"}
