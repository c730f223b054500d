"""What an alert calls for at once: a check of the node."""

from typing import Any

import pytest

from balancemw import Balancer
from tests.adapters.watching import alone, eventually
from tests.alerts.notices import Watched, alert, webhook
from tests.engine.ward import proven


def test_a_check_that_is_hastened_is_made_at_once():
    ward = proven(interval=100)
    ward.run(50.0)
    since = ward.clock()
    ward.probe.hasten(ward.peer("n1"))
    assert ward.probe.next_due <= since
    ward.run(1.0)
    assert (ward.times("n0", since), ward.times("n1", since)) == ([], [since])
    ward.run(250.0)
    assert ward.gaps("n1", since) == [100.0, 100.0]


def test_one_that_is_under_way_is_followed_by_another():
    ward = proven(interval=100)
    ward.deaf = {"n0"}
    ward.probe.hasten(ward.peer("n0"))
    ward.run(1.0)
    ward.probe.hasten(ward.peer("n0"))
    ward.probe.hasten(ward.peer("n0"))
    ward.run(1.0)
    ward.deaf.clear()
    since = ward.clock()
    ward.probe.record(ward.peer("n0"), True, "", since)
    ward.run(250.0)
    assert ward.times("n0", since)[0] == since
    assert ward.gaps("n0", since) == [100.0, 100.0]


def test_not_while_one_is_under_way_or_the_node_has_left():
    ward = proven(interval=100)
    ward.deaf = {"n0"}
    ward.probe.hasten(ward.peer("n0"))
    ward.run(1.0)
    since = ward.clock()
    ward.probe.hasten(ward.peer("n0"))
    left = ward.peer("n2")
    ward.pool.replace([ward.peer("n0").node, ward.peer("n1").node], since)
    ward.run(2.0)
    ward.probe.hasten(left)
    ward.run(2.0)
    assert (ward.times("n0", since), ward.times("n2", since)) == ([], [])


def test_not_before_the_checks_have_begun():
    ward = proven(interval=100)
    ward.probe.stop()
    ward.probe.hasten(ward.peer("n0"))
    assert ward.probe.next_due > ward.clock()


@pytest.mark.parametrize(
    ("severity", "hastened"), [("critical", 0), ("warning", 1), ("info", 1), (None, 1), ("quiet", 0), ("half", 0)]
)
def test_which_severities_call_for_one(severity: str | None, hastened: int):
    stage = Watched(alerts={"severity": {"quiet": "note", "half": {"weight": 0.5}}})
    asked: list[Any] = []
    stage.balancer.alerts.hasten = lambda pool, peer: asked.append((pool.name, peer.node.name))
    stage.fire("n0", severity=severity)
    stage.fire("n0", severity=severity)  # hearing of it again is no reason
    assert asked == [("s", "n0:80")] * hastened
    stage.resolve("n0", severity=severity)
    assert len(asked) == hastened


def test_a_service_without_a_probe_is_not_checked():
    stage = Watched()
    stage.fire("n0", severity="info")
    assert stage.states()["n0"] == "up"


def test_the_monitor_makes_it_although_none_is_due_for_long(replicas: Any):
    (node,) = replicas(1)
    name = node.url.removeprefix("http://")
    probe = {"kind": "http", "path": "/health", "interval": 3600, "fast_interval": 0.05}
    settings = {"services": {"s": {"nodes": [node.url], "probe": probe}}, "admin": {"token": "of-tests"}}
    with alone(), Balancer(settings) as balancer:
        eventually(lambda: node.received == 1)
        balancer.receive_alerts(webhook(alert(name, "info")))
        eventually(lambda: node.received == 2)
