"""How much an app has to do: requests in flight and, over the last seconds, their rate, errors, latency and CPU time.

Every request pays for being counted, and no more: how long requests take is noted only while somebody asks.
"""

import os
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from math import floor, inf
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from balancemw.orca import IN_FLIGHT, LATENCY, LoadReport

WINDOW = 10
"""Seconds, the current one included, over which rates are taken, and after which a latency is forgotten."""

_ASKED_FOR = 60.0  # seconds after a question for which latencies are still noted
_SAMPLES = 5  # latencies that are kept for each class of requests in flight; with more a change is told late
_CLASSES = 20  # 0, 1, 2 and 3, 4 to 7 …: within a class, the number in flight makes little difference
_NEAREST = [sorted(range(_CLASSES), key=lambda each: abs(each - here)) for here in range(_CLASSES)]
LIMITS = Path("/sys/fs/cgroup/cpu.max")
"""Where Linux tells a container how much CPU time it has: microseconds, or ``max``, of so many."""

_SHORTEST = 0.1  # seconds over which CPU time says anything


class Note(NamedTuple):
    """What is kept of a request until it is answered, while somebody asks for reports.

    Attributes:
        asked: in which form it asks for a report itself, or None.
        began: when it came.
        others: how many were in flight then.
    """

    asked: str | None
    began: float
    others: int


class _Past(NamedTuple):
    """What there had been before the first request of a second, at that request's time."""

    second: int
    time: float
    served: int
    errors: int
    cpu: float


class Meter:
    """Counts the requests of an app in this process. Safe from any thread.

    Args:
        clock: seconds, like ``time.monotonic``.
        cpu: CPU seconds that this process has used.

    Attributes:
        errors: requests that were answered with a status of 500 or more, or not at all.
        edge: until when there is nothing to `note` of requests that come and ask for nothing, on the clock.
        arrivals: each request takes a number of it when it comes in.
        departures: and of this one when it has been served.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, cpu: Callable[[], float] = time.process_time
    ) -> None:
        self._clock = clock
        self._cpu = cpu
        self.reset()

    def reset(self) -> None:
        """Begin anew, as in a process that has just been forked: its parent's requests are not its own."""
        self._lock = Lock()
        self.errors = 0
        # No other thread comes between the taking of a number and the next, as that is a single step of C's. A lock,
        # twice for each request, would cost a tenth of all that an adapter does with it.
        self.arrivals = count()
        self.departures = count()
        self._looks = 0  # each takes a number of the one and two of the other
        self._noting = False  # whether it is noted how long requests take
        self._cores = 0.0  # not looked up yet
        self._born = now = self._clock()
        self._past = deque((_Past(floor(now), now, 0, 0, self._cpu()),))
        self.edge = self._second_ends = floor(now) + 1.0
        self._noted_until = -inf
        self._latencies: list[deque[tuple[float, float]]] = [deque(maxlen=_SAMPLES) for _ in range(_CLASSES)]

    # -- requests

    @property
    def served(self) -> int:
        """Requests in all, those in flight included."""
        with self._lock:
            return self._look()[0]

    @property
    def in_flight(self) -> int:
        """Requests being served now."""
        with self._lock:
            return self._look()[1]

    def _look(self) -> tuple[int, int]:
        """Requests in all, and those being served; the lock is held."""
        while True:
            looks, self._looks = self._looks, self._looks + 1
            gone = next(self.departures) - 2 * looks
            come = next(self.arrivals) - looks
            if next(self.departures) - 2 * looks - 1 == gone:  # nobody has left in between: both are of one moment
                return come, come - gone

    def enter(self, now: float, asked: str | None = None) -> Note | None:
        """A request has come in at `now`, which asks for a report in this form; returns what `answered` takes."""
        note = self.note(now, asked) if now >= self.edge or asked is not None else None
        next(self.arrivals)
        return note

    def note(self, now: float, asked: str | None) -> Note | None:
        """What is to be kept of a request that comes in at `now`, if anything, once `edge` is past or it asks."""
        with self._lock:
            if now >= self._second_ends:
                self._roll(now)
            noting = asked is not None or self._noting
            return Note(asked, now, self._look()[1]) if noting else None

    def leave(self) -> None:
        """A request has been served."""
        next(self.departures)

    def answered(self, note: Note | None, failed: bool) -> None:
        """The head of a request's answer is there; `failed`: its status is 500 or more, or there is no answer."""
        if not (failed or (note is not None and self._noting)):
            return
        with self._lock:
            self.errors += failed
            if note is not None and not failed:  # an error may be quick, or have waited for others
                now = self._clock()
                self._latencies[_class_of(note.others)].append((now, now - note.began))

    def _roll(self, now: float) -> None:
        past, second = self._past, floor(now)
        past.append(_Past(second, now, self._look()[0], self.errors, self._cpu()))
        while past[1].second <= second - WINDOW:  # one from before the window stays, for CPU time
            past.popleft()
        self._second_ends = second + 1.0
        self._noting = now <= self._noted_until
        self.edge = -inf if self._noting else self._second_ends

    # -- the load

    def load(self, utilization: float = 0.0) -> LoadReport:
        """The load now, as seen from a request that is being answered: it is in flight, and does not count so.

        `utilization`: what the app says of itself.
        """
        now, cpu = self._clock(), self._cpu()
        self._cores = self._cores or cores()
        with self._lock:
            self._noted_until, self._noting, self.edge = now + _ASKED_FOR, True, -inf
            start = floor(now) - WINDOW + 1
            come, in_flight = self._look()
            served, errors = self._counts(start, come)
            seconds = max(1.0, now - max(start, self._born))
            others = max(0, in_flight - 1)
            latency = self._latency(others, now)
            used = self._used(start, now, cpu)
        named = {IN_FLIGHT: float(others)}
        if latency is not None:
            named[LATENCY] = round(latency, 6)
        return LoadReport(
            cpu_utilization=round(used / self._cores, 4),
            application_utilization=utilization,
            rps_fractional=round(served / seconds, 3),
            eps=round(errors / seconds, 3),
            named_metrics=named,
        )

    def _counts(self, start: int, served: int) -> tuple[int, int]:
        """Requests and errors since the second `start`, of those `served` in all."""
        for past in self._past:
            if past.second >= start:
                return served - past.served, self.errors - past.errors
        return 0, 0

    def _used(self, start: int, now: float, cpu: float) -> float:
        """CPU seconds per second, over the window or, if that has only begun, since the last request before it."""
        known = [past for past in self._past if now - past.time >= _SHORTEST]
        if not known:
            return 0.0
        since = next((past for past in known if past.second >= start), known[-1])
        return max(0.0, cpu - since.cpu) / (now - since.time)

    def _latency(self, others: int, now: float) -> float | None:
        """The median of late of requests that came when about `others` were in flight (Prequal, NSDI '24).

        Where there are none of late, those that came at the nearest numbers tell more than nothing.
        """
        for each in _NEAREST[_class_of(others)]:
            recent = sorted(took for at, took in self._latencies[each] if now - at <= WINDOW)
            if recent:
                return recent[len(recent) // 2]
        return None


def _class_of(others: int) -> int:
    return min(others.bit_length(), _CLASSES - 1)


def cores() -> float:
    """How many processors this process may use: those it may run on, or less if its container is limited."""
    allowed = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    with suppress(OSError, ValueError):
        quota, period = LIMITS.read_text().split()
        allowed = min(allowed, int(quota) / int(period))
    return allowed
