"""Defaults under services, and the way back: who wrote what is found in the merged settings."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from balancemw.settings.fields import plain
from balancemw.settings.words import Path

Section = Mapping[Any, Any]

_DEEP = (
    "retry",
    "ejection",
    "probe",
    "slow_start",
    "discovery",
    "hedge",
)  # merged key by key; anything else is replaced whole

_MEANT_BY_TRUE: Section = {"probe": {"kind": "tcp"}, "hedge": {}}


def merged(own: Section, defaults: Section) -> dict[Any, Any]:
    """A new mapping: what the service says itself, over the defaults. Neither argument is changed."""
    result = {key: plain(value) for key, value in defaults.items()}
    for key, value in own.items():
        below = defaults.get(key)
        if below is True:
            below = _MEANT_BY_TRUE.get(key)
        if key in _DEEP and isinstance(value, Mapping) and isinstance(below, Mapping) and _alike(key, value, below):
            result[key] = {**below, **value}
        else:
            result[key] = plain(value)
    if result.get("discovery") is not None:
        result.setdefault("nodes", ())
    return result


def _alike(key: str, value: Section, below: Section) -> bool:
    """Whether both speak of the same thing: the options of one kind of discovery mean nothing to another."""
    return key != "discovery" or "kind" not in value or value["kind"] == below.get("kind")


def written(own: Section, defaults: Section, path: Path, other: str = "") -> tuple[bool, Path]:
    """Whether `path` of the merged settings is the service's `own`, and the key to tell it by.

    `other`: a second key that is as much at fault as the last of `path`, told when only that one was written.
    """
    choices = [path, (*path[:-1], other)] if other else [path]
    for choice in choices:
        if _depth(own, choice) == len(choice):
            return True, choice
    # Nobody writes a key that is missing: it is missed where the mapping around it was written, the service first.
    mine, choice = _depth(own, path), max(choices, key=lambda choice: _depth(defaults, choice))
    theirs = _depth(defaults, choice)
    return (True, path) if mine >= theirs else (False, choice)


def _depth(raw: Any, path: Path) -> int:
    """How many parts of `path` stand written below `raw`."""
    for depth, part in enumerate(path):
        if isinstance(part, int) and isinstance(raw, list | tuple):
            there = part < len(cast(Sequence[Any], raw))
        else:
            there = isinstance(raw, Mapping) and part in raw
        if not there:
            return depth
        raw = cast(Any, raw)[part]
    return len(path)
