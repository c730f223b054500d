"""Which nodes of one priority are preferred to the others: those of our own zone, and those of the worker's subset.

A subset, by rendezvous hashing (Thaler and Ravishankar, 1998; for subsets gRPC A68), keeps many workers from having
connections to everything: each puts the nodes in an order that follows from their urls and its own identity, and calls
the first so many that can be used. A node that leaves, or is out, moves nothing but its own place, which the next in
order takes, and it comes back to exactly that place. Weights do not enter: within a subset they count as ever, and
heavier nodes must not be in more subsets on top of that.
"""

from collections.abc import Collection, Iterable, Sequence
from hashlib import blake2b
from itertools import islice
from random import Random

from balancemw.peer import Peer
from balancemw.spill import Spill
from balancemw.strategies import Strategy

Peers = tuple[Peer, ...]


class Wishes:
    """What the settings say of a service.

    Args:
        zone: our own; "": none.
        subset: how many nodes of each priority one worker calls, and of our zone and the others each; None: all.
        rng: gives the worker its identity.
    """

    def __init__(self, zone: str = "", subset: int | None = None, *, rng: Random) -> None:
        self.zone = zone
        self.subset = subset
        self._rng = rng
        self.renew()

    def renew(self) -> None:
        """The worker is another one: it has been forked."""
        self.worker = self._rng.getrandbits(128).to_bytes(16, "big") if self.subset else b""

    def __bool__(self) -> bool:
        return bool(self.zone or self.subset)


class Preference:
    """Puts the nodes of one priority into circles: our zone's, the others', and those outside the subset.

    Args:
        wishes: what the settings say.
        abroad: the strategy for the nodes of other zones; it must not be that of the own one's, which has a state.

    Attributes:
        spill: says which calls leave our zone.
        near, far: all nodes of our zone, and of the others. Without a zone all are of ours.
    """

    def __init__(self, wishes: Wishes, abroad: Strategy) -> None:
        self.spill = Spill(wishes.zone)
        self.abroad = abroad
        self.near: Peers = ()
        self.far: Peers = ()
        self._wishes = wishes
        self._ranked: tuple[Peers, Peers] = ((), ())

    def arrange(self, everyone: Peers) -> None:
        """These are the nodes now."""
        self.near, self.far = self.sides(everyone)
        if self._wishes.subset:
            order = in_order(everyone, self._wishes.worker)
            self._ranked = self.sides(order)

    @property
    def divided(self) -> bool:
        """Whether there are nodes on both sides of the zone's border."""
        return bool(self.near and self.far)

    def sides(self, peers: Sequence[Peer]) -> tuple[Peers, Peers]:
        """Those of our zone, and the others."""
        zone = self._wishes.zone
        if not zone:
            return tuple(peers), ()
        return tuple(p for p in peers if p.node.zone == zone), tuple(p for p in peers if p.node.zone != zone)

    def members(self, usable: Collection[Peer], kept: Collection[Peer]) -> tuple[set[Peer], set[Peer]] | None:
        """The worker's subset of those that can be used, and who would be in it if it could be; None: there is none.

        On either side the first in the worker's order are its members, those that are only `kept` after the others.
        """
        size = self._wishes.subset
        if not size:
            return None
        can, members, wanted = frozenset(usable), set[Peer](), set[Peer]()
        for ranked in self._ranked:
            good = list(islice((peer for peer in ranked if peer in can and peer not in kept), size))
            members.update(good)
            if len(good) == size:
                wanted.update(ranked[: ranked.index(good[-1]) + 1])
            else:
                members.update(islice((peer for peer in ranked if peer in can and peer in kept), size - len(good)))
                wanted.update(ranked)
        return members, wanted

    def count(self, usable: Iterable[Peer], kept: Collection[Peer]) -> None:
        """Say how many nodes of either side can be used."""
        good = {peer for peer in usable if peer not in kept}
        counted = f"{sum(peer in good for peer in self.near)} of its {len(self.near)} nodes can be used"
        self.spill.count(_weights(self.near, good), _weights(self.far, good), counted)


def _weights(side: Peers, good: Collection[Peer]) -> tuple[float, float]:
    return sum(peer.weight * peer.eased for peer in side if peer in good), sum(peer.weight for peer in side)


def in_order(peers: Iterable[Peer], worker: bytes) -> Peers:
    """`peers` in the order in which the worker of that identity prefers them."""
    return tuple(sorted(peers, key=lambda peer: blake2b(peer.node.url.encode(), digest_size=8, key=worker).digest()))
