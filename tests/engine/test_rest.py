"""Nodes that say they are overloaded rest as long as they ask."""

import pytest

from tests.engine.stage import FAULTS, Answer, Stage, refused


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
    stage.put_out("n0")
    late.end(lambda: Answer(429, Retry_After="60"))
    assert stage.available() == {"n0", "n1"}
    four = Stage(4, ejection={"keep": 0.5})
    four.put_out("n0")
    late = [four.open_on("n1"), four.open_on("n2")]
    late[0].end(refused)
    late[1].end(lambda: Answer(429, Retry_After="60"))
    assert four.available() == {"n2", "n3"}
