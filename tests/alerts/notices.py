"""Alertmanager's notifications for tests, and a service that gets them."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.engine.stage import Stage

NEVER = "0001-01-01T00:00:00Z"
BEGINNING = datetime(2026, 1, 31, 12, tzinfo=UTC)


def at(minutes: float) -> str:
    """A time so many minutes after the beginning, as Alertmanager writes it."""
    return (BEGINNING + timedelta(minutes=minutes)).isoformat()


def fingerprint(labels: Mapping[str, str]) -> str:
    return hashlib.sha256(repr(sorted(labels.items())).encode()).hexdigest()[:16]


def alert(
    instance: str = "n0:80",
    severity: str | None = "critical",
    *,
    name: str = "Broken",
    starts: float = 0,
    resolved: bool = False,
    **more: Any,
) -> dict[str, Any]:
    """One alert of a webhook; `starts`: minutes after the beginning. `more`: keys of its own, or more labels."""
    labels = {"alertname": name, "instance": instance, **more.pop("labels", {})}
    if severity is not None:
        labels["severity"] = severity
    return {
        "status": "resolved" if resolved else "firing",
        "labels": labels,
        "annotations": {"summary": f"{instance} is broken"},
        "startsAt": at(starts),
        "endsAt": at(starts + 1) if resolved else NEVER,
        "generatorURL": "http://prometheus.example/graph",
        "fingerprint": fingerprint(labels),
        **more,
    }


def webhook(*alerts: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A notification of these alerts."""
    return {
        "version": "4",
        "groupKey": '{}:{alertname="Broken"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "balancemw",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example",
        "alerts": list(alerts),
        **more,
    }


class Watched(Stage):
    """A service whose nodes an Alertmanager watches."""

    def __init__(self, nodes: Any = 4, *, alerts: Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(nodes, whole={"admin": {"token": "of-tests"}, "alerts": dict(alerts or {})}, **settings)

    def tell(self, *alerts: dict[str, Any], **more: Any) -> dict[str, int]:
        """Have a webhook with these alerts come in."""
        return self.balancer.receive_alerts(webhook(*alerts, **more))

    def fire(self, *hosts: str, severity: str | None = "critical", **more: Any) -> dict[str, int]:
        """One alert for each of these hosts begins to fire."""
        return self.tell(*(alert(f"{host}:80", severity, **more) for host in hosts))

    def resolve(self, *hosts: str, severity: str | None = "critical", **more: Any) -> dict[str, int]:
        """It is resolved."""
        return self.tell(*(alert(f"{host}:80", severity, resolved=True, **more) for host in hosts))

    def out(self) -> set[str]:
        """Hosts that get no calls."""
        return {node.host for node in self.service.nodes} - self.available()

    def later(self, seconds: float = 1.5) -> None:
        """Time passes, and calls are made."""
        self.clock.advance(seconds)
        self.service.pick()

    def alerts(self) -> dict[str, Any]:
        """What the status says of alerts."""
        told: Any = self.balancer.status()["alerts"]
        return told

    def effects(self) -> dict[str, str]:
        """What the alerts that fire have led to, by alert name and host."""
        return {
            f"{each['alert'].partition(' ')[0]} {target['node'].partition(':')[0]}": target["effect"]
            for each in self.alerts()["alerts"]
            for target in each["nodes"]
        }

    def journal(self) -> list[tuple[str, str | None]]:
        """What happened, and to which node."""
        return [(event.event, event.node) for event in self.balancer.journal.after()]
