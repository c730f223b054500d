"""What fails for want of a budget while no node is good waits for a moment: the first node may be back just now."""

import random
from collections.abc import Callable
from contextlib import suppress

import pytest

from balancemw import Balancer, Node
from tests.engine.clock import FakeClock
from tests.engine.crowd import Crowd, is_dead, is_well
from tests.engine.stage import FAULTS, Answer, Stage, refused, reset, unavailable

POOR = {"budget": 0.0, "budget_floor": 0.1}  # a retry in ten seconds


def out(retry: object = None, nodes: int = 3) -> Stage:
    """No node can be reached, which is known, and the retries are spent."""
    stage = Stage(nodes, retry=retry or POOR)
    stage.all(refused)
    stage.calls(30, idempotent=True)
    stage.takes = 0.0
    return stage


def seconds(stage: Stage, **wishes: object) -> float:
    """What a call takes that fails."""
    began = stage.clock()
    stage.calls(1, **wishes)
    return stage.clock() - began


def one_back_at(host: str, moment: float, seed: int) -> int:
    """All nodes die, and one is back before the others; how many calls fail from then on."""
    crowd = Crowd(Stage(3, strategy="peak_ewma", seed=seed), rate=300, idempotent=True)
    crowd.script = [(2, f"n{i}", is_dead) for i in range(3)]
    crowd.script += [(moment if f"n{i}" == host else moment + 0.2, f"n{i}", is_well) for i in range(3)]
    crowd.run(moment + 1)
    assert crowd.failed(2.1, moment - 0.1) > 0
    return crowd.failed(since=moment)


def test_from_the_moment_the_first_of_all_is_back_no_call_fails():
    assert [one_back_at("n1", 4.5 + seed / 10, seed) for seed in range(8)] == [0] * 8


def test_an_outage_of_all_leaves_retries_for_its_end():
    stage = Stage(3, retry={"budget": 0.2, "budget_floor": 0})
    stage.all(refused)
    stage.takes = 0.0
    stage.calls(1000)
    budget = stage.status()["budget"]
    assert 0.7 * budget["allowed"] < budget["retries"] < 0.9 * budget["allowed"]


def test_a_call_is_sent_again_when_a_node_is_back_also_to_the_one_it_had_asked():
    asked: list[str] = []

    def while_it_waits(seconds: float) -> None:
        for service in balancer.services.values():
            service.mark(asked[-1], "up", reason="back")

    settings = {"services": {"s": {"nodes": ["http://n0:80", "http://n1:80"], "retry": {"budget_floor": 0}}}}
    balancer = Balancer(settings, clock=FakeClock(), rng=random.Random(1), sleep=while_it_waits)
    dead = True

    @balancer.call("s")
    def call(node: Node) -> str:
        asked.append(node.name)
        if dead or node.name != asked[-2]:
            raise ConnectionRefusedError(111, "Connection refused")
        return "answer"

    while balancer.status()["services"]["s"]["budget"]["retries"] < 20:
        with suppress(ConnectionRefusedError):
            call()
    before = len(asked)
    dead = False
    assert call() == "answer"
    assert len(set(asked[before:])) == 1


def test_the_outage_gets_no_more_for_it_and_callers_their_own_error_a_little_later():
    stage = out()
    before = len(stage.sent)
    with pytest.raises(ConnectionRefusedError) as caught:
        stage.call(idempotent=True)
    assert len(stage.sent) == before + 1
    assert not getattr(caught.value, "__notes__", [])  # there was but one try
    assert 0.0 < seconds(stage) < 0.05


@pytest.mark.parametrize("fault", [reset, unavailable, FAULTS["timeout"]])
def test_what_may_have_reached_a_replica_does_not_wait(fault: Callable[[], object]):
    stage = out()
    stage.all(fault)
    assert seconds(stage, idempotent=True) == 0.0


def test_nobody_waits_who_has_no_time_for_it():
    stage = out()
    assert seconds(stage, timeout=0.02) == 0.0


def test_nobody_waits_where_there_are_no_retries():
    assert seconds(out({"budget": 0, "budget_floor": 0})) == 0.0
    assert seconds(out({"attempts": 1})) == 0.0


def test_nobody_waits_while_a_node_is_good():
    stage = Stage(3, retry=POOR)
    stage.all(refused)
    stage.does["n0"] = Answer
    stage.takes = 0.0
    assert seconds(stage) == 0.0


def test_the_only_node_fails_as_quickly_as_ever():
    assert seconds(out(nodes=1)) == 0.0


def test_a_loop_ends_with_the_error_of_its_last_try():
    stage, tries = out(), []

    def loop() -> None:
        for attempt in stage.service.attempts():
            with attempt as node:
                tries.append(node.host)
                raise ConnectionRefusedError(111, "Connection refused")

    with pytest.raises(ConnectionRefusedError):
        loop()
    assert len(tries) == 1


def test_while_another_is_good_no_call_fails_that_goes_to_a_node_which_is_only_kept_in():
    stage = Stage(3, strategy="random", retry={"budget": 0.0, "budget_floor": 0.1})
    stage.all(refused)
    stage.calls(30, idempotent=True)
    stage.does = {"n1": refused, "n2": refused}
    stage.balancer["s"].mark("n0:80", "up", reason="back")
    stage.takes = 0.0
    stage.sent.clear()
    for _ in range(200):
        stage.call()
    assert stage.sent.count("n0") == 200
    assert 1 < len(stage.sent) - 200 < 40
