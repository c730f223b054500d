"""What follows from alerts for the nodes they are about."""

from datetime import UTC, datetime
from itertools import permutations
from math import ceil
from typing import Any

import pytest

from balancemw import Balancer
from tests.alerts.notices import Watched, alert, at, webhook
from tests.engine.clock import FakeClock


class TestSeverity:
    def test_critical_takes_the_node_out_until_it_is_resolved(self):
        stage = Watched()
        assert {name: count for name, count in stage.fire("n0").items() if count} == {
            "received": 1,
            "matched": 1,
            "new": 1,
        }
        assert stage.states()["n0"] == "down"
        (mark,) = stage.told("n0")["marks"]
        assert (mark["source"], mark["kind"]) == ("alert", "down")
        assert mark["reason"] == "Broken (critical): n0:80 is broken"
        assert mark["until"] - mark["since"] == pytest.approx(18000)
        stage.resolve("n0")
        assert stage.told("n0")["marks"] == []
        assert stage.journal() == [("down", "n0:80"), ("cleared", "n0:80")]

    def test_warning_leaves_it_a_quarter_of_its_weight(self):
        stage = Watched()
        stage.fire("n0", severity="warning")
        assert (stage.states()["n0"], stage.told("n0")["weight"]) == ("up", 0.25)
        stage.resolve("n0", severity="warning")
        assert (stage.told("n0")["weight"], stage.told("n0")["marks"]) == (1.0, [])

    @pytest.mark.parametrize("severity", ["info", "page", "", None])
    def test_any_other_is_told_and_changes_nothing(self, severity: str | None):
        stage = Watched()
        stage.fire("n0", severity=severity)
        assert (stage.states()["n0"], stage.told("n0")["marks"]) == ("up", [])
        assert stage.journal() == [("noted", "n0:80")]
        assert stage.alerts()["alerts"][0]["reaction"] == "probe"

    def test_the_reactions_are_a_setting(self):
        severity = {"page": "drain", "warning": {"weight": 2}, "*": "note"}
        stage = Watched(8, alerts={"severity": severity})
        for host, each in enumerate(["page", "warning", "else", "critical"]):
            stage.fire(f"n{host}", severity=each)
        states = stage.states()
        assert [states[f"n{i}"] for i in range(4)] == ["draining", "up", "up", "down"]
        assert stage.told("n1")["weight"] == 2.0
        assert [each["reaction"] for each in stage.alerts()["alerts"]] == ["drain", "weight × 2", "note", "down"]


class TestSeveral:
    def test_the_strongest_wins_and_they_fall_away_one_by_one(self):
        stage = Watched()
        stage.tell(
            alert("n0:80", "warning", name="Slow"), alert("n0:80", "critical", name="Broken"), alert("n0:80", "info")
        )
        assert stage.states()["n0"] == "down"
        assert stage.effects()["Slow n0"] == "none"
        stage.tell(alert("n0:80", "critical", name="Broken", resolved=True))
        assert (stage.states()["n0"], stage.told("n0")["weight"]) == ("slow_start", 0.25 * 0.1)
        stage.tell(alert("n0:80", "warning", name="Slow", resolved=True))
        assert stage.told("n0")["marks"] == []

    def test_of_two_alike_the_one_left_holds_on(self):
        stage = Watched()
        stage.tell(alert(name="First"), alert(name="Second"))
        stage.tell(alert(name="First", resolved=True))
        assert stage.told("n0")["marks"][0]["reason"].startswith("Second")
        stage.tell(alert(name="Second", resolved=True))
        assert stage.told("n0")["marks"] == []

    def test_a_resolved_alert_clears_nobody_elses_mark(self):
        stage = Watched()
        stage.service.mark("n0:80", "drain", reason="kernel update")
        stage.put_out("n1")
        stage.fire("n0", "n1")
        stage.resolve("n0", "n1")
        assert stage.states() == {"n0": "draining", "n1": "ejected", "n2": "up", "n3": "up"}

    def test_nor_does_one_of_which_nothing_was_known(self):
        stage = Watched()
        stage.service.mark("n0:80", "down", source="alert", reason="set by hand")
        stage.resolve("n0")
        assert stage.states()["n0"] == "down"


class TestOperator:
    def test_up_overrules_what_fires_now(self):
        stage = Watched()
        stage.fire("n0")
        stage.service.mark("n0:80", "up", reason="it is well")
        stage.later()
        stage.fire("n0")  # told again
        stage.later()
        assert stage.out() == set()
        assert stage.effects() == {"Broken n0": "overruled"}
        stage.fire("n0", starts=5)  # it has been well, and is broken again
        assert stage.out() == {"n0"}

    def test_up_overrules_what_has_been_held_back_too(self):
        stage = Watched(2)
        stage.fire("n0")
        stage.fire("n1", starts=1)
        assert stage.effects() == {"Broken n0": "down", "Broken n1": "held_back"}
        stage.service.mark("n1:80", "up", reason="it is well")
        stage.resolve("n0")
        stage.later()
        assert stage.out() == set()

    def test_another_alert_speaks_for_itself(self):
        stage = Watched()
        stage.fire("n0")
        stage.service.mark("n0:80", "up", reason="it is well")
        stage.fire("n0", name="Disk")
        assert stage.out() == {"n0"}

    def test_who_clears_the_mark_overrules_as_well(self):
        stage = Watched()
        stage.fire("n0")
        stage.service.clear("n0:80", source="alert")
        stage.later()
        assert stage.out() == set()


class TestKeep:
    @pytest.mark.parametrize(("count", "keep"), [(1, 0.5), (2, 0.5), (3, 0.5), (4, 0.5), (5, 0.9), (7, 0.0)])
    def test_alerts_for_all_nodes_leave_enough_of_them(self, count: int, keep: float):
        stage = Watched(count, ejection={"keep": keep})
        stage.fire(*(f"n{i}" for i in range(count)))
        assert len(stage.available()) == max(1, ceil(keep * count))
        held = list(stage.effects().values()).count("held_back")
        assert held == len(stage.available()) == len(stage.happened("held_back"))

    def test_the_rest_follows_when_there_is_room(self):
        stage = Watched(4)
        stage.fire("n0", "n1", "n2")
        assert stage.out() == {"n0", "n1"}
        stage.resolve("n1")
        assert stage.out() == {"n0", "n2"}
        assert [event.node for event in stage.happened("held_back")] == ["n2:80"]

    def test_the_weakest_claim_waits(self):
        stage = Watched(2, alerts={"severity": {"warning": "drain"}})
        stage.fire("n0", severity="warning")
        assert stage.out() == {"n0"}
        stage.fire("n1", starts=5)
        assert stage.out() == {"n1"}
        assert stage.effects() == {"Broken n0": "held_back", "Broken n1": "down"}

    def test_of_equal_ones_who_fired_last(self):
        stage = Watched(2)
        stage.fire("n0", starts=5)
        stage.fire("n1", starts=4)
        assert stage.out() == {"n1"}

    def test_who_may_not_be_taken_out_still_loses_weight(self):
        stage = Watched(2)
        stage.fire("n0")
        stage.fire("n1", starts=1)
        stage.fire("n1", severity="warning")
        assert (stage.out(), stage.told("n1")["weight"]) == ({"n0"}, 0.25)

    def test_it_counts_within_a_priority(self):
        nodes = [{"url": f"http://n{i}:80", "priority": i // 2} for i in range(4)]
        stage = Watched(nodes)
        stage.fire("n0", "n1", "n2", "n3")
        assert sorted(stage.states().values()) == ["down", "down", "up", "up"]
        assert {stage.states()[host] for host in ("n0", "n1")} == {"down", "up"}

    def test_who_is_out_anyway_leaves_no_room_for_alerts(self):
        stage = Watched(4)
        stage.service.mark("n0:80", "down", reason="broken")
        stage.service.mark("n1:80", "drain", reason="update")
        stage.fire("n2")
        assert stage.out() == {"n0", "n1"}
        stage.service.mark("n1:80", "up", reason="done")
        stage.later()
        assert stage.out() == {"n0", "n2"}

    def test_and_is_marked_without_taking_any(self):
        stage = Watched(2)
        stage.put_out("n0")
        stage.fire("n0", "n1")
        assert stage.states() == {"n0": "down", "n1": "up"}

    def test_a_node_that_traffic_finds_sick_comes_before_one_that_alerts_accuse(self):
        stage = Watched(2)
        stage.fire("n0")
        assert stage.available() == {"n1"}
        stage.fails("n1", "refused")
        stage.later()
        assert "n0" in stage.available()


class TestLease:
    def test_an_alert_that_is_not_heard_of_again_ends(self):
        stage = Watched(alerts={"lease": 60})
        stage.fire("n0")
        stage.later(59)
        assert stage.out() == {"n0"}
        stage.later(2)
        assert stage.out() == set()
        assert stage.alerts()["firing"] == 0

    def test_hearing_of_it_renews_it_without_being_news(self):
        stage = Watched(alerts={"lease": 60})
        stage.fire("n0")
        stage.later(50)
        before, events = stage.told("n0")["marks"][0], stage.journal()
        stage.fire("n0")
        after = stage.told("n0")["marks"][0]
        assert after["until"] == pytest.approx(before["until"] + 50)
        assert (after["since"], stage.journal()) == (before["since"], events)
        stage.later(50)
        assert stage.out() == {"n0"}

    def test_an_end_that_it_brings_itself_shortens_it(self):
        stage = Watched()
        now = stage.balancer._epoch + stage.clock()
        stage.fire("n0", endsAt=datetime.fromtimestamp(now + 30, UTC).isoformat())
        stage.later(29)
        assert stage.out() == {"n0"}
        stage.later(2)
        assert stage.out() == set()


class TestOrder:
    def test_a_replay_changes_nothing(self):
        stage = Watched()
        stage.fire("n0")
        before = (stage.status(), stage.journal())
        assert stage.fire("n0")["renewed"] == 1
        assert (stage.status(), stage.journal()) == before

    def test_a_firing_that_comes_after_its_resolution_is_stale(self):
        stage = Watched()
        stage.resolve("n0")
        assert stage.fire("n0")["stale"] == 1
        assert stage.out() == set()

    def test_a_resolution_of_an_earlier_time_is_stale(self):
        stage = Watched()
        stage.fire("n0", starts=10)
        assert stage.resolve("n0", starts=0)["stale"] == 1
        assert stage.fire("n0", starts=0)["stale"] == 1
        assert stage.out() == {"n0"}

    def test_a_resolution_of_a_later_time_ends_what_was_before(self):
        stage = Watched()
        stage.fire("n0", starts=0)
        stage.resolve("n0", starts=10)
        assert stage.out() == set()

    def test_any_order_comes_to_the_same(self):
        story: list[dict[str, Any]] = [
            alert(starts=0),
            alert(starts=0, resolved=True),
            alert(starts=10),
            alert(starts=10, resolved=True),
            alert(starts=20),
        ]
        for order in permutations(story):
            stage = Watched()
            for each in order:
                stage.tell(each)
            assert stage.out() == {"n0"}
            stage.tell(alert(starts=20, resolved=True))
            assert stage.out() == set()

    def test_a_resolution_is_not_remembered_for_ever(self):
        stage = Watched()
        stage.resolve("n0")
        stage.later(901)
        assert stage.fire("n0")["new"] == 1
        assert stage.out() == {"n0"}

    def test_a_firing_that_says_itself_that_it_is_over_is_stale(self):
        stage = Watched()
        assert stage.fire("n0", endsAt=at(1))["stale"] == 1
        assert stage.out() == set()


class TestNodesThatComeAndGo:
    def test_a_node_that_leaves_takes_its_mark_along_and_gets_it_again(self):
        stage = Watched(4)
        stage.fire("n0")
        stage.service.replace(["http://n1:80", "http://n2:80", "http://n3:80"])
        stage.later()
        assert stage.alerts()["alerts"][0]["nodes"] == []
        stage.service.replace([f"http://n{i}:80" for i in range(4)])
        stage.later()
        assert stage.out() == {"n0"}


def test_whoever_clears_the_mark_of_one_service_means_that_one_alone():
    clock = FakeClock()
    services = {name: {"nodes": [f"http://n{i}:80" for i in range(4)]} for name in ("a", "b")}
    balancer = Balancer({"services": services, "admin": {"token": "of-tests"}}, clock=clock)
    balancer.receive_alerts(webhook(alert("n0:80")))
    pools = [balancer[name].pool for name in services]
    pools[1].adopt(pools[1].roster.find("n0:80"), "alert", None, 0, clock())
    clock.advance(1.5)
    balancer["b"].pick()
    assert ["alert" in pool.roster.find("n0:80").marks for pool in pools] == [True, False]
