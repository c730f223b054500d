"""What Alertmanager writes: the webhook, version 4, and the answer of ``GET /api/v2/alerts``.

Formats: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config and Alertmanager's
``api/v2/openapi.yaml``. Keys that are not needed are not looked at: newer versions add some.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

VERSION = "4"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST = 200  # characters of what is shown of an alert


class Malformed(ValueError):
    """It is not what Alertmanager would write; the message says where, and repeats nothing of it."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert.

    Attributes:
        fingerprint: what identifies its labels.
        firing: else it is resolved.
        labels: names and values.
        starts_at: when it began to fire, in seconds since the epoch.
        ends_at: when it ends or ended, or None where that is not known.
        summary: what it is about, in a few words; may be "".
    """

    fingerprint: str
    firing: bool
    labels: Mapping[str, str]
    starts_at: float
    ends_at: float | None
    summary: str


@dataclass(frozen=True, slots=True)
class Webhook:
    """A notification.

    Attributes:
        alerts: what it tells.
        truncated: how many more Alertmanager has left out.
    """

    alerts: tuple[Alert, ...]
    truncated: int


@dataclass(frozen=True, slots=True)
class Listed:
    """An alert that Alertmanager has now.

    Attributes:
        alert: firing.
        active: whether it notifies of it, so neither silenced nor inhibited.
    """

    alert: Alert
    active: bool


def read_webhook(document: object) -> Webhook:
    """The alerts of a webhook.

    Raises:
        Malformed: it is none of version 4; then nothing of it may be used.
    """
    body = _mapping(document, "the body")
    if body.get("version") != VERSION:
        raise Malformed(f'version: expected "{VERSION}"')
    truncated = body.get("truncatedAlerts", 0)
    if not isinstance(truncated, int) or isinstance(truncated, bool) or truncated < 0:
        raise Malformed("truncatedAlerts: expected a number of alerts")
    alerts = _list(body.get("alerts"), "alerts")
    return Webhook(tuple(_alert(each, f"alerts[{i}]") for i, each in enumerate(alerts)), truncated)


def _alert(value: object, place: str) -> Alert:
    alert = _mapping(value, place)
    status = alert.get("status")
    if status not in ("firing", "resolved"):
        raise Malformed(f'{place}.status: expected "firing" or "resolved"')
    return _told(alert, place, firing=status == "firing")


def read_listed(document: object) -> tuple[Listed, ...]:
    """The alerts that ``GET /api/v2/alerts`` answered with.

    Raises:
        Malformed: it is no such answer.
    """
    return tuple(_listed(each, f"[{i}]") for i, each in enumerate(_list(document, "the body")))


def _listed(value: object, place: str) -> Listed:
    alert = _mapping(value, place)
    status = _mapping(alert.get("status"), f"{place}.status")
    return Listed(_told(alert, place, firing=True), active=status.get("state") == "active")


def _told(alert: Mapping[Any, Any], place: str, *, firing: bool) -> Alert:
    labels = _words(alert.get("labels"), f"{place}.labels")
    annotations = _words(alert.get("annotations") or {}, f"{place}.annotations")
    fingerprint = alert.get("fingerprint")
    if not isinstance(fingerprint, str | None) or (fingerprint is not None and len(fingerprint) > _LONGEST):
        raise Malformed(f"{place}.fingerprint: expected a short string")
    starts_at = _time(alert.get("startsAt"), f"{place}.startsAt")
    ends_at = _time(alert["endsAt"], f"{place}.endsAt") if alert.get("endsAt") else None
    if starts_at is None:
        raise Malformed(f"{place}.startsAt: expected a time")
    summary = annotations.get("summary") or annotations.get("description") or ""
    return Alert(fingerprint or _derived(labels), firing, labels, starts_at, ends_at, plain(summary))


def _derived(labels: Mapping[str, str]) -> str:
    """A fingerprint of one's own: very old versions send none."""
    return hashlib.sha256(json.dumps(sorted(labels.items())).encode()).hexdigest()[:16]


def plain(text: str, longest: int = _LONGEST) -> str:
    """`text`, which comes from outside, as one printable line of bounded length."""
    line = "".join(c if c.isprintable() else " " for c in text[:longest])
    return line if len(text) <= longest else line[: longest - 1] + "…"


def _mapping(value: object, place: str) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise Malformed(f"{place}: expected an object")
    return value


def _list(value: object, place: str) -> list[Any]:
    if not isinstance(value, list):
        raise Malformed(f"{place}: expected a list")
    return value


def _words(value: object, place: str) -> Mapping[str, str]:
    words = _mapping(value, place)
    if not all(isinstance(word, str) for word in words.values()):
        raise Malformed(f"{place}: expected an object of strings")
    return words


def _time(value: object, place: str) -> float | None:
    """A time of RFC 3339 in seconds since the epoch; None for Go's zero time, which stands for no time."""
    if not isinstance(value, str):
        raise Malformed(f"{place}: expected a time like '2026-01-31T12:00:00Z'")
    try:
        time = datetime.fromisoformat(value)
        seconds = (time - _EPOCH).total_seconds()
    except (ValueError, TypeError, OverflowError):  # TypeError: it has no zone
        raise Malformed(f"{place}: expected a time like '2026-01-31T12:00:00Z'") from None
    return None if time.year <= 1 else seconds
