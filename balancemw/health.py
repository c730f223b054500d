"""Health is a set of marks, at most one per source; whether a node may be chosen is derived from them.

    source      kinds                       obeyed
    operator    down, drain, weight         always, before all others
    alert       down, drain, weight         always
    discovery   down, drain, weight         always
    self        down, drain, weight         always
    probe       down                        while enough of the pool is left, else the pool fails open
    traffic     ejected, resting            likewise
    traffic     weight                      always: a node that is slow keeps a share

Only the source that set a mark clears it, except that an operator who says "up" overrides what alert, traffic, probe
and self hold against the node at that moment.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf

from balancemw.arguments import check_number

COMMANDS = ("operator", "alert", "discovery", "self")
"""Sources that must be obeyed even if no node is left, highest precedence first."""

AUTOMATIC = ("probe", "traffic")
"""Sources that may be wrong about a whole pool: `ejection.keep` bounds what they take out together."""

GOING = "it says that it is going"
"""The reason of a mark of source ``self`` that a node's own words have led to: it is expected back."""

SOURCES = COMMANDS + AUTOMATIC
KINDS = ("down", "drain", "weight")
OVERRIDDEN_BY_UP = ("operator", "alert", "self", "probe", "traffic")
LEAST_WEIGHT, MOST_WEIGHT = 0.0, 10.0

_WEIGHT = f"weight is a factor above {LEAST_WEIGHT:g} and up to {MOST_WEIGHT:g}"
_TTL = "ttl is a number of seconds above 0"


@dataclass(frozen=True, slots=True)
class Mark:
    """A claim about a node.

    Attributes:
        source: who makes it.
        kind: what is claimed.
        reason: why, in words.
        since: when it was made, on the balancer's clock in seconds.
        until: when it ends: by itself, or for ``ejected`` when readmission is first considered; None: when cleared.
        weight: for kind ``weight``: the factor on the configured weight.
    """

    source: str
    kind: str
    reason: str
    since: float
    until: float | None = None
    weight: float | None = None

    def expired(self, now: float) -> bool:
        """Whether it has ended by itself. An ejection does not: the node must first show that it works."""
        return self.until is not None and now >= self.until and self.kind != "ejected"


Marks = Mapping[str, Mark]


def commanded(marks: Marks) -> str | None:
    """``"down"`` or ``"draining"`` when someone who must be obeyed forbids the node, by the highest such mark."""
    for source in COMMANDS:
        mark = marks.get(source)
        if mark is not None and mark.kind != "weight":
            return "draining" if mark.kind == "drain" else "down"
    return None


def weight_factor(marks: Marks) -> float:
    """The factor on the configured weight: that of the highest mark that names one, else 1."""
    for source in COMMANDS:
        mark = marks.get(source)
        if mark is not None and mark.weight is not None:
            return mark.weight
    return 1.0


def check_mark(kind: str, source: str, weight: float | None, ttl: float | None) -> None:
    """Refuse a mark that makes no sense.

    Raises:
        TypeError: `weight` or `ttl` is no number.
        ValueError: unknown kind or source, a weight where none belongs or outside (0, 10], a `ttl` that is not above 0.
    """
    _one_of("kind", kind, (*KINDS, "up"))
    check_source(source)
    if source in AUTOMATIC and kind not in ("down", "up"):
        raise ValueError(f"source {source!r} can only say 'down' or 'up', not {kind!r}")
    if (weight is not None) != (kind == "weight"):
        raise ValueError("a mark of kind 'weight' needs weight=, and no other kind takes one")
    if weight is not None:
        check_number(_WEIGHT, weight)
        if not LEAST_WEIGHT < weight <= MOST_WEIGHT:
            raise ValueError(f"{_WEIGHT}, not {weight!r}")
    if ttl is not None:
        check_number(_TTL, ttl)
        if not 0 < ttl < inf:
            raise ValueError(f"{_TTL}, not {ttl!r}")


def check_source(source: str) -> None:
    """Refuse a source that does not exist.

    Raises:
        ValueError: there is none.
    """
    _one_of("source", source, SOURCES)


def _one_of(what: str, word: str, known: Iterable[str]) -> None:
    known = tuple(known)
    if word not in known:
        raise ValueError(f"unknown {what} {word!r} (known: {', '.join(known)})")
