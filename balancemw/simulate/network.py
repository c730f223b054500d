"""The ways between callers and replicas, where they take time or lead to other zones."""

from math import inf

from balancemw.orca import LoadReport
from balancemw.simulate.calls import Office
from balancemw.simulate.message import Answer, Flight, Reporter
from balancemw.simulate.replica import Replica
from balancemw.simulate.site import Network
from balancemw.tries import Try


class Way:
    """From the callers of one zone to a replica, and back.

    Args:
        office: the callers'.
        replica: where it leads.
        crosses: whether that is in another zone.
        network: what takes time; None: nothing.
    """

    __slots__ = ("_crosses", "_half", "_office", "_replica")

    def __init__(self, office: Office, replica: Replica, crosses: bool, network: Network | None) -> None:
        self._office = office
        self._replica = replica
        self._crosses = crosses
        self._half = 0.0 if network is None else (network.across if crosses else network.delay) / 2.0

    def take(self, flight: Flight, attempt: Try) -> None:
        """A request is sent."""
        self._office.crossed += self._crosses
        if not self._half:
            self._replica.take(flight, attempt)
            return
        world = self._office.world
        letter = Letter(self._office, flight, attempt, self._half)
        if world.now + 2.0 * self._half > attempt.until:
            letter.until = inf
            world.at(attempt.until, letter.expire, self._replica)
        world.at(world.now + self._half, self._arrive, letter)

    def _arrive(self, letter: "Letter", _other: object) -> None:
        self._replica.take(letter, letter)


class Letter:
    """A request on its way, and its answer: to its replica both the call and the try.

    The replica ends it when no answer could be back in time; that is heard of when the caller's patience is at its end.

    Attributes:
        until: when that is; infinity: never, or it was too late from the beginning.
        work: seconds that it takes at a speed of 1.
    """

    __slots__ = ("_answered", "_attempt", "_flight", "_half", "_office", "_report", "until", "work")

    def __init__(self, office: Office, flight: Flight, attempt: Try, half: float) -> None:
        self._office = office
        self._flight = flight
        self._attempt = attempt
        self._half = half
        self._answered = False
        self._report: LoadReport | None = None
        self.until = attempt.until - half
        self.work = flight.work

    @property
    def attempt(self) -> "Letter | None":
        """Itself, while somebody waits for its answer."""
        return self if self._flight.attempt is self._attempt and not self._answered else None

    def end(self, answer: Answer | None, error: Exception | None, reporter: Reporter) -> None:
        """It was answered, or ended by an error: its caller will hear of that."""
        self._answered = True
        if answer is not None and reporter.reports:
            self._report = reporter.report()
        self._office.world.at(self._office.world.now + self._half, self._deliver, answer, error)

    def _deliver(self, answer: Answer | None, error: Exception | None) -> None:
        if self._flight.attempt is self._attempt:
            self._flight.end(answer, error, self)

    def expire(self, replica: Replica, _other: object) -> None:
        """No answer can have come in time."""
        if self._flight.attempt is self._attempt:
            self._flight.end(None, TimeoutError("no answer within the attempt's time"), replica)

    @property
    def reports(self) -> bool:
        """Whether the replica sent a load report along."""
        return self._report is not None

    def report(self) -> LoadReport:
        """What the replica said of its load when it answered."""
        assert self._report is not None
        return self._report
