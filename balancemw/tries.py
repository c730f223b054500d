"""One try on one node, and on which terms it is made."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from balancemw.context import BOUND, Bound, Clock, current_bound, time_left
from balancemw.errors import DeadlineExceeded
from balancemw.node import Node
from balancemw.peer import Peer
from balancemw.pool import Pool
from balancemw.retry import FullJitter, RetryPolicy
from balancemw.threads import Threads
from balancemw.timeouts import Watch


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
