"""What share of the calls a node gets that is coming back, slow, hung, or quick to fail."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from balancemw import Node
from tests.engine.clock import virtual_run
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


class Load:
    """Steady calls to three replicas on a simulated clock, one replica of which may be sick.

    Args:
        sick: what n0 does from second 5 on.
    """

    RATE = 200

    def __init__(self, strategy: str, sick: Callable[[], Coroutine[Any, Any, object]]) -> None:
        self.stage = Stage(3, strategy=strategy, ejection=OFF, timeout=None, attempt_timeout=10)
        self.begun: list[tuple[float, str]] = []
        self.ended: list[tuple[float, str]] = []
        self._sick = sick

    async def _replica(self, node: Node) -> object:
        clock = self.stage.clock
        self.begun.append((clock() - self._start, node.host))
        try:
            if node.host == "n0" and clock() - self._start >= 5:
                return await self._sick()
            await asyncio.sleep(0.01)
            return Answer()
        finally:
            self.ended.append((clock() - self._start, node.host))

    async def _run(self, seconds: float) -> None:
        call = self.stage.balancer.call("s", attempts=1)(self._replica)
        tasks = []
        for _ in range(int(seconds * self.RATE)):
            tasks.append(asyncio.create_task(call()))
            await asyncio.sleep(1 / self.RATE)
        await asyncio.gather(*tasks, return_exceptions=True)

    def run(self, seconds: float) -> "Load":
        self._start = self.stage.clock()
        virtual_run(self._run(seconds), self.stage.clock)
        assert self.stage.in_flight() == 0
        return self

    def share(self, since: float, until: float) -> float:
        """The share of the calls begun within that time that went to n0."""
        seen = Counter(host for at, host in self.begun if since <= at < until)
        return seen["n0"] / seen.total()


async def hangs() -> object:
    await asyncio.sleep(3600)
    raise AssertionError("nobody waits that long")


async def fails_at_once() -> object:
    await asyncio.sleep(0.001)
    return Answer(503)


async def is_slow() -> object:
    await asyncio.sleep(0.1)
    return Answer()


@pytest.mark.parametrize("strategy", ["peak_ewma", "least_requests"])
def test_a_hung_replica_loses_most_of_its_share_before_its_first_timeout(strategy: str):
    load = Load(strategy, hangs).run(16)
    assert load.share(0, 5) == pytest.approx(1 / 3, abs=0.05)
    first_timeout = min(at for at, host in load.ended if host == "n0" and at > 5.1)
    assert first_timeout >= 15
    assert load.share(5.5, 15) < 0.02


@pytest.mark.parametrize("strategy", ["peak_ewma", "least_requests"])
def test_a_replica_that_fails_at_once_loses_share(strategy: str):
    load = Load(strategy, fails_at_once).run(15)
    assert load.share(5.5, 15) < 0.1
    rates = {each["name"]: each["success_rate"] for each in load.stage.status()["nodes"]}
    assert rates["n1:80"] == rates["n2:80"] == 1


def test_a_replica_ten_times_slower_is_left_within_half_a_second():
    load = Load("peak_ewma", is_slow).run(12)
    assert load.share(5.5, 12) < 0.01


@pytest.mark.parametrize("strategy", ["peak_ewma", "least_requests"])
def test_a_node_that_cannot_be_reached_gets_nothing(strategy: str):
    stage = Stage(3, strategy=strategy)
    stage.does["n0"] = refused
    stage.calls(60)
    assert "n0" not in stage.calls(100)
