"""When nodes are checked and what comes of it, on a fake clock."""

import random
from collections.abc import Mapping
from itertools import pairwise
from math import ceil, inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancemw import Event
from balancemw.events import Events
from balancemw.fault import Fault, Kind
from balancemw.health import Mark
from balancemw.node import Node
from balancemw.peer import Peer
from balancemw.pool import Pool
from balancemw.probe import Probe
from balancemw.settings import Settings
from tests.engine.clock import FakeClock

REFUSED = Fault(Kind.REFUSED, "connection refused")
START = 1000.0


class Ward:
    """A service whose nodes n0, n1 … are checked, each check being answered at once.

    Attributes:
        ill: hosts that fail their checks.
        deaf: hosts whose checks never end.
        seen: (time, host) of every check that was begun.
        told: every event.
    """

    def __init__(
        self, nodes: int = 3, *, seed: int = 1, ejection: Mapping[str, object] | None = None, **probe: object
    ) -> None:
        service: dict[str, object] = {
            "nodes": [f"http://n{i}:80" for i in range(nodes)],
            "strategy": "round_robin",
            "probe": {"kind": "tcp", **probe},
            "slow_start": {"window": 0},
            "ejection": ejection or {},
        }
        whole = Settings.load({"services": {"s": service}}).services["s"]
        assert whole.probe is not None
        self.clock = FakeClock(START)
        self.told: list[Event] = []
        events = Events(self.clock)
        events.subscribe(self.told.append)
        rng = random.Random(seed)
        self.pool = Pool("s", whole, rng=rng, events=events, housekeeping=lambda: None)
        self.settings = whole.probe
        self.probe = Probe(self.pool, whole.probe, rng)
        self.probe.start(self.clock())
        self.ill: set[str] = set()
        self.deaf: set[str] = set()
        self.seen: list[tuple[float, str]] = []

    def peer(self, host: str) -> Peer:
        return self.pool.roster.find(f"{host}:80")

    def run(self, seconds: float) -> None:
        """Let that much time pass, and make every check that falls due."""
        end = self.clock() + seconds
        while self.probe.next_due <= end:
            self.clock.now = max(self.clock.now, self.probe.next_due)
            for peer in self.probe.due(self.clock()):
                host = peer.node.host
                self.seen.append((self.clock(), host))
                if host not in self.deaf:
                    self.probe.record(peer, host not in self.ill, "connection refused", self.clock(), Kind.REFUSED)
        self.clock.now = end

    def times(self, host: str, since: float = 0.0) -> list[float]:
        return [time for time, seen in self.seen if seen == host and time >= since]

    def gaps(self, host: str, since: float = 0.0) -> list[float]:
        return [round(later - earlier, 6) for earlier, later in pairwise(self.times(host, since))]

    def events(self, *names: str) -> list[tuple[str, str | None]]:
        return [(each.event, each.node) for each in self.told if each.event in names]

    def mark_of(self, host: str, source: str = "probe") -> Mark | None:
        return self.peer(host).marks.get(source)

    def available(self) -> set[str]:
        return {node.host for node in self.pool.available(self.clock())}

    def call(self, outcome: Fault | None = None) -> str:
        """One call, answered well or with `outcome`; returns the host that took it."""
        now = self.clock()
        peer = self.pool.begin(now)
        if outcome is None:
            self.pool.succeed(peer, now, now)
        else:
            self.pool.fail(peer, now, now, outcome)
        return peer.node.host

    def eject(self, host: str) -> float:
        """Let calls find that the node cannot be reached; returns when its time out is over."""
        while self.call() != host:
            pass
        while (mark := self.mark_of(host, "traffic")) is None:
            now, peer = self.clock(), self.pool.begin(self.clock())
            if peer.node.host == host:
                self.pool.fail(peer, now, now, REFUSED)
            else:
                self.pool.succeed(peer, now, now)
        assert mark.until is not None
        return mark.until

    def up(self, host: str) -> None:
        now = self.clock()
        self.pool.mark(self.peer(host), Mark("operator", "up", "I have seen it work", now), now)


def proven(nodes: int = 3, **probe: object) -> Ward:
    """A service whose checks have passed for a while, without jitter."""
    ward = Ward(nodes, **{"jitter": 0, **probe})
    ward.run(10.0)
    assert ward.probe.proven
    return ward


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


# -- the gate: who readmits a node that traffic has put out


def test_a_passing_probe_does_not_undo_an_ejection_before_its_time():
    ward = proven(interval=0.1, ejection={"base": 4, "max": 4})
    until = ward.eject("n0")
    ward.run(until - ward.clock() - 0.01)
    assert ward.available() == {"n1", "n2"}
    assert ward.events("readmitted") == []


def test_when_its_time_is_over_it_is_checked_at_once_and_a_pass_readmits_it():
    ward = proven(interval=100, fast_interval=1, rise=2)
    until = ward.eject("n0")
    before = ward.clock()
    ward.run(until - before - 0.01)
    assert ward.times("n0", before) == []
    ward.run(0.02)
    assert ward.times("n0", before) == [until]
    assert ward.events("readmitted", "trial") == [("readmitted", "n0:80")]
    assert ward.available() == {"n0", "n1", "n2"}
    ward.run(350.0)
    assert ward.gaps("n0", before) == [100.0] * 3


def test_until_a_probe_passes_no_call_is_its_trial():
    ward = proven(interval=100, fast_interval=1, fall=100)
    until = ward.eject("n0")
    ward.ill = {"n0"}
    while ward.clock() < until + 30.0:
        ward.run(0.25)
        assert ward.call() != "n0"
    assert ward.gaps("n0", until)[:5] == [1.0] * 5
    assert ward.events("trial", "readmitted") == []
    ward.ill = set()
    ward.run(1.0)
    assert ward.events("trial", "readmitted") == [("readmitted", "n0:80")]
    assert "n0" in {ward.call() for _ in range(3)}


def test_an_ejected_node_that_fails_its_checks_needs_them_to_come_back():
    ward = proven(interval=100, fast_interval=1, down_interval=5, fall=3, rise=2)
    until = ward.eject("n0")
    ward.ill = {"n0"}
    ward.run(until - ward.clock() + 20.0)
    assert ward.mark_of("n0")
    ward.ill = set()
    ward.run(6.0)
    assert ward.peer("n0").marks == {}
    assert ward.events("readmitted", "cleared", "trial")[-1] == ("readmitted", "n0:80")
    assert ward.available() == {"n0", "n1", "n2"}


def test_without_any_result_for_long_a_trial_call_decides():
    ward = proven(interval=1, fast_interval=1, timeout=2)
    until = ward.eject("n0")
    ward.deaf = {"n0", "n1", "n2"}
    ward.run(until + 8.9 - ward.clock())
    assert "n0" not in {ward.call() for _ in range(10)}
    ward.run(1.0)
    assert [ward.call() for _ in range(10)].count("n0") > 1  # the trial, and then its share
    assert ward.events("trial", "readmitted") == [("trial", "n0:80"), ("readmitted", "n0:80")]


def test_a_pool_that_is_asked_all_the_time_notices_that_the_wait_is_over():
    ward = proven(interval=1, fast_interval=1, timeout=2)
    until = ward.eject("n0")
    ward.deaf = {"n0", "n1", "n2"}
    while ward.call() != "n0":
        ward.run(0.05)
        assert ward.clock() < until + 10.0
    assert ward.clock() == pytest.approx(until + 9.0, abs=0.6)


def test_a_check_that_is_under_way_when_its_time_is_over_is_not_begun_twice():
    ward = proven(interval=1, fast_interval=1)
    until = ward.eject("n0")
    ward.deaf = {"n0"}
    ward.run(until - ward.clock() + 5.0)
    assert len(ward.times("n0", until - 4.0)) <= 1
    ward.probe.record(ward.peer("n0"), True, "", ward.clock())
    assert ward.events("readmitted") == [("readmitted", "n0:80")]


def test_while_it_waits_it_is_checked_fast_even_if_checks_come_to_nothing():
    ward = proven(interval=100, fast_interval=1)
    until = ward.eject("n0")
    ward.deaf = {"n0"}
    ward.run(until - ward.clock())
    for _ in range(3):
        ward.probe.postpone(ward.peer("n0"), ward.clock())
        ward.run(1.0)
    assert len(ward.times("n0", until)) == 4


def test_results_that_come_keep_it_waiting():
    ward = proven(interval=1, fast_interval=1, timeout=2, fall=1000)
    until = ward.eject("n0")
    ward.ill = {"n0"}
    ward.run(until + 100.0 - ward.clock())
    assert ward.probe.must_wait(ward.peer("n0"), ward.clock())
    assert not ward.probe.must_wait(ward.peer("n0"), ward.clock() + 10.0)


def test_nobody_waits_for_a_probe_that_was_stopped():
    ward = proven(interval=1)
    until = ward.eject("n0")
    ward.run(until - ward.clock() - 0.01)
    ward.probe.stop()
    ward.clock.advance(0.02)
    assert "n0" in {ward.call() for _ in range(3)}


def test_nobody_waits_for_a_probe_that_never_passed():
    ward = Ward(3, interval=1)
    ward.ill = {"n0", "n1", "n2"}
    until = ward.eject("n0")
    ward.run(until - ward.clock() + 0.01)
    assert not ward.probe.must_wait(ward.peer("n0"), ward.clock())
    assert "n0" in {ward.call() for _ in range(3)}
    assert ward.events("trial") == [("trial", "n0:80")]


def test_a_node_that_is_not_out_waits_for_nothing():
    ward = proven()
    assert not ward.probe.must_wait(ward.peer("n0"), ward.clock())


# -- whatever happens

HOSTS = tuple(f"n{i}" for i in range(5))
STEPS = st.one_of(
    st.tuples(st.just("pass time"), st.floats(0.0, 15.0)),
    st.tuples(st.just("fall ill"), st.sets(st.sampled_from(HOSTS))),
    st.tuples(st.just("go deaf"), st.sets(st.sampled_from(HOSTS), max_size=2)),
    st.tuples(st.just("calls fail"), st.integers(1, 8)),
    st.tuples(st.just("calls succeed"), st.integers(1, 8)),
    st.tuples(st.just("up"), st.sampled_from(HOSTS)),
    st.tuples(st.just("drain"), st.sampled_from(HOSTS)),
    st.tuples(st.just("have"), st.sets(st.sampled_from(HOSTS), min_size=1)),
    st.tuples(st.just("restart"), st.none()),
)


def do(ward: Ward, step: str, value: object) -> None:
    match step, value:
        case "pass time", float(seconds):
            ward.run(seconds)
        case "fall ill", set() as hosts:
            ward.ill = hosts
        case "go deaf", set() as hosts:
            ward.deaf = hosts
        case "calls fail" | "calls succeed", int(number):
            for _ in range(number):
                ward.call(REFUSED if step == "calls fail" else None)
        case "have", set() as hosts:
            ward.pool.replace([Node(f"http://{host}:80") for host in sorted(hosts)], ward.clock())
        case "restart", None:
            ward.probe.stop()
            ward.probe.start(ward.clock())
        case _, str(host) if host in {node.host for node in ward.nodes()}:
            kind = "drain" if step == "drain" else "up"
            mark = Mark("operator", kind, "because", ward.clock())
            if kind == "up" or ward.spare(host):
                ward.pool.mark(ward.peer(host), mark, ward.clock())
        case _:
            pass


class Life(Ward):
    def nodes(self) -> list[Node]:
        return [peer.node for peer in self.pool.roster.peers.values()]

    def free(self) -> list[Peer]:
        """Peers that no operator forbids."""
        return [peer for peer in self.pool.roster.peers.values() if "operator" not in peer.marks]

    def spare(self, host: str) -> bool:
        return any(peer.node.host != host for peer in self.free())


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=40), st.integers(0, 10), st.sampled_from([0.0, 0.5, 0.8]))
def test_no_order_of_events_empties_a_pool_or_forgets_a_node(steps: list[tuple[str, object]], seed: int, keep: float):
    ward = Life(5, seed=seed, interval=5, fast_interval=1, down_interval=10, fall=2, ejection={"keep": keep, "max": 20})
    for step, value in steps:
        do(ward, step, value)
        if not ward.free():  # whoever was not drained has left
            break
        floor = min(max(1, ceil(keep * len(ward.nodes()))), len(ward.free()))
        assert len(ward.available()) >= floor
        assert ward.probe.proven or not any(peer.marks.get("probe") for peer in ward.free())
    marked = sum(event.event == "down" and event.source == "probe" for event in ward.told)
    ended = sum(event.source == "probe" and event.event in ("readmitted", "cleared") for event in ward.told)
    assert marked <= ended + sum(event.event in ("up", "removed") for event in ward.told) + len(ward.nodes())
    ward.deaf = set()
    ward.probe.start(ward.clock())
    for _ in range(3):  # everyone is checked, and goes on being checked
        since = ward.clock()
        ward.run(13.0)
        assert {host for time, host in ward.seen if time >= since} == {node.host for node in ward.nodes()}
    ward.ill = set()
    ward.run(100.0)
    assert not any(peer.marks.get("probe") or peer.accused for peer in ward.pool.roster.peers.values())
