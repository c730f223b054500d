"""``consistent_hash``: the same key goes to the same node, in every process, while the node is there.

A ring of points (Karger et al., "Consistent hashing and random trees", 1997): each node owns `POINTS` of them per
unit of weight, a key belongs to the next point. A node that is out keeps its points and is passed over, so it moves
its own keys and no others, and comes back to exactly those. An index over the ring makes the look-up O(1).
"""

from array import array
from collections.abc import Sequence
from hashlib import blake2b, shake_128
from math import log2
from random import Random
from statistics import median
from sys import byteorder

from balancemw.load import Load
from balancemw.strategies import Picker

POINTS = 128
_BITS = 30  # Python's integers are quickest up to here
_MASK = (1 << _BITS) - 1


class ConsistentHash:
    """By key; a call without a key goes to a random node."""

    sticky = True

    def __init__(self, *, rng: Random) -> None:
        self._random = rng.random
        self._built: tuple[Sequence[Load], _Ring] = ((), _Ring(()))  # one value: choices are made without a lock

    def picker(self, available: Sequence[Load], everyone: Sequence[Load]) -> Picker:
        built = self._built
        if built[0] is not everyone:
            built = self._built = (everyone, _Ring(everyone))
        ring, random, count = built[1], self._random, len(available)
        out = ring.without(available)

        def pick(now: float, key: str | None) -> Load:  # noqa: ARG001
            if key is None:
                return available[int(random() * count)]
            return everyone[ring.find(key, out)]

        return pick


class _Ring:
    """Points in order and their owners, side by side in one array; and where the points of each bucket begin."""

    def __init__(self, peers: Sequence[Load]) -> None:
        self._index = {id(peer): i for i, peer in enumerate(peers)}
        low, scale = max(1, len(peers)).bit_length(), _scale(peers)
        owned = sorted(point << low | i for i, peer in enumerate(peers) for point in _points(peer, scale))
        self._ring = array("I", (half for mark in owned for half in (mark >> low, mark & ((1 << low) - 1))))
        self._bucket = _BITS - max(1, len(owned)).bit_length()
        self._start = self._first_of_each_bucket()

    def _first_of_each_bucket(self) -> "array[int]":
        starts, i, ring, end = array("I"), 0, self._ring, len(self._ring)
        for bucket in range(1 << (_BITS - self._bucket)):
            while i < end and ring[i] >> self._bucket < bucket:
                i += 2
            starts.append(i)
        return starts

    def without(self, available: Sequence[Load]) -> bytearray:
        """A flag per peer: 1 where it may not be chosen."""
        out = bytearray(b"\1" * len(self._index))
        for peer in available:
            out[self._index[id(peer)]] = 0
        return out

    def find(self, key: str, out: bytearray) -> int:
        """The index of the peer that `key` belongs to."""
        place = int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=4).digest(), "big") & _MASK
        ring, end = self._ring, len(self._ring)
        i = self._start[place >> self._bucket]
        while i < end and ring[i] < place:
            i += 2
        if i == end:
            i = 0
        while out[ring[i + 1]]:
            i = i + 2 if i + 2 < end else 0
        return ring[i + 1]


def _points(peer: Load, scale: float) -> list[int]:
    amount = max(1, round(peer.weight * scale))
    points = array("I")
    points.frombytes(shake_128(peer.node.url.encode()).digest(amount * points.itemsize))
    if byteorder == "big":  # every machine must come to the same ring
        points.byteswap()
    return [point & _MASK for point in points]


def _scale(peers: Sequence[Load]) -> float:
    """Points per unit of weight: a power of two, so that one node more or less hardly ever moves the others' points."""
    return POINTS / 2.0 ** round(log2(median(peer.weight for peer in peers))) if peers else 0.0
