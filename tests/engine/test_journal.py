"""The journal tells the story once, however many workers tell it."""

from balancemw import Event
from balancemw.journal import in_sum
from tests.engine.crew import Crew
from tests.engine.stage import refused


def failed(number: int, time: float, node: str = "n0:80", fault: str = "refused", count: int = 1) -> Event:
    evidence = {"count": count, "last_error": f"error {number}"}
    return Event(number, time, "s", node, "failed", "traffic", fault, f"error {number}", evidence)


def ejected(number: int, time: float) -> Event:
    return Event(number, time, "s", "n0:80", "ejected", "traffic", "refused", "why")


def shown(*events: Event) -> list[tuple[int, str, object]]:
    return [(event.id, event.event, event.evidence.get("count")) for event in in_sum(events)]


def test_what_workers_say_alike_is_one():
    (one,) = in_sum([failed(1, 5.0), failed(2, 5.4, count=3), failed(3, 6.0)])
    assert (one.id, one.time, one.reason) == (3, 6.0, "5 tries failed: error 3")
    assert one.evidence == {"count": 5, "last_error": "error 3"}


def test_a_sum_lasts_a_second():
    assert shown(failed(1, 5.0), failed(2, 5.9), failed(3, 6.1)) == [(2, "failed", 2), (3, "failed", 1)]


def test_nodes_and_kinds_are_told_apart():
    events = [
        failed(1, 5.0),
        failed(2, 5.0, "n1:80"),
        failed(3, 5.0, fault="reset"),
        failed(4, 5.0),
        failed(5, 5.0, "n1:80"),
    ]
    assert shown(*events) == [(3, "failed", 1), (4, "failed", 2), (5, "failed", 2)]


def test_what_came_before_a_verdict_is_not_summed_up_with_what_came_after():
    told = shown(failed(1, 5.0), failed(2, 5.0), ejected(3, 5.0), failed(4, 5.0), failed(5, 5.0))
    assert told == [(2, "failed", 2), (3, "ejected", None), (5, "failed", 2)]


def test_who_reads_on_misses_nothing_and_reads_nothing_twice():
    crew = Crew(3)
    journal = crew[0].balancer.journal
    crew[0].fails("n0", "reset")
    crew.meet()
    (first,) = journal.after()
    for member in crew.members[1:]:
        member.fails("n0", "reset")
    crew.meet()
    assert [event.evidence["count"] for event in journal.after(first.id)] == [2]
    assert [event.evidence["count"] for event in journal.after()] == [3]


def test_an_ejection_that_all_come_to_at_once_is_told_by_one():
    crew = Crew(3)
    for member in crew:
        member.fails("n0", "refused")
    crew.meet()
    told = [event.event for event in crew[0].balancer.journal.after()]
    assert told.count("ejected") == 1
    assert all(member.available() == {"n1", "n2"} for member in crew)
    crew.clock.advance(10.0)
    for member in crew:
        member.does["n0"] = refused
    crew.meet()
    for member in crew:
        member.calls(20)
    crew.meet()
    told = [event.event for event in crew[0].balancer.journal.after()]
    assert (told.count("trial"), told.count("ejected")) == (1, 2)  # a relapse is another matter
