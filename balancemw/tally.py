"""Failed tries in sum: an outage at a thousand calls per second must not become one of the journal."""

from dataclasses import dataclass

PACE = 1.0
"""Seconds within which the failures of one node and kind are told once."""


@dataclass(slots=True)
class Sum:
    """Failures of one node and kind.

    Attributes:
        node: ``host:port``.
        fault: their kind.
        told_at: when the sum before was told.
        count: how many there were since.
        reason: the last one, in words.
    """

    node: str
    fault: str
    told_at: float = float("-inf")
    count: int = 0
    reason: str = ""


class Tally:
    """Sums of failures of one service. The first is told at once, what follows at most once per `PACE`."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str], Sum] = {}

    def add(self, node: str, fault: str, reason: str, now: float) -> Sum | None:
        """One more failure; returns the sum of its kind, if it is to be told now."""
        found = self._sums.get((node, fault))
        if found is None:
            found = self._sums[node, fault] = Sum(node, fault)
        found.count += 1
        found.reason = reason
        return self._take(found, now) if now - found.told_at >= PACE else None

    def due(self, now: float) -> list[Sum]:
        """The sums that are to be told now and that no further failure has told of."""
        over = [each for each in self._sums.values() if now - each.told_at >= PACE]
        for each in over:
            if not each.count:
                del self._sums[each.node, each.fault]
        return [self._take(each, now) for each in over if each.count]

    def _take(self, found: Sum, now: float) -> Sum:
        self._sums[found.node, found.fault] = Sum(found.node, found.fault, now)
        return found
