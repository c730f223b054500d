"""Which nodes an alert is about, and what becomes of those that are about none of ours."""

from collections.abc import Mapping
from typing import Any

import pytest

from balancemw import Balancer
from balancemw.alerts import matching
from tests.alerts.notices import Watched, alert, webhook
from tests.engine.clock import FakeClock


def found(services: Mapping[str, list[object]], labels: Mapping[str, str], *rules: Mapping[str, Any]) -> set[str]:
    """The nodes that an alert with these labels takes out, as ``service node``."""
    settings = {
        "services": {name: {"nodes": nodes, "ejection": {"keep": 0}} for name, nodes in services.items()},
        "admin": {"token": "of-tests"},
        "alerts": {"match": list(rules)} if rules else {},
    }
    balancer = Balancer(settings, clock=FakeClock())
    balancer.receive_alerts(webhook(alert(labels=dict(labels))))
    told: Any = balancer.status()["services"]
    return {f"{name} {node['name']}" for name in told for node in told[name]["nodes"] if node["state"] == "down"}


TWO = {"a": ["http://x:1", "http://y:2"], "b": ["http://x:1", "http://z:3"]}


class TestByDefault:
    def test_the_label_instance_is_the_name_of_a_node(self):
        assert found(TWO, {"instance": "y:2"}) == {"a y:2"}

    def test_every_service_that_has_such_a_node_is_meant(self):
        assert found(TWO, {"instance": "x:1"}) == {"a x:1", "b x:1"}

    def test_unless_the_label_service_names_one(self):
        assert found(TWO, {"instance": "x:1", "service": "b"}) == {"b x:1"}
        assert found(TWO, {"instance": "x:1", "service": "c"}) == set()
        assert found(TWO, {"instance": "y:2", "service": "b"}) == set()

    def test_the_whole_url_of_a_node_is_as_good_as_its_name(self):
        nodes = {"a": ["http://x:1/one", "http://x:1/two", "http://other:1"]}
        assert found(nodes, {"instance": "http://x:1/two"}) == {"a x:1"}

    @pytest.mark.parametrize(
        "instance",
        ["", "x", "x:2", "X:1", "x:1 ", "http://x:1/admin", "http://evil.example:1", "http://x:1@evil:80", "*"],
    )
    def test_nothing_is_guessed(self, instance: str):
        assert found(TWO, {"instance": instance}) == set()

    def test_ipv6(self):
        assert found({"a": ["http://[::1]:80", "http://b"]}, {"instance": "[::1]:80"}) == {"a [::1]:80"}


class TestRules:
    def test_another_label_and_another_service_label(self):
        rule = {"node": "target", "service": "app"}
        assert found(TWO, {"target": "x:1", "app": "a", "instance": "z:3"}, rule) == {"a x:1"}

    def test_no_service_label(self):
        assert found(TWO, {"instance": "x:1", "service": "prometheus-operator"}, {"service": ""}) == {"a x:1", "b x:1"}

    @pytest.mark.parametrize("instance", ["x", "x:9100", "X:9100"])
    def test_by_host(self, instance: str):
        assert found(TWO, {"instance": instance}, {"by": "host"}) == {"a x:1", "b x:1"}

    @pytest.mark.parametrize("instance", ["::1", "[::1]", "[::1]:9100"])
    def test_by_host_of_ipv6(self, instance: str):
        assert found({"a": ["http://[::1]:80", "http://b"]}, {"instance": instance}, {"by": "host"}) == {"a [::1]:80"}

    def test_by_metadata(self):
        nodes: list[object] = [{"url": "http://x:1", "metadata": {"pod": "web-0"}}, "http://y:2"]
        assert found({"a": nodes}, {"pod": "web-0"}, {"node": "pod", "by": "metadata.pod"}) == {"a x:1"}

    def test_only_where_other_labels_are_as_wanted(self):
        rule = {"where": {"job": "inventory", "env": "live"}}
        labels = {"instance": "y:2", "job": "inventory"}
        assert found(TWO, labels, rule) == set()
        assert found(TWO, {**labels, "env": "live"}, rule) == {"a y:2"}

    def test_the_first_that_leads_to_a_node_counts(self):
        rules = ({"node": "pod", "by": "name"}, {"by": "host"}, {"node": "fallback"})
        assert found(TWO, {"pod": "nobody", "instance": "z", "fallback": "y:2"}, *rules) == {"b z:3"}


class TestUnmatched:
    def test_they_are_counted_and_shown_and_told(self):
        stage = Watched()
        counts = stage.tell(alert("nobody:1"), alert("n0:80"), alert("http://evil.example/", name="Forged"))
        assert (counts["received"], counts["matched"], counts["unmatched"]) == (3, 1, 2)
        told = stage.alerts()
        assert (told["received"], told["unmatched"], told["firing"]) == (3, 2, 1)
        assert [each["instance"] for each in told["unmatched_last"]] == ["nobody:1", "http://evil.example/"]
        (event,) = stage.happened("unmatched")
        assert event.reason.startswith("2 of 3 alerts are about no node of ours")
        assert (event.service, event.node, event.source) == ("", None, "alert")

    def test_the_last_ones_are_shown_and_no_more_of_them_than_is_good(self):
        stage = Watched()
        for number in range(50):
            stage.tell(alert("x" * 5000, labels={f"l{i}": f"{number}\n\ud800" for i in range(100)}))
        shown = stage.alerts()["unmatched_last"]
        assert len(shown) == 10
        assert all(len(labels) <= 20 and len("".join(labels.values())) < 2500 for labels in shown)
        assert all(value.isprintable() for labels in shown for value in labels.values())


def test_labels_that_someone_makes_up_are_not_all_remembered(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(matching, "_REMEMBERED", 2)
    stage = Watched(4)
    for number in range(7):
        stage.fire(f"made-up-{number}")
    stage.fire("n0")
    assert stage.out() == {"n0"}
    assert len(stage.balancer.alerts._matcher._found) <= 2
