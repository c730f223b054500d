"""Keeps the marks of source ``alert`` as the known alerts demand, and those of nobody else."""

from collections.abc import Iterable, Mapping, Sequence
from math import inf

from balancemw.alerts.claims import Claim, Verdict, decide
from balancemw.alerts.ledger import Ledger
from balancemw.alerts.matching import Matcher
from balancemw.health import Mark
from balancemw.peer import Peer
from balancemw.pool import Pool
from balancemw.settings import AlertSettings
from balancemw.standing import Change
from balancemw.tier import Tier

LOOK_AGAIN = 1.0
"""Seconds between looks while something fires: someone may have spoken, or room may have come."""

NOTHING = Verdict(None)

Claims = Mapping[Tier, Mapping[Peer, Sequence[Claim]]]


def known_as(pool: Pool, peer: Peer) -> str:
    """A node of a service, as entries of the ledger call it."""
    return f"{pool.name} {peer.node.url}"


class Marking:
    """Derives marks from alerts. Everything runs under the desk's lock, so nothing is told here.

    Args:
        ledger: what fires.
        matcher: which nodes it is about.
        settings: what follows.
        pools: of all services.
        epoch: seconds since the epoch at zero of the balancer's clock.

    Attributes:
        due: when `settle` is to be called next, on the balancer's clock.
        verdicts: what follows for which nodes.
    """

    def __init__(
        self, ledger: Ledger, matcher: Matcher, settings: AlertSettings, pools: Sequence[Pool], epoch: float
    ) -> None:
        self.due = inf
        self.verdicts: dict[Peer, Verdict] = {}
        self._ledger = ledger
        self._matcher = matcher
        self._settings = settings
        self._pools = pools
        self._epoch = epoch
        self._own: dict[Peer, Mark] = {}  # the marks set here
        self._claims: Claims = {}
        self._derived_from: object = None
        self._ends = inf

    def settle(self, now: float) -> None:
        """Make the marks what the known alerts demand."""
        self._heed_others(now)
        if now >= self._ends:
            self._ledger.expire(now + self._epoch)
        self._derive()
        verdicts: dict[Peer, Verdict] = {}
        own: dict[Peer, Mark] = {}
        for pool in self._pools:
            for tier in pool.roster.tiers:
                decided = decide(tier, self._claims.get(tier, {}), self._own)
                verdicts.update(decided)
            members = pool.roster.peers.values()
            touched = (
                [peer for peer in members if peer in verdicts or peer in self._own] if self._own or verdicts else []
            )
            changes = [
                change for peer in touched for change in self._changes(peer, verdicts.get(peer, NOTHING), now, own)
            ]
            if changes:
                pool.amend("alert", changes, now)
        self._own, self.verdicts = own, verdicts
        self.due = min(now + LOOK_AGAIN, self._ends) if self._ledger.firing else self._ends

    def overrule(self, pool: Pool, peer: Peer) -> None:
        """Someone has said that the node is well: the alerts that fire now have had their say about it."""
        for entry in self._ledger.firing:
            if any(other is peer for _, other in self._matcher.find(entry.labels)):
                self._ledger.overrule(entry.fingerprint, known_as(pool, peer))
        self._own.pop(peer, None)

    def _heed_others(self, now: float) -> None:
        """Where a mark set here is gone before its time, someone has cleared it."""
        for peer, mark in tuple(self._own.items()):
            if "alert" not in peer.marks and not mark.expired(now):
                for pool in self._pools:
                    if pool.roster.peers.get(peer.node.url) is peer:
                        self.overrule(pool, peer)

    def _derive(self) -> None:
        """The claims, anew if anything has changed that they follow from."""
        self._matcher.look_around()
        source = self._ledger.version, self._matcher.version
        if source == self._derived_from:
            return
        self._derived_from = source
        self._ends = self._ledger.next_end - self._epoch
        claims: dict[Tier, dict[Peer, list[Claim]]] = {}
        for entry in self._ledger.firing:
            claim = Claim(entry, self._settings.reaction(entry.labels.get("severity", "")))
            for pool, peer in self._matcher.find(entry.labels):
                tier = pool.roster.tier_of(peer)
                if tier is not None and known_as(pool, peer) not in entry.overruled:
                    claims.setdefault(tier, {}).setdefault(peer, []).append(claim)
        self._claims = claims

    def _changes(self, peer: Peer, verdict: Verdict, now: float, own: dict[Peer, Mark]) -> Iterable[Change]:
        """What is to be done about one node; notes in `own` the mark that it has then."""
        if verdict.held is not None and self.verdicts.get(peer, NOTHING).held is None:
            reason = f"too few nodes would be left for this to take effect: {verdict.held.entry.told}"
            yield Change(peer, event="held_back", reason=reason)
        mark, present = self._mark(verdict.claim, now), peer.marks.get("alert")
        if mark is None:
            if present is not None and self._own.get(peer) is present:
                event = "" if verdict.held else "cleared"
                yield Change(peer, drop=True, event=event, reason=f"over: {present.reason}")
        elif present is None or (present.kind, present.weight) != (mark.kind, mark.weight):
            own[peer] = mark
            yield Change(peer, mark, event=mark.kind, reason=mark.reason)
        elif (present.until, present.reason) != (mark.until, mark.reason):
            own[peer] = Mark("alert", mark.kind, mark.reason, present.since, mark.until, mark.weight)
            yield Change(peer, own[peer])
        else:
            own[peer] = present

    def _mark(self, claim: Claim | None, now: float) -> Mark | None:
        if claim is None or claim.reaction.kind == "note":
            return None
        entry, reaction = claim.entry, claim.reaction
        return Mark("alert", reaction.kind, entry.told, now, entry.until - self._epoch, reaction.weight)
