"""How long a node that was put out stays out, and how one call shows whether it is back."""

import pytest

from tests.engine.stage import FAULTS, Stage, refused

AT_ONCE = ("refused", "dns", "tls")
IN_A_ROW = ("connect_timeout", "timeout", "reset", "protocol", "unavailable")
NOBODYS = ("deadline", "cancelled", "application")


# -- time out


def test_the_first_time_out_is_the_base_half_of_it_by_lot():
    spans = []
    for seed in range(60):
        stage = Stage(3, seed=seed, ejection={"base": 4})
        stage.put_out()
        spans.append(stage.time_out())
    assert 2 <= min(spans) < 2.3
    assert 3.7 < max(spans) <= 4


def test_a_relapse_doubles_the_time_out_up_to_the_most():
    stage = Stage(3, ejection={"base": 4, "max": 20})
    stage.put_out()
    for longest in (8, 16, 20, 20):
        stage.clock.advance(stage.time_out() + 0.001)
        stage.open_on("n0").end(refused)
        assert longest / 2 <= stage.time_out() <= longest


def relapsed(stage: Stage, times: int) -> None:
    stage.put_out()
    for _ in range(times):
        stage.clock.advance(stage.time_out() + 0.001)
        stage.open_on("n0").end(refused)


def test_time_alone_does_not_shorten_the_next_time_out():
    stage = Stage(3, ejection={"base": 4})
    relapsed(stage, 3)
    stage.clock.advance(5000)
    stage.open_on("n0").end(refused)
    assert 32 <= stage.time_out() <= 64


@pytest.mark.parametrize(("seconds", "least", "most"), [(1, 16, 64), (25, 4, 8), (100, 2, 4)])
def test_success_shortens_the_next_time_out(seconds: int, least: float, most: float):
    stage = Stage(3, ejection={"base": 4}, slow_start={"window": 0})
    relapsed(stage, 3)
    stage.clock.advance(stage.time_out() + 0.001)
    for _ in range(seconds):
        stage.open_on("n0").end()
        stage.clock.advance(1)
    stage.put_out()
    assert least <= stage.time_out() <= most


# -- the trial


def test_after_its_time_out_a_node_gets_exactly_one_call():
    stage = Stage(3)
    stage.takes = 0
    stage.put_out()
    stage.clock.advance(stage.time_out() - 0.001)
    assert "n0" not in stage.calls(30)
    stage.clock.advance(0.002)
    trial = stage.open()
    assert trial.node.host == "n0"
    assert stage.states()["n0"] == "trial"
    assert "n0" not in stage.calls(100)
    trial.end()
    assert [each.node for each in stage.happened("trial")] == ["n0:80"]


def test_its_success_readmits_with_slow_start():
    stage = Stage(3)
    stage.put_out()
    stage.clock.advance(5)
    trial = stage.open_on("n0")
    stage.clock.advance(0.04)
    trial.end()
    assert stage.states() == {"n0": "slow_start", "n1": "up", "n2": "up"}
    assert stage.told("n0")["latency_ms"] == pytest.approx(40)
    assert stage.happened("readmitted")[0].reason == "a call was answered in 0.040 s"
    assert stage.available() == {"n0", "n1", "n2"}
    assert stage.happened("readmitted")[0].source == "traffic"
    stage.clock.advance(10)
    assert stage.states()["n0"] == "up"


@pytest.mark.parametrize("kind", [*AT_ONCE, *IN_A_ROW])
def test_its_failure_puts_it_out_again(kind: str):
    stage = Stage(3)
    stage.put_out()
    stage.clock.advance(5)
    stage.open_on("n0").end(FAULTS[kind])
    assert stage.states()["n0"] == "ejected"
    assert 5 <= stage.time_out() <= 10
    assert "n0" not in stage.calls(30)


@pytest.mark.parametrize("kind", NOBODYS)
def test_a_trial_that_proves_nothing_is_given_to_the_next_call(kind: str):
    stage = Stage(3)
    stage.put_out()
    stage.clock.advance(5)
    for _ in range(3):
        trial = stage.open(timeout=2.0 if kind == "deadline" else None)
        assert trial.node.host == "n0"
        stage.clock.advance(2)
        trial.end(FAULTS[kind])
    assert stage.states()["n0"] == "trial"
    stage.open_on("n0").end()
    assert stage.states()["n0"] == "slow_start"


def test_a_trial_that_never_ends_is_given_to_another_call_after_a_minute():
    stage = Stage(3)
    stage.put_out()
    stage.clock.advance(5)
    stage.open()
    stage.clock.advance(59)
    assert "n0" not in stage.calls(30)
    stage.clock.advance(1)
    assert stage.calls(1) == {"n0": 1}
    assert stage.states()["n0"] == "slow_start"


def test_a_trial_that_is_told_to_come_back_later_does():
    stage = Stage(3)
    stage.put_out()
    stage.clock.advance(5)
    stage.does["n0"] = FAULTS["overload 429"]
    assert stage.calls(1, attempts=1) == {"n0": 1}
    assert "n0" not in stage.calls(30)
    stage.clock.advance(7)
    stage.does.clear()
    assert stage.calls(1) == {"n0": 1}
    assert stage.states()["n0"] == "slow_start"


def test_with_consistent_hash_a_nodes_own_keys_are_its_trial():
    stage = Stage(3, strategy="consistent_hash")
    keys = {stage.service.pick(key).host: key for key in map(str, range(100))}
    stage.open(key=keys["n0"]).end(refused)
    stage.clock.advance(5)
    assert stage.open(key=keys["n1"]).node.host == "n1"
    assert stage.service.pick(keys["n0"]).host != "n0"
    trial = stage.open(key=keys["n0"])
    assert trial.node.host == "n0"
    assert stage.open(key=keys["n0"]).node.host != "n0"
    trial.end()
    assert stage.open(key=keys["n0"]).node.host == "n0"


# -- calls that were under way


@pytest.mark.parametrize("later", [1, 5])
def test_a_call_begun_before_the_ejection_does_not_readmit(later: float):
    stage = Stage(3)
    straggler = stage.open_on("n0")
    stage.clock.advance(0.1)
    stage.put_out()
    stage.clock.advance(later)
    straggler.end()
    assert stage.states()["n0"] != "slow_start"
    assert "n0" not in stage.available()


@pytest.mark.parametrize("kind", [*AT_ONCE, *IN_A_ROW, "overload 429", "overload 503"])
def test_a_call_begun_before_the_ejection_does_not_put_out_again(kind: str):
    stage = Stage(3)
    stragglers = [stage.open_on("n0") for _ in range(20)]
    stage.clock.advance(0.1)
    stage.put_out()
    until = stage.told("n0")["marks"][0]["until"]
    for straggler in stragglers[:10]:
        straggler.end(FAULTS[kind])
    stage.clock.advance(5)
    for straggler in stragglers[10:]:
        straggler.end(FAULTS[kind])
    assert stage.told("n0")["marks"][0]["until"] == until
    assert stage.calls(1) == {"n0": 1}


@pytest.mark.parametrize("kind", ["refused", "reset", "cancelled", "overload 429"])
def test_a_call_begun_before_the_trial_does_not_decide_it(kind: str):
    stage = Stage(3)
    straggler = stage.open_on("n0")
    stage.clock.advance(0.1)
    stage.put_out()
    stage.clock.advance(5)
    trial = stage.open()
    straggler.end(FAULTS[kind])
    assert stage.states()["n0"] == "trial"
    assert "n0" not in stage.calls(30)
    trial.end()
    assert stage.states()["n0"] == "slow_start"


@pytest.mark.parametrize("kind", [*AT_ONCE, *IN_A_ROW])
def test_a_call_begun_before_the_readmission_does_not_put_out(kind: str):
    stage = Stage(3)
    stragglers = [stage.open_on("n0") for _ in range(20)]
    stage.clock.advance(0.1)
    stage.put_out()
    stage.clock.advance(5)
    stage.open_on("n0").end()
    stage.clock.advance(1)
    for straggler in stragglers:
        straggler.end(FAULTS[kind])
    assert stage.states()["n0"] == "slow_start"
    assert stage.told("n0")["in_flight"] == 0


# -- where a probe decides


def test_a_passing_probe_readmits_a_node_whose_time_out_is_over_and_not_before():
    stage = Stage(3)
    stage.put_out()
    pool = stage.service.pool
    peer = pool.roster.find("n0:80")
    stage.clock.advance(2)
    pool.probe_passed(peer, stage.clock())
    assert stage.states()["n0"] == "ejected"
    stage.clock.advance(3)
    pool.probe_passed(peer, stage.clock())
    assert stage.states()["n0"] == "slow_start"
    assert [(each.event, each.source) for each in stage.events[-1:]] == [("readmitted", "probe")]


def test_a_node_that_waits_for_its_probe_gets_no_trial():
    stage = Stage(3)
    pool = stage.service.pool
    pool.must_wait = lambda peer, now: True
    stage.put_out()
    stage.clock.advance(5)
    assert "n0" not in stage.calls(30)
    assert stage.states()["n0"] == "ejected"
    pool.must_wait = lambda peer, now: False
    stage.clock.advance(5)
    assert stage.calls(1) == {"n0": 1}


def test_a_node_that_fails_its_probe_gets_no_trial():
    stage = Stage(3)
    stage.put_out()
    stage.service.mark("n0:80", "down", source="probe", reason="3 checks failed")
    stage.clock.advance(5)
    assert "n0" not in stage.calls(30)
    stage.service.clear("n0:80", source="probe")
    assert stage.calls(1) == {"n0": 1}
