"""Who readmits a node that traffic has put out where there is a probe, and that no pool is ever emptied."""

from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancemw.health import Mark
from balancemw.node import Node
from balancemw.peer import Peer
from tests.engine.ward import REFUSED, Ward, proven

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
