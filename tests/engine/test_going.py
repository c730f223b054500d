"""A node that says it is going gets no new calls, and is found again soon after it is back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancemw.health import GOING, Mark
from balancemw.presence import STATE, time_to_go
from balancemw.self_reports import heed
from tests.engine.stage import FAULTS, Answer, Stage, refused
from tests.engine.ward import Ward, proven


def going(left: float | None = 5.0, status: int = 200) -> Answer:
    answer = Answer(status)
    answer.headers[STATE] = "draining" if left is None else f"draining; left={left}"
    return answer


def gone(left: float | None = 5.0, nodes: int = 3, **settings: object) -> Stage:
    """A stage whose n0 has said that it is going."""
    stage = Stage(nodes, **settings)
    stage.open_on("n0").end(lambda: going(left))
    return stage


# -- it is heeded


@pytest.mark.parametrize("status", [200, 404, 503])
def test_it_gets_no_new_calls_and_says_so_itself(status: int):
    stage = Stage(3)
    stage.open_on("n0").end(lambda: going(status=status))
    assert stage.states() == {"n0": "draining", "n1": "up", "n2": "up"}
    assert "n0" not in stage.calls(60)
    (event,) = stage.happened("drain")
    assert (event.node, event.source, event.reason) == ("n0:80", "self", GOING)
    (mark,) = [each for each in stage.told("n0")["marks"] if each["source"] == "self"]
    assert (mark["kind"], mark["until"] - mark["since"]) == ("drain", pytest.approx(7.5))


def test_decorated_functions_heed_it_too():
    stage = Stage(3)
    stage.does["n0"] = going
    seen = stage.calls(60)
    assert seen["n0"] == 1


def test_calls_in_flight_finish_and_change_nothing():
    stage = Stage(3)
    calls = [stage.open_on("n0") for _ in range(5)]
    calls[0].end(going)
    until = stage.told("n0")["marks"][0]["until"]
    stage.clock.advance(1)
    for call in calls[1:]:
        call.end(lambda: going(4.0))
    assert stage.told("n0")["marks"][0]["until"] == until
    assert len(stage.happened("drain")) == 1
    assert stage.told("n0")["in_flight"] == 0


@pytest.mark.parametrize("nodes", [1, 2])
def test_the_last_good_node_is_not_let_go(nodes: int):
    stage = Stage(nodes)
    if nodes == 2:
        stage.put_out("n1")
    stage.open_on("n0").end(going)
    assert stage.states()["n0"] == "up"
    assert stage.call().status_code == 200


def test_when_all_go_at_once_the_last_to_say_so_serves_on():
    stage = Stage(3)
    stage.all(going)
    stage.calls(30)
    assert sorted(stage.states().values()) == ["draining", "draining", "up"]


@pytest.mark.parametrize("headers", [None, "draining", {STATE: "up"}, {STATE: b"draining"}, {STATE: "x"}])
def test_what_says_nothing_is_not_heeded(headers: object):
    stage = Stage(3)
    answer = Answer()
    answer.headers = headers  # type: ignore[assignment]
    stage.open_on("n0").end(lambda: answer)
    assert stage.states()["n0"] == "up"


# -- it comes back


def test_until_it_has_ended_it_is_left_alone_then_one_call_tries_it():
    stage = gone(5.0)
    stage.takes = 0
    stage.clock.advance(7.4)
    assert "n0" not in stage.calls(30, idempotent=True)
    stage.clock.advance(0.2)
    trial = stage.open(idempotent=True)
    assert trial.node.host == "n0"
    assert "n0" not in stage.calls(30, idempotent=True)
    trial.end()
    assert stage.states()["n0"] == "slow_start"
    assert stage.told("n0")["marks"] == []
    assert [each.event for each in stage.events if each.event != "failed"] == [
        "drain",
        "ejected",
        "expired",
        "trial",
        "readmitted",
    ]


@pytest.mark.parametrize("kind", ["refused", "reset", "connect_timeout", "timeout", "unavailable"])
def test_as_long_as_it_is_not_back_it_is_tried_every_second(kind: str):
    stage = gone(5.0)
    stage.clock.advance(7.6)
    for _ in range(20):
        trial = stage.open_on("n0", idempotent=True)
        trial.end(FAULTS[kind])
        assert stage.time_out() == 1.0
        stage.clock.advance(1.0)
    stage.open_on("n0", idempotent=True).end()
    assert stage.states()["n0"] == "slow_start"
    stage.fails("n0", "refused")
    assert stage.time_out() <= 5.0  # none of that was a relapse


def test_a_node_that_does_not_come_back_is_ejected_like_any_other():
    stage = gone(5.0)
    stage.clock.advance(7.6)
    spans = []
    for _ in range(70):
        stage.open_on("n0", idempotent=True).end(refused)
        spans.append(stage.time_out())
        stage.clock.advance(spans[-1] + 0.001)  # which is rounded
    assert spans[:59] == [1.0] * 59
    assert spans[-1] >= 150


def test_what_must_not_be_sent_twice_does_not_try_out_a_server_that_may_be_shutting_down():
    stage = gone(5.0)
    stage.clock.advance(7.6)
    assert "n0" not in stage.calls(30)
    stage.clock.advance(30)
    assert stage.open().node.host == "n0"


def test_one_that_still_goes_is_left_alone_again():
    stage = gone(None)
    stage.clock.advance(10.1)
    stage.open_on("n0", idempotent=True).end(lambda: going(None))
    assert stage.states()["n0"] == "draining"
    assert "n0" not in stage.calls(30, idempotent=True)
    stage.clock.advance(10.1)
    stage.open_on("n0", idempotent=True).end()
    assert stage.states()["n0"] == "slow_start"


def test_an_operator_who_says_up_brings_it_back_at_once():
    stage = gone(5.0)
    stage.service.mark("n0:80", "up", reason="it is well")
    assert stage.available() == {"n0", "n1", "n2"}


def test_who_marks_a_node_in_its_name_for_a_time_asks_for_no_trial():
    stage = Stage(3)
    stage.service.mark("n0:80", "drain", source="self", reason="backup", ttl=5)
    assert stage.states()["n0"] == "draining"
    stage.clock.advance(5)
    assert stage.states()["n0"] == "slow_start"
    assert stage.available() == {"n0", "n1", "n2"}


def test_a_worker_that_learns_of_it_from_another_expects_it_back_as_well():
    stage = Stage(3)
    pool, now = stage.service.pool, stage.clock()
    pool.adopt(pool.roster.find("n0:80"), "self", Mark("self", "drain", GOING, now, now + 5), 0, now)
    stage.clock.advance(5.1)
    assert "n0" not in stage.available()
    stage.open_on("n0", idempotent=True).end(refused)
    assert stage.time_out() == 1.0


# -- with a probe


def ask(ward: Ward, host: str, said: str) -> None:
    ward.probe.heed(ward.peer(host), said, ward.clock())


def test_a_probe_that_hears_it_does_the_same_and_counts_no_failure():
    ward = proven(kind="http", fall=1)
    ask(ward, "n0", "draining; left=3.0")
    assert ward.available() == {"n1", "n2"}
    assert ward.mark_of("n0") is None
    mark = ward.mark_of("n0", "self")
    assert mark is not None
    assert mark.kind == "drain"


def test_a_probe_whose_answer_says_so_no_more_brings_it_back_before_its_time():
    ward = proven(kind="http", interval=5, fast_interval=1)
    ask(ward, "n0", "draining; left=100")
    ward.run(1.1)
    assert ward.available() == {"n0", "n1", "n2"}
    assert ("cleared", "n0:80") in ward.events("cleared")


def test_it_is_checked_often_until_it_is_back():
    ward = proven(kind="http", interval=5, fast_interval=1, fall=3, rise=1, down_interval=10)
    ask(ward, "n0", "draining; left=2")
    ward.ill.add("n0")
    began = ward.clock()
    ward.run(30)
    assert max(ward.gaps("n0", began + 1)) <= 1.0
    ward.ill.clear()
    ward.run(1.1)
    assert ward.available() == {"n0", "n1", "n2"}


def test_that_a_port_takes_connections_brings_no_node_back_that_may_be_shutting_down():
    ward = proven(kind="tcp", interval=1)
    heed(ward.pool, ward.peer("n0"), "draining; left=2", ward.clock())
    ward.run(10)
    assert ward.available() == {"n1", "n2"}
    assert ward.pool.begin(ward.clock(), None, True).node.host == "n0"  # a call is its trial


# -- the words


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("draining; left=4.2", 4.2),
        ("draining;left=0", 0.0),
        ("draining", float("inf")),
        ("draining; left=", float("inf")),
        ("draining; left=-1", float("inf")),
        ("draining; left=nan", float("inf")),
        ("draining; more=1", float("inf")),
        ("up", None),
        ("", None),
        ("drainingly", None),
    ],
)
def test_the_words_of_a_node(said: str, left: float | None):
    assert time_to_go(said) == left


@given(st.text() | st.text().map("draining;{}".format))
def test_no_words_are_too_odd(said: str):
    left = time_to_go(said)
    assert left is None or left >= 0.0


def test_no_node_can_send_itself_away_for_ever():
    stage = gone(1e300)
    (mark,) = stage.told("n0")["marks"]
    assert mark["until"] - mark["since"] <= 3600
