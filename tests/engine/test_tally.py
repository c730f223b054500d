"""Failed tries in the journal: in sum."""

from tests.engine.stage import Stage, refused, unavailable


def journal(stage: Stage) -> list[tuple[str, str | None, object]]:
    return [(each.event, each.node, each.evidence.get("count")) for each in stage.balancer.journal.after()]


def test_the_first_is_told_before_what_follows_from_it():
    stage = Stage(3)
    stage.does["n0"] = refused
    stage.calls(3)
    assert journal(stage)[:2] == [("failed", "n0:80", 1), ("ejected", "n0:80", None)]
    first = stage.balancer.journal.after()[0]
    assert (first.fault, first.source) == ("refused", "traffic")
    assert "1 try failed: ConnectionRefusedError" in first.reason
    assert first.evidence["last_error"] == "ConnectionRefusedError: [Errno 111] Connection refused"


def test_more_of_a_kind_are_told_once_a_second():
    stage = Stage(1)
    stage.takes = 0.01
    stage.does["n0"] = unavailable
    stage.calls(250)
    told = [count for event, _, count in journal(stage) if event == "failed"]
    stage.clock.advance(2.0)
    assert len(told) == 3
    told = [count for event, _, count in journal(stage) if event == "failed"]
    assert len(told) == 4
    assert sum(told) == 250
    assert journal(stage)[-1][2] == told[-1]


def test_kinds_and_nodes_are_told_apart():
    stage = Stage(2)
    stage.does = {"n0": unavailable, "n1": refused}
    stage.calls(4)
    told = {(each.node, each.fault) for each in stage.balancer.journal.after() if each.event == "failed"}
    assert told == {("n0:80", "unavailable"), ("n1:80", "refused")}


def test_listeners_hear_of_each_and_not_of_sums():
    stage = Stage(1)
    stage.does["n0"] = unavailable
    stage.calls(20)
    assert len(stage.happened("failed")) == 20
