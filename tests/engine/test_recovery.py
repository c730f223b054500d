"""A pool that was out as a whole comes back: no flood onto the first node, and no error for want of one."""

import asyncio
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from balancemw import Node, deadline
from balancemw.peer import Peer
from balancemw.recovery import AT_FIRST, Recovery
from tests.engine.clock import virtual_run
from tests.engine.crowd import Behaviour, Crowd, fails_at_once, is_dead, is_well
from tests.engine.stage import Answer, Stage, refused

OFF = {"window": 0}


def cold(seconds: float, until: float, crowd: Callable[[], Crowd]) -> Behaviour:
    """A replica that has just started: until then a call takes long, and the longer the more there are at once."""

    async def answers() -> object:
        now = crowd()._now()
        await asyncio.sleep(seconds if now < until else 0.01)
        return Answer()

    return answers


def make(nodes: int = 3, *, rate: float = 300, slow_start: object = None, seconds: float = 1.0, **more: Any) -> Crowd:
    """All nodes die after 2 s. The first is back after 6 s, cold for two seconds, the others after 12 s."""
    settings: dict[str, Any] = {"strategy": "peak_ewma", "slow_start": slow_start or {}, **more}
    crowd = Crowd(Stage(nodes, **settings), rate=rate, idempotent=True)
    dead: list[tuple[float, str, Callable[[], Coroutine[Any, Any, object]]]] = [
        (2, f"n{i}", is_dead) for i in range(nodes)
    ]
    crowd.script = [*dead, (6, "n0", cold(seconds, 8, lambda: crowd)), *((12, f"n{i}", is_well) for i in range(nodes))]
    return crowd


def most_at_once(crowd: Crowd, host: str, since: float, until: float) -> int:
    """The most calls that a replica had open at a time."""
    ends = [
        (at, change)
        for call in crowd.calls
        for each, begin, end in call.tries
        if each == host
        for at, change in ((begin, 1), (end, -1))
    ]
    here, most = 0, 0
    for at, change in sorted(ends):
        here += change
        if since <= at < until:
            most = max(most, here)
    return most


@pytest.mark.parametrize("strategy", ["peak_ewma", "round_robin"])
def test_the_first_node_back_is_not_flooded(strategy: str):
    flood = most_at_once(make(slow_start=OFF, strategy=strategy).run(9), "n0", 6, 7)
    bounded = most_at_once(make(strategy=strategy).run(9), "n0", 6, 7)
    assert flood > 3 * bounded
    assert bounded <= 3 * AT_FIRST + 10  # what retries are allowed besides: 10 a second


def test_a_quick_node_is_at_its_full_rate_at_once_and_nobody_sees_an_error():
    crowd = make(seconds=0.01).run(10)
    assert crowd.failed(2.1, 5.9) > 0
    assert crowd.failed(6.1) == 0
    took = [call.tries[-1][2] - call.at for call in crowd.calls if call.at > 6.1]
    assert max(took) < 0.3


def test_while_it_is_cold_calls_wait_instead_of_failing():
    crowd = make().run(12)
    assert crowd.failed(7.1, 12) == 0
    assert max(call.tries[-1][2] - call.at for call in crowd.calls if call.at > 7.1) < 4


@pytest.mark.parametrize("sick", [is_dead, fails_at_once])
def test_as_long_as_nobody_is_back_calls_fail_as_quickly_as_ever(sick: Behaviour):
    crowd = Crowd(Stage(3, strategy="peak_ewma"), rate=100, idempotent=True)
    crowd.script = [(1, f"n{i}", sick) for i in range(3)]
    crowd.run(6)
    assert crowd.failed(1.5) == sum(call.at >= 1.5 for call in crowd.calls)
    assert max(call.tries[-1][2] - call.at for call in crowd.calls) < 0.6


def test_what_a_node_carried_before_it_gets_at_once():
    """Calls that always take long: ten seconds' worth of them may be open at a time."""
    crowd = Crowd(Stage(2, strategy="least_requests", attempt_timeout=None), rate=50, idempotent=True)

    async def takes_long() -> object:
        await asyncio.sleep(4)
        return Answer()

    crowd.script = [(0, "n0", takes_long), (0, "n1", takes_long)]
    crowd.script += [(60, "n0", is_dead), (60, "n1", is_dead), (60.5, "n0", takes_long), (60.5, "n1", takes_long)]
    crowd.run(70)
    assert most_at_once(crowd, "n0", 60.5, 64) > 50


# -- one call


def out(**settings: Any) -> Stage:
    """Both nodes are out, and calls that are open on them fill them."""
    stage = Stage(2, **settings)
    stage.all(refused)
    stage.calls(20, idempotent=True)
    assert "up" not in stage.states().values()
    stage.does = {}
    return stage


def fill(stage: Stage) -> list[Any]:
    return [stage.open() for _ in range(2 * AT_FIRST)]


def test_a_sync_call_waits_for_its_turn_for_a_second_while_nobody_is_back():
    stage = out()
    calls = fill(stage)
    stage.clock.slept.clear()
    assert stage.call().status_code == 200  # type: ignore[attr-defined]
    assert 1.0 <= sum(stage.clock.slept) < 1.4
    for call in calls:
        call.end()


def test_if_the_first_node_back_falls_over_calls_wait_anew():
    """Else all that have waited so far would go at once, and it fell over again and again."""
    recovery, peer = Recovery(10.0), Peer(Node("http://n0:80"), 10.0)

    def goes(now: float, *, out: bool) -> None:
        tier: Any = SimpleNamespace(
            healthy=not out, everyone=(peer,), available=(peer,), kept=frozenset((peer,) if out else ())
        )
        recovery.review([tier], now)
        peer.in_flight += 2 * AT_FIRST  # there is no room

    goes(100.0, out=True)
    assert not recovery.admits(100.9, waited=0.9)
    assert recovery.admits(101.1, waited=1.1)
    goes(101.2, out=False)
    goes(101.3, out=True)
    assert not recovery.admits(101.4, waited=1.4)
    assert recovery.admits(102.4, waited=2.4)


def test_a_call_waits_for_half_of_its_time_at_most():
    stage = out()
    calls = fill(stage)
    stage.clock.slept.clear()
    with deadline(0.6):
        stage.call()
    assert sum(stage.clock.slept) == pytest.approx(0.3, abs=0.01)
    for call in calls:
        call.end()


def test_it_need_not_wait_longer_than_until_there_is_room():
    stage = out()
    calls = fill(stage)
    stage.clock.slept.clear()
    stage.clock.sleep = lambda seconds: (calls.pop().end() if calls else None, stage.clock.advance(seconds))  # type: ignore[method-assign]
    stage.balancer["s"]._sleep = stage.clock.sleep
    began = stage.clock()
    stage.call()
    assert stage.clock() - began < 0.1
    for call in calls:
        call.end()


def test_calls_that_were_open_before_the_pool_went_out_are_not_counted():
    stage = Stage(2)
    calls = [stage.open() for _ in range(60)]
    stage.all(refused)
    stage.calls(20, idempotent=True)
    stage.does = {}
    stage.clock.slept.clear()
    stage.call()
    assert not stage.clock.slept
    for call in calls:
        call.end()


def test_with_slow_start_off_nobody_waits():
    stage = out(slow_start=OFF)
    calls = fill(stage)
    stage.clock.slept.clear()
    stage.call()
    assert not stage.clock.slept
    for call in calls:
        call.end()


def test_it_is_over_when_the_window_of_slow_start_is():
    stage = out(slow_start={"window": 3})
    stage.call()
    assert "slow_start" in stage.states().values()
    pool = stage.service.pool
    assert pool.awaited
    stage.clock.advance(3)
    stage.call()
    assert not pool.awaited


def test_a_pool_of_which_one_node_is_left_was_never_out():
    stage = Stage(3)
    stage.does = {"n0": refused, "n1": refused}
    stage.calls(20, idempotent=True)
    assert not stage.service.pool.awaited


def test_also_after_an_operators_order_the_pool_comes_back_by_degrees():
    stage = Stage(2)
    for host in ("n0:80", "n1:80"):
        stage.service.mark(host, "down", reason="maintenance")
    assert not stage.available()
    stage.service.clear("n0:80")
    assert stage.available() == {"n0"}
    assert stage.service.pool.awaited
    calls = [stage.open() for _ in range(AT_FIRST)]
    stage.clock.slept.clear()
    with deadline(1):
        stage.call()
    assert stage.clock.slept
    for call in calls:
        call.end()


def test_an_async_call_waits_without_blocking():
    stage = out()

    async def main() -> float:
        calls = fill(stage)
        began = stage.clock()

        @stage.balancer.call("s")
        async def ask(node: object) -> str:
            return "answer"

        assert await ask() == "answer"
        waited = stage.clock() - began
        for call in calls:
            call.end()
        return waited

    assert 1.0 <= virtual_run(main(), stage.clock) < 1.4


def test_a_forked_process_has_nothing_to_recover_from():
    stage = out()
    stage.service.pool.after_fork()
    assert not stage.service.pool.awaited
