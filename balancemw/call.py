"""One logical call: its tries, what each may take, and whether there is another.

The first try of a call is one light object, `Try`. Only when it fails, or for a loop over attempts, does a `Call` come
into being, which remembers the tries and asks tenacity.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from balancemw.context import BOUND, REQUEST, Bound, Clock, current_bound, time_left
from balancemw.errors import DeadlineExceeded, NoNodeAvailable
from balancemw.fault import Fault, Kind, classify
from balancemw.node import Node
from balancemw.notice import listen
from balancemw.peer import Peer
from balancemw.pool import Pool
from balancemw.recovery import PATIENCE
from balancemw.retry import FullJitter, RetryPolicy, Schedule
from balancemw.routes import ANY
from balancemw.threads import Threads
from balancemw.timeouts import Watch

# A client told to take no longer than `remaining()` may give up this much before the clock says that time is up.
_EARLY = 0.01

_TIMED_OUT = (Kind.TIMEOUT, Kind.CONNECT_TIMEOUT)


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms a function calls a service.

    Attributes:
        pool: the service's pool.
        clock: the balancer's clock.
        idempotent: whether sending it twice does no harm.
        timeout: seconds for the whole call; infinity: unbounded.
        attempt_timeout: seconds for one attempt; infinity: unbounded.
        policy: how often and after what wait it is tried again.
        jitter: the wait where the policy names none.
        sleep: waits between tries of a sync call.
        threads: where tries of a sync call run that may be hedged; None: such calls are not hedged.
        hedged: whether another node is asked as well when the first takes long.
    """

    pool: Pool
    clock: Clock
    idempotent: bool
    timeout: float
    attempt_timeout: float
    policy: RetryPolicy
    jitter: FullJitter
    sleep: Callable[[float], object]
    threads: Threads | None = None
    hedged: bool = False


class Try(Watch):
    """One try on one node: counted in when made, by `first_try` or `next_try`, to be given back once through its pool.

    Attributes:
        node: who takes it.
        peer: the pool's view of the node.
        started: when it was sent, on `clock`.
        until: when it must be over; infinity: unbounded.
        deadline: when the whole call must be over.
    """

    __slots__ = ("deadline", "node", "peer", "started")

    deadline: float
    node: Node
    peer: Peer
    started: float

    if not TYPE_CHECKING:
        __init__ = object.__init__  # one in Python would cost every call as much as all that is set


def first_try(terms: Terms, key: str | None) -> Try:
    """The first try of a call, which sets the call's deadline.

    Args:
        terms: on which terms the call is made.
        key: of the call.

    Raises:
        DeadlineExceeded: the time granted from outside is up already.
        NoNodeAvailable: there is nothing to send to.
    """
    attempt = Try()
    attempt.clock = clock = terms.clock
    attempt.started = now = clock()
    until = now + terms.attempt_timeout
    deadline = now + terms.timeout
    outer = BOUND.get()
    while outer is not None and outer.over:  # as `current_bound`
        outer = outer.outer
    attempt.outer = outer
    if outer is not None:
        deadline = _within(outer, now, deadline, terms.pool.name)
    attempt.over = False
    attempt.deadline = deadline
    attempt.until = until if until < deadline else deadline
    peer: Peer
    pool = terms.pool
    pick = pool.fast
    if pick is None or now >= pool.edge:
        peer = pool.begin(now, key, terms.idempotent)
    else:  # `Pool.begin` and `Load.begin`, in place: the calls would be a twentieth of what a balanced call costs
        peer = pick(now, key)  # type: ignore[assignment]
        lock = pool.lock
        lock.acquire()  # half the price of a `with`
        try:
            peer.in_flight += 1
            peer.started += now
            pool.budget.calls += 1
        finally:
            lock.release()
    attempt.peer = peer
    attempt.node = peer.node
    return attempt


def next_try(terms: Terms, key: str | None, deadline: float, tried: Collection[Peer]) -> Try:
    """A further try of a call.

    Args:
        terms: on which terms the call is made.
        key: of the call.
        deadline: when the whole call must be over.
        tried: the peers of earlier tries.

    Raises:
        NoNodeAvailable: there is nothing to send to.
    """
    attempt = Try()
    attempt.outer = current_bound()
    attempt.over = False
    attempt.clock = terms.clock
    attempt.started = now = terms.clock()
    attempt.deadline = deadline
    attempt.until = min(now + terms.attempt_timeout, deadline)
    attempt.peer = terms.pool.begin_again(now, key, tried)
    attempt.node = attempt.peer.node
    return attempt


def _within(outer: Bound, now: float, deadline: float, service: str) -> float:
    left = time_left(outer)
    if left is None:
        return deadline
    if left <= 0.0:
        raise DeadlineExceeded(f"no time is left to call service {service!r}")
    return min(deadline, now + left)


class Call:
    """A call that needs more than its first try. Not shared between threads or tasks.

    Args:
        terms: on which terms it is made.
        key: of the call, for strategies that go by key.
        first: its first try, where that was made already.
        route: what it is a call of, by which failures of one route are told from those of a node.

    Attributes:
        deadline: when it must be over; infinity: unbounded, or not begun.
        route: the same.
    """

    __slots__ = ("_began", "_error", "_key", "_schedule", "_story", "_terms", "_tried", "deadline", "route")

    def __init__(self, terms: Terms, key: str | None, first: Try | None = None, route: str = ANY) -> None:
        self._terms = terms
        self._key = key
        self.route = route
        self._tried: list[Peer] = []
        self._story: list[str] = []
        self._schedule: Schedule | None = None
        self._error: BaseException | None = None
        self._began = first.started if first else inf
        self.deadline = first.deadline if first else inf

    def begin(self) -> Try:
        """The next try.

        Raises:
            DeadlineExceeded: the call's time is up.
            NoNodeAvailable: there is nothing to send to.
        """
        if not self._tried:
            attempt = first_try(self._terms, self._key)
            self.deadline = attempt.deadline
            self._began = attempt.started
            return attempt
        if self._terms.clock() >= self.deadline:
            raise self._too_late() from self._error
        try:
            return next_try(self._terms, self._key, self.deadline, self._tried)
        except NoNodeAvailable as error:
            self._recount(self._story, error)
            raise error from self._error

    def succeed(self, attempt: Try) -> None:
        """The try was answered well."""
        self._terms.pool.succeed(attempt.peer, attempt.started, attempt.clock(), self.route)

    def judge(self, attempt: Try, result: object, error: BaseException | None) -> Fault | None:
        """What to make of a try's end."""
        if error is None:
            listen(self._terms.pool, attempt.peer, result, attempt.clock)
        return classify(result, error, statuses=self._terms.pool.settings.retry.statuses)

    def fail(self, attempt: Try, fault: Fault, error: BaseException | None) -> Fault:
        """Give the try back as failed; returns the fault, which the call's own deadline may have been.

        Raises:
            DeadlineExceeded: the time of the whole call is up.
        """
        now = attempt.clock()
        if self._is_late(attempt, fault, now):
            fault = Fault(Kind.DEADLINE, "the call's own time ran out")
        self.give_back(attempt, fault, error, now)
        if fault.kind is Kind.DEADLINE and not isinstance(error, DeadlineExceeded):
            raise self._too_late() from error
        return fault

    def give_back(self, attempt: Try, fault: Fault, error: BaseException | None, now: float) -> None:
        """Give the try back as failed, while another goes on: whether the call's time is up is not asked yet."""
        self._terms.pool.fail(attempt.peer, attempt.started, now, fault, self.route)
        self.remember(attempt, fault, now)
        self._error = error

    def remember(self, attempt: Try, fault: Fault, now: float) -> None:
        """The try is over for the call, if not for its pool."""
        self._tried.append(attempt.peer)
        self._story.append(f"{attempt.node.name}: {fault.kind}, {now - attempt.started:.3f} s: {fault.reason}")

    @staticmethod
    def _is_late(attempt: Try, fault: Fault, now: float) -> bool:
        over = attempt.until == attempt.deadline and now >= attempt.deadline - _EARLY
        return over and fault.kind in _TIMED_OUT

    def is_final(self, attempt: Try, fault: Fault) -> bool:
        """Whether no other try may make good what the fault of this one means."""
        return not fault.may_retry(self._terms.idempotent) or self._is_late(attempt, fault, attempt.clock())

    @property
    def hedgeable(self) -> bool:
        """Whether the policy allows a second try, and what the call is made for does."""
        request = REQUEST.get()
        return (request is None or request.retries_allowed) and not self._scheduled().over(self._terms.clock())

    def delay(self, fault: Fault, result: object, error: BaseException | None) -> float | None:
        """Seconds until the next try, or None when there is to be none."""
        terms, now = self._terms, self._terms.clock()
        request = REQUEST.get()
        chained = request is not None and not request.retries_allowed and not fault.unsent
        if chained or not fault.may_retry(terms.idempotent):
            return None
        delay = self._scheduled().delay(result, error, now, len(self._tried))
        if delay is None:
            return None
        if not terms.pool.has_fresh(now, self._tried):
            delay = max(delay, terms.pool.rest_left(now))
        elif fault.unsent and terms.policy.wait is None:
            delay = 0.0
        if terms.pool.awaited and not terms.pool.admits(now):
            delay = max(delay, min(PATIENCE, (self.deadline - now) / 2.0))
        if now + delay >= self.deadline:
            return None
        return delay if terms.pool.afford_retry(now) else None

    def _scheduled(self) -> Schedule:
        if self._schedule is None:
            self._schedule = Schedule(self._terms.policy, self._terms.jitter, self._began)
        return self._schedule

    def tell(self, error: BaseException) -> None:
        """Note the earlier tries on the exception that the caller gets."""
        self._recount(self._story[:-1], error)

    def _too_late(self) -> DeadlineExceeded:
        error = DeadlineExceeded(f"the time to call service {self._terms.pool.name!r} is up")
        self._recount(self._story, error)
        return error

    @staticmethod
    def _recount(story: list[str], error: BaseException) -> None:
        for line in story:
            error.add_note(line)
