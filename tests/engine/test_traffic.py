"""What the calls themselves say of a node, when that puts it out, and how much of the pool may go."""

import math
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.stage import FAULTS, Answer, Stage, refused, reset, unavailable

AT_ONCE = ("refused", "dns", "tls")
IN_A_ROW = ("connect_timeout", "timeout", "reset", "protocol", "unavailable")
NOBODYS = ("deadline", "cancelled", "application")


# -- what each kind of fault does to the node


@pytest.mark.parametrize("kind", AT_ONCE)
def test_a_node_that_cannot_be_reached_is_out_at_once(kind: str):
    stage = Stage(3)
    stage.fails("n0", kind)
    assert stage.states() == {"n0": "ejected", "n1": "up", "n2": "up"}
    assert stage.available() == {"n1", "n2"}
    (event,) = stage.happened("ejected")
    assert (event.node, event.source, event.fault) == ("n0:80", "traffic", kind)


@pytest.mark.parametrize("kind", IN_A_ROW)
def test_five_failures_in_a_row_put_a_node_out_and_four_do_not(kind: str):
    stage = Stage(3, ejection={"success_rate": 0})
    stage.fails("n0", kind, 4)
    stage.open_on("n0").end()
    stage.fails("n0", kind, 4)
    assert stage.states()["n0"] == "up"
    stage.fails("n0", kind)
    assert stage.states() == {"n0": "ejected", "n1": "up", "n2": "up"}


@pytest.mark.parametrize("kind", ["server_error", *NOBODYS, "overload 429", "overload 503"])
def test_other_faults_put_no_node_out_however_often_they_come(kind: str):
    stage = Stage(1)
    stage.fails("n0", kind, 50)
    pool = Stage(3, ejection={"success_rate": 0})
    for _ in range(20):
        pool.fails("n0", kind)
        pool.clock.advance(8)
    assert not stage.happened("ejected")
    assert not pool.happened("ejected")
    assert pool.states()["n0"] == "up"


@pytest.mark.parametrize(
    ("kind", "rate", "failures"),
    [
        *((kind, 0.0, 1) for kind in (*AT_ONCE, *IN_A_ROW, "server_error")),
        *((kind, None, 1) for kind in ("overload 429", "overload 503")),
        *((kind, None, 0) for kind in NOBODYS),
    ],
)
def test_what_lowers_the_success_rate(kind: str, rate: float | None, failures: int):
    stage = Stage(1)
    stage.fails("n0", kind)
    told = stage.told("n0")
    assert (told["calls"], told["failures"], told["success_rate"]) == (1, failures, rate)


@pytest.mark.parametrize("kind", ["server_error", "unavailable", "reset"])
def test_a_success_rate_clearly_below_the_peers_puts_a_node_out(kind: str):
    stage = Stage(3, ejection={"consecutive": 0})
    for _ in range(8):
        if "n0" in stage.available():
            stage.open_on("n0").end()
            stage.fails("n0", kind)
    assert stage.states() == {"n0": "ejected", "n1": "up", "n2": "up"}
    assert "of its peers" in stage.happened("ejected")[0].reason


def test_a_failure_that_all_share_is_no_nodes_fault():
    stage = Stage(3, ejection={"consecutive": 0}, retry={"attempts": 1})
    script = deque([500, 500, 500, 200, 200, 200] * 100)
    stage.all(lambda: Answer(script.popleft()))
    stage.calls(600)
    assert not stage.happened("ejected")
    assert all(each["success_rate"] < 0.8 for each in stage.status()["nodes"])


def test_both_rules_can_be_turned_off():
    stage = Stage(3, ejection={"consecutive": 0, "success_rate": 0})
    stage.fails("n0", "reset", 100)
    assert stage.states()["n0"] == "up"


def test_an_application_error_after_a_whole_answer_counts_as_one():
    stage = Stage(3, ejection={"success_rate": 0})
    stage.fails("n0", "reset", 4)
    stage.open_on("n0").end(lambda: Answer(404))
    stage.fails("n0", "reset", 4)
    assert stage.states()["n0"] == "up"


# -- how much of the pool may go


def test_a_lone_node_is_never_put_out():
    stage = Stage(1)
    stage.all(refused)
    stage.calls(50)
    assert stage.states() == {"n0": "up"}
    assert stage.available() == {"n0"}
    assert not stage.happened("ejected")
    assert not stage.happened("fail_open")


def test_of_two_nodes_one_may_be_put_out():
    stage = Stage(2)
    stage.put_out()
    assert stage.available() == {"n1"}
    assert stage.calls(20) == {"n1": 20}


def test_of_two_sick_nodes_both_stay_in():
    stage = Stage(2)
    stage.all(refused)
    stage.calls(20)
    assert stage.available() == {"n0", "n1"}
    assert set(stage.states().values()) == {"trial"}
    assert stage.happened("fail_open")[0].node is None


def test_of_three_nodes_one_is_out_and_the_least_bad_of_two_sick_ones_stays_in_at_a_small_share():
    stage = Stage(3)
    stage.put_out("n0")
    stage.fails("n1", "reset", 5)
    assert len(stage.available()) == 2
    assert "n2" in stage.available()
    stage.takes = 0
    stage.does = {"n0": refused, "n1": refused}
    seen = stage.calls(500, attempts=1)
    (kept,) = stage.available() - {"n2"}
    assert set(seen) == {"n2", kept}
    assert 5 < seen[kept] < 100


@pytest.mark.parametrize("nodes", [1, 2, 3, 5])
def test_with_keep_at_one_nobody_leaves(nodes: int):
    stage = Stage(nodes, ejection={"keep": 1.0})
    stage.all(refused)
    stage.calls(50)
    assert len(stage.available()) == nodes
    assert not stage.happened("ejected")


@given(
    nodes=st.integers(1, 12),
    keep=st.floats(0, 1),
    sick=st.lists(st.tuples(st.integers(0, 11), st.sampled_from([refused, reset, unavailable])), max_size=40),
)
def test_automatic_ejection_leaves_what_keep_says(nodes: int, keep: float, sick: list):
    stage = Stage(nodes, ejection={"keep": keep})
    least = max(1, math.ceil(round(keep * nodes, 6)))
    for index, does in sick:
        stage.does[f"n{index % nodes}"] = does
        stage.calls(nodes * 3, attempts=1)
        assert len(stage.available()) >= least
    assert stage.in_flight() == 0


def test_ejection_and_rest_never_leave_a_call_without_a_node():
    stage = Stage(3, retry={"attempts": 1})
    for kind in ("refused", "overload 429", "unavailable", "tls", "overload 503"):
        stage.all(FAULTS[kind])
        assert sum(stage.calls(30).values()) == 30
        assert stage.available()


def kept(stage: Stage) -> str:
    """The only one of n0 and n1 that may be chosen."""
    (host,) = stage.available() & {"n0", "n1"}
    return host


def test_the_least_bad_is_the_one_that_failed_least():
    stage = Stage(3)
    stage.fails("n0", "reset", 5)
    stage.fails("n1", "refused")
    assert kept(stage) == "n1"


def test_who_is_the_least_bad_is_looked_at_again_every_second():
    stage = Stage(3, ejection={"base": 300, "max": 300})
    stage.fails("n0", "reset", 5)
    stage.fails("n1", "refused")
    stage.clock.advance(0.1)
    stage.fails("n1", "reset", 8)
    assert kept(stage) == "n1"
    stage.clock.advance(1)
    assert kept(stage) == "n0"


def test_resting_is_better_than_put_out_even_after_more_failures():
    stage = Stage(3)
    stage.fails("n0", "reset", 4)
    late = stage.open_on("n0")
    stage.put_out("n1")
    late.end(FAULTS["overload 429"])
    assert kept(stage) == "n0"


def test_put_out_is_better_than_failing_its_probe():
    stage = Stage(3)
    stage.service.mark("n0:80", "down", source="probe", reason="3 checks failed")
    stage.fails("n1", "reset", 5)
    assert kept(stage) == "n1"


# -- failing open


def test_in_a_pool_that_fails_open_the_first_success_readmits():
    stage = Stage(3)
    stage.all(refused)
    stage.calls(30)
    stage.clock.advance(0.5)
    del stage.does["n1"]
    stage.calls(30)
    assert stage.states()["n1"] == "slow_start"
    assert stage.happened("readmitted")[0].node == "n1:80"


def test_back_from_a_total_outage_nobody_waits_for_minutes():
    stage = Stage(3)
    stage.all(refused)
    for _ in range(300):
        stage.clock.advance(1)
        stage.calls(1)
    stage.does.clear()
    stage.calls(10)
    assert stage.states()["n0"] == "slow_start" or len(stage.happened("readmitted")) >= 1
    before = len(stage.sent)
    assert sum(stage.calls(50).values()) == len(stage.sent) - before


def test_a_node_that_stays_in_only_because_it_must_comes_back_after_five_successes():
    stage = Stage(3, ejection={"base": 300, "max": 300})
    stage.put_out("n0")
    stage.clock.advance(1)
    stage.fails("n1", "reset", 5)
    kept = (stage.available() - {"n2"}).pop()
    for _ in range(4):
        stage.open_on(kept).end()
    assert stage.states()[kept] == "trial"
    stage.open_on(kept).end()
    assert stage.states()[kept] == "slow_start"


def test_the_pool_says_when_it_fails_open_and_when_no_more():
    stage = Stage(2)
    stage.all(refused)
    stage.calls(10)
    assert len(stage.happened("fail_open")) == 1
    stage.does.clear()
    stage.calls(30)
    stage.clock.advance(5)
    stage.calls(30)
    assert stage.happened("fail_open_ended")
    assert set(stage.states().values()) <= {"slow_start", "up"}
