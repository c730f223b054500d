"""What follows from the firing alerts for the nodes: the strongest reaction, as long as enough of the pool is left.

Alerts come from outside and may be wrong about all nodes at once, as when a network between us and Prometheus fails.
So together they must leave ``ejection.keep`` of the nodes of a priority (rounded up, at least one). Where they would
take more, the weakest claims wait until there is room.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from balancemw.alerts.ledger import Entry
from balancemw.health import Mark, commanded
from balancemw.peer import Peer
from balancemw.settings import Reaction
from balancemw.tier import Tier

_RANK = {"down": 3, "drain": 2, "weight": 1, "note": 0}


@dataclass(frozen=True, slots=True)
class Claim:
    """An alert about one node, and what should follow.

    Attributes:
        entry: the alert.
        reaction: to it.
    """

    entry: Entry
    reaction: Reaction

    @property
    def takes_out(self) -> bool:
        """Whether the node is to get no more calls."""
        return self.reaction.kind in ("down", "drain")

    @property
    def weakness(self) -> tuple[int, float, float, str]:
        """The strongest claim has the least: what it wants, then who began to fire first."""
        return -_RANK[self.reaction.kind], self.reaction.weight or 0.0, self.entry.starts_at, self.entry.fingerprint


@dataclass(frozen=True, slots=True)
class Verdict:
    """What follows for one node.

    Attributes:
        claim: the one that is applied, or None.
        held: a stronger one that has to wait, or None.
    """

    claim: Claim | None
    held: Claim | None = None


def decide(tier: Tier, claims: Mapping[Peer, Sequence[Claim]], own: Mapping[Peer, Mark]) -> dict[Peer, Verdict]:
    """What follows for the nodes of one priority.

    Args:
        tier: the nodes.
        claims: about some of them, at least one each.
        own: the marks that alerts have set so far; they are not counted as someone else's.
    """
    strongest = {peer: min(each, key=lambda claim: claim.weakness) for peer, each in claims.items()}
    if not strongest:
        return {}
    out = {peer for peer in tier.everyone if peer.marks and _out_without_us(peer, own)}
    room = len(tier.everyone) - len(out) - tier.floor
    verdicts: dict[Peer, Verdict] = {}
    for peer, claim in sorted(strongest.items(), key=lambda item: (item[1].weakness, item[0].node.url)):
        if not claim.takes_out or peer in out:  # who is out anyway costs the pool nothing more
            verdicts[peer] = Verdict(claim)
        elif room > 0:
            room -= 1
            verdicts[peer] = Verdict(claim)
        else:
            rest = [other for other in claims[peer] if not other.takes_out]
            verdicts[peer] = Verdict(min(rest, key=lambda other: other.weakness, default=None), held=claim)
    return verdicts


def _out_without_us(peer: Peer, own: Mapping[Peer, Mark]) -> bool:
    """Whether the node gets no calls whatever alerts say of it: by order, ejected, or failing its probe.

    An overload is no such thing: it lasts seconds, and claims would come and go with it.
    """
    marks = {source: mark for source, mark in peer.marks.items() if mark is not own.get(peer)}
    traffic = marks.get("traffic")
    return commanded(marks) is not None or "probe" in marks or (traffic is not None and traffic.kind == "ejected")
