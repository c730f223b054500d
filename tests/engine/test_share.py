"""What share of the calls a node gets that is coming back, slow, hung, or quick to fail."""

import pytest

from tests.engine.crowd import Behaviour, Crowd, fails_at_once, hangs, is_slow
from tests.engine.stage import Answer, Stage, refused

STRATEGIES = ["random", "round_robin", "weighted_random", "weighted_round_robin", "least_requests", "peak_ewma"]
OFF = {"consecutive": 0, "success_rate": 0}


# -- slow start


def back(stage: Stage, host: str = "n0") -> None:
    """Let `host` be put out and readmitted; calls then take next to no time, so that the clock stands still."""
    stage.takes = 1e-6
    stage.calls(50)
    stage.service.mark(f"{host}:80", "down", reason="maintenance")
    stage.clock.advance(1)
    stage.service.mark(f"{host}:80", "up", reason="done")


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(("seconds", "ramp"), [(0, 0.1), (2, 0.2), (5, 0.5), (8, 0.8), (10, 1.0)])
def test_a_node_that_is_back_takes_up_its_share_by_degrees(strategy: str, seconds: float, ramp: float):
    stage = Stage(4, strategy=strategy)
    back(stage)
    stage.clock.advance(seconds)
    calls = 4000
    share = stage.calls(calls)["n0"] / calls
    assert share == pytest.approx(ramp / 4, rel=0.25, abs=0.005)


@pytest.mark.parametrize(
    ("window", "least", "seconds", "ramp"), [(100, 0.1, 50, 0.5), (10, 0.6, 1, 0.6), (2, 0.1, 2, 1)]
)
def test_window_and_least_share_are_settings(window: float, least: float, seconds: float, ramp: float):
    stage = Stage(2, strategy="random", slow_start={"window": window, "min_weight": least})
    back(stage)
    stage.clock.advance(seconds)
    assert stage.calls(4000)["n0"] / 4000 == pytest.approx(ramp / 2, rel=0.15)
    assert stage.told("n0")["weight"] == pytest.approx(ramp, abs=0.01)


def test_with_consistent_hash_a_nodes_keys_are_its_own_at_once():
    stage = Stage(3, strategy="consistent_hash")
    before = [stage.service.pick(str(i)) for i in range(300)]
    back(stage)
    assert [stage.service.pick(str(i)) for i in range(300)] == before


def test_at_process_start_nothing_is_slow():
    stage = Stage(3)
    stage.takes = 0
    assert stage.calls(30) == {"n0": 10, "n1": 10, "n2": 10}
    assert set(stage.states().values()) == {"up"}


def test_window_zero_turns_it_off():
    stage = Stage(3, slow_start={"window": 0})
    back(stage)
    assert stage.states()["n0"] == "up"
    assert stage.calls(30) == {"n0": 10, "n1": 10, "n2": 10}


def test_where_all_are_coming_back_nobody_is_spared():
    stage = Stage(2)
    for host in ("n0", "n1"):
        back(stage, host)
    assert stage.calls(1000)["n0"] == pytest.approx(500, abs=60)


def test_it_is_not_spared_for_one_that_is_only_kept():
    stage = Stage(3, strategy="random")
    for host in ("n0", "n1", "n2"):
        stage.does[host] = refused
    stage.calls(30)
    del stage.does["n1"]
    stage.takes = 1e-6
    while stage.states()["n1"] != "slow_start":
        stage.calls(1)
    seen = stage.calls(500, attempts=1)
    assert seen["n1"] > 400
    assert 0 < seen.total() - seen["n1"] < 100


def test_picks_spare_it_too():
    stage = Stage(3, strategy="random")
    back(stage)
    assert 0 < sum(stage.service.pick().host == "n0" for _ in range(2000)) < 150


def test_retries_spare_it_too():
    stage = Stage(3, strategy="random", ejection=OFF, retry={"attempts": 2, "budget_floor": 10_000, "backoff": 0})
    back(stage)
    stage.does["n1"] = lambda: Answer(504)
    seen = stage.calls(1000, idempotent=True)
    assert seen["n1"] > 300
    assert 0 < seen["n0"] < 150


# -- nodes that are sick while nothing puts them out


def sick(strategy: str, does: Behaviour, *, seconds: float) -> Crowd:
    """Calls to three nodes, none of which is ever put out; n0 is sick from second 5 on."""
    stage = Stage(3, strategy=strategy, ejection=OFF, timeout=None, attempt_timeout=10)
    crowd = Crowd(stage, attempts=1)
    crowd.script = [(5, "n0", does)]
    return crowd.run(seconds)


@pytest.mark.parametrize("strategy", ["peak_ewma", "least_requests"])
def test_a_hung_replica_loses_most_of_its_share_before_its_first_timeout(strategy: str):
    crowd = sick(strategy, hangs, seconds=16)
    assert crowd.share("n0", 0, 5) == pytest.approx(1 / 3, abs=0.05)
    first_timeout = min(end for call in crowd.calls for host, _, end in call.tries if host == "n0" and end > 5.1)
    assert first_timeout >= 15
    assert crowd.share("n0", 5.5, 15) < 0.02


@pytest.mark.parametrize("strategy", ["peak_ewma", "least_requests"])
def test_a_replica_that_fails_at_once_loses_share(strategy: str):
    crowd = sick(strategy, fails_at_once, seconds=15)
    assert crowd.share("n0", 5.5, 15) < 0.1
    assert crowd.stage.told("n1")["success_rate"] == crowd.stage.told("n2")["success_rate"] == 1


def test_a_replica_ten_times_slower_is_left_within_half_a_second():
    crowd = sick("peak_ewma", is_slow, seconds=12)
    assert crowd.share("n0", 5.5, 12) < 0.01


@pytest.mark.parametrize("strategy", ["peak_ewma", "least_requests"])
def test_a_node_that_cannot_be_reached_gets_nothing(strategy: str):
    stage = Stage(3, strategy=strategy)
    stage.does["n0"] = refused
    stage.calls(60)
    assert "n0" not in stage.calls(100)
