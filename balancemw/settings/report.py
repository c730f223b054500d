"""From what pydantic found to lines that name the key as the user wrote it."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from balancemw.errors import did_you_mean
from balancemw.settings.admin import AdminSettings
from balancemw.settings.alerts import AlertSettings, MatchRule
from balancemw.settings.fields import Conflict
from balancemw.settings.hedge import HedgeSettings
from balancemw.settings.models import (
    EjectionSettings,
    InboundSettings,
    RetrySettings,
    RouteSettings,
    ServiceSettings,
    SlowStartSettings,
)
from balancemw.settings.nodes import NodeEntry
from balancemw.settings.probe import ProbeSettings
from balancemw.settings.words import Path, key_text, looks_secret, one_line, shown
from balancemw.strategies import OptionError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_TEXTS = {
    "bool_type": "expected true or false, got {got}",
    "dataclass_type": "expected a mapping, got {got}",
    "dict_type": "expected a mapping, got {got}",
    "finite_number": "must be a finite number, got {got}",
    "float_type": "expected a number, got {got}",
    "greater_than": "must be above {gt:g}, got {got}",
    "greater_than_equal": "must be at least {ge:g}, got {got}",
    "int_type": "expected a whole number, got {got}",
    "less_than_equal": "must be at most {le:g}, got {got}",
    "string_type": "expected a string, got {got}",
    "string_unicode": "is not valid text: {got}",
}
MISSING = {
    "kind": 'missing; write "http", "tcp" or "package.module:callable"',
    "name": 'missing; write the name to look up, like "inventory.internal"',
    "nodes": 'missing; write ["http://host:port"]',
    "route.service": "missing; write the name of a service",
    "service": "missing; write what the service is called there",
    "path": "missing; write the path of a JSON or TOML file",
    "url": 'missing; write "http://host:port"',
}
"""What is said where a key is missing."""


def _keys(cls: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(cls) if field.init)


KNOWN = {
    "": ("services", "defaults", "inbound", "routes", "state", "admin", "alerts"),
    "service": _keys(ServiceSettings),
    "inbound": _keys(InboundSettings),
    "admin": _keys(AdminSettings),
    "alerts": _keys(AlertSettings),
    "match": _keys(MatchRule),
    "nodes": _keys(NodeEntry),
    "probe": _keys(ProbeSettings),
    "retry": _keys(RetrySettings),
    "route": _keys(RouteSettings),
    "ejection": _keys(EjectionSettings),
    "slow_start": _keys(SlowStartSettings),
    "hedge": _keys(HedgeSettings),
}
"""The keys of every section; ``""`` is the outermost, ``"service"`` what stands below a service's name."""

Place = Callable[[Path, str], Path]


class Report:
    """Problems as they are found, one line each; the same line is told once.

    Args:
        head: what every key begins with.
        known: the keys of every section.
        missing: what is said where a key is missing, by key.

    Attributes:
        lines: the problems, in the order they were found; a mapping for its keys.
    """

    def __init__(
        self,
        head: str = "",
        known: Mapping[str, Sequence[str]] = KNOWN,
        missing: Mapping[str, str] = MISSING,
    ) -> None:
        self.lines: dict[str, None] = {}
        self._head = head
        self._known = known
        self._missing = missing

    def add(self, path: Path, text: str) -> None:
        """Tell of one problem at `path`."""
        key = self._head + key_text(path)
        self.lines[one_line(f"{key}: {text}" if key else text)] = None

    def odd_keys(self, path: Path, keys: Iterable[object]) -> None:
        """Tell of those `keys` below `path` that are no strings."""
        for key in keys:
            if not isinstance(key, str):
                self.add(path, f"every key must be a string, got {shown(key)}")

    def invalid(self, error: ValidationError, place: Place, *, root: str = "service", skip: Sequence[str] = ()) -> None:
        """Tell of everything that pydantic found.

        Args:
            error: its findings.
            place: where the user wrote what it found at a path; also given the other key when two contradict.
            root: the section that was validated.
            skip: kinds of findings not to tell.
        """
        for fault in error.errors(include_url=False):
            cause = fault.get("ctx", {}).get("error")
            conflict = cause.other if isinstance(cause, Conflict) else ""
            if fault["type"] in skip or (conflict and "conflict" in skip):
                continue
            path, text = _translated(fault, root, self._known, self._missing)
            path = place(path, conflict)
            # A strategy's own error names the option it is about, which pydantic's path does not.
            self.add((*path, cause.option) if isinstance(cause, OptionError) else path, text)


def _translated(
    fault: "ErrorDetails", root: str, known: Mapping[str, Sequence[str]], missing: Mapping[str, str]
) -> tuple[Path, str]:
    path, kind = fault["loc"], fault["type"]
    if kind == "value_error":
        return path[:-1] if path[-1:] == ("[key]",) else path, str(fault.get("ctx", {})["error"])
    if kind == "unexpected_keyword_argument":
        section = next((part for part in reversed(path[:-1]) if isinstance(part, str)), root)
        return path, unknown_key(str(path[-1]), section, known)
    if kind == "missing":
        name = str(path[-1])
        return path, missing.get(f"{root}.{name}") or missing.get(name, "missing")
    if kind == "invalid_key":
        return path[:-1], f"every key must be a string, got {shown(fault['input'])}"
    if path[-1:] == ("[key]",):
        return path[:-2], f"every key must be a string, got {shown(fault['input'])}"
    return path, _typed(fault)


def _typed(fault: "ErrorDetails") -> str:
    kind, value = fault["type"], fault["input"]
    if kind == "float_type" and isinstance(value, int) and not isinstance(value, bool):
        return "must be a finite number, got one too large"
    hidden = any(looks_secret(part) for part in fault["loc"])
    text = _TEXTS.get(kind, "is not valid: {got}").format(
        got="a value that is not shown" if hidden else shown(value), **fault.get("ctx", {})
    )
    if kind in ("float_type", "int_type") and isinstance(value, str) and _numeric(value):
        text += "; write it without quotes"
    return text


def _numeric(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def unknown_key(key: str, section: str, known: Mapping[str, Sequence[str]] = KNOWN) -> str:
    """What is said of a `key` that `section` does not have."""
    word = key.lower()
    if section == "service":
        homes = [name for name in known["service"] if name != "nodes" and word in known.get(name, ())]
        if homes and word not in known["service"]:
            return f"unknown key; did you mean '{homes[0]}.{word}'?"
    return f"unknown key{did_you_mean(word, known[section])}"
