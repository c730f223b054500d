"""What the calls themselves say of a node: when it is put out, when it rests, and how it comes back."""

import math
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.engine.stage import FAULTS, Answer, Stage, refused, reset, unavailable

AT_ONCE = ("refused", "dns", "tls")
IN_A_ROW = ("connect_timeout", "timeout", "reset", "protocol", "unavailable")
NOBODYS = ("deadline", "cancelled", "application")


def fails(stage: Stage, host: str, kind: str, times: int = 1) -> None:
    """Calls to `host` that end like that, one after the other; other hosts are well."""
    for _ in range(times):
        call = stage.open_on(host, timeout=2.0 if kind == "deadline" else None)
        stage.clock.advance(2.0 if kind == "deadline" else 0.01)
        call.end(FAULTS[kind])


def put_out(stage: Stage, host: str = "n0") -> None:
    fails(stage, host, "refused")
    assert stage.states()[host] == "ejected"


def time_out(stage: Stage, host: str = "n0") -> float:
    (mark,) = stage.told(host)["marks"]
    assert mark["kind"] == "ejected"
    return round(mark["until"] - mark["since"], 4)  # both are seconds since 1970: what is behind that is noise


# -- what each kind of fault does to the node


@pytest.mark.parametrize("kind", AT_ONCE)
def test_a_node_that_cannot_be_reached_is_out_at_once(kind: str):
    stage = Stage(3)
    fails(stage, "n0", kind)
    assert stage.states() == {"n0": "ejected", "n1": "up", "n2": "up"}
    assert stage.available() == {"n1", "n2"}
    (event,) = stage.happened("ejected")
    assert (event.node, event.source, event.fault) == ("n0:80", "traffic", kind)


@pytest.mark.parametrize("kind", IN_A_ROW)
def test_five_failures_in_a_row_put_a_node_out_and_four_do_not(kind: str):
    stage = Stage(3, ejection={"success_rate": 0})
    fails(stage, "n0", kind, 4)
    stage.open_on("n0").end()
    fails(stage, "n0", kind, 4)
    assert stage.states()["n0"] == "up"
    fails(stage, "n0", kind)
    assert stage.states() == {"n0": "ejected", "n1": "up", "n2": "up"}


@pytest.mark.parametrize("kind", ["server_error", *NOBODYS, "overload 429", "overload 503"])
def test_other_faults_put_no_node_out_however_often_they_come(kind: str):
    stage = Stage(1)
    fails(stage, "n0", kind, 50)
    pool = Stage(3, ejection={"success_rate": 0})
    for _ in range(20):
        fails(pool, "n0", kind)
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
    fails(stage, "n0", kind)
    told = stage.told("n0")
    assert (told["calls"], told["failures"], told["success_rate"]) == (1, failures, rate)


@pytest.mark.parametrize("kind", ["server_error", "unavailable", "reset"])
def test_a_success_rate_clearly_below_the_peers_puts_a_node_out(kind: str):
    stage = Stage(3, ejection={"consecutive": 0})
    for _ in range(8):
        if "n0" in stage.available():
            stage.open_on("n0").end()
            fails(stage, "n0", kind)
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
    fails(stage, "n0", "reset", 100)
    assert stage.states()["n0"] == "up"


def test_an_application_error_after_a_whole_answer_counts_as_one():
    stage = Stage(3, ejection={"success_rate": 0})
    fails(stage, "n0", "reset", 4)
    stage.open_on("n0").end(lambda: Answer(404))
    fails(stage, "n0", "reset", 4)
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
    put_out(stage)
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
    put_out(stage, "n0")
    fails(stage, "n1", "reset", 5)
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


# -- time out


def test_the_first_time_out_is_the_base_half_of_it_by_lot():
    spans = []
    for seed in range(60):
        stage = Stage(3, seed=seed, ejection={"base": 4})
        put_out(stage)
        spans.append(time_out(stage))
    assert 2 <= min(spans) < 2.3
    assert 3.7 < max(spans) <= 4


def test_a_relapse_doubles_the_time_out_up_to_the_most():
    stage = Stage(3, ejection={"base": 4, "max": 20})
    put_out(stage)
    for longest in (8, 16, 20, 20):
        stage.clock.advance(time_out(stage) + 0.001)
        stage.open_on("n0").end(refused)
        assert longest / 2 <= time_out(stage) <= longest


def relapsed(stage: Stage, times: int) -> None:
    put_out(stage)
    for _ in range(times):
        stage.clock.advance(time_out(stage) + 0.001)
        stage.open_on("n0").end(refused)


def test_time_alone_does_not_shorten_the_next_time_out():
    stage = Stage(3, ejection={"base": 4})
    relapsed(stage, 3)
    stage.clock.advance(5000)
    stage.open_on("n0").end(refused)
    assert 32 <= time_out(stage) <= 64


@pytest.mark.parametrize(("seconds", "least", "most"), [(1, 16, 64), (25, 4, 8), (100, 2, 4)])
def test_success_shortens_the_next_time_out(seconds: int, least: float, most: float):
    stage = Stage(3, ejection={"base": 4}, slow_start={"window": 0})
    relapsed(stage, 3)
    stage.clock.advance(time_out(stage) + 0.001)
    for _ in range(seconds):
        stage.open_on("n0").end()
        stage.clock.advance(1)
    put_out(stage)
    assert least <= time_out(stage) <= most


# -- the trial


def test_after_its_time_out_a_node_gets_exactly_one_call():
    stage = Stage(3)
    stage.takes = 0
    put_out(stage)
    stage.clock.advance(time_out(stage) - 0.001)
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
    put_out(stage)
    stage.clock.advance(5)
    stage.open_on("n0").end()
    assert stage.states() == {"n0": "slow_start", "n1": "up", "n2": "up"}
    assert stage.available() == {"n0", "n1", "n2"}
    assert stage.happened("readmitted")[0].source == "traffic"
    stage.clock.advance(10)
    assert stage.states()["n0"] == "up"


@pytest.mark.parametrize("kind", [*AT_ONCE, *IN_A_ROW])
def test_its_failure_puts_it_out_again(kind: str):
    stage = Stage(3)
    put_out(stage)
    stage.clock.advance(5)
    stage.open_on("n0").end(FAULTS[kind])
    assert stage.states()["n0"] == "ejected"
    assert 5 <= time_out(stage) <= 10
    assert "n0" not in stage.calls(30)


@pytest.mark.parametrize("kind", NOBODYS)
def test_a_trial_that_proves_nothing_is_given_to_the_next_call(kind: str):
    stage = Stage(3)
    put_out(stage)
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
    put_out(stage)
    stage.clock.advance(5)
    stage.open()
    stage.clock.advance(59)
    assert "n0" not in stage.calls(30)
    stage.clock.advance(1)
    assert stage.calls(1) == {"n0": 1}
    assert stage.states()["n0"] == "slow_start"


def test_a_trial_that_is_told_to_come_back_later_does():
    stage = Stage(3)
    put_out(stage)
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
    put_out(stage)
    stage.clock.advance(later)
    straggler.end()
    assert stage.states()["n0"] != "slow_start"
    assert "n0" not in stage.available()


@pytest.mark.parametrize("kind", [*AT_ONCE, *IN_A_ROW])
def test_a_call_begun_before_the_ejection_does_not_put_out_again(kind: str):
    stage = Stage(3)
    stragglers = [stage.open_on("n0") for _ in range(20)]
    stage.clock.advance(0.1)
    put_out(stage)
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
    put_out(stage)
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
    put_out(stage)
    stage.clock.advance(5)
    stage.open_on("n0").end()
    stage.clock.advance(1)
    for straggler in stragglers:
        straggler.end(FAULTS[kind])
    assert stage.states()["n0"] == "slow_start"
    assert stage.told("n0")["in_flight"] == 0


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
    put_out(stage, "n0")
    stage.clock.advance(1)
    fails(stage, "n1", "reset", 5)
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


# -- rest


def rests(stage: Stage, host: str = "n0") -> float:
    """Seconds that the node still rests."""
    (mark,) = stage.told(host)["marks"]
    assert (mark["kind"], mark["source"], stage.states()[host]) == ("resting", "traffic", "resting")
    return mark["until"] - mark["since"]


@pytest.mark.parametrize("status", [429, 503])
def test_an_overloaded_node_rests_as_long_as_it_asks_and_comes_back_at_its_full_share(status: int):
    stage = Stage(3)
    stage.takes = 0
    stage.open_on("n0").end(lambda: Answer(status, Retry_After="7"))
    assert rests(stage) == pytest.approx(7)
    stage.clock.advance(6.9)
    assert stage.calls(20) == {"n1": 10, "n2": 10}
    stage.clock.advance(0.2)
    assert stage.states()["n0"] == "up"
    assert stage.calls(30) == {"n0": 10, "n1": 10, "n2": 10}
    assert [each.event for each in stage.events if each.event != "failed"] == ["resting", "expired"]


def test_a_rest_is_capped_and_asked_for_again_only_extended():
    stage = Stage(3, retry={"retry_after_max": 60})
    calls = [stage.open_on("n0") for _ in range(3)]
    calls[0].end(lambda: Answer(429, Retry_After="3600"))
    assert rests(stage) == pytest.approx(60)
    stage.clock.advance(1)
    calls[1].end(lambda: Answer(429, Retry_After="2"))
    assert rests(stage) == pytest.approx(59)
    calls[2].end(lambda: Answer(429))
    assert rests(stage) == pytest.approx(59)


def test_a_rest_that_is_not_named_doubles_from_one_to_thirty_seconds():
    stage = Stage(3)
    for expected in (1, 2, 4, 8, 16, 30, 30):
        stage.open_on("n0").end(lambda: Answer(429))
        assert rests(stage) == pytest.approx(expected)
        stage.clock.advance(expected)
    stage.open_on("n0").end()
    stage.open_on("n0").end(lambda: Answer(429))
    assert rests(stage) == pytest.approx(1)


def test_calls_refused_together_are_one_overload():
    stage = Stage(3)
    calls = [stage.open_on("n0") for _ in range(12)]
    stage.clock.advance(0.1)
    for call in calls[:10]:
        call.end(lambda: Answer(429))
    assert rests(stage) == pytest.approx(1)
    calls[10].end()
    stage.clock.advance(1)
    stage.open_on("n0").end(lambda: Answer(429))
    assert rests(stage) == pytest.approx(2)


def test_a_retry_after_of_nothing_is_no_rest():
    stage = Stage(3)
    stage.open_on("n0").end(lambda: Answer(429, Retry_After="0"))
    assert stage.states()["n0"] == "up"


def test_where_all_rest_the_pool_fails_open_on_them():
    stage = Stage(3, retry={"attempts": 1})
    stage.all(FAULTS["overload 429"])
    stage.calls(6)
    assert set(stage.states().values()) == {"resting"}
    assert stage.available() == {"n0", "n1", "n2"}
    stage.does.clear()
    assert stage.call().status_code == 200


def test_a_lone_node_that_rests_is_still_asked():
    stage = Stage(1)
    stage.open_on("n0").end(lambda: Answer(429, Retry_After="60"))
    assert stage.available() == {"n0"}
    assert stage.call().status_code == 200


def test_a_resting_node_that_cannot_be_reached_is_put_out():
    stage = Stage(3)
    late = stage.open_on("n0")
    stage.open_on("n0").end(lambda: Answer(429, Retry_After="60"))
    late.end(refused)
    assert stage.states()["n0"] == "ejected"


def test_resting_is_better_than_ejected_where_one_must_stay_in():
    stage = Stage(2)
    late = stage.open_on("n1")
    put_out(stage, "n0")
    late.end(lambda: Answer(429, Retry_After="60"))
    assert stage.available() == {"n0", "n1"}
    four = Stage(4, ejection={"keep": 0.5})
    put_out(four, "n0")
    late = [four.open_on("n1"), four.open_on("n2")]
    late[0].end(refused)
    late[1].end(lambda: Answer(429, Retry_After="60"))
    assert four.available() == {"n2", "n3"}
