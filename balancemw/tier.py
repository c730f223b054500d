"""Nodes of one priority: which of them may be chosen now, and the choice among them.

Traffic and probes together must leave ``keep`` of the nodes (rounded up, at least one). Where they would take more,
the tier *fails open*: with no good node left all the accused ones stay in, so that the first to return is found at
once; with too few, the least bad stay in at a small share.
"""

from collections.abc import Collection
from heapq import nsmallest
from math import ceil, inf
from random import Random

from balancemw.health import commanded
from balancemw.peer import Peer
from balancemw.strategies import Picker, Strategy

KEPT_SHARE = 0.1
"""Share of its turns that a node gets which is in the pool only because not more may leave it."""

_DRAWS = 3  # tries to draw a node that has not been passed over, before the rest is looked through
_RERANK = 1.0  # seconds after which the least bad are chosen anew


class Tier:
    """The nodes of one priority. All methods but `choose` run under the pool's lock.

    Attributes:
        everyone: all its peers; a new tuple when a node or a weight changes.
        available: those that may be chosen.
        trials: those whose time out is over and that get one trial call.
        warm: whether a good node is at full weight, so that others can be spared.
        eased: whether one that is available is slower than its peers, and passes turns on.
        kept: accused nodes that stay in because not more may leave.
        floor: how many nodes automatic ejection must leave.
        may_eject: whether an accusation can ever make a difference: not for a single node that no other can replace.
    """

    def __init__(self, everyone: tuple[Peer, ...], strategy: Strategy, keep: float, *, alone: bool) -> None:
        self.everyone = everyone
        self.available = everyone
        self.trials: tuple[Peer, ...] = ()
        self.warm = True
        self.eased = False
        self.kept: frozenset[Peer] = frozenset()
        self._strategy = strategy
        self.floor = max(1, ceil(keep * len(everyone) - 1e-9))
        self.may_eject = self.floor < len(everyone) or not alone
        self._picker: Picker | None = None

    @property
    def healthy(self) -> bool:
        """Whether a node is available that nothing is held against."""
        return len(self.available) > len(self.kept)

    @property
    def sticky(self) -> bool:
        """Whether calls belong to nodes by their key, so that none may be diverted without need."""
        return bool(getattr(self._strategy, "sticky", False))

    def reweigh(self) -> None:
        """A weight changed: strategies must not reuse what they derived from the old ones."""
        self.everyone = (*self.everyone,)

    def refresh(self, now: float, due: Collection[Peer]) -> float:
        """Derive who is available; `due`: peers whose trial call may be sent. Returns when to look again."""
        accused: list[Peer] = []
        forbidden, again = 0, inf
        for peer in self.everyone:
            if not peer.marks:
                continue
            again = min([again, *(m.until for m in peer.marks.values() if m.until is not None and m.until > now)])
            ordered_out = commanded(peer.marks) is not None
            forbidden += ordered_out
            peer.open = not ordered_out and not peer.accused
            if not ordered_out and peer.accused:
                accused.append(peer)
        kept = self._keep(accused, len(self.everyone) - len(accused) - forbidden, now)
        self.kept = frozenset(kept)
        self.trials = tuple(peer for peer in accused if peer in due and peer not in self.kept)
        for peer in (*kept, *(self.trials if self.sticky else ())):
            peer.open = True
        self._rebuild()
        return min(again, now + _RERANK) if kept and self.healthy else again

    def _keep(self, accused: list[Peer], good: int, now: float) -> list[Peer]:
        if not good:
            return accused
        short = min(self.floor, good + len(accused)) - good
        return nsmallest(max(0, short), accused, key=lambda peer: _badness(peer, now))

    def _rebuild(self) -> None:
        everyone = self.everyone
        available = tuple(peer for peer in everyone if peer.open or not peer.marks)
        self.available = everyone if len(available) == len(everyone) else available
        self.warm = any(peer.returned_at is None and peer not in self.kept for peer in self.available)
        self.eased = not self.sticky and any(peer.eased < 1.0 for peer in self.available if peer.marks)
        self._picker = self._strategy.picker(self.available, everyone) if available else None

    def picker(self) -> Picker | None:
        """The picker in force, or None when nobody is available."""
        return self._picker

    def choose(self, now: float, key: str | None, passed: Collection[object]) -> Peer | None:
        """A peer that is not among `passed`, or None when there is none."""
        picker = self._picker
        if picker is None:
            return None
        for _ in range(_DRAWS if passed else 1):
            peer = picker(now, key)
            if peer not in passed:
                return peer  # type: ignore[return-value]
        rest = [peer for peer in self.available if peer not in passed]
        return self._strategy.picker(rest, self.everyone)(now, key) if rest else None  # type: ignore[return-value]

    def accepts(self, peer: Peer, now: float, rng: Random, ramp: tuple[float, float], backed: bool) -> bool:
        """Whether `peer` takes this turn: one that ramps up, is slow or only kept leaves turns to good nodes."""
        share = 1.0 if self.sticky else peer.eased
        if peer in self.kept:
            share = KEPT_SHARE if backed or self.healthy else 1.0
        elif peer.returned_at is not None and self.warm and not self.sticky:
            share *= peer.ramp(now, *ramp)
        return share >= 1.0 or rng.random() < share


def _badness(peer: Peer, now: float) -> tuple[int, float, float]:
    """Resting is better than ejected, ejected better than failing its probe; then the fewest failures of late."""
    mark = peer.marks.get("traffic")
    kind = 2 if "probe" in peer.marks else 1 if mark is not None and mark.kind == "ejected" else 0
    return kind, peer.failures(now), mark.until or inf if mark is not None else inf
