"""``consistent_hash``: the same key goes to the same node, in every process, while the node is there.

A ring of points (Karger et al., "Consistent hashing and random trees", 1997), `POINTS` for each node, whatever its
weight. A key belongs to the node that it reaches first going round at the speed of that node's weight. Where the
points lie depends on the node alone, so one that leaves, or whose weight changes, moves its own keys and no others,
and one that is out is passed over and comes back to exactly those it had. That the next points of the nodes lie at
exponentially distributed distances makes the shares those of the weights, as in weighted rendezvous hashing
(Thaler and Ravishankar, 1998).

With a `balance_factor` loads are bounded (`balancemw.strategies.bound`): a key whose node is full goes on to the node
that would have it if that one were out, and so on, in an order that depends on the key alone. It comes back as soon as
there is room. Without one a key never leaves a node that is there.
"""

from array import array
from collections.abc import Sequence
from hashlib import blake2b, shake_128
from math import inf
from random import Random
from struct import unpack

from balancemw.load import Load
from balancemw.strategies import OptionError, Picker
from balancemw.strategies.bound import Bound
from balancemw.strategies.options import number

POINTS = 128
_PASSED = 32  # nodes of a key that are looked at for one with room, before the least full of them has to do
_BITS = 30  # Python's integers are quickest up to here
_ROUND = 1 << _BITS
_MASK = _ROUND - 1
_ROOM = 1.5  # places for each point


class ConsistentHash:
    """By key; a call without a key goes to a random node.

    Args:
        rng: decides about calls without a key.
        balance_factor: times its fair share of the calls in flight that a node may have, above 1; 1.25 stands for
            125 in Envoy and HAProxy. None: as many as come.

    Raises:
        OptionError: the factor makes no sense.
    """

    sticky = True

    def __init__(self, *, rng: Random, balance_factor: float | None = None) -> None:
        self._random = rng.random
        self._factor = _factor(balance_factor)
        self._built: tuple[Sequence[Load], Ring] = ((), Ring(()))  # one value: choices are made without a lock

    def picker(self, available: Sequence[Load], everyone: Sequence[Load]) -> Picker:
        built = self._built
        if built[0] is not everyone:
            built = self._built = (everyone, Ring(everyone))
        ring, random, count = built[1], self._random, len(available)
        out = ring.without(available)
        find = ring.find if ring.uneven or count < len(everyone) else ring.next
        bound = None if self._factor is None else Bound(available, self._factor)

        def pick(now: float, key: str | None) -> Load:  # noqa: ARG001
            if key is None:
                return available[int(random() * count)]
            place = ring.place(key)
            who = find(place, out)
            if bound is not None:
                most = bound.allowed()
                if everyone[who].in_flight >= most * everyone[who].weight:
                    who = _relieve(who, place, ring, everyone, out, most)
            return everyone[who]

        return pick


def _factor(value: object) -> float | None:
    if value is None or value == "none":  # which is how settings files say it
        return None
    if isinstance(value, int | float) and value >= 100:
        raise OptionError("balance_factor", f"is a factor, such as 1.25, and no percentage, got {value!r}")
    return number("balance_factor", value, 1.0, above=True)


class Ring:
    """The points of all peers in order, each with its owner, side by side in one array.

    There are places for half as many points again, and each takes the first free one from where it belongs on (O.
    Amble and D. E. Knuth, "Ordered hash tables", 1974); what is left over before it holds copies of it. So a look-up
    begins at the point that it looks for or just before. It reads one piece of memory: waiting for that is what takes
    most of the time where there are many nodes.

    Attributes:
        uneven: whether the weights differ.
    """

    def __init__(self, peers: Sequence[Load]) -> None:
        self._index = {id(peer): i for i, peer in enumerate(peers)}
        weights = [peer.weight for peer in peers]
        heaviest = max(weights, default=1.0)
        self.uneven = heaviest > min(weights, default=1.0)
        self._slowness = array("d", (heaviest / weight for weight in weights))
        self._places = int(len(peers) * POINTS * _ROOM)
        self._ring = self._laid_out(peers)

    def _laid_out(self, peers: Sequence[Load]) -> "array[int]":
        low = max(1, len(peers)).bit_length()
        marks = sorted(point << low | i for i, peer in enumerate(peers) for point in _points(peer))
        marks += [mark + (_ROUND << low) for mark in marks[:1]]  # the end is the beginning once more
        ring, owner, places, taken = array("I"), (1 << low) - 1, self._places, 0
        for mark in marks:
            point = mark >> low
            new = max(taken, point * places >> _BITS) + 1
            ring.extend((point, mark & owner) * (new - taken))
            taken = new
        return ring

    def without(self, available: Sequence[Load]) -> bytearray:
        """A flag per peer: 1 where it may not be chosen."""
        out = bytearray(b"\1" * len(self._index))
        for peer in available:
            out[self._index[id(peer)]] = 0
        return out

    @staticmethod
    def place(key: str) -> int:
        """Where `key` lies on the ring."""
        return int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=4).digest(), "big") & _MASK

    def next(self, place: int, out: bytearray) -> int:  # noqa: ARG002
        """As `find`, while no peer is out and all are equally quick: the owner of the next point."""
        ring = self._ring
        i = (place * self._places >> _BITS) * 2
        while ring[i] < place:
            i += 2
        return ring[i + 1]

    def find(self, place: int, out: bytearray) -> int:
        """The index of the peer that what lies at `place` belongs to; at least one is not `out`."""
        ring, slowness, end = self._ring, self._slowness, len(self._ring)
        i = (place * self._places >> _BITS) * 2
        while ring[i] < place:
            i += 2
        owner, least, enough = -1, inf, inf
        while True:
            distance = ring[i] - place
            if distance >= enough:
                return owner  # nobody further on can be nearer, or all have been seen
            who = ring[i + 1]
            if not out[who]:
                reach = distance * slowness[who]
                if reach < least:
                    if reach == distance:  # nobody is quicker
                        return who
                    owner, least = who, reach
                    enough = reach if reach < _ROUND else _ROUND
            i += 2
            if i == end:
                i, place = 0, place - _ROUND


def _relieve(who: int, place: int, ring: Ring, everyone: Sequence[Load], out: bytearray, most: float) -> int:
    """The next node after `who` that has fewer than `most` calls per weight; if none of many has, the least full."""
    passed, left = bytearray(out), min(_PASSED, out.count(0))
    best, least = who, everyone[who].in_flight / everyone[who].weight
    while left := left - 1:
        passed[who] = 1
        who = ring.find(place, passed)
        peer = everyone[who]
        if peer.in_flight < most * peer.weight:
            return who
        if peer.in_flight / peer.weight < least:
            best, least = who, peer.in_flight / peer.weight
    return best


def _points(peer: Load) -> list[int]:
    digest = shake_128(peer.node.url.encode()).digest(4 * POINTS)
    points = unpack(f"<{POINTS}I", digest)  # of a fixed byte order: every machine must come to the same ring
    return [point & _MASK for point in points]
