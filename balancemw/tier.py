"""Nodes of one priority: which of them may be chosen now, and the choice among them.

Traffic and probes together must leave ``keep`` of the nodes (rounded up, at least one). Where they would take more,
the tier *fails open*: with no good node left all the accused ones stay in, so that the first to return is found at
once; with too few, the least bad stay in at a small share.

Where some are preferred to others there are *circles*: the nodes of our own zone, those of the others, and those
outside the worker's subset. A first try goes to one of the first two, a further one outwards.
"""

from collections.abc import Collection, Sequence
from heapq import nsmallest
from math import ceil, inf
from random import Random

from balancemw.health import commanded
from balancemw.load import Load
from balancemw.peer import Peer
from balancemw.preference import Preference
from balancemw.strategies import Picker, Strategy

KEPT_SHARE = 0.1
"""Share of its turns that a node gets which is in the pool only because not more may leave it."""

_DRAWS = 3  # tries to draw a node that has not been passed over, before the rest is looked through
_RERANK = 1.0  # seconds after which the least bad are chosen anew


class Tier:
    """The nodes of one priority. All methods but `choose` run under the pool's lock.

    Args:
        everyone: all its peers.
        strategy: chooses among them.
        keep: share of them that automatic ejection must leave.
        random: decides by lot.
        alone: whether there is no other tier.
        prefer: whom it prefers; None: nobody. A strategy that goes by key has no use for it.

    Attributes:
        everyone: all its peers; a new tuple when a node or a weight changes.
        available: those that calls go to.
        spare: good ones outside the worker's subset, for tries that find no other.
        groups: those available that can be compared with each other: of our zone, and of the others.
        trials: those whose time out is over and that get one trial call.
        warm: whether a good node is at full weight, so that others can be spared.
        eased: whether one that is available is slower than its peers, and passes turns on.
        kept: accused nodes that stay in because not more may leave.
        floor: how many nodes automatic ejection must leave.
        may_eject: whether an accusation can ever make a difference: not for a single node that no other can replace.
    """

    def __init__(
        self,
        everyone: tuple[Peer, ...],
        strategy: Strategy,
        keep: float,
        *,
        random: Random,
        alone: bool,
        prefer: Preference | None = None,
    ) -> None:
        self.everyone = everyone
        self.available = everyone
        self.spare: tuple[Peer, ...] = ()
        self.groups: tuple[tuple[Peer, ...], ...] = (everyone,)
        self.trials: tuple[Peer, ...] = ()
        self.warm = True
        self.eased = False
        self.kept: frozenset[Peer] = frozenset()
        self._strategy = strategy
        self._random = random.random
        self._prefer = prefer
        if prefer:
            prefer.arrange(everyone)
        self.floor = max(1, ceil(keep * len(everyone) - 1e-9))
        self.may_eject = self.floor < len(everyone) or not alone
        self._circles: tuple[_Circle, ...] = ()
        self._picker: Picker | None = None
        self._home: Picker | None = None
        self._abroad: Picker | None = None

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
        if self._prefer:
            self._prefer.arrange(self.everyone)

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
        if len(self.groups) > 1:  # hardly a call goes there that could show that they are well
            self.trials += tuple(peer for peer in self.groups[1] if peer in self.kept and peer in due)
        return min(again, now + _RERANK) if kept and self.healthy else again

    def _keep(self, accused: list[Peer], good: int, now: float) -> list[Peer]:
        if not good:
            return accused
        short = min(self.floor, good + len(accused)) - good
        return nsmallest(max(0, short), accused, key=lambda peer: _badness(peer, now))

    def _rebuild(self) -> None:
        everyone = self.everyone
        usable = tuple(peer for peer in everyone if peer.open or not peer.marks)
        usable = everyone if len(usable) == len(everyone) else usable
        self.available = self._select(usable) if self._prefer else usable
        self.warm = any(peer.past.returned_at is None and peer not in self.kept for peer in self.available)
        self.eased = not self.sticky and any(peer.eased < 1.0 for peer in self.available if peer.marks)
        self._circles = self._draw()
        self._picker = self._front() if usable else None

    def _select(self, usable: tuple[Peer, ...]) -> tuple[Peer, ...]:
        """Those of the worker's subset, unless no node is good, so that the first to return can be any."""
        assert self._prefer
        if self._prefer.divided:
            self._prefer.count(usable, self.kept)
        self.spare = ()
        found = self._prefer.members(usable, self.kept) if len(usable) > len(self.kept) else None
        if found is None:
            return usable
        members, wanted = found
        self.spare = tuple(peer for peer in usable if peer not in members and peer not in self.kept)
        self.kept &= members
        self.trials = tuple(peer for peer in self.trials if peer in wanted)
        return tuple(peer for peer in usable if peer in members)

    def _draw(self) -> "tuple[_Circle, ...]":
        """The circles, the innermost first. Where our zone has no good node there is nothing to prefer."""
        prefer = self._prefer
        one = _Circle(self.available, self.everyone, self._strategy)
        self.groups = (self.available,)
        if prefer is None:
            return (one,)
        spare = (_Circle(self.spare, self.everyone, prefer.abroad),) if self.spare else ()
        near, far = prefer.sides(self.available)
        if not far or all(peer in self.kept for peer in near):
            return (one, *spare)
        self.groups = (near, far)
        return _Circle(near, prefer.near, self._strategy), _Circle(far, prefer.far, prefer.abroad), *spare

    def _front(self) -> Picker:
        """What chooses for a first try."""
        first = self._circles[0].picker()
        if self._prefer is None or len(self.groups) == 1:
            self._home = self._abroad = None
            return first
        spill, random, abroad = self._prefer.spill, self._random, self._circles[1].picker()
        self._home, self._abroad = first, abroad

        def pick(now: float, key: str | None) -> Load:
            return abroad(now, key) if spill.away and spill.leaves(random) else first(now, key)

        return pick

    def look(self, now: float) -> float:
        """Compare our zone with the others, if it is time for that; returns when it is again."""
        prefer = self._prefer
        if prefer is None or not prefer.divided:
            return inf
        if now >= prefer.spill.due:
            prefer.spill.look(*prefer.sides(self.available), now)
        return prefer.spill.due

    def picker(self) -> Picker | None:
        """The picker in force, or None when nobody is available."""
        return self._picker

    def goes_abroad(self, tried: Collection[Peer]) -> bool | None:
        """Where a call goes after `tried`; None: by the share that leaves.

        To other zones after two tries in ours, or after one where ours may not answer at all; and after one in another
        where most calls go, so that it does not fail by a look at the others.
        """
        if self._prefer is None or len(self.groups) == 1 or not tried:
            return None
        spill = self._prefer.spill
        if all(peer in self._prefer.near for peer in tried):
            return True if len(tried) > 1 or spill.doubted else None
        return spill.share >= 0.5

    def choose(
        self, now: float, key: str | None, passed: Collection[object], *, abroad: bool | None = None
    ) -> Peer | None:
        """A peer that is not among `passed`, or None when there is none; `abroad`: of another zone rather than ours."""
        picker, circles = self._picker, self._circles
        if picker is None:
            return None
        if abroad is False and self._home is not None:
            picker = self._home
        elif abroad and self._abroad is not None:
            picker, circles = self._abroad, (*circles[1:2], *circles[:1], *circles[2:])
        for _ in range(_DRAWS if passed else 1):
            peer = picker(now, key)
            if peer not in passed:
                return peer  # type: ignore[return-value]
        for circle in circles:
            rest = [peer for peer in circle.peers if peer not in passed]
            if rest:
                return circle.picker(rest)(now, key)  # type: ignore[return-value]
        return None

    def accepts(self, peer: Peer, now: float, rng: Random, ramp: tuple[float, float], backed: bool) -> bool:
        """Whether `peer` takes this turn: one that ramps up, is slow or only kept leaves turns to good nodes."""
        share = 1.0 if self.sticky else peer.eased
        if peer in self.kept:
            share = KEPT_SHARE if backed or self.healthy else 1.0
        elif peer.past.returned_at is not None and self.warm and not self.sticky:
            share *= peer.ramp(now, *ramp)
        return share >= 1.0 or rng.random() < share


class _Circle:
    """Peers of a tier none of which is preferred to another.

    Args:
        peers: those that may be chosen.
        everyone: these and those that are out.
        strategy: chooses among them.
    """

    __slots__ = ("_everyone", "_strategy", "peers")

    def __init__(self, peers: tuple[Peer, ...], everyone: tuple[Peer, ...], strategy: Strategy) -> None:
        self.peers = peers
        self._everyone = everyone
        self._strategy = strategy

    def picker(self, among: Sequence[Peer] | None = None) -> Picker:
        """A picker over the peers, or over some of them."""
        return self._strategy.picker(self.peers if among is None else among, self._everyone)


def _badness(peer: Peer, now: float) -> tuple[int, float, float]:
    """Resting is better than ejected, ejected better than failing its probe; then the fewest failures of late."""
    mark = peer.marks.get("traffic")
    kind = 2 if "probe" in peer.marks else 1 if mark is not None and mark.kind == "ejected" else 0
    return kind, peer.failures(now), mark.until or inf if mark is not None else inf
