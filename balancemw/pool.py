"""The pool of one service: its calls in flight, and who takes the next one.

Choosing reads an immutable picker without the lock; what counts or marks holds the lock for microseconds and never
across I/O. Availability is derived lazily, on the first choice after something changed or some mark's time came, so
that a storm of changes costs one derivation.
"""

from collections import deque
from collections.abc import Callable, Collection
from math import inf
from random import Random

from balancemw.allowance import Allowance
from balancemw.budget import Budget
from balancemw.events import Events
from balancemw.fault import Fault, Kind
from balancemw.load import KEPT, KEPT_FOR
from balancemw.node import Node
from balancemw.peer import Peer
from balancemw.recovery import Recovery
from balancemw.register import Register
from balancemw.review import Review
from balancemw.routes import ANY
from balancemw.settings import ServiceSettings
from balancemw.strategies import Picker


class Pool(Register):
    """What the calls of a service share.

    Args:
        name: the service's name.
        settings: its settings.
        rng: the balancer's random generator.
        events: where news goes.
        housekeeping: called now and then before a choice, outside the lock; notices forks and starts the monitor.

    Attributes:
        seeking: whether the nodes are not known yet, but will be soon.
        budget: the retry budget.
        allowance: whether a failed call may be sent again, within the budget.
        fast: what chooses until `edge`, while no call needs more care; None: `begin` chooses with care.
        hedging: when calls are hedged; None: never.
        special: whether a call is more than a try, followed by others if it fails: it is `awaited`, or it may be
            hedged. One look at it is all that other calls pay for either.
    """

    def __init__(
        self, name: str, settings: ServiceSettings, *, rng: Random, events: Events, housekeeping: Callable[[], None]
    ) -> None:
        super().__init__(name, settings, rng=rng, events=events)
        self.hedging = None if settings.hedge is None else settings.hedge.begin()
        self.seeking = False
        self.budget = Budget(settings.retry.budget, settings.retry.budget_floor)
        self.allowance = Allowance(self.budget, self.roster, self.lock, self._news)
        self._housekeeping = housekeeping
        self._review = Review(self.roster, self._traffic, self._standing)
        self._recovery = Recovery(settings.slow_start.window)
        self.fast: Picker | None = None
        self._left: deque[Callable[[], object]] = deque()
        self._sort()

    # -- the way of a call

    def begin(self, now: float, key: str | None = None, repeatable: bool = True) -> Peer:
        """Choose a peer for a call's first try and count it in; it must be given back by `succeed` or `fail`.

        `repeatable`: whether it may try out a node of which nobody knows whether it has ended already.

        Raises:
            NoNodeAvailable: there is no node, or all are forbidden by someone who must be obeyed.
        """
        if now >= self.edge:
            self._tick(now)
        fast = self.fast
        peer: Peer = fast(now, key) if fast is not None else self._choose_first(now, key, repeatable)  # type: ignore[assignment]
        with self.lock:
            peer.begin(now)
            self.budget.calls += 1
        return peer

    def begin_again(self, now: float, key: str | None, tried: Collection[Peer]) -> Peer:
        """Choose a peer for a further try, if possible not one of `tried`; otherwise as `begin`.

        Raises:
            NoNodeAvailable: as for `begin`.
        """
        peer = self.pick(now, key, tried)
        with self.lock:
            peer.begin(now)
        return peer

    def begin_hedge(self, now: float, key: str | None, first: Peer, until: float) -> Peer | None:
        """Choose a peer for a hedge and count it in; None: there is none, or no hedge is left.

        `first`: the peer of the call's first try; `until`: when the call must be over, so that a node which takes
        longer is of no use.
        """
        if self.hedging is None or not self.has_fresh(now, (first,)):
            return None
        peer = self.roster.choose_beside(now, key, first)
        if peer is None or now + peer.latency >= until:
            return None
        with self.lock:
            if not self.hedging.afford(self.budget, now):
                return None
            peer.begin(now)
        return peer

    def succeed(self, peer: Peer, started: float, now: float, route: str = ANY) -> None:
        """The call that `begin` counted in at `started` was answered well; `route`: what it was a call of."""
        lock = self.lock
        lock.acquire()
        try:
            # `Load.end` and `Load.observe`, in place: the calls would be a tenth of what a balanced call costs.
            left, streams = peer.in_flight - 1, peer.streams
            if left > streams:
                peer.in_flight = left
                peer.started -= started
            else:
                peer.in_flight = streams
                peer.started = 0.0
            seconds = now - started
            if seconds < peer.latency and now - peer.seen_at < KEPT_FOR and not peer.penalty:
                peer.spent += seconds
                peer.squares += seconds * seconds
                peer.latency = seconds + (peer.latency - seconds) * KEPT
                peer.seen_at = now
            else:
                peer.observe(seconds, now)
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

    def read_on(self, peer: Peer, started: float) -> None:
        """The head of the answer is there, the body not yet: see `Load.read_on`."""
        with self.lock:
            peer.read_on(started)

    def read_out(self, peer: Peer, started: float) -> None:
        """The body is at its end, and the call to be given back now."""
        with self.lock:
            peer.read_out(started)

    def answered(self, peer: Peer, started: float, now: float) -> None:
        """The call is answered well, but goes on as long as its caller likes: in flight until `hang_up`."""
        with self.lock:
            peer.hold_on()
        self.succeed(peer, started, now)

    def hang_up(self, peer: Peer) -> None:
        """A call that was `answered` is over."""
        with self.lock:
            peer.hang_up()

    def fail(self, peer: Peer, started: float, now: float, fault: Fault, route: str = ANY) -> bool:
        """The call that `begin` counted in at `started` ended with `fault`.

        Returns whether that was the pool's risk: it sent the call to a node that it knew to be doubtful, for a trial or
        to keep enough of them in, although another is good.
        """
        if fault.answered and fault.kind is Kind.APPLICATION:  # what went wrong is not the node's affair
            self.succeed(peer, started, now, route)
            return False
        with self.lock:
            peer.end(started)
            doubtful = started == peer.past.trial_at or self.roster.is_kept(peer)
            at_risk = doubtful and self.roster.has_fresh((peer,))
            self._standing.debit(peer, fault, started, now, route)
        self._news.tell()
        return at_risk

    def overtaken(self, peer: Peer, started: float, now: float, fault: Fault) -> None:
        """The call that was counted in at `started` was ended because nobody waited for it any more: no failure."""
        with self.lock:
            peer.end(started)
            self._standing.overtake(peer, fault, started, now)
        self._news.tell()

    # -- the choice

    def pick(self, now: float, key: str | None, excluded: Collection[Peer]) -> Peer:
        """A choice without a call: counts nothing and is nobody's trial.

        Raises:
            NoNodeAvailable: as for `begin`.
        """
        if now >= self.edge:
            self._tick(now)
        fast = self.fast
        if fast is not None and not excluded:
            return fast(now, key)  # type: ignore[return-value]
        return self._choose(now, key, excluded)

    def available(self, now: float) -> tuple[Node, ...]:
        """The nodes that may be chosen."""
        if now >= self.edge:
            self._tick(now)
        return tuple(peer.node for tier in self.roster.tiers for peer in tier.available)

    def has_fresh(self, now: float, tried: Collection[Peer]) -> bool:
        """Whether a good node is available that has not been tried."""
        if now >= self.edge:
            self._tick(now)
        return self.roster.has_fresh(tried)

    def rest_left(self, now: float) -> float:
        """Seconds until the first available node has rested enough to be asked again; infinity: there is none."""
        return self.roster.rest_left(now)

    def _choose_first(self, now: float, key: str | None, repeatable: bool) -> Peer:
        return self._choose(now, key, (), lambda peer: self._claim(peer, now, repeatable))

    def _choose(
        self, now: float, key: str | None, tried: Collection[Peer], claim: Callable[[Peer], bool] | None = None
    ) -> Peer:
        peer = self.roster.choose(now, key, tried, claim)
        if peer is None:
            raise self.roster.nobody(self.name, now)
        return peer

    def _claim(self, peer: Peer, now: float, repeatable: bool) -> bool:
        with self.lock:
            claimed = self._standing.begin_trial(peer, now, repeatable)
        self._news.tell()
        return claimed

    # -- calls that wait

    @property
    def awaited(self) -> bool:
        """Whether a call may have to wait, as `waiting` does: for nodes, or for room in a pool that comes back."""
        return self.seeking or self._recovery.on

    def seek(self, on: bool) -> None:
        """Say whether the nodes are not known yet, but will be soon."""
        self.seeking = on
        self._sort()

    def _sort(self) -> None:
        self.special = self.awaited or self.hedging is not None

    def admits(self, now: float, waited: float = 0.0) -> bool:
        """Whether a call may be sent that has `waited` so long; if not, a pool that was out comes back and is full."""
        if now >= self.edge:
            self._tick(now)
        with self.lock:
            return self._recovery.admits(now, waited)

    # -- what is due before a choice

    def later(self, end: Callable[[], object]) -> None:
        """Call `end`, which gives a call back, before the next choice: what runs now may hold the lock itself."""
        self._left.append(end)
        self.edge = -inf

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
                again = self.roster.refresh(now, lambda peer: self.waits(peer, now))
                self._again = min(again, self._recovery.review(self.roster.tiers, now))
                self._sort()
                self.fast = self.roster.plain_picker()
                self._standing.note_failing_open(self.settings.ejection.keep)
            compare_at = self.roster.look(now)
            for event, reason in self.roster.news(now):
                self._news.note(None, event, "pool", reason)
            self._recovery.observe(self.roster.peers.values(), now)
            self.edge = -inf if self._left else min(self._again, self.budget.edge, compare_at)
        self._news.tell()

    def waits(self, peer: Peer, now: float) -> bool:
        """Whether a peer whose time out is over gets no trial call from here yet."""
        return self.must_wait(peer, now) or not self.partners.may_try(peer)

    def after_fork(self) -> None:
        """Begin anew in a child process: its parent's threads and open calls are not its own."""
        super().after_fork()
        self._left.clear()
        self._recovery = Recovery(self.settings.slow_start.window)
        self._sort()
