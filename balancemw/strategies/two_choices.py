"""``least_requests`` and ``peak_ewma``: the better of two distinct nodes drawn at random.

Two random choices avoid the herd that runs to the one best node, and cost the same for any number of nodes.
Source: M. Mitzenmacher, "The power of two choices in randomized load balancing" (2001); Finagle ``P2CPick``.
The pair is drawn in random order, by one number, and the first wins a tie: equal peers are equally likely.

Every call makes such a choice, so the scores of nodes at rest are compared in place, and by products: to ask each node
for its own, to divide, and to take the number apart, would make up half of the choice.
"""

from collections.abc import Sequence
from random import Random
from typing import Protocol

from balancemw.load import IDLE, Load
from balancemw.strategies import Picker

_FEW = 8
"""Nodes of which the pairs are kept: 56 for eight."""

_SPARE = 24
"""Bits of a number that is drawn beyond those of the greatest: no pair is likelier than another by more than 2**-24."""


class LeastRequests:
    """Fewer calls in flight per weight; failures count as calls in flight until they fade."""

    def __init__(self, *, rng: Random) -> None:
        self._bits = rng.getrandbits

    def picker(self, available: Sequence[Load], everyone: Sequence[Load]) -> Picker:  # noqa: ARG002
        if len(available) == 1:
            return _only(available[0])
        bits, pairs, count = self._bits, _pairs(available), len(available) * (len(available) - 1)
        width = count.bit_length() + _SPARE

        def pick(now: float, key: str | None) -> Load:  # noqa: ARG001
            one, other = pairs[bits(width) % count]
            if one.penalty or other.penalty:
                return other if other.busyness(now) < one.busyness(now) else one
            return other if other.in_flight * one.weight < one.in_flight * other.weight else one

        return pick


class PeakEwma:
    """Lower expected wait: peak latency × calls in flight per weight, corrected as `balancemw.load` tells."""

    def __init__(self, *, rng: Random) -> None:
        self._bits = rng.getrandbits

    def picker(self, available: Sequence[Load], everyone: Sequence[Load]) -> Picker:  # noqa: ARG002
        if len(available) == 1:
            return _only(available[0])
        bits, pairs, count = self._bits, _pairs(available), len(available) * (len(available) - 1)
        width = count.bit_length() + _SPARE

        def pick(now: float, key: str | None) -> Load:  # noqa: ARG001
            one, other = pairs[bits(width) % count]
            if (
                (one.in_flight or other.in_flight or one.penalty or other.penalty)
                or now - one.seen_at > IDLE
                or now - other.seen_at > IDLE
            ):
                return other if other.cost(now) < one.cost(now) else one
            return other if other.latency * one.weight < one.latency * other.weight else one

        return pick


def _only(peer: Load) -> Picker:
    return lambda _now, _key: peer


class _Pairs(Protocol):
    def __getitem__(self, number: int, /) -> tuple[Load, Load]: ...


class _Drawn:
    """All ordered pairs of many nodes, each made when it is asked for."""

    __slots__ = ("_available", "_others")

    def __init__(self, available: Sequence[Load]) -> None:
        self._available = available
        self._others = len(available) - 1

    def __getitem__(self, number: int) -> tuple[Load, Load]:
        others = self._others
        i, j = number // others, number % others
        available = self._available
        return available[i], available[j + (j >= i)]


def _pairs(available: Sequence[Load]) -> _Pairs:
    drawn = _Drawn(available)
    count = len(available)
    return tuple(drawn[number] for number in range(count * (count - 1))) if count <= _FEW else drawn
