"""How the nodes stand: what calls, probes and people say of them, turned into marks."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

from balancemw.events import News
from balancemw.fault import Fault, Kind
from balancemw.health import OVERRIDDEN_BY_UP, Mark
from balancemw.partners import Partners
from balancemw.peer import Peer
from balancemw.roster import Roster
from balancemw.routes import Routes
from balancemw.tier import Tier
from balancemw.traffic import Traffic

_AGAIN = 1.0  # seconds after which a trial is made again that was overtaken


@dataclass(frozen=True, slots=True)
class Change:
    """What a source wants done about a node.

    Attributes:
        peer: the node.
        mark: the mark to set, or None.
        drop: whether to remove the source's mark instead.
        event: what to tell; "" for nothing.
        reason: the same in words.
    """

    peer: Peer
    mark: Mark | None = None
    drop: bool = False
    event: str = ""
    reason: str = ""


class Standing:
    """Keeps the marks of one service's nodes. Everything runs under the pool's lock.

    Args:
        roster: whose nodes they are.
        traffic: judges how calls end.
        news: where changes are noted.
        changed: called when availability has to be derived anew.

    Attributes:
        partners: who else is told.
    """

    def __init__(self, roster: Roster, traffic: Traffic, news: News, changed: Callable[[], None]) -> None:
        self._roster = roster
        self._traffic = traffic
        self._news = news
        self._changed = changed
        self.partners = Partners()
        self._failing_open = False

    # -- what calls say

    def credit(self, peer: Peer, started: float, now: float, route: str) -> None:
        """A call succeeded on a peer that something is, or was lately, held against."""
        if peer.routes is not None:
            peer.routes.count(route, now, failed=False)
            peer.routes = None if peer.routes.quiet(now) else peer.routes
        tier = self._roster.tier_of(peer)
        desperate = tier is not None and not tier.healthy
        if tier and self._traffic.absolves(peer, started, now, desperate=desperate):
            self.drop(peer, "traffic", now)
            peer.observe(now - started, now)
            self._news.note(peer.node.name, "readmitted", "traffic", f"a call was answered in {now - started:.3f} s")
            if desperate:
                self._hope(tier, peer, now)
        peer.watched = bool(peer.marks or peer.record.level or peer.past.rests or peer.routes)

    def _hope(self, tier: Tier, back: Peer, now: float) -> None:
        """All were out, and one is back: the others, who most likely suffered the same, are tried soon, not in turn.

        Until then the first one back has the load of all.
        """
        for peer in tier.everyone:
            mark = self._traffic.sooner(peer, back.node.name, now)
            if mark is not None:
                self._update(peer, now, partial(peer.put, mark))
                self.partners.note(peer, "traffic", now)

    def debit(self, peer: Peer, fault: Fault, started: float, now: float, route: str) -> None:
        """A call failed."""
        peer.watched = True
        seconds = round(now - started, 6)
        self._news.failed(peer.node.name, fault.kind, fault.reason, seconds, now)
        if fault.kind is Kind.OVERLOAD:
            self._rest(peer, fault, started, now)
        elif not fault.lowers_success_rate:
            self.excuse(peer, fault, started, now)
        elif started < peer.past.fresh_from:
            peer.past = replace(peer.past, neutral=peer.past.neutral + 1)  # a straggler from before it was readmitted
        else:
            if fault.kind is Kind.SERVER_ERROR:
                self._count_route(peer, route, now)
            self._blame(peer, fault, started, now)

    def _count_route(self, peer: Peer, route: str, now: float) -> None:
        if peer.routes is None or peer.routes.quiet(now):
            peer.routes = Routes(self._traffic.rules.window, now)
        peer.routes.count(route, now, failed=True)

    def _blame(self, peer: Peer, fault: Fault, started: float, now: float) -> None:
        excused = peer.routes is not None and bool(peer.routes.excuse)
        peer.record.fail(now, counts=fault.counts)
        usual = 0.0 if peer.latency else self._roster.usual_latency(peer)
        peer.penalize(now - started, now, answered=fault.answered, usual=usual)
        tier = self._roster.tier_of(peer)
        if tier and tier.may_eject:
            others, all_out = self._roster.others(peer), not tier.healthy
            mark = self._traffic.convict(peer, fault, started, now, others, all_out=all_out)
            if mark is not None:
                self.put(peer, mark, now, "ejected", fault.kind)
            elif fault.counts:
                self.partners.struck()
            elif peer.routes is not None and peer.routes.excuse and not excused:
                self._news.note(peer.node.name, "spared", "traffic", peer.routes.excuse, fault=fault.kind)

    def _rest(self, peer: Peer, fault: Fault, started: float, now: float) -> None:
        peer.past = replace(peer.past, overloads=peer.past.overloads + 1)
        mark = self._traffic.rest(peer, fault, started, now)
        if mark is not None:
            self.put(peer, mark, now, "resting", fault.kind)
        self._release_trial(peer, started)

    def excuse(self, peer: Peer, fault: Fault, started: float, now: float) -> None:
        """A call ended without an answer, and that is not the peer's fault."""
        peer.past = replace(peer.past, neutral=peer.past.neutral + 1)
        if fault.kind is not Kind.APPLICATION and now - started > peer.latency:
            peer.observe_at_least(now - started, now)  # nobody's fault, but it did take that long
        self._release_trial(peer, started)

    def overtake(self, peer: Peer, fault: Fault, started: float, now: float) -> None:
        """A call was ended as another node had answered. If it was a trial, the next one is not made at once."""
        if peer.past.trial_at is not None and started >= peer.past.trial_at and peer.awaits_readmission(now):
            mark = self._traffic.gone(peer, f"its trial call took too long ({fault.reason})", now, now + _AGAIN)
            self.put(peer, mark, now, "ejected")
        self.excuse(peer, fault, started, now)

    def begin_trial(self, peer: Peer, now: float, repeatable: bool) -> bool:
        """Make a call the single trial of a peer, if that is still to be had; `repeatable`: as for `Pool.begin`."""
        if not self._roster.is_due(peer, now) or not (repeatable or peer.certain(now)):
            return False
        if not self.partners.may_try(peer):
            return False
        peer.past = replace(peer.past, trial_at=now)
        self._news.note(peer.node.name, "trial", "traffic", "its time out is over: one call shows whether it works")
        self._changed()
        return True

    def _release_trial(self, peer: Peer, started: float) -> None:
        """Its trial call, if this was it, proved nothing: the next call may be the trial."""
        if peer.past.trial_at is not None and started >= peer.past.trial_at:
            peer.past = replace(peer.past, trial_at=None)
            self._changed()

    # -- what anyone says

    def put(self, peer: Peer, mark: Mark, now: float, event: str, fault: str | None = None) -> None:
        """Set a mark, in place of the source's former one."""
        self._update(peer, now, lambda: peer.put(mark))
        self.partners.note(peer, mark.source, now)
        seen = peer.record
        evidence = {"calls": seen.calls, "failures": seen.failed, "in_flight": peer.in_flight}
        self._news.note(peer.node.name, event, mark.source, mark.reason, fault=fault, **evidence)

    def amend(self, source: str, changes: Iterable[Change], now: float) -> None:
        """Set or remove marks that every worker derives for itself: nobody else need be told of them."""
        for change in changes:
            peer, mark = change.peer, change.mark
            if mark is not None:
                self._update(peer, now, partial(peer.put, mark))
            elif change.drop:
                self._update(peer, now, partial(peer.drop, source))
            if change.event:
                self._news.note(peer.node.name, change.event, source, change.reason)

    def drop(self, peer: Peer, source: str, now: float) -> bool:
        """Remove the mark of `source`; returns whether there was one."""
        if source not in peer.marks:
            return False
        self._remove(peer, source, now)
        self.partners.note(peer, source, now)
        return True

    def release(self, peer: Peer, source: str, now: float, reason: str) -> None:
        """The source withdraws its mark, for a reason."""
        self.drop(peer, source, now)
        self._news.note(peer.node.name, "cleared", source, reason)

    def up(self, peer: Peer, mark: Mark, now: float) -> None:
        """Someone says that the node is well: that ends their own claim, and an operator overrides the others'."""
        for source in OVERRIDDEN_BY_UP if mark.source == "operator" else (mark.source,):
            if not self.drop(peer, source, now):
                self.partners.note(peer, source, now)  # others may know of a mark that is not known here yet
        self._news.note(peer.node.name, "up", mark.source, mark.reason)

    def expire(self, now: float) -> None:
        """Remove the marks whose time is over."""
        for peer in [peer for peer in self._roster.peers.values() if peer.marks]:
            for mark in [mark for mark in peer.marks.values() if mark.expired(now)]:
                if mark.source == "self" and now < peer.past.back_by and not peer.accused:
                    reason = "it said that it was going, and has to show that it is back"
                    self.put(peer, self._traffic.gone(peer, reason, now, now), now, "ejected")
                self._remove(peer, mark.source, now)  # the others see for themselves that it is over
                self._news.note(peer.node.name, "expired", mark.source, f"{mark.kind} is over: {mark.reason}")

    def adopt(self, peer: Peer, source: str, mark: Mark | None, level: int, now: float) -> None:
        """Another worker has set or cleared a mark; `level`: how often it saw the node ejected."""
        if mark is None:
            if source in peer.marks:
                tier = self._roster.tier_of(peer)
                self._remove(peer, source, now)
                for other in tier.everyone if tier and not tier.healthy else ():
                    self._traffic.forgive(other, now)  # as `_hope`, by which the other worker has them tried
            return
        if mark.kind == "ejected":
            self._traffic.adopt(peer, level, now)
        self._update(peer, now, lambda: peer.put(mark))

    def pass_probe(self, peer: Peer, now: float) -> None:
        """A probe found the node well: if its time out is over, that readmits it."""
        if peer.awaits_readmission(now) and "probe" not in peer.marks:
            self.drop(peer, "traffic", now)
            self._news.note(peer.node.name, "readmitted", "probe", "its time out is over, and its probe passed")

    def note_failing_open(self, keep: float) -> None:
        """Tell when accused nodes have to be used, and when they need not any more."""
        kept = [peer.node.name for tier in self._roster.tiers for peer in tier.kept]
        if bool(kept) == self._failing_open:
            return
        self._failing_open = bool(kept)
        if kept:
            reason = f"at least {keep:g} of the nodes must be left: {', '.join(kept[:8])} stay in"
            self._news.note(None, "fail_open", "pool", reason)
        else:
            self._news.note(None, "fail_open_ended", "pool", "no accused node has to be used any more")

    def _remove(self, peer: Peer, source: str, now: float) -> None:
        self._update(peer, now, lambda: peer.drop(source))

    def _update(self, peer: Peer, now: float, change: Callable[[], None]) -> None:
        barred, weight = peer.barred, peer.weight
        change()
        if peer.weight != weight:
            self._roster.reweigh(peer)
        if barred and not peer.barred:
            peer.begin_anew(now)
            self._roster.returned(peer, now)
        self._changed()
