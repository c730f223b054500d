"""An entry of the journal, as it is stored."""

import json
from collections.abc import Mapping
from typing import Any

from balancemw.journal import Event

_LONGEST = 2000  # characters of a reason
_MOST = 4000  # characters of evidence


def entry_text(event: Event) -> str:
    """All of `event` but its number, as JSON."""
    evidence = json.dumps(dict(event.evidence), default=str)
    fields = [event.time, event.service, event.node, event.event, event.source, event.fault, event.reason[:_LONGEST]]
    return json.dumps([*fields, evidence if len(evidence) <= _MOST else "{}"])


def read_entry(number: int, text: str) -> Event | None:
    """The event that was stored, or None where it makes no sense."""
    try:
        time, service, node, event, source, fault, reason, evidence = json.loads(text)
        told = Event(number, float(time), str(service), _text(node), str(event), str(source), _text(fault), str(reason))
        object.__setattr__(told, "evidence", _mapping(json.loads(evidence)))
    except (ValueError, TypeError, RecursionError):
        return None
    return told


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _mapping(value: Any) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
