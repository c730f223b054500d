"""What a node reports of its load, beside what its caller knows itself."""

from math import inf, nan

import pytest

from balancemw import Node
from balancemw.load import Load
from balancemw.orca import IN_FLIGHT, LATENCY, LoadReport

NOW = 1000.0


def report(**metrics: float) -> LoadReport:
    return LoadReport(named_metrics=metrics)


def load(calls: int = 0) -> Load:
    peer = Load(Node("http://a"))
    peer.in_flight = calls
    return peer


def test_nothing_is_known_before_the_first():
    peer = load()
    assert (peer.report, peer.reported_at, peer.reports_since, peer.reported_latency) == (None, 0.0, 0.0, 0.0)
    assert peer.others < 0.0


def test_what_is_not_ours_is_others():
    peer, said = load(3), report(in_flight=7.0, latency=0.2)  # two of ours, and the call that brings the report
    peer.hear(said, NOW)
    assert (peer.report, peer.reported_at, peer.others, peer.reported_latency) == (said, NOW, 5.0, 0.2)


def test_others_are_never_fewer_than_none():
    peer = load(3)
    peer.hear(report(in_flight=1.0), NOW)  # from before our last call came there
    assert peer.others == 0.0


@pytest.mark.parametrize("said", [{}, {"in_flight": nan}, {"in_flight": inf}, {"in_flight": -1.0}])
def test_who_does_not_say_how_many_is_not_taken_to_have_none(said: dict[str, float]):
    peer = load(1)
    peer.hear(report(in_flight=5.0), NOW)
    peer.hear(report(**said), NOW + 1.0)
    assert peer.others < 0.0


@pytest.mark.parametrize("said", [{}, {"latency": nan}, {"latency": inf}, {"latency": -1.0}, {"latency": 1e-320}])
def test_nor_who_does_not_say_how_long(said: dict[str, float]):
    peer = load(1)
    peer.hear(report(latency=5.0), NOW)
    peer.hear(report(**said), NOW + 1.0)
    assert peer.reported_latency == 0.0


def test_since_when_it_reports_until_it_is_forgotten():
    peer = load()
    for second in range(3):
        peer.hear(report(), NOW + second)
    assert (peer.reports_since, peer.reported_at) == (NOW, NOW + 2.0)
    peer.forget()
    assert (peer.report, peer.others) == (None, -1.0)
    peer.hear(report(), NOW + 9.0)
    assert peer.reports_since == NOW + 9.0


def test_the_names_of_the_metrics():
    assert (IN_FLIGHT, LATENCY) == ("in_flight", "latency")
