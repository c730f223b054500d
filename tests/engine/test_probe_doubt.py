"""A probe that has never passed is not believed; and what others do to the nodes that it checks."""

import pytest

from balancemw.health import Mark
from balancemw.node import Node
from tests.engine.ward import Ward, proven

# -- a probe that has never passed


def test_a_probe_that_never_passed_takes_nobody_out_and_says_so_once():
    ward = Ward(3, kind="http", path="/helthz", fall=3, interval=5, fast_interval=1, jitter=0)
    ward.ill = {"n0", "n1", "n2"}
    ward.run(300.0)
    assert set(ward.gaps("n0")[2:]) == {5.0}  # nothing changes any more
    assert not any(ward.mark_of(host) for host in ward.ill)
    assert ward.available() == {"n0", "n1", "n2"}
    assert ward.events("probe_unproven", "down") == [("probe_unproven", None)]
    told = ward.told[-1]
    assert told.source == "probe"
    assert "GET /helthz" in told.reason
    assert told.reason.endswith(":80: connection refused")
    assert "not believed" in told.reason


def test_it_is_told_only_when_every_node_has_failed_often_enough():
    ward = Ward(3, fall=3, interval=1)
    ward.ill = {"n0", "n1"}
    ward.deaf = {"n2"}
    ward.run(60.0)
    assert ward.events("probe_unproven") == []
    for _ in range(3):
        ward.probe.record(ward.peer("n2"), False, "no answer", ward.clock())
    assert ward.events("probe_unproven") == [("probe_unproven", None)]


def test_the_first_pass_proves_it_and_those_that_go_on_failing_leave():
    ward = Ward(3, fall=3, rise=2, interval=1)
    ward.ill = {"n0", "n1", "n2"}
    ward.run(20.0)
    ward.ill = {"n0"}
    ward.run(2.0)
    assert ward.events("probe_proven") == [("probe_proven", None)]
    assert "a TCP connection" in next(each.reason for each in ward.told if each.event == "probe_proven")
    assert ward.mark_of("n0")
    assert ward.available() == {"n1", "n2"}
    ward.ill = {"n0", "n1", "n2"}
    ward.run(20.0)
    assert ward.events("probe_proven", "probe_unproven") == [("probe_unproven", None), ("probe_proven", None)]


def test_a_probe_that_passes_from_the_beginning_says_nothing():
    ward = proven()
    assert ward.told == []


def test_it_is_told_again_of_other_nodes_but_not_of_the_same():
    ward = Ward(2, fall=2, interval=1)
    ward.ill = {"n0", "n1", "n2"}
    ward.run(20.0)
    for _ in range(3):
        ward.pool.replace([Node("http://n0:80"), Node("http://n1:80")], ward.clock())
        ward.run(20.0)
    assert len(ward.events("probe_unproven")) == 1
    ward.pool.replace([Node("http://n1:80"), Node("http://n2:80")], ward.clock())
    ward.run(20.0)
    assert len(ward.events("probe_unproven")) == 2
    ward.ill = {"n1"}
    ward.run(20.0)
    assert len(ward.events("probe_proven")) == 1


def test_the_query_of_a_path_may_be_a_secret():
    ward = Ward(1, kind="http", path="/health?token=s3cret", fall=1, interval=1)
    ward.ill = {"n0"}
    ward.run(2.0)
    assert "GET /health?…," in ward.told[-1].reason
    assert "s3cret" not in str(ward.told)


def test_a_callable_is_told_by_its_name():
    ward = Ward(1, kind="os.path:basename", fall=1, interval=1)
    ward.ill = {"n0"}
    ward.run(2.0)
    assert "os.path:basename" in ward.told[-1].reason


# -- what others do


def test_nodes_that_join_are_checked_soon_and_those_that_leave_no_more():
    ward = proven(3, interval=30, fast_interval=1)
    ward.pool.replace([Node("http://n0:80"), Node("http://n3:80")], ward.clock())
    since = ward.clock()
    ward.run(2.0)
    assert ward.times("n3", since)
    ward.run(100.0)
    assert ward.times("n0", since)
    assert ward.times("n1", since) == ward.times("n2", since) == []


def test_a_result_for_a_node_that_has_left_is_ignored():
    ward = proven(2, fall=1, interval=1)
    ward.deaf = {"n1"}
    ward.run(1.0)
    gone = ward.peer("n1")
    ward.pool.replace([Node("http://n0:80")], ward.clock())
    ward.run(2.0)
    ward.probe.record(gone, False, "connection refused", ward.clock())
    ward.probe.postpone(gone, ward.clock())
    assert not gone.marks
    assert ward.events("down") == []
    assert not ward.probe.must_wait(gone, ward.clock())


def test_a_node_that_comes_back_under_its_url_begins_anew():
    ward = proven(2, fall=2, interval=1, fast_interval=1)
    ward.ill = {"n1"}
    ward.run(1.0)
    ward.deaf = {"n1"}
    ward.run(1.0)
    former = ward.peer("n1")
    ward.pool.replace([Node("http://n0:80")], ward.clock())
    ward.pool.replace([Node("http://n0:80"), Node("http://n1:80")], ward.clock())
    ward.deaf = set()
    since = ward.clock()
    while not ward.times("n1", since):
        ward.run(0.1)
    ward.probe.record(former, False, "connection refused", ward.clock())
    assert ward.peer("n1") is not former
    assert ward.mark_of("n1") is None
    ward.run(1.0)
    assert ward.mark_of("n1")


def test_an_operators_up_removes_the_mark_and_the_counts_begin_anew():
    ward = proven(fall=3, interval=5, fast_interval=1, down_interval=60)
    ward.ill = {"n0"}
    ward.run(10.0)
    assert ward.mark_of("n0")
    ward.up("n0")
    assert ward.available() == {"n0", "n1", "n2"}
    since = ward.clock()
    ward.run(2.0)
    assert ward.times("n0", since)
    assert ward.mark_of("n0") is None
    ward.run(2.0)
    assert ward.mark_of("n0")
    assert len(ward.times("n0", since)) == 3


def test_an_up_while_a_check_is_under_way_counts_too():
    ward = proven(fall=3, interval=1, fast_interval=1, down_interval=1)
    ward.ill = {"n0"}
    ward.run(3.0)
    ward.deaf = {"n0"}
    ward.run(1.0)
    ward.up("n0")
    since = ward.clock()
    ward.run(5.0)
    assert not ward.times("n0", since)
    for failures in (1, 2):
        ward.probe.record(ward.peer("n0"), False, "no answer", ward.clock())
        assert ward.mark_of("n0") is None, failures
    ward.probe.record(ward.peer("n0"), False, "no answer", ward.clock())
    assert ward.mark_of("n0")


def test_a_mark_that_someone_else_set_for_the_probe_goes_when_checks_pass():
    ward = proven(rise=2, interval=5, fast_interval=1)
    now = ward.clock()
    ward.pool.mark(ward.peer("n0"), Mark("probe", "down", "told by a colleague", now), now)
    ward.run(3.0)
    assert ward.mark_of("n0") is None
    assert ward.events("readmitted") == [("readmitted", "n0:80")]


@pytest.mark.parametrize("source", ["operator", "traffic"])
def test_a_node_that_others_keep_out_is_not_called_readmitted(source: str):
    ward = proven(fall=1, rise=1, interval=1, fast_interval=1, down_interval=1)
    ward.ill = {"n0"}
    ward.run(1.0)
    now = ward.clock()
    kind = "down" if source == "operator" else "ejected"
    ward.pool.mark(ward.peer("n0"), Mark(source, kind, "for a reason", now, now + 50.0), now)
    ward.ill = set()
    ward.run(1.0)
    assert ward.events("readmitted", "cleared") == [("cleared", "n0:80")]
    assert ward.available() == {"n1", "n2"}
    ward.run(60.0)
    assert ward.available() == {"n0", "n1", "n2"}


def test_a_weight_or_a_rest_does_not_keep_it_from_being_readmitted():
    ward = proven(fall=1, rise=1, interval=1, down_interval=1)
    ward.ill = {"n0"}
    ward.run(1.0)
    now = ward.clock()
    ward.pool.mark(ward.peer("n0"), Mark("operator", "weight", "is small", now, weight=0.5), now)
    ward.pool.mark(ward.peer("n0"), Mark("traffic", "resting", "is busy", now, now + 50.0), now)
    ward.ill = set()
    ward.run(1.0)
    assert ward.events("readmitted", "cleared") == [("readmitted", "n0:80")]
