"""``round_robin`` and ``weighted_round_robin``: everyone in turn."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import count
from math import gcd, lcm
from random import Random
from threading import Lock

from balancemw.load import Load
from balancemw.strategies import Picker

_STEPS = 10_000  # comparisons that resuming a sequence may cost: under 2 ms


class RoundRobin:
    """In turn, weights ignored; one turn for all threads, and each process starts somewhere else."""

    def __init__(self, *, rng: Random) -> None:
        self._turn = count(rng.randrange(1 << 30))

    def picker(self, available: Sequence[Load], everyone: Sequence[Load]) -> Picker:  # noqa: ARG002
        turn, size = self._turn, len(available)

        def pick(now: float, key: str | None) -> Load:  # noqa: ARG001
            return available[next(turn) % size]

        return pick


class SmoothWeighted:
    """The smooth sequence of nginx, exact for weights that are not integers too.

    nginx adds its weight to every peer's `current` and takes the highest, from which it subtracts the total. After
    t picks a peer taken k times has current = weight·t - total·k. Peers of one weight therefore take turns among
    themselves, and only the next of each distinct weight need be compared: the cost is that of the number of
    distinct weights. Source: nginx ``ngx_http_upstream_get_peer``.
    """

    def __init__(self, *, rng: Random) -> None:  # noqa: ARG002  the sequence leaves nothing to chance
        self._picks = 0

    def picker(self, available: Sequence[Load], everyone: Sequence[Load]) -> Picker:  # noqa: ARG002
        groups = _groups(available)
        total = sum(group.weight * len(group.members) for group in groups)
        lock, picks = Lock(), self._picks % total  # the sequence begins anew after so many picks
        _resume(groups, total, picks)

        def pick(now: float, key: str | None) -> Load:  # noqa: ARG001
            nonlocal picks
            with lock:
                self._picks += 1
                picks += 1
                return _next(groups, total, picks).take()

        return pick


class _Group:
    """Peers of one weight, whose turn it is among them, and how often the whole group has been round."""

    __slots__ = ("indices", "members", "rounds", "turn", "weight")

    def __init__(self, weight: int, members: list[tuple[int, Load]]) -> None:
        self.weight = weight
        self.indices = [index for index, _ in members]
        self.members = [member for _, member in members]
        self.turn = self.rounds = 0

    @property
    def index(self) -> int:
        return self.indices[self.turn]

    def take(self) -> Load:
        member = self.members[self.turn]
        self.turn += 1
        if self.turn == len(self.members):
            self.turn = 0
            self.rounds += 1
        return member


def _groups(available: Sequence[Load]) -> list[_Group]:
    by_weight: dict[float, list[tuple[int, Load]]] = {}
    for index, peer in enumerate(available):
        by_weight.setdefault(peer.weight, []).append((index, peer))
    exact = integers(list(by_weight))
    return [_Group(exact[weight], members) for weight, members in by_weight.items()]


def _next(groups: Sequence[_Group], total: int, picks: int) -> _Group:
    """The group whose turn the pick number `picks` is."""
    best = groups[0]
    highest = best.weight * picks - total * best.rounds
    for group in groups[1:]:
        current = group.weight * picks - total * group.rounds
        if current > highest or (current == highest and group.index < best.index):
            best, highest = group, current
    return best


def _resume(groups: Sequence[_Group], total: int, picks: int) -> None:
    """Put the groups where `picks` picks leave them: a new picker must not favour those that come first.

    Shares say where each group is, to within one pick. From there the last few rounds are gone through, after which
    the sequence is the right one again.
    """
    members = sum(len(group.members) for group in groups)
    begin = picks - min(picks, 16 * members, _STEPS // len(groups))
    due = [divmod(begin * group.weight * len(group.members), total) for group in groups]
    left = begin - sum(taken for taken, _ in due)
    nearest = set(sorted(range(len(groups)), key=lambda i: -due[i][1])[:left])
    for i, group in enumerate(groups):
        group.rounds, group.turn = divmod(due[i][0] + (i in nearest), len(group.members))
    for number in range(begin + 1, picks + 1):
        _next(groups, total, number).take()


def integers(weights: Sequence[float]) -> dict[float, int]:
    """Each weight as a whole number, all in the ratio they are written in: 0.1 is a tenth, whatever its binary form."""
    exact = {weight: Fraction(repr(float(weight))) for weight in weights}
    scale = lcm(*(value.denominator for value in exact.values()))
    whole = {weight: int(value * scale) for weight, value in exact.items()}
    divisor = gcd(*whole.values())
    return {weight: value // divisor for weight, value in whole.items()}
