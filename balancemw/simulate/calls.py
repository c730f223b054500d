"""Calls, from the first try to the answer: the engine's own `Try` and `Call`, driven by events instead of by waiting.

What `balancemw.decorator` does around the user's function is done here around a replica's answer, step by step: the
choice, the counting, the verdict, the retry, its wait and its budget are the engine's.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Protocol

from balancemw.call import Call
from balancemw.context import BOUND, Bound
from balancemw.errors import DeadlineExceeded, NoNodeAvailable
from balancemw.events import Events
from balancemw.fault import Fault, Kind
from balancemw.pool import Pool
from balancemw.service import CallOptions, Service
from balancemw.settings import ServiceSettings
from balancemw.simulate.message import Answer, Reporter
from balancemw.simulate.message import Flight as Sent
from balancemw.simulate.replica import Replica
from balancemw.simulate.world import World
from balancemw.tries import Terms, Try, first_try
from balancemw.waiting import pauses, shortened

Ended = Callable[["Flight", str], object]
"""Told of every call that has ended, with the kind of its last fault, or ``""`` if it was answered well."""


class Counted(Events):
    """Counts what the pools have to tell, and tells nobody.

    Attributes:
        counts: events by name.
    """

    def __init__(self) -> None:
        super().__init__(lambda: 0.0)
        self.counts: Counter[str] = Counter()

    def wants(self, event: str) -> bool:
        """Only to count it."""
        self.counts[event] += 1
        return False

    def tell(self) -> None:
        """Forget it: sums of failed tries are for the journal."""
        self.pending.clear()


class Door(Protocol):
    """Where a caller hands in what is for a replica: the replica itself, or the way to it."""

    def take(self, flight: Sent, attempt: Try) -> None:
        """A request is sent."""
        ...


class Office:
    """What all calls of a simulation share.

    Args:
        world: the time.
        replicas: all of them.
        ended: told of every call that is over.
        timeout: seconds that the callers' own callers wait, or None.

    Attributes:
        crossed: tries that went to another zone.
    """

    __slots__ = ("crossed", "ended", "replicas", "timeout", "world")

    def __init__(self, world: World, replicas: Sequence[Replica], ended: Ended, timeout: float | None) -> None:
        self.world = world
        self.replicas = replicas
        self.ended = ended
        self.timeout = timeout
        self.crossed = 0

    @property
    def tries(self) -> int:
        """How many have come to any replica."""
        return sum(replica.tries for replica in self.replicas)


class Caller:
    """A process that calls, with a pool of its own.

    Args:
        settings: of the service, for this caller.
        idempotent: whether its calls may be sent twice.
        doors: of the replicas, by the url of their node.
        world: the time.
        rng: for all its choices.
        events: where its news goes.

    Attributes:
        terms: on which it calls.
        doors: the same.
    """

    __slots__ = ("doors", "terms")

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        idempotent: bool,
        doors: Mapping[str, Door],
        world: World,
        rng: Random,
        events: Events,
    ) -> None:
        pool = Pool("simulated", settings, rng=rng, events=events, housekeeping=_nothing)
        self.terms = Service(pool, clock=world.clock, rng=rng).terms(CallOptions(idempotent))
        self.doors = doors


def _nothing() -> None:
    """A simulated process neither forks nor has work in the background."""


class Flight:
    """One call.

    Args:
        office: what it shares with the others.
        caller: who makes it.
        key: of the call, or None.
        work: seconds that it takes at a speed of 1.
        number: which one it is.

    Attributes:
        attempt: the try under way, or None.
    """

    __slots__ = ("_call", "_doors", "_key", "_office", "_terms", "attempt", "number", "work")

    def __init__(self, office: Office, caller: Caller, key: str | None, work: float, number: int) -> None:
        self._office = office
        self._terms: Terms = caller.terms
        self._doors = caller.doors
        self._key = key
        self._call: Call | None = None
        self.work = work
        self.number = number
        self.attempt: Try | None = None

    def start(self) -> None:
        """Make the first try, at once or when the pool has room for it."""
        office = self._office
        bound = None if office.timeout is None else Bound(office.world.now + office.timeout, office.world.clock)
        if self._terms.pool.awaited:
            self._wait(self._pauses(), bound)
        else:
            self._begin(bound)

    def _pauses(self) -> Iterator[float]:
        began = self._terms.clock()
        yield from pauses(self._terms)
        self._terms = shortened(self._terms, began)

    def _wait(self, turn: Iterator[float], bound: Bound | None) -> None:
        token = BOUND.set(bound)
        try:
            pause = next(turn, None)
        finally:
            BOUND.reset(token)
        if pause is None:
            self._begin(bound)
        else:
            self._office.world.at(self._office.world.now + pause, self._wait, turn, bound)

    def _begin(self, bound: Bound | None) -> None:
        try:
            if bound is None:
                attempt = first_try(self._terms, self._key)
            else:
                token = BOUND.set(bound)
                try:
                    attempt = first_try(self._terms, self._key)
                finally:
                    BOUND.reset(token)
        except NoNodeAvailable:
            self._office.ended(self, "no_node")
        except DeadlineExceeded:
            self._office.ended(self, Kind.DEADLINE)
        else:
            self._send(attempt)

    def _send(self, attempt: Try) -> None:
        self.attempt = attempt
        self._doors[attempt.node.url].take(self, attempt)

    def end(self, answer: Answer | None, error: Exception | None, reporter: Reporter) -> None:
        """The try under way is over."""
        attempt = self.attempt
        if attempt is not None:
            self.attempt = None
            if answer is not None and self._terms.pool.wants_reports:
                self._terms.pool.hear(attempt.peer, reporter.report(), self._office.world.now)
            self._settle(attempt, answer, error)

    def _settle(self, attempt: Try, answer: Answer | None, error: Exception | None) -> None:
        """What comes of the call is what came of this try."""
        if answer is None or answer.status >= 400:
            self._fail(attempt, answer, error)
            return
        if self._call is None:
            self._terms.pool.succeed(attempt.peer, attempt.started, self._office.world.now)
        else:
            self._call.succeed(attempt)
        self._office.ended(self, "")

    def _fail(self, attempt: Try, answer: Answer | None, error: Exception | None) -> None:
        call = self._call = self._call or Call(self._terms, self._key, attempt)
        fault = call.judge(attempt, answer, error) or Fault(Kind.APPLICATION)
        try:
            fault = call.fail(attempt, fault, error)
            wait = call.delay(fault, answer, error)
        except DeadlineExceeded:
            fault, wait = Fault(Kind.DEADLINE), None
        if wait is None:
            self._office.ended(self, fault.kind)
        elif wait > 0.0:
            self._office.world.at(self._office.world.now + wait, self._again, call)
        else:
            self._again(call)

    def _again(self, call: Call, _other: object = None) -> None:
        try:
            attempt = call.begin()
        except DeadlineExceeded:
            self._office.ended(self, Kind.DEADLINE)
        except NoNodeAvailable:
            self._office.ended(self, "no_node")
        except ConnectionRefusedError:  # it has waited for a node to be back, and none is
            self._office.ended(self, Kind.REFUSED)
        else:
            self._send(attempt)
