"""Calls that may be hedged: the engine's own `Race`, driven by events as `balancemw.racing` drives it by tasks.

The try that is not needed is cancelled in its caller. Its replica does not notice and works on.
"""

from asyncio import CancelledError

from balancemw.call import Call
from balancemw.race import Outcome, Race
from balancemw.simulate.calls import Flight
from balancemw.simulate.message import Answer, Reporter
from balancemw.tries import Try


class Hedged(Flight):
    """A call whose first try is a race. What leaves the race is one try, as if it had been the only one."""

    __slots__ = ("_hedge", "_race")

    def _send(self, attempt: Try) -> None:
        if self._call is None:
            self._call = Call(self._terms, self._key, attempt)
            self._race: Race | None = Race(self._call, self._terms, self._key, attempt)
            self._hedge: _Hedge | None = None
            delay = self._race.due_in()
            if delay is not None:
                self._office.world.at(self._office.world.now + delay, self._be_hedged)
        super()._send(attempt)

    def _be_hedged(self, _one: object, _other: object) -> None:
        attempt = None if self._race is None else self._race.hedge()
        if attempt is not None:
            self._hedge = _Hedge(self, attempt)
            self._doors[attempt.node.url].take(self._hedge, attempt)

    def end(self, answer: Answer | None, error: Exception | None, reporter: Reporter) -> None:
        """The first try is over, or a later one."""
        attempt = self.attempt
        if self._race is None:
            super().end(answer, error, reporter)
        elif attempt is not None:
            self.attempt = None
            self.meet(attempt, answer, error, reporter)

    def meet(self, attempt: Try, answer: Answer | None, error: Exception | None, reporter: Reporter) -> None:
        """A try has ended: see whether it answers for the call."""
        race, pool = self._race, self._terms.pool
        assert race is not None
        if answer is not None and pool.wants_reports:
            pool.hear(attempt.peer, reporter.report(), self._office.world.now)
        if not race.end(Outcome(attempt, answer, error)):
            return
        self._race = None
        for left in race.leave():
            self.attempt = None
            if self._hedge is not None:
                self._hedge.attempt = None
            race.give_back(Outcome(left, None, CancelledError()))
        self._settle(attempt, answer, error)


class _Hedge:
    """The second try of a race, as its replica sees it."""

    __slots__ = ("_flight", "attempt", "work")

    def __init__(self, flight: Hedged, attempt: Try) -> None:
        self._flight = flight
        self.attempt: Try | None = attempt
        self.work = flight.work

    def end(self, answer: Answer | None, error: Exception | None, reporter: Reporter) -> None:
        """It was answered, or ended by an error."""
        attempt = self.attempt
        if attempt is not None:
            self.attempt = None
            self._flight.meet(attempt, answer, error, reporter)
