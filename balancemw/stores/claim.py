"""A claim: a mark, or that there is none any more, as it travels between workers."""

import json
from dataclasses import dataclass
from math import isfinite
from typing import Any

from balancemw.health import COMMANDS, KINDS, LEAST_WEIGHT, MOST_WEIGHT, Mark

Key = tuple[str, str, str]
"""Service, url of the node (``""``: all of it), source. For alerts: ``""``, fingerprint, ``"alert"``."""

_TRAFFIC = ("ejected", "resting", "down", "weight")
_LONGEST = 1000  # characters of a reason
_HIGHEST = 64  # relapses beyond which no time out grows
_OVERTAKING = 0.5  # seconds within which a later word may come to the store first
_EVER = 1e12  # seconds


@dataclass(frozen=True, slots=True)
class Claim:
    """What one worker says of one node.

    Attributes:
        key: what about.
        at: when that came to be, in seconds since the epoch.
        writer: which worker says so.
        mark: with times since the epoch; None: cleared.
        level: for an ejection, how often in a row the node was put out.
        late: whether it could not be written when it was new.
    """

    key: Key
    at: float
    writer: str
    mark: Mark | None = None
    level: int = 0
    late: bool = False

    @property
    def ends(self) -> float | None:
        """When nobody has to be told of it any more, but for some patience; None: never."""
        return self.at if self.mark is None else self.mark.until

    @property
    def yields(self) -> float:
        """Seconds: what is stored stands if it is newer by less.

        A worker that is slow to carry its word must not undo one that was said after it and was carried sooner. By more
        than a moment only a clock that is set otherwise is ahead: then who comes later has said the later word, unless
        that was known to be late.
        """
        if self.late:
            return _EVER
        return _OVERTAKING if self.key[0] and self.key[1] else 0.0

    def text(self) -> str:
        """It without its key, as it is stored."""
        fields: dict[str, object] = {"at": self.at, "writer": self.writer}
        if self.mark is not None:
            mark = self.mark
            fields |= {"kind": mark.kind, "reason": mark.reason, "since": mark.since, "level": self.level}
            fields |= {"until": mark.until, "weight": mark.weight}
        return json.dumps(fields)


def read_claim(key: Key, text: str) -> Claim | None:
    """The claim that was stored, or None where it makes no sense: others may write there, and other versions."""
    try:
        fields = json.loads(text)
        return Claim(key, _number(fields["at"]), str(fields["writer"]), _mark(key, fields), _level(fields))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _mark(key: Key, fields: dict[str, Any]) -> Mark | None:
    source, kind = key[2], fields.get("kind")
    if kind is None:
        return None
    if not key[0] and kind == "entry":  # of the ledger of alerts, which reads its text itself
        return Mark(source, kind, str(fields["reason"]), _number(fields["since"]), _number(fields["until"]))
    kinds = KINDS if source in COMMANDS else _TRAFFIC if source == "traffic" else ("down", "proven")
    if source not in (*COMMANDS, "traffic", "probe") or kind not in kinds:
        raise ValueError(kind)
    weight = None if fields["weight"] is None else _number(fields["weight"])
    if (weight is None) == (kind == "weight") or (weight and not LEAST_WEIGHT < weight <= MOST_WEIGHT):
        raise ValueError(weight)
    until = None if fields["until"] is None else _number(fields["until"])
    if kind in ("ejected", "resting") and until is None:
        raise ValueError(kind)
    return Mark(source, kind, str(fields["reason"])[:_LONGEST], _number(fields["since"]), until, weight)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise ValueError(value)
    return float(value)


def _level(fields: dict[str, Any]) -> int:
    return max(0, min(_HIGHEST, int(fields.get("level", 0))))
