"""Who belongs to a service, by priority, and who of them takes a call."""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from itertools import islice
from math import inf
from random import Random
from statistics import median_low

from balancemw.ejection import Record
from balancemw.errors import NoNodeAvailable
from balancemw.health import commanded
from balancemw.node import Node, normal_url
from balancemw.peer import Peer
from balancemw.preference import Preference, Wishes
from balancemw.strategies import Picker, Strategy
from balancemw.tier import Tier

_TRIAL_LEASE = 60.0  # seconds after which a trial call that never ended is given to another call
_LOOK_AGAIN = 0.5  # seconds after which a peer that waits for its probe may have waited too long
_COMPARED = 32  # peers whose success rate a suspect's is compared with: enough to judge, and a bound on the cost


class Roster:
    """The peers of one service in tiers of one priority each. All that changes it runs under the pool's lock.

    Args:
        strategy: makes a tier's strategy.
        keep: share of a tier that automatic ejection must leave.
        ramp: slow start: (window in seconds, least share).
        rng: decides what is left to chance.
        wishes: which nodes are preferred to others.

    Attributes:
        peers: every peer by its url.
        tiers: lowest priority number first.
        absence: why there is no peer, in words, where more can be said than that.
    """

    def __init__(
        self,
        strategy: Callable[[], Strategy],
        *,
        keep: float,
        ramp: tuple[float, float],
        rng: Random,
        wishes: Wishes | None = None,
    ) -> None:
        self.peers: dict[str, Peer] = {}
        self.tiers: tuple[Tier, ...] = ()
        self.absence = ""
        self._strategy = strategy
        self._strategies: dict[int, Strategy] = {}
        self._wishes = wishes
        self._preferences: dict[int, Preference] = {}
        self._keep = keep
        self._ramp = ramp
        self._rng = rng
        self._by_priority: dict[int, Tier] = {}
        self._ramping: set[Peer] = set()

    def arrange(self, peers: Iterable[Peer]) -> None:
        """Make `peers` the members."""
        self.peers = {peer.node.url: peer for peer in peers}
        by_priority: dict[int, list[Peer]] = {}
        for peer in self.peers.values():
            by_priority.setdefault(peer.node.priority, []).append(peer)
        alone = len(by_priority) == 1
        self._by_priority = {each: self._tier(each, by_priority[each], alone=alone) for each in sorted(by_priority)}
        self.tiers = tuple(self._by_priority.values())
        self._ramping.intersection_update(self.peers.values())

    def _tier(self, priority: int, peers: list[Peer], *, alone: bool) -> Tier:
        strategy = self._strategies.get(priority)
        if strategy is None:
            strategy = self._strategies[priority] = self._strategy()
            if self._wishes and not getattr(strategy, "sticky", False):
                self._preferences[priority] = Preference(self._wishes, self._strategy())
        prefer = self._preferences.get(priority)
        return Tier(tuple(peers), strategy, self._keep, random=self._rng, alone=alone, prefer=prefer)

    def renew(self) -> None:
        """Make the strategies anew, in a forked process: it must not take its turns in step with its siblings."""
        self._strategies.clear()
        self._preferences.clear()
        if self._wishes:
            self._wishes.renew()
        self.arrange(self.peers.values())

    def find(self, node: Node | str) -> Peer:
        """The peer of a node, its url or its name.

        Raises:
            LookupError: no node is called that, or more than one.
        """
        if isinstance(node, Node):
            found = [self.peers[node.url]] if node.url in self.peers else []
        else:
            found = [peer for peer in self.peers.values() if node in (peer.node.name, peer.node.url)]
            if not found:
                found = [peer for url, peer in self.peers.items() if url == _url_or_none(node)]
        if len(found) == 1:
            return found[0]
        known = ", ".join(sorted(peer.node.name for peer in islice(self.peers.values(), 8)))
        problem = (
            "is the name of several nodes: use the url" if found else f"is not a node of this service (known: {known})"
        )
        raise LookupError(f"{str(node)!r} {problem}")

    def tier_of(self, peer: Peer) -> Tier | None:
        """The tier of `peer`, or None when it has left the service since."""
        return self._by_priority.get(peer.node.priority) if self.peers.get(peer.node.url) is peer else None

    def is_kept(self, peer: Peer) -> bool:
        """Whether it is accused, and takes calls only so that enough nodes do."""
        tier = self.tier_of(peer)
        return tier is not None and peer in tier.kept

    def reweigh(self, peer: Peer) -> None:
        """The weight of `peer` changed."""
        tier = self.tier_of(peer)
        if tier is not None:
            tier.reweigh()

    def returned(self, peer: Peer, now: float) -> None:
        """The peer is back or has come late: it takes up its share by degrees."""
        if self._ramp[0] > 0.0:
            peer.past = replace(peer.past, returned_at=now)
            self._ramping.add(peer)

    def refresh(self, now: float, must_wait: Callable[[Peer], bool]) -> float:
        """Derive who may be chosen; `must_wait`: peers readmitted by their probe. Returns when to look again."""
        again = self._end_ramps(now)
        for tier in self.tiers:
            due = {peer for peer in tier.everyone if peer.marks and self.is_due(peer, now)}
            waiting = {peer for peer in due if must_wait(peer)}
            trials = [peer.past.trial_at for peer in tier.everyone if peer.past.trial_at is not None]
            leases = [began + _TRIAL_LEASE for began in trials if began + _TRIAL_LEASE > now]
            again = min(again, tier.refresh(now, due - waiting), *leases)
            if waiting:
                again = min(again, now + _LOOK_AGAIN)
        return again

    def look(self, now: float) -> float:
        """Compare our zone with the others, where it is time for that; returns when it is again."""
        return min((tier.look(now) for tier in self.tiers), default=inf) if self._preferences else inf

    def news(self, now: float) -> Iterator[tuple[str, str]]:
        """What has to be told of calls that leave our zone: (event, reason)."""
        for preference in self._preferences.values():
            told = preference.spill.news(now)
            if told is not None:
                yield told

    def plain_picker(self) -> Picker | None:
        """The picker to ask as long as no call needs more care than that: no trial, ramp, slow node or failing open."""
        if not self.tiers or self._ramping:
            return None
        first = self.tiers[0]
        careful = not first.healthy or first.kept or first.trials or first.eased
        return None if careful else first.picker()

    def is_due(self, peer: Peer, now: float) -> bool:
        """Whether the peer's time out is over and its single trial call is still to be sent."""
        if not peer.awaits_readmission(now) or "probe" in peer.marks:
            return False
        return peer.past.trial_at is None or now >= peer.past.trial_at + _TRIAL_LEASE

    def _end_ramps(self, now: float) -> float:
        window, again = self._ramp[0], inf
        for peer in tuple(self._ramping):
            since = peer.past.returned_at
            if since is None or now >= since + window:
                peer.past = replace(peer.past, returned_at=None)
                self._ramping.discard(peer)
            else:
                again = min(again, since + window)
        return again

    def choose(
        self, now: float, key: str | None, tried: Collection[Peer], claim: Callable[[Peer], bool] | None
    ) -> Peer | None:
        """A peer for a call: one not tried, tier by tier; one tried where no other is left; None where there is none.

        `claim` takes the single trial call of a peer, if it is still to be had; None: this call is nobody's trial.
        """
        for peer in self._due() if claim else ():
            if claim and claim(peer):
                return peer
        return self._from_tiers(now, key, tried, claim) or (self._from_tiers(now, key, (), None) if tried else None)

    def choose_beside(self, now: float, key: str | None, first: Peer) -> Peer | None:
        """A good peer of the first's own priority, for a hedge: that a node takes its time is no reason for others."""
        peer = self.choose(now, key, (first,), None)
        if peer is None or peer is first or peer.accused or peer.node.priority > first.node.priority:
            return None
        return peer

    def _from_tiers(
        self, now: float, key: str | None, tried: Collection[Peer], claim: Callable[[Peer], bool] | None
    ) -> Peer | None:
        passed, fallback = set(tried), None
        for place, tier in enumerate(self.tiers):
            backed = any(later.healthy for later in self.tiers[place + 1 :])
            abroad = tier.goes_abroad(tried)
            while (peer := tier.choose(now, key, passed, abroad=abroad)) is not None:
                passed.add(peer)
                # Asked of the peer, not of `trials`: another thread may have derived that anew since the choice.
                on_trial = peer.awaits_readmission(now) and peer not in tier.kept
                if on_trial and not (claim and claim(peer)):
                    continue
                risky = bool(tried) and peer.accused  # a call that has failed once had better go to a good node
                if not risky and tier.accepts(peer, now, self._rng, self._ramp, backed):
                    return peer
                fallback = fallback or peer
        return fallback

    def _due(self) -> Iterator[Peer]:
        """Peers that get a trial call now, whatever its key."""
        for tier in self.tiers:
            if tier.trials and not tier.sticky:
                yield from tier.trials
            if tier.healthy:
                return  # the later ones take no calls, so none for a trial either

    def nobody(self, service: str, now: float) -> NoNodeAvailable:
        """The error that says why no node can be used."""
        peers = self.peers.values()
        if not peers:
            return NoNodeAvailable(f"service {service!r} has no node" + (self.absence and f": {self.absence}"))
        ends = [mark.until - now for peer in peers for mark in peer.marks.values() if mark.until is not None]
        told = ", ".join(f"{peer.node.name} is {commanded(peer.marks)}" for peer in islice(peers, 4))
        more = f", and {len(peers) - 4} more" if len(peers) > 4 else ""
        return NoNodeAvailable(
            f"service {service!r} has no node to use: {told}{more}", max(1.0, min(ends, default=1.0))
        )

    def has_fresh(self, tried: Collection[Peer]) -> bool:
        """Whether a good node is there that has not been tried."""
        reach = 1 + len(tried)
        good = (
            peer
            for tier in self.tiers
            for peer in (*islice(tier.available, reach + len(tier.kept)), *islice(tier.spare, reach))
        )
        return any(peer not in tried and not peer.accused for peer in good)

    def rest_left(self, now: float) -> float:
        """Seconds until the first available node has rested enough to be asked again; infinity: there is none."""
        least = inf
        for peer in (peer for tier in self.tiers for peer in tier.available):
            least = min(least, peer.rest_left(now))
            if least == 0.0:
                break
        return least

    def others(self, peer: Peer) -> Iterator[Record]:
        """Records of good nodes of the same tier to compare `peer` with; a sample where there are many."""
        around = self._around(self._by_priority[peer.node.priority])
        return (other.record for other in around if other is not peer and not other.accused)

    def usual_latency(self, peer: Peer) -> float:
        """The median latency of good nodes of its tier, in seconds; of a sample where there are many; 0.0: unknown."""
        tier = self.tier_of(peer)
        around = self._around(tier) if tier else ()
        known = [other.latency for other in around if other.latency and not other.accused]
        return median_low(known) if known else 0.0

    def _around(self, tier: Tier) -> Iterator[Peer]:
        count = len(tier.available)
        first = self._rng.randrange(count) if count > _COMPARED else 0
        return (tier.available[(first + i) % count] for i in range(min(count, _COMPARED)))


def _url_or_none(text: str) -> str | None:
    try:
        return normal_url(text)
    except ValueError:
        return None
