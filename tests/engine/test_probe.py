"""When nodes are checked and what comes of it, on a fake clock."""

import random
from math import inf

import pytest

from balancemw import Node
from balancemw.probe import Probe
from tests.engine.ward import START, Ward, proven

# -- when


def test_first_checks_are_spread_over_the_shorter_of_both_intervals():
    ward = Ward(200, interval=5, fast_interval=2)
    ward.run(2.0)
    times = sorted(time - START for time, _ in ward.seen)
    assert {host for _, host in ward.seen} == {f"n{i}" for i in range(200)}
    assert [sum(low <= time < low + 0.5 for time in times) > 25 for low in (0.0, 0.5, 1.0, 1.5)] == [True] * 4
    ward = Ward(50, interval=0.5, fast_interval=2)
    ward.run(0.5)
    assert len({host for _, host in ward.seen}) == 50


def test_a_steady_node_is_checked_once_per_interval():
    ward = proven(interval=5)
    ward.run(60.0)
    assert set(ward.gaps("n0")) == {5.0}


def test_jitter_spreads_the_intervals_evenly_around_the_one_set():
    ward = Ward(1, interval=5, jitter=0.2)
    ward.run(2000.0)
    gaps = ward.gaps("n0")
    assert all(4.0 <= gap <= 6.0 for gap in gaps)
    assert min(gaps) < 4.2
    assert max(gaps) > 5.8
    assert sum(gaps) / len(gaps) == pytest.approx(5.0, abs=0.15)


def test_a_node_that_fails_is_checked_faster_until_it_is_out_and_slower_after():
    ward = proven(interval=5, fast_interval=1, down_interval=20, fall=3)
    ward.ill = {"n1"}
    since = ward.clock()
    ward.run(50.0)
    assert ward.gaps("n1", since) == [1.0, 1.0, 20.0, 20.0]
    assert set(ward.gaps("n0", since)) == {5.0}


def test_a_node_that_recovers_is_checked_faster_until_it_is_back():
    ward = proven(interval=5, fast_interval=1, down_interval=20, rise=3)
    ward.ill = {"n1"}
    ward.run(20.0)
    assert ward.mark_of("n1")
    ward.ill.clear()
    since = ward.clock()
    ward.run(30.0)
    assert ward.mark_of("n1") is None
    assert ward.gaps("n1", since)[:3] == [1.0, 1.0, 5.0]


def test_no_second_check_begins_while_one_is_under_way():
    ward = proven(interval=1)
    ward.deaf = {"n0"}
    since = ward.clock()
    ward.run(60.0)
    assert len(ward.times("n0", since)) == 1
    assert len(ward.times("n1", since)) == 60
    ward.deaf.clear()
    ward.probe.record(ward.peer("n0"), True, "", ward.clock())
    ward.run(10.0)
    assert len(ward.times("n0", since)) == 11


def test_a_check_that_came_to_nothing_is_made_again_and_counts_neither_way():
    ward = proven(interval=1, fall=3)
    for _ in range(9):
        ward.deaf = {"n0"}
        ward.run(1.0)
        ward.probe.postpone(ward.peer("n0"), ward.clock())
    assert ward.mark_of("n0") is None
    ward.deaf.clear()
    ward.ill = {"n0"}
    ward.run(2.0)
    assert ward.mark_of("n0") is None
    ward.deaf, ward.ill = {"n0"}, set()
    ward.run(1.0)
    ward.probe.postpone(ward.peer("n0"), ward.clock())
    ward.deaf, ward.ill = set(), {"n0"}
    ward.run(1.0)
    assert ward.mark_of("n0")


def test_nothing_is_due_before_the_start_and_everything_soon_after_a_new_one():
    ward = proven(interval=100, fast_interval=1)
    ward.deaf = {"n0"}
    ward.run(100.0)
    ward.probe.stop()
    ward.deaf.clear()
    since = ward.clock()
    ward.probe.start(since)
    ward.run(1.0)
    assert {host for time, host in ward.seen if time >= since} == {"n0", "n1", "n2"}
    assert len({time for time, _ in ward.seen if time >= since}) == 3  # spread again
    silent = Probe(ward.pool, ward.settings, random.Random(1))
    assert silent.next_due == inf
    assert silent.due(ward.clock() + 1e6) == []


# -- fall and rise


def test_as_many_failures_in_a_row_as_fall_take_a_node_out():
    ward = proven(fall=3, interval=1)
    ward.ill = {"n0"}
    ward.run(2.0)
    assert ward.mark_of("n0") is None
    assert ward.available() == {"n0", "n1", "n2"}
    ward.run(1.0)
    mark = ward.mark_of("n0")
    assert mark is not None
    assert (mark.source, mark.kind, mark.until) == ("probe", "down", None)
    assert mark.reason == "3 checks in a row failed: connection refused"
    assert ward.available() == {"n1", "n2"}
    assert [(each.source, each.node, each.fault) for each in ward.told if each.event == "down"] == [
        ("probe", "n0:80", "refused")
    ]


def test_one_failure_is_told_as_one():
    ward = proven(fall=1, interval=1)
    ward.ill = {"n0"}
    ward.run(1.0)
    mark = ward.mark_of("n0")
    assert mark is not None
    assert mark.reason == "1 check failed: connection refused"


def test_a_pass_between_begins_the_count_of_failures_anew():
    ward = proven(fall=3, interval=1, fast_interval=1)
    for _ in range(5):
        ward.ill = {"n0"}
        ward.run(2.0)
        ward.ill = set()
        ward.run(1.0)
    assert ward.mark_of("n0") is None
    assert ward.events("down") == []


def test_as_many_passes_in_a_row_as_rise_bring_it_back_and_a_failure_between_counts():
    ward = proven(fall=1, rise=3, interval=1, fast_interval=1, down_interval=1)
    ward.ill = {"n0"}
    ward.run(1.0)
    for _ in range(3):
        ward.ill = set()
        ward.run(2.0)
        ward.ill = {"n0"}
        ward.run(1.0)
    assert ward.mark_of("n0")
    ward.ill = set()
    ward.run(2.0)
    assert ward.mark_of("n0")
    assert ward.events("readmitted") == []
    ward.run(1.0)
    assert ward.mark_of("n0") is None
    assert ward.events("readmitted", "cleared") == [("readmitted", "n0:80")]
    assert ward.told[-1].reason == "3 checks in a row passed"
    assert ward.available() == {"n0", "n1", "n2"}


def test_all_nodes_down_leave_the_pool_failing_open():
    ward = proven(fall=1, interval=1)
    ward.ill = {"n0", "n1", "n2"}
    ward.run(3.0)
    assert all(ward.mark_of(host) for host in ward.ill)
    assert ward.available() == {"n0", "n1", "n2"}


def test_who_only_follows_looks_around_at_the_pace_of_the_checks():
    ward = Ward(2, interval=5)

    def seen() -> bool:
        ward.probe.follow(ward.clock())
        return ward.probe._known is ward.pool.roster.peers

    ward.pool.replace([Node("http://n0:80"), Node("http://n7:80")], ward.clock())
    assert seen()
    ward.pool.replace([Node("http://n0:80")], ward.clock())
    assert not seen()  # it has looked a moment ago
    ward.clock.advance(5.0)
    assert seen()
