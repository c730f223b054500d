"""One call's first try and, where that takes long, one more on another node: which of them answers for the call.

The first good answer does. An answer that would not be tried again does as well, be it good or not: a hedge is to save
time, not to change what comes of a call. Else the other try is waited for, and the last one's failure is the one after
which the call is tried again by the usual rules.
"""

from collections.abc import Callable
from copy import copy
from typing import Any, NamedTuple

from balancemw.call import Call
from balancemw.fault import Fault, Kind, classify
from balancemw.tries import Terms, Try

_ENDED = frozenset({Kind.TIMEOUT, Kind.CONNECT_TIMEOUT, Kind.DEADLINE, Kind.CANCELLED})
"""Faults of a try that was told to end: we have brought them about, and not the node."""

_GONE, _ANSWERED, _LATE = "its caller went away", "another node answered first", "the call's own time ran out"
_WHY = {Kind.CANCELLED: _GONE, Kind.DEADLINE: _LATE, Kind.TIMEOUT: _LATE, Kind.CONNECT_TIMEOUT: _LATE}
"""Why the other try is left, by the fault with which the call ends; without one, or with any other: it was answered."""


Known = Callable[[Try, BaseException], Fault | None]
"""What is known of the error of a try that the error does not say itself; None: nothing."""


def nothing(_attempt: Try, _error: BaseException) -> None:
    """Nothing is known of any error that it does not say itself."""


class Outcome(NamedTuple):
    """How a try ended, before it is given back.

    Attributes:
        attempt: the try.
        result: what it gave.
        error: what it raised; None: nothing.
    """

    attempt: Try
    result: Any
    error: BaseException | None


class Race:
    """Who answers for a call. No I/O, no threads: a driver says what happened, one thing after the other.

    It begins with the first try under way. `hedge` may begin a second; `end` says of each that has ended whether it is
    the answer; `leave` says which are left then, to be ended, and `give_back` takes those.

    Args:
        call: of which they are the tries.
        terms: on which it is made.
        key: of the call.
        first: its first try.
        known: what the caller knows of errors. `Kind.APPLICATION` stands for trouble of our own, of which the other
            try may know nothing.

    Attributes:
        first: the same.
        second: the hedge, or None.
    """

    __slots__ = ("_call", "_key", "_known", "_left", "_open", "_terms", "_why", "first", "second")

    def __init__(self, call: Call, terms: Terms, key: str | None, first: Try, known: Known = nothing) -> None:
        self._call = call
        self._terms = terms
        self._key = key
        self._known = known
        self._open = [first]
        self._left: Fault | None = None
        self._why = _GONE
        self.first = first
        self.second: Try | None = None

    def due_in(self) -> float | None:
        """Seconds until the hedge is due; None: there will be none."""
        pool, first = self._terms.pool, self.first
        if pool.hedging is None:
            return None
        with pool.lock:
            delay = pool.hedging.enter()
        if delay is None or first.started + delay >= first.until:
            return None
        return max(0.0, first.started + delay - first.clock())

    def hedge(self) -> Try | None:
        """Begin the hedge, now that it is due; None: it may not be, or no node, time or budget is left for it."""
        if not self._call.hedgeable:
            return None
        first, now = self.first, self.first.clock()
        peer = self._terms.pool.begin_hedge(now, self._key, first.peer, first.deadline)
        if peer is None:
            return None
        self.second = hedge = copy(first)
        hedge.started = now
        hedge.until = min(now + self._terms.attempt_timeout, first.deadline)
        hedge.peer, hedge.node = peer, peer.node
        self._open.append(hedge)
        return hedge

    def end(self, outcome: Outcome) -> bool:
        """A try has ended; returns whether that is what comes of the call. Else it has been given back."""
        attempt, result, error = outcome
        self._open.remove(attempt)
        known = self._knows(outcome)
        fault = self._judge(outcome, known)
        if not self._open or fault is None:
            self._why = _ANSWERED
            return True
        called_off = attempt is self.second and fault.kind is Kind.CANCELLED
        ours = known is not None and known.kind is Kind.APPLICATION
        if not (called_off or ours) and self._call.is_final(attempt, fault):
            self._why = _WHY.get(fault.kind, _ANSWERED)
            return True
        fault = known or self._call.judge(attempt, result, error) or fault
        self._call.give_back(attempt, fault, error, attempt.clock())
        return False

    def alone(self, outcome: Outcome) -> Outcome:
        """The first try has ended, and there can be no other."""
        self.end(outcome)
        return outcome

    @property
    def over(self) -> bool:
        """Whether nobody waits for an answer any more."""
        return self._left is not None

    def leave(self) -> list[Try]:
        """Nobody waits for an answer any more: the tries that are left, which are to be ended and then given back."""
        left, self._open = self._open, []
        self._left = Fault(Kind.CANCELLED, self._why)
        for attempt in left:
            now = attempt.until = attempt.clock()  # what it still does has no time
            self._call.remember(attempt, self._left, now)
        return left

    def give_back(self, outcome: Outcome) -> None:
        """The try that was left has ended, whenever and in whatever thread. That it came too late is nobody's fault."""
        attempt, pool, fault = outcome.attempt, self._terms.pool, self._judge(outcome, self._knows(outcome))
        now = attempt.clock()
        if fault is None:
            pool.succeed(attempt.peer, attempt.started, now, self._call.route)
            return
        if self._left is not None and fault.kind in _ENDED:
            pool.overtaken(attempt.peer, attempt.started, now, self._left)
        else:
            pool.fail(attempt.peer, attempt.started, now, fault, self._call.route)

    def _knows(self, outcome: Outcome) -> Fault | None:
        return None if outcome.error is None else self._known(outcome.attempt, outcome.error)

    def _judge(self, outcome: Outcome, known: Fault | None) -> Fault | None:
        """What to make of a try's end; what it says of the time that answers take is remembered."""
        attempt, pool = outcome.attempt, self._terms.pool
        fault = known or classify(outcome.result, outcome.error, statuses=pool.settings.retry.statuses)
        left = self._left is not None
        if fault is None or fault.kind is Kind.TIMEOUT or (left and fault.kind in _ENDED):
            now = attempt.clock()
            with pool.lock:
                if pool.hedging is not None:
                    pool.hedging.record(now - attempt.started, now)
                    pool.hedging.wins += attempt is self.second and fault is None and not left
        return fault
