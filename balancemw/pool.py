"""The pool of one service: its calls in flight, the marks against its nodes, and the one lock.

Choosing reads an immutable picker without the lock; what counts or marks holds the lock for microseconds and never
across I/O. Availability is derived lazily, on the first choice after something changed or some mark's time came, so
that a storm of changes costs one derivation.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from math import inf
from random import Random
from threading import Lock

from balancemw.budget import WINDOW, Budget
from balancemw.events import Events, News
from balancemw.fault import Fault, Kind
from balancemw.health import Mark
from balancemw.members import Members
from balancemw.node import Node
from balancemw.partners import Partners
from balancemw.peer import Peer
from balancemw.review import Review
from balancemw.roster import Roster
from balancemw.routes import ANY
from balancemw.settings import ServiceSettings
from balancemw.standing import Change, Standing
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
        lock: guards everything that changes; held for microseconds, never across I/O or a call of the user's.
        awaited: whether the nodes are not known yet, but will be soon: a call had better wait.
        must_wait: whether a peer whose time out is over has to wait for its probe; set by what probes.
        overruled: called when an operator has said that a peer is well; set by who has to heed it.
        partners: the other workers' pools of the same service.
    """

    def __init__(
        self, name: str, settings: ServiceSettings, *, rng: Random, events: Events, housekeeping: Callable[[], None]
    ) -> None:
        strategy = resolve(settings.strategy.name, settings.strategy.options)
        self.name = name
        self.settings = settings
        self.budget = Budget(settings.retry.budget, settings.retry.budget_floor)
        self.awaited = False
        self.must_wait: Callable[[Peer, float], bool] = lambda _peer, _now: False
        self.overruled: Callable[[Pool, Peer, float], object] = lambda _pool, _peer, _now: None
        ramp = (settings.slow_start.window, settings.slow_start.min_weight)
        self.roster = Roster(lambda: strategy(rng), keep=settings.ejection.keep, ramp=ramp, rng=rng)
        self._news = News(events, name)
        self._housekeeping = housekeeping
        traffic = Traffic(settings.ejection, settings.retry.retry_after_max, rng)
        self._standing = Standing(self.roster, traffic, self._news, self.changed)
        self._review = Review(self.roster, traffic, self._standing)
        self._members = Members(self.roster, self._standing, self._news, self.changed, settings.ejection.window)
        self.partners = Partners()
        self.lock = Lock()
        self._fast: Picker | None = None  # what chooses, while no call needs more care
        self._failing_open = False
        self._poor_until = -inf
        self._left: deque[Callable[[], object]] = deque()
        self._again = self._edge = -inf  # when availability has to be derived anew; when anything has to be done
        self.roster.arrange(Peer(node, settings.ejection.window) for node in settings.nodes)

    # -- the way of a call

    def begin(self, now: float, key: str | None = None, repeatable: bool = True) -> Peer:
        """Choose a peer for a call's first try and count it in; it must be given back by `succeed` or `fail`.

        `repeatable`: whether it may try out a node of which nobody knows whether it has ended already.

        Raises:
            NoNodeAvailable: there is no node, or all are forbidden by someone who must be obeyed.
        """
        if now >= self._edge:
            self._tick(now)
        fast = self._fast
        peer: Peer = fast(now, key) if fast is not None else self._choose_first(now, key, repeatable)  # type: ignore[assignment]
        lock = self.lock
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
        with self.lock:
            peer.in_flight += 1
            peer.started += now
        return peer

    def succeed(self, peer: Peer, started: float, now: float, route: str = ANY) -> None:
        """The call that `begin` counted in at `started` was answered well; `route`: what it was a call of."""
        lock = self.lock
        lock.acquire()
        try:
            peer.end(started)
            peer.observe(now - started, now)
            record = peer.record
            if now >= record.edge:
                record.roll(now)
            record.calls += 1
            record.consecutive = record.elsewhere = 0
            if peer.watched:
                self._standing.credit(peer, started, now, route)
        finally:
            lock.release()
        if self._news.pending:
            self._news.tell()

    def answered(self, peer: Peer, started: float, now: float) -> None:
        """The call is answered well, but goes on as long as its caller likes: in flight until `hang_up`."""
        with self.lock:
            peer.hold_on()
        self.succeed(peer, started, now)

    def hang_up(self, peer: Peer) -> None:
        """A call that was `answered` is over."""
        with self.lock:
            peer.hang_up()

    def fail(self, peer: Peer, started: float, now: float, fault: Fault, route: str = ANY) -> None:
        """The call that `begin` counted in at `started` ended with `fault`."""
        if fault.answered and fault.kind is Kind.APPLICATION:  # what went wrong is not the node's affair
            self.succeed(peer, started, now, route)
            return
        with self.lock:
            peer.end(started)
            self._standing.debit(peer, fault, started, now, route)
        self._news.tell()

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
        """Seconds until the first available node has rested enough to be asked again; infinity: there is none."""
        rests = (peer.rest_left(now) for tier in self.roster.tiers for peer in tier.available)
        least = inf
        for rest in rests:
            least = min(least, rest)
            if least == 0.0:
                break
        return least

    def afford_retry(self, now: float) -> bool:
        """Take one retry out of the budget, if it has one left."""
        with self.lock:
            afforded = self.budget.withdraw(now)
            if not afforded and now >= self._poor_until:
                self._poor_until = now + WINDOW
                spent = f"{self.budget.spent()} retries to {self.budget.called()} calls within {WINDOW:g} s"
                self._news.note(None, "budget_exhausted", "pool", f"{spent}: failures are passed on as they are")
        self._news.tell()
        return afforded

    def _choose_first(self, now: float, key: str | None, repeatable: bool) -> Peer:
        peer = self.roster.choose(now, key, (), lambda peer: self._claim(peer, now, repeatable))
        if peer is None:
            raise self.roster.nobody(self.name, now)
        return peer

    def _claim(self, peer: Peer, now: float, repeatable: bool) -> bool:
        with self.lock:
            if not self.roster.is_due(peer, now) or not (repeatable or peer.certain(now)):
                return False
            if not self.partners.may_try(peer):
                return False
            peer.trial_at = now
            self._news.note(peer.node.name, "trial", "traffic", "its time out is over: one call shows whether it works")
            self.changed()
        self._news.tell()
        return True

    def changed(self) -> None:
        """Availability has to be derived anew. Under the lock."""
        self._again = self._edge = -inf

    def later(self, end: Callable[[], object]) -> None:
        """Call `end`, which gives a call back, before the next choice: what runs now may hold the lock itself."""
        self._left.append(end)
        self._edge = -inf

    def _tick(self, now: float) -> None:
        self._housekeeping()
        while self._left:
            self._left.popleft()()
        with self.lock:
            if now >= self.budget.edge:
                self.budget.roll(now)
                self._news.sum_up(now)
            self._review.look(now)
            if now >= self._again:
                self._standing.expire(now)
                self._again = self.roster.refresh(now, lambda peer: self.waits(peer, now))
                self._fast = self.roster.plain_picker()
                self._note_failing_open()
            self._edge = -inf if self._left else min(self._again, self.budget.edge)
        self._news.tell()

    def waits(self, peer: Peer, now: float) -> bool:
        """Whether a peer whose time out is over gets no trial call from here yet."""
        return self.must_wait(peer, now) or not self.partners.may_try(peer)

    def _note_failing_open(self) -> None:
        kept = [peer.node.name for tier in self.roster.tiers for peer in tier.kept]
        if bool(kept) == self._failing_open:
            return
        self._failing_open = bool(kept)
        if kept:
            least = f"at least {self.settings.ejection.keep:g} of the nodes must be left"
            reason = f"{least}: {', '.join(kept[:8])} stay in"
            self._news.note(None, "fail_open", "pool", reason)
        else:
            self._news.note(None, "fail_open_ended", "pool", "no accused node has to be used any more")

    # -- what is known of the nodes

    def mark(self, peer: Peer, mark: Mark, now: float, fault: str | None = None) -> None:
        """Set a mark; kind ``up`` clears the source's own and, from an operator, overrides the others' instead."""
        with self.lock:
            if mark.kind == "up":
                self._standing.up(peer, mark, now)
            else:
                self._standing.put(peer, mark, now, mark.kind, fault)
        self._news.tell()
        if mark.kind == "up" and mark.source == "operator":
            self.overruled(self, peer, now)

    def clear(self, peer: Peer, source: str, now: float, event: str = "cleared", reason: str = "") -> bool:
        """Remove the mark of `source`; returns whether there was one."""
        with self.lock:
            found = self._standing.drop(peer, source, now)
            if found:
                self._news.note(peer.node.name, event, source, reason)
        self._news.tell()
        return found

    def amend(self, source: str, changes: Iterable[Change], now: float) -> None:
        """Change marks that follow from what every worker knows. It is told with the next news, and not here."""
        with self.lock:
            self._standing.amend(source, changes, now)

    def probe_passed(self, peer: Peer, now: float) -> None:
        """A probe found the node well: if its time out is over, that readmits it."""
        with self.lock:
            self._standing.pass_probe(peer, now)
        self._news.tell()

    def prove(self) -> None:
        """A probe of this service has passed, so that its failures mean something from now on."""
        with self.lock:
            self.partners.prove()

    def share(self, partners: Partners) -> None:
        """Tell `partners` from now on what changes here."""
        self.partners = self._standing.partners = partners

    def adopt(self, peer: Peer, source: str, mark: Mark | None, level: int, now: float) -> None:
        """Another worker has set or cleared (None) the mark of `source`, which it told itself. Under the lock."""
        self._standing.adopt(peer, source, mark, level, now)

    def sum_up(self, now: float) -> None:
        """Tell what is known of failed tries in sum."""
        with self.lock:
            self._news.sum_up(now)
        self._news.tell()

    def tell(self, event: str, source: str, reason: str) -> None:
        """Tell of something that concerns the whole service and changes no mark."""
        with self.lock:
            self._news.note(None, event, source, reason)
        self._news.tell()

    def replace(
        self,
        nodes: Iterable[Node],
        now: float,
        *,
        source: str = "operator",
        reason: str = "",
        claims: Mapping[str, Mark] | None = None,
    ) -> None:
        """Make `nodes` the members; those that stay keep what is known of them, new ones ramp up.

        Args:
            nodes: all of them.
            now: the time.
            source: who says so.
            reason: why those that leave do.
            claims: all marks that `source` sets, by url; it clears the others it had set. None: none are touched.
        """
        with self.lock:
            self._members.replace(tuple(nodes), now, source, reason)
            if claims is not None:
                self._members.claim(claims, now, source)
        self._news.tell()

    def after_fork(self) -> None:
        """Begin anew in a child process: its parent's threads and open calls are not its own."""
        self.lock = Lock()
        self._left.clear()
        self._news.pending.clear()
        self._members.forget()
        for peer in self.roster.peers.values():
            peer.reset()
            peer.trial_at = None
        self.partners.after_fork()
        self.roster.renew()
        self.changed()
