"""``consistent_hash``: the same key goes to the same node, in every process, while the node is there.

A ring of points (Karger et al., "Consistent hashing and random trees", 1997), `POINTS` for each node, whatever its
weight. A key belongs to the node that it reaches first going round at the speed of that node's weight. Where the
points lie depends on the node alone, so one that leaves, or whose weight changes, moves its own keys and no others,
and one that is out is passed over and comes back to exactly those it had. That the next points of the nodes lie at
exponentially distributed distances makes the shares those of the weights, as in weighted rendezvous hashing
(Thaler and Ravishankar, 1998). An index over the ring makes the look-up O(1).
"""

from array import array
from collections.abc import Sequence
from hashlib import blake2b, shake_128
from math import inf
from random import Random
from struct import unpack

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
        heaviest = max((peer.weight for peer in peers), default=1.0)
        self._slowness = array("d", (heaviest / peer.weight for peer in peers))
        low = max(1, len(peers)).bit_length()
        owned = sorted(point << low | i for i, peer in enumerate(peers) for point in _points(peer))
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
        """The index of the peer that `key` belongs to; at least one is not `out`."""
        place = int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=4).digest(), "big") & _MASK
        ring, slowness, end = self._ring, self._slowness, len(self._ring)
        i = self._start[place >> self._bucket]
        while i < end and ring[i] < place:
            i += 2
        owner, least, last = -1, inf, place + _MASK
        while True:
            if i == end:
                i, place, last = 0, place - _MASK - 1, last - _MASK - 1
            distance = ring[i] - place
            if distance >= least or (ring[i] > last and owner >= 0):
                return owner  # nobody further on can be nearer, or all have been seen
            who = ring[i + 1]
            if not out[who]:
                reach = distance * slowness[who]
                if reach < least:
                    owner, least = who, reach
                    if reach == distance:  # nobody is quicker
                        return owner
            i += 2


def _points(peer: Load) -> list[int]:
    digest = shake_128(peer.node.url.encode()).digest(4 * POINTS)
    points = unpack(f"<{POINTS}I", digest)  # of a fixed byte order: every machine must come to the same ring
    return [point & _MASK for point in points]
