"""What Alertmanager writes is read; what it would not write is refused, with a reason, and changes nothing."""

from typing import Any

import pytest

from balancemw.alerts import Malformed
from balancemw.alerts.payload import read_listed, read_webhook
from tests.alerts.notices import Watched, alert, webhook


def without(document: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != key}


def test_a_notification():
    (told,) = read_webhook(webhook(alert(startsAt="2018-08-03T09:52:26.739266876+02:00"))).alerts
    assert (told.fingerprint, told.firing, told.ends_at, told.summary) == (
        alert()["fingerprint"],
        True,
        None,
        "n0:80 is broken",
    )
    assert told.starts_at == pytest.approx(1533282746.739266)
    assert read_webhook(webhook(truncatedAlerts=7)).truncated == 7


def test_keys_that_newer_versions_add_are_not_looked_at():
    read_webhook(webhook({**alert(), "new": [1]}, notification_reason="firing"))


def test_what_old_versions_leave_out_is_not_needed():
    bare = without(without(alert(), "annotations"), "endsAt")
    first, second = read_webhook(webhook(without(bare, "fingerprint"), without(bare, "fingerprint"))).alerts
    assert first.fingerprint == second.fingerprint != ""


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (None, "the body: expected an object"),
        ([], "the body: expected an object"),
        ({}, 'version: expected "4"'),
        (webhook(version="3"), 'version: expected "4"'),
        (webhook(version=4), 'version: expected "4"'),
        (without(webhook(), "alerts"), "alerts: expected a list"),
        (webhook(alerts={}), "alerts: expected a list"),
        (webhook(alerts=[1]), "alerts[0]: expected an object"),
        (webhook(truncatedAlerts=-1), "truncatedAlerts: expected a number of alerts"),
        (webhook(truncatedAlerts=True), "truncatedAlerts: expected a number of alerts"),
        (webhook(alert(), alert(status="pending")), 'alerts[1].status: expected "firing" or "resolved"'),
        (webhook(without(alert(), "labels")), "alerts[0].labels: expected an object"),
        (webhook({**alert(), "labels": {"instance": 1}}), "alerts[0].labels: expected an object of strings"),
        (webhook(alert(annotations=[1])), "alerts[0].annotations: expected an object"),
        (webhook(alert(fingerprint=5)), "alerts[0].fingerprint: expected a short string"),
        (webhook(alert(fingerprint="x" * 201)), "alerts[0].fingerprint: expected a short string"),
        (webhook(without(alert(), "startsAt")), "alerts[0].startsAt: expected a time"),
        (webhook(alert(startsAt="0001-01-01T00:00:00Z")), "alerts[0].startsAt: expected a time"),
        (webhook(alert(startsAt="yesterday")), "alerts[0].startsAt: expected a time"),
        (webhook(alert(startsAt="2026-01-31T12:00:00")), "alerts[0].startsAt: expected a time"),
        (webhook(alert(endsAt="0001-01-01T00:00:00+23:59x")), "alerts[0].endsAt: expected a time"),
        (webhook(alert(endsAt=5)), "alerts[0].endsAt: expected a time"),
    ],
)
def test_what_is_malformed_is_told_and_nothing_of_it_is_used(document: Any, reason: str):
    stage = Watched()
    with pytest.raises(Malformed) as caught:
        stage.balancer.receive_alerts(document)
    assert str(caught.value).startswith(reason)
    assert stage.alerts()["received"] == 0
    assert stage.out() == set()


def test_a_list_of_alertmanager():
    listed = {**without(alert(), "status"), "status": {"state": "suppressed", "silencedBy": ["x"], "inhibitedBy": []}}
    (told,) = read_listed([listed])
    assert (told.active, told.alert.firing) == (False, True)
    for odd in (None, {}, [1], [without(listed, "status")]):
        with pytest.raises(Malformed):
            read_listed(odd)


class TestMany:
    def test_ten_thousand_alerts_are_taken_up_to_a_bound(self):
        stage = Watched(4)
        counts = stage.tell(*(alert(f"n{i % 4}:80", name=f"Broken{i}") for i in range(10_000)))
        assert (counts["received"], counts["new"], counts["refused"]) == (10_000, 1000, 9000)
        assert (len(stage.out()), stage.alerts()["firing"]) == (2, 1000)
        assert len(stage.alerts()["alerts"]) == 100
        assert [event.reason for event in stage.happened("alerts_lost")] == [
            "9000 alerts were too many, and Alertmanager left out 0"
        ]

    def test_what_is_known_is_bounded_too(self):
        stage = Watched(4)
        for part in range(11):
            stage.tell(*(alert(name=f"Broken{i}") for i in range(part * 1000, part * 1000 + 1000)))
        assert (stage.alerts()["firing"], stage.alerts()["refused"]) == (10_000, 1000)

    def test_resolved_ones_make_room(self):
        stage = Watched(4, alerts={"max": 10_000})
        stage.tell(*(alert(name=f"Broken{i}", resolved=True) for i in range(10_000)))
        assert stage.fire("n0")["new"] == 1

    def test_what_alertmanager_left_out_is_counted_and_told(self):
        stage = Watched()
        assert stage.tell(alert(), truncatedAlerts=3)["truncated"] == 3
        assert stage.alerts()["truncated"] == 3
        assert len(stage.happened("alerts_lost")) == 1
