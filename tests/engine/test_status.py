"""What `Balancer.status` tells, as ``GET /status`` does."""

import json
import time

import pytest

from tests.engine.stage import FAULTS, Answer, Stage, refused

NODE_KEYS = {
    *("url", "name", "state", "weight", "zone", "priority", "in_flight"),
    *("latency_ms", "success_rate", "calls", "failures", "marks"),
}


def test_before_the_first_call():
    stage = Stage([{"url": "http://n0:80/app", "weight": 2.5, "zone": "a", "priority": 3, "metadata": {"x": object()}}])
    status = stage.balancer.status()
    (node,) = stage.status()["nodes"]
    assert set(status) == {"services"}
    assert set(stage.status()) == {"strategy", "nodes", "budget"}
    assert node == {
        "url": "http://n0:80/app",
        "name": "n0:80",
        "state": "up",
        "weight": 2.5,
        "zone": "a",
        "priority": 3,
        "in_flight": 0,
        "latency_ms": None,
        "success_rate": None,
        "calls": 0,
        "failures": 0,
        "marks": [],
    }
    assert json.loads(json.dumps(status)) == status


def test_services_and_strategies_by_name():
    stage = Stage(1, strategy={"name": "random"})
    assert list(stage.balancer.status()["services"]) == ["s"]
    assert stage.status()["strategy"] == "random"


def test_after_calls():
    stage = Stage(1)
    stage.takes = 0.25
    stage.call()
    told = stage.told("n0")
    assert (told["calls"], told["failures"], told["success_rate"]) == (1, 0, 1.0)
    assert told["latency_ms"] == pytest.approx(250)
    stage.does["n0"] = lambda: Answer(500)
    stage.call()
    stage.does["n0"] = lambda: Answer(429)
    stage.calls(1, attempts=1)
    stage.does["n0"] = FAULTS["application"]
    stage.calls(1)
    told = stage.told("n0")
    assert (told["calls"], told["failures"], told["success_rate"]) == (4, 2, 0.5)
    stage.clock.advance(60)
    told = stage.told("n0")
    assert (told["calls"], told["failures"], told["success_rate"]) == (4, 2, None)


@pytest.mark.parametrize("kind", ["cancelled", "deadline"])
def test_a_call_that_ended_without_an_answer_took_at_least_so_long(kind: str):
    stage = Stage(1)
    stage.call()
    call = stage.open(timeout=5.0 if kind == "deadline" else None)
    stage.clock.advance(5)
    call.end(FAULTS[kind])
    assert stage.told("n0")["latency_ms"] == pytest.approx(5000)
    call = stage.open()
    stage.clock.advance(0.001)
    call.end(FAULTS["cancelled"])
    assert stage.told("n0")["latency_ms"] == pytest.approx(5000)


def test_a_functions_own_error_says_nothing_of_how_quick_its_node_is():
    stage = Stage(1)
    stage.call()
    call = stage.open()
    stage.clock.advance(5)
    call.end(FAULTS["application"])
    assert stage.told("n0")["latency_ms"] == pytest.approx(10)


def test_calls_and_failures_are_totals_that_ejection_does_not_forget():
    stage = Stage(3)
    stage.does["n0"] = refused
    for _ in range(5):
        stage.calls(9, attempts=1)
        stage.clock.advance(40)
    told = stage.told("n0")
    assert told["calls"] == told["failures"] == 5
    assert sum(each["calls"] for each in stage.status()["nodes"]) == 45


def test_calls_in_flight():
    stage = Stage(1)
    calls = [stage.open() for _ in range(3)]
    assert stage.told("n0")["in_flight"] == 3
    for call in calls:
        call.end()
    assert stage.told("n0")["in_flight"] == 0


def test_marks_are_told_with_times_since_the_epoch():
    stage = Stage(2)
    stage.service.mark("n0:80", "drain", reason="maintenance", ttl=60)
    stage.service.mark("n0:80", "down", source="alert", reason="firing")
    first, second = stage.told("n0")["marks"]
    assert first["since"] == pytest.approx(time.time(), abs=600)
    assert first["until"] == pytest.approx(first["since"] + 60)
    assert {key: first[key] for key in ("source", "kind", "reason")} == {
        "source": "operator",
        "kind": "drain",
        "reason": "maintenance",
    }
    assert (second["source"], second["kind"], second["until"]) == ("alert", "down", None)
    stage.clock.advance(5)
    assert stage.told("n0")["marks"][0]["since"] == pytest.approx(first["since"])


def test_the_weight_is_the_one_in_force():
    stage = Stage([{"url": "http://n0:80", "weight": 4}, "http://n1:80"])
    stage.service.mark("n0:80", "weight", weight=0.5, reason="half broken")
    assert stage.told("n0")["weight"] == 2
    stage.service.mark("n0:80", "down", reason="?")
    stage.service.mark("n0:80", "up", reason="?")
    assert stage.told("n0")["weight"] == pytest.approx(0.4)
    stage.clock.advance(5)
    assert stage.told("n0")["weight"] == pytest.approx(2)
    stage.clock.advance(5)
    assert stage.told("n0")["weight"] == 4


def put_out(stage: Stage) -> None:
    stage.open_on("n0").end(refused)


STATES = {
    "up": lambda stage: None,
    "draining": lambda stage: stage.service.mark("n0:80", "drain", reason="?"),
    "down": lambda stage: stage.service.mark("n0:80", "down", source="self", reason="?"),
    "resting": lambda stage: stage.open_on("n0").end(FAULTS["overload 429"]),
    "ejected": put_out,
}


@pytest.mark.parametrize("state", STATES)
def test_states(state: str):
    stage = Stage(3)
    STATES[state](stage)
    assert stage.states()["n0"] == state
    assert ("n0" in stage.available()) == (state == "up")


def test_the_states_of_a_node_that_comes_back():
    stage = Stage(3)
    put_out(stage)
    stage.clock.advance(5)
    assert stage.states()["n0"] == "trial"
    trial = stage.open_on("n0")
    assert stage.states()["n0"] == "trial"
    trial.end()
    assert stage.states()["n0"] == "slow_start"
    stage.clock.advance(10)
    assert stage.states()["n0"] == "up"


def test_a_probe_that_fails_is_down_and_one_in_a_pool_that_fails_open_is_on_trial():
    stage = Stage(2)
    stage.service.mark("n0:80", "down", source="probe", reason="3 checks failed")
    assert stage.states() == {"n0": "down", "n1": "up"}
    stage.service.mark("n1:80", "down", source="probe", reason="3 checks failed")
    assert stage.states() == {"n0": "trial", "n1": "trial"}
    assert stage.available() == {"n0", "n1"}


def test_an_operators_word_is_told_before_the_others():
    stage = Stage(3)
    put_out(stage)
    stage.service.mark("n0:80", "drain", source="alert", reason="?")
    stage.service.mark("n0:80", "down", source="discovery", reason="?")
    assert stage.states()["n0"] == "draining"
    stage.service.mark("n0:80", "down", reason="?")
    assert stage.states()["n0"] == "down"
    assert [mark["source"] for mark in stage.told("n0")["marks"]] == ["traffic", "alert", "discovery", "operator"]


def test_the_budget():
    stage = Stage(3, retry={"budget": 0.5, "budget_floor": 0})
    stage.all(refused)
    stage.calls(10)
    assert stage.status()["budget"] | {"refused": 0} == {
        "calls": 10,
        "retries": 5,
        "allowed": 5,
        "refused": 0,
        "share": 0.5,
        "floor": 0,
    }
    assert stage.status()["budget"]["refused"] >= 5
    stage.clock.advance(60)
    assert stage.status()["budget"]["calls"] == stage.status()["budget"]["retries"] == 0


def test_the_keys_of_a_node_are_always_the_same():
    stage = Stage(3)
    stage.all(refused)
    stage.calls(10)
    assert all(set(node) == NODE_KEYS for node in stage.status()["nodes"])
    json.dumps(stage.balancer.status(), allow_nan=False)
