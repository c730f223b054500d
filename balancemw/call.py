"""One logical call: its tries, and whether there is another.

The first try of a call is one light object, `Try`. Only when it fails, or for a loop over attempts, does a `Call` come
into being, which remembers the tries and asks tenacity.
"""

from math import inf

from balancemw.context import REQUEST
from balancemw.errors import DeadlineExceeded, NoNodeAvailable
from balancemw.fault import Fault, Kind, classify
from balancemw.peer import Peer
from balancemw.recovery import PATIENCE
from balancemw.retry import Schedule
from balancemw.routes import ANY
from balancemw.self_reports import listen
from balancemw.tries import Terms, Try, first_try, next_try

# A client told to take no longer than `remaining()` may give up this much before the clock says that time is up.
_EARLY = 0.01

_TIMED_OUT = (Kind.TIMEOUT, Kind.CONNECT_TIMEOUT)

_LINGER = 0.03
"""Seconds for which a call waits that nothing is left for while no node is good: the first to be back may be found by
another call meanwhile. It asks nobody, so the outage gets no more of it than of one that fails at once."""


def judge(terms: Terms, attempt: Try, result: object, error: BaseException | None) -> Fault | None:
    """What to make of a try's end; None: it was answered well."""
    if error is None:
        listen(terms.pool, attempt.peer, result, attempt.clock)
    return classify(result, error, statuses=terms.pool.settings.retry.statuses)


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

    __slots__ = (
        "_at_risk",
        "_began",
        "_error",
        "_key",
        "_lingers",
        "_schedule",
        "_story",
        "_terms",
        "_tried",
        "deadline",
        "route",
    )

    def __init__(self, terms: Terms, key: str | None, first: Try | None = None, route: str = ANY) -> None:
        self._terms = terms
        self._key = key
        self.route = route
        self._tried: list[Peer] = []
        self._story: list[str] = []
        self._schedule: Schedule | None = None
        self._error: BaseException | None = None
        self._at_risk = False  # whether the last try was the pool's risk
        self._lingers: bool | None = None  # whether it waits for the first node to be back; None: it has not done so
        self._began = first.started if first else inf
        self.deadline = first.deadline if first else inf

    def begin(self) -> Try:
        """The next try.

        Raises:
            DeadlineExceeded: the call's time is up.
            NoNodeAvailable: there is nothing to send to.
            BaseException: the last try's error, if the call has waited for a node to be back and none is.
        """
        if not self._tried:
            attempt = first_try(self._terms, self._key)
            self.deadline = attempt.deadline
            self._began = attempt.started
            return attempt
        now = self._terms.clock()
        if now >= self.deadline:
            raise self._too_late() from self._error
        tried = self._tried
        if self._lingers:
            self._lingers, tried = False, []  # who is back may have been asked before
            if self._error is not None and not self._terms.pool.allowance.afford_return(now):
                self.tell(self._error)
                raise self._error
        try:
            return next_try(self._terms, self._key, self.deadline, tried)
        except NoNodeAvailable as error:
            self._recount(self._story, error)
            raise error from self._error

    def succeed(self, attempt: Try) -> None:
        """The try was answered well."""
        self._terms.pool.succeed(attempt.peer, attempt.started, attempt.clock(), self.route)

    def judge(self, attempt: Try, result: object, error: BaseException | None) -> Fault | None:
        """What to make of a try's end."""
        return judge(self._terms, attempt, result, error)

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
        self._at_risk = self._terms.pool.fail(attempt.peer, attempt.started, now, fault, self.route)
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
        if terms.pool.allowance.afford(now, unsent=fault.unsent, at_risk=self._at_risk):
            return delay
        return self._linger(fault, error, now)

    def _linger(self, fault: Fault, error: BaseException | None, now: float) -> float | None:
        """Seconds to wait, once, for the first node of a pool that is out as a whole; None: that makes no sense."""
        if self._lingers is not None or not fault.unsent or error is None or now + _LINGER >= self.deadline:
            return None
        if not self._terms.pool.allowance.may_return:
            return None
        self._lingers = True
        return _LINGER

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
