"""The pool of one service: its calls in flight, the marks against its nodes, and the one lock.

Choosing reads an immutable picker without the lock; what counts or marks holds the lock for microseconds and never
across I/O. Availability is derived lazily, on the first choice after something changed or some mark's time came, so
that a storm of changes costs one derivation.
"""

from collections.abc import Callable, Collection, Iterable
from itertools import islice
from math import inf
from random import Random
from threading import Lock

from balancemw.budget import WINDOW, Budget
from balancemw.errors import NoNodeAvailable
from balancemw.events import Events, News
from balancemw.fault import Fault, Kind
from balancemw.health import OVERRIDDEN_BY_UP, Mark, commanded
from balancemw.node import Node
from balancemw.peer import Peer
from balancemw.roster import Roster
from balancemw.settings import ServiceSettings
from balancemw.strategies import Picker, resolve
from balancemw.traffic import Traffic


class Pool:
    """What the calls of a service share. Times are numbers on the balancer's clock.

    Args:
        name: the service's name.
        settings: its settings.
        rng: the balancer's random generator.
        events: where news goes.
        housekeeping: called now and then before a choice, outside the lock; notices forks and starts the monitor.

    Attributes:
        must_wait: whether a peer whose time out is over has to wait for its probe; set by what probes.
    """

    def __init__(
        self, name: str, settings: ServiceSettings, *, rng: Random, events: Events, housekeeping: Callable[[], None]
    ) -> None:
        strategy = resolve(settings.strategy.name, settings.strategy.options)
        self.name = name
        self.settings = settings
        self.budget = Budget(settings.retry.budget, settings.retry.budget_floor)
        self.must_wait: Callable[[Peer, float], bool] = lambda _peer, _now: False
        ramp = (settings.slow_start.window, settings.slow_start.min_weight)
        self.roster = Roster(
            lambda: strategy(rng), keep=settings.ejection.keep, ramp=ramp, rng=rng
        )
        self._news = News(events, name)
        self._housekeeping = housekeeping
        self._traffic = Traffic(settings.ejection, settings.retry.retry_after_max, rng)
        self._lock = Lock()
        self._fast: Picker | None = None  # what chooses, while no call needs more care
        self._failing_open = False
        self._poor_until = -inf
        self._again = self._edge = -inf  # when availability has to be derived anew; when anything has to be done
        self.roster.arrange(Peer(node, settings.ejection.window) for node in settings.nodes)

    # -- the way of a call

    def begin(self, now: float, key: str | None = None) -> Peer:
        """Choose a peer for a call's first try and count it in; it must be given back by `succeed` or `fail`.

        Raises:
            NoNodeAvailable: there is no node, or all are forbidden by someone who must be obeyed.
        """
        if now >= self._edge:
            self._tick(now)
        fast = self._fast
        peer: Peer = fast(now, key) if fast is not None else self._choose_first(now, key)  # type: ignore[assignment]
        lock = self._lock
        lock.acquire()  # half the price of a `with`, on the one path that every call takes
        try:
            peer.in_flight += 1
            peer.started += now
            self.budget.calls += 1
        finally:
            lock.release()
        return peer

    def begin_again(self, now: float, key: str | None, tried: Collection[Peer]) -> Peer:
        """Choose a peer for a further try, if possible not one of `tried`; otherwise as `begin`.

        Raises:
            NoNodeAvailable: as for `begin`.
        """
        peer = self.pick(now, key, tried)
        with self._lock:
            peer.in_flight += 1
            peer.started += now
        return peer

    def succeed(self, peer: Peer, started: float, now: float) -> None:
        """The call that `begin` counted in at `started` was answered well."""
        lock = self._lock
        lock.acquire()
        try:
            peer.end(started)
            peer.observe(now - started, now)
            record = peer.record
            if now >= record.edge:
                record.roll(now)
            record.calls += 1
            record.consecutive = 0
            if peer.marks or record.level or peer.rests:
                self._absolve(peer, started, now)
        finally:
            lock.release()
        if self._news.pending:
            self._news.tell()

    def fail(self, peer: Peer, started: float, now: float, fault: Fault) -> None:
        """The call that `begin` counted in at `started` ended with `fault`."""
        if fault.answered and fault.kind is Kind.APPLICATION:  # what went wrong is not the node's affair
            self.succeed(peer, started, now)
            return
        with self._lock:
            peer.end(started)
            if fault.lowers_success_rate:
                self._blame(peer, started, now, fault)
            elif fault.kind is Kind.OVERLOAD:
                self._rest(peer, now, fault)
            else:
                self._excuse(peer, started, now, fault)
            self._news.note(peer.node.name, "failed", "traffic", fault.reason, fault=fault.kind, seconds=round(now - started, 6))
        self._news.tell()

    def _absolve(self, peer: Peer, started: float, now: float) -> None:
        tier = self.roster.tier_of(peer)
        if tier and self._traffic.absolves(peer, started, now, not tier.healthy):
            self._drop(peer, "traffic", now)
            peer.observe(now - started, now)
            self._news.note(peer.node.name, "readmitted", "traffic", f"a call was answered in {now - started:.3f} s")

    def _blame(self, peer: Peer, started: float, now: float, fault: Fault) -> None:
        if started < peer.fresh_from:
            peer.neutral += 1  # a straggler from before the node was readmitted
            return
        peer.record.fail(now, counts=fault.counts)
        peer.observe_at_least(now - started, now)
        peer.penalize(now)
        tier = self.roster.tier_of(peer)
        if tier and tier.may_eject:
            mark = self._traffic.convict(peer, fault, now, self.roster.others(peer))
            if mark is not None:
                self._put(peer, mark, "ejected", fault.kind)

    def _rest(self, peer: Peer, now: float, fault: Fault) -> None:
        peer.overloads += 1
        mark = self._traffic.rest(peer, fault, now)
        if mark is not None:
            self._put(peer, mark, "resting", fault.kind)

    def _excuse(self, peer: Peer, started: float, now: float, fault: Fault) -> None:
        peer.neutral += 1
        if fault.kind is not Kind.APPLICATION and now - started > peer.latency:
            peer.observe_at_least(now - started, now)  # nobody's fault, but it did take that long
        if peer.trial_at is not None:  # it proved nothing: the next call may be the trial
            peer.trial_at = None
            self._changed()

    # -- the choice

    def pick(self, now: float, key: str | None, excluded: Collection[Peer]) -> Peer:
        """A choice without a call: counts nothing and is nobody's trial.

        Raises:
            NoNodeAvailable: as for `begin`.
        """
        if now >= self._edge:
            self._tick(now)
        fast = self._fast
        if fast is not None and not excluded:
            return fast(now, key)  # type: ignore[return-value]
        peer = self.roster.choose(now, key, excluded, None)
        if peer is None:
            raise self.roster.nobody(self.name, now)
        return peer

    def available(self, now: float) -> tuple[Node, ...]:
        """The nodes that may be chosen."""
        if now >= self._edge:
            self._tick(now)
        return tuple(peer.node for tier in self.roster.tiers for peer in tier.available)

    def has_fresh(self, now: float, tried: Collection[Peer]) -> bool:
        """Whether a good node is available that has not been tried."""
        if now >= self._edge:
            self._tick(now)
        return self.roster.has_fresh(tried)

    def rest_left(self, now: float) -> float:
        """Seconds until the first of the available nodes has rested enough to be asked again."""
        rests = (peer.rest_left(now) for tier in self.roster.tiers for peer in tier.available)
        least = inf
        for rest in rests:
            least = min(least, rest)
            if not least:
                break
        return 0.0 if least == inf else least

    def afford_retry(self, now: float) -> bool:
        """Take one retry out of the budget, if it has one left."""
        with self._lock:
            afforded = self.budget.withdraw(now)
            if not afforded and now >= self._poor_until:
                self._poor_until = now + WINDOW
                spent = f"{self.budget.spent()} retries to {self.budget.called()} calls within {WINDOW:g} s"
                self._news.note(None, "budget_exhausted", "pool", f"{spent}: failures are passed on as they are")
        self._news.tell()
        return afforded

    def _choose_first(self, now: float, key: str | None) -> Peer:
        peer = self.roster.choose(now, key, (), lambda peer: self._claim(peer, now))
        if peer is None:
            raise self.roster.nobody(self.name, now)
        return peer

    def _claim(self, peer: Peer, now: float) -> bool:
        with self._lock:
            if not self.roster.is_due(peer, now):
                return False
            peer.trial_at = now
            self._news.note(peer.node.name, "trial", "traffic", "its time out is over: one call shows whether it works")
            self._changed()
        self._news.tell()
        return True

    def _changed(self) -> None:
        self._again = self._edge = -inf

    def _tick(self, now: float) -> None:
        self._housekeeping()
        with self._lock:
            if now >= self.budget.edge:
                self.budget.roll(now)
            if now >= self._again:
                self._expire(now)
                self._again = self.roster.refresh(now, lambda peer: self.must_wait(peer, now))
                self._fast = self.roster.plain_picker()
                self._note_failing_open()
            self._edge = min(self._again, self.budget.edge)
        self._news.tell()

    def _expire(self, now: float) -> None:
        for peer in [peer for peer in self.roster.peers.values() if peer.marks]:
            for mark in [mark for mark in peer.marks.values() if mark.expired(now)]:
                self._drop(peer, mark.source, now)
                self._news.note(peer.node.name, "expired", mark.source, f"{mark.kind} is over: {mark.reason}")

    def _note_failing_open(self) -> None:
        kept = [peer.node.name for tier in self.roster.tiers for peer in tier.kept]
        if bool(kept) != self._failing_open:
            self._failing_open = bool(kept)
            bound = f"{self.settings.ejection.keep:g} of a tier must be left"
            reason = f"{bound}: {', '.join(kept[:8])} stay in" if kept else "enough good nodes again"
            self._news.note(None, "fail_open" if kept else "fail_open_ended", "pool", reason)

    # -- what is known of the nodes

    def mark(self, peer: Peer, mark: Mark, now: float, fault: str | None = None) -> None:
        """Set a mark; kind ``up`` clears the source's own and, from an operator, overrides the others' instead."""
        with self._lock:
            if mark.kind == "up":
                for source in OVERRIDDEN_BY_UP if mark.source == "operator" else (mark.source,):
                    self._drop(peer, source, now)
                self._news.note(peer.node.name, "up", mark.source, mark.reason)
            else:
                self._put(peer, mark, mark.kind, fault)
        self._news.tell()

    def clear(self, peer: Peer, source: str, now: float, event: str = "cleared", reason: str = "") -> bool:
        """Remove the mark of `source`; returns whether there was one."""
        with self._lock:
            found = self._drop(peer, source, now)
            if found:
                self._news.note(peer.node.name, event, source, reason)
        self._news.tell()
        return found

    def probe_passed(self, peer: Peer, now: float) -> None:
        """A probe found the node well: if its time out is over, that readmits it."""
        with self._lock:
            peer.probed_at = now
            if peer.awaits_readmission(now) and "probe" not in peer.marks:
                self._drop(peer, "traffic", now)
                self._news.note(peer.node.name, "readmitted", "probe", "its probe passed")
        self._news.tell()

    def replace(self, nodes: Iterable[Node], now: float) -> None:
        """Make `nodes` the members; those that stay keep what is known of them, new ones ramp up."""
        with self._lock:
            known, late = self.roster.peers, bool(self.roster.peers)
            members: list[Peer] = []
            for node in nodes:
                peer = known.get(node.url)
                if peer is None:
                    peer = Peer(node, self.settings.ejection.window)
                    self._news.note(node.name, "added", "operator")
                    if late:
                        self.roster.returned(peer, now)
                peer.become(node)
                members.append(peer)
            staying = {peer.node.url for peer in members}
            for url, peer in known.items():
                if url not in staying:
                    self._news.note(peer.node.name, "removed", "operator")
            self.roster.arrange(members)
            self._changed()
        self._news.tell()

    def _put(self, peer: Peer, mark: Mark, event: str, fault: str | None) -> None:
        peer.put(mark)
        if mark.kind == "weight":
            self.roster.reweigh(peer)
        seen = peer.record
        evidence = {"calls": seen.calls, "failures": seen.failed, "in_flight": peer.in_flight}
        self._news.note(peer.node.name, event, mark.source, mark.reason, fault=fault, **evidence)
        self._changed()

    def _drop(self, peer: Peer, source: str, now: float) -> bool:
        mark = peer.marks.get(source)
        if mark is None:
            return False
        peer.drop(source)
        if mark.kind == "weight":
            self.roster.reweigh(peer)
        elif mark.kind != "resting" and not peer.barred:
            peer.begin_anew(now)
            self.roster.returned(peer, now)
        self._changed()
        return True

    def after_fork(self) -> None:
        """Begin anew in a child process: its parent's threads and open calls are not its own."""
        self._lock = Lock()
        self._news.pending.clear()
        for peer in self.roster.peers.values():
            peer.reset()
            peer.trial_at = None
        self._changed()
