"""A replica: workers, a queue in front of them, and what can be wrong with it."""

from collections import deque
from heapq import heapify, heappop, heappush
from math import inf

from balancemw.meter import Meter, Note, cores
from balancemw.orca import LoadReport
from balancemw.simulate.faults import Fault
from balancemw.simulate.message import OK, Answer, Attempt, Flight, Waiting
from balancemw.simulate.reports import compact
from balancemw.simulate.site import Replica as Kind
from balancemw.simulate.world import World

_SPARE = 8  # notes of who waits that are not worth sorting out
_SEVERITY = ("slow", "overload", "fail", "hang", "restart", "kill")


class Replica:
    """One replica. A server that does not notice when a caller has given up: it works on.

    Attributes:
        number: which one.
        speed: of its machine.
        burden: how many times as long everything takes because of its neighbours.
        faults: what is wrong with it now.
        tries: that came to it.
        bad: of those, how many came while something was wrong with it.
        longest: the longest its queue ever was.
    """

    __slots__ = (
        "_arrivals",
        "_busy",
        "_cores",
        "_held",
        "_kind",
        "_meter",
        "_patrol_at",
        "_queue",
        "_waiting",
        "_worked",
        "_world",
        "_worst",
        "bad",
        "burden",
        "faults",
        "longest",
        "number",
        "pace",
        "speed",
        "tries",
    )

    def __init__(self, world: World, number: int, kind: Kind, speed: float) -> None:
        self._world = world
        self._kind = kind
        self.number = number
        self.speed = self.pace = speed
        self.burden = 1.0
        self.faults: list[Fault] = []
        self._worst: Fault | None = None  # of several at once it decides what becomes of requests
        self.tries = self.bad = self.longest = 0
        self._busy = 0
        self._queue: deque[Waiting] = deque()
        self._held: list[Waiting] = []  # accepted while it hangs
        self._waiting: list[tuple[float, int, Flight, Attempt]] = []  # a heap of those who wait, by when they give up
        self._patrol_at = inf  # when the first of them will
        self._meter: Meter | None = None
        self._arrivals: dict[Attempt, Note | None] = {}
        self._worked = self._cores = 0.0

    # -- a request's way

    def take(self, flight: Flight, attempt: Attempt) -> None:
        """A request arrives."""
        self.tries += 1
        if self.faults:
            self.bad += 1
            if self._refuses(flight, attempt):
                return
        if self._meter is not None:
            self._arrivals[attempt] = self._meter.enter(self._world.clock())
        if self.faults and self._suffers(flight, attempt):
            return
        if self._busy < self._kind.workers:
            self._busy += 1
            self._work(flight, attempt)
        elif len(self._queue) < self._kind.queue:
            queue = self._queue
            queue.append((flight, attempt))
            if len(queue) > self.longest:
                self.longest = len(queue)
            self._watch(flight, attempt)
        else:
            self._world.at(self._world.now, self._reply, (flight, attempt), Answer(503))

    def _work(self, flight: Flight, attempt: Attempt) -> None:
        world, takes = self._world, flight.work / self.pace
        end = world.now + takes
        self._worked += takes
        if end > attempt.until and flight.attempt is attempt:  # `_bound`, in place
            world.at(attempt.until, self._give_up, flight, attempt)
        world.at(end, self._finish, flight, attempt)

    def _finish(self, flight: Flight, attempt: Attempt) -> None:
        worst = self._worst
        if worst is not None and worst.kind == "hang":
            self._busy -= 1
            self._hold(flight, attempt)
            return
        if self._queue:
            self._work(*self._queue.popleft())
        else:
            self._busy -= 1
        self._answer(flight, attempt, OK)

    def _answer(self, flight: Flight, attempt: Attempt, answer: Answer) -> None:
        meter = self._meter
        if meter is not None and attempt not in self._arrivals:
            meter = None
        if meter is not None:
            meter.answered(self._arrivals.pop(attempt), answer.status >= 500)
        if flight.attempt is attempt:
            flight.end(answer, None, self)
        if meter is not None:
            meter.leave()

    def _reply(self, waiting: Waiting, answer: Answer) -> None:
        self._answer(*waiting, answer)

    def _refuse(self, flight: Flight, attempt: Attempt) -> None:
        if flight.attempt is attempt:
            flight.end(None, ConnectionRefusedError("the replica is down"), self)

    # -- callers that give up

    def _give_up(self, flight: Flight, attempt: Attempt) -> None:
        if flight.attempt is attempt:
            flight.end(None, TimeoutError("no answer within the attempt's time"), self)

    def _watch(self, flight: Flight, attempt: Attempt) -> None:
        """Somebody waits, and will not for ever. One plan for all of them, since most are served long before."""
        until, waiting = attempt.until, self._waiting
        if until == inf or flight.attempt is not attempt:
            return
        heappush(waiting, (until, self._world.number(), flight, attempt))
        if until < self._patrol_at:
            self._patrol_at = until
            self._world.at(until, self._patrol)
        if len(waiting) > 2 * (len(self._queue) + len(self._held)) + _SPARE:
            waiting[:] = [each for each in waiting if each[2].attempt is each[3]]
            heapify(waiting)

    def _patrol(self, _one: object, _other: object) -> None:
        now, waiting = self._world.now, self._waiting
        if now < self._patrol_at:
            return  # planned for a time that has been brought forward since
        self._patrol_at = inf
        while waiting and (waiting[0][0] <= now or waiting[0][2].attempt is not waiting[0][3]):
            _, _, flight, attempt = heappop(waiting)
            self._give_up(flight, attempt)
        if waiting and waiting[0][0] < self._patrol_at:
            self._patrol_at = waiting[0][0]
            self._world.at(self._patrol_at, self._patrol)

    # -- what can be wrong

    def _refuses(self, flight: Flight, attempt: Attempt) -> bool:
        """Whether there is nobody to take a request."""
        fault, world = self._worst, self._world
        if fault is not None and fault.kind in ("kill", "restart"):
            world.at(world.now + fault.after, self._refuse, flight, attempt)
            self._bound(flight, attempt, fault.after)
            return True
        return False

    def _bound(self, flight: Flight, attempt: Attempt, seconds: float) -> None:
        """What comes after so many seconds may come too late."""
        if self._world.now + seconds > attempt.until and flight.attempt is attempt:
            self._world.at(attempt.until, self._give_up, flight, attempt)

    def _suffers(self, flight: Flight, attempt: Attempt) -> bool:
        """Whether what is wrong with it decides what becomes of a request that it has taken."""
        fault, world = self._worst, self._world
        assert fault is not None
        if fault.kind in ("fail", "overload"):
            self._bound(flight, attempt, fault.after)
        if fault.kind == "hang":
            self._hold(flight, attempt)
        elif fault.kind == "fail":
            world.at(world.now + fault.after, self._reply, (flight, attempt), Answer(fault.status))
        elif fault.kind == "overload":
            answer = Answer(503, {"retry-after": f"{fault.retry_after:g}"})
            world.at(world.now + fault.after, self._reply, (flight, attempt), answer)
        return fault.kind != "slow"

    def _hold(self, flight: Flight, attempt: Attempt) -> None:
        self._held.append((flight, attempt))
        self._watch(flight, attempt)

    def begin(self, fault: Fault, _other: object = None) -> None:
        """Something goes wrong."""
        self.faults.append(fault)
        self._weigh()
        if fault.kind in ("kill", "restart"):
            self._die()

    def cease(self, fault: Fault, _other: object = None) -> None:
        """It is right again."""
        self.faults.remove(fault)
        self._weigh()
        held, self._held = self._held, []
        for flight, attempt in held:
            if flight.attempt is not attempt:
                self._answer(flight, attempt, OK)  # its connection was closed meanwhile
            elif self.faults and self._suffers(flight, attempt):
                continue
            else:
                self._queue.append((flight, attempt))
        while self._queue and self._busy < self._kind.workers:
            self._busy += 1
            self._work(*self._queue.popleft())

    def burdened(self, burden: float) -> None:
        """Its neighbours make everything take `burden` times as long; what has begun ends as it would have."""
        self.burden = burden
        self._set_pace()

    def _weigh(self) -> None:
        self._worst = max(reversed(self.faults), key=lambda fault: _SEVERITY.index(fault.kind), default=None)
        self._set_pace()

    def _set_pace(self) -> None:
        self.pace = self.speed / self.burden
        for fault in self.faults:
            if fault.kind == "slow":
                self.pace /= fault.factor

    def _die(self) -> None:
        working = [(entry[3], entry[4]) for entry in self._world.cancel(self._finish)]
        lost = [*working, *self._queue, *self._held]
        self._busy = 0
        self._arrivals.clear()
        if self._meter is not None:
            self._meter.reset()
        self._queue.clear()
        self._held.clear()
        for flight, attempt in lost:
            if flight.attempt is attempt:
                flight.end(None, ConnectionResetError("the replica died"), self)

    # -- what it reports

    @property
    def reports(self) -> bool:
        """Whether it does: it measures its load."""
        return self._meter is not None

    def measure(self) -> None:
        """Measure the load from now on, as the middleware in front of an app does."""
        self._cores = cores()
        self._meter = Meter(self._world.clock, self._cpu)

    def _cpu(self) -> float:
        """Seconds of all processors together, of which the workers have one each as far as they work."""
        return self._worked / self._kind.workers * self._cores

    def report(self) -> LoadReport:
        """What it says of its load in an answer. It must `measure` it."""
        assert self._meter is not None
        return compact(self._meter.load())
