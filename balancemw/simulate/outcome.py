"""What came of a simulation: what callers saw, and what the replicas got."""

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from balancemw.simulate.course import Course

BATCHES = 20
"""Parts of a run, of equally many calls, whose differences tell chance from merit."""

_STEPS = 60  # moments of the run that are told by themselves
_LEVELS = tuple(round(1.0 - 10.0 ** (-step / 10.0), 6) for step in range(51))  # 0, 0.2057 … 0.99999


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One strategy in one scenario. Times are seconds; that of a call is from its beginning to its answer or error.

    Attributes:
        strategy: its name.
        calls: made in all.
        errors: of these, how many ended with an error.
        kinds: errors by the kind of their last fault; ``no_node``: there was no replica to send to.
        tries: sent in all.
        p50, p90, p99, p999, longest, mean: of the time that calls took.
        imbalance: what the busiest replica got, for its speed, as a multiple of what it would have got of equal shares.
        bad_share: share of the tries that went to faulty replicas while any was; None: none ever was.
        longest_queue: the most requests that waited at one replica.
        events: what the callers' pools noted, by name: ``ejected``, ``readmitted``, ``budget_exhausted`` and so on.
        duration: simulated seconds.
        seconds: that the simulation took.
        batches: (errors, p99) of each twentieth of the calls, in the order in which they began.
        tail: (time, share of the calls that took longer).
        course: (moment, calls begun then, errors of these, their p50 and p99).
    """

    strategy: str
    calls: int
    errors: int
    kinds: Mapping[str, int] = field(hash=False)
    tries: int
    p50: float
    p90: float
    p99: float
    p999: float
    longest: float
    mean: float
    imbalance: float
    bad_share: float | None
    longest_queue: int
    events: Mapping[str, int] = field(hash=False)
    duration: float
    seconds: float
    batches: tuple[tuple[int, float], ...]
    tail: tuple[tuple[float, float], ...]
    course: tuple[tuple[float, int, int, float, float], ...]

    @property
    def error_rate(self) -> float:
        """Errors as a share of the calls."""
        return self.errors / self.calls

    @property
    def amplification(self) -> float:
        """Tries per call: what the replicas get for each call that is made."""
        return self.tries / self.calls


def quantile(ordered: Sequence[float], share: float) -> float:
    """The least of `ordered` that at least `share` of them do not exceed."""
    return ordered[max(0, ceil(share * len(ordered) - 1e-9) - 1)] if ordered else 0.0


class Record:
    """Takes down how calls end.

    Args:
        calls: how many there will be.
        duration: seconds over which they begin.
    """

    def __init__(self, calls: int, duration: float) -> None:
        self._duration = duration
        self._began = array("d")
        self._took = array("d")
        self._failed = bytearray()
        self._kinds: Counter[str] = Counter()
        self._calls = calls

    def add(self, began: float, took: float, fault: str) -> None:
        """A call has ended, with the kind of its last fault or ``""``."""
        self._began.append(began)
        self._took.append(took)
        self._failed.append(fault != "")
        if fault:
            self._kinds[str(fault)] += 1

    def outcome(self, course: "Course", seconds: float) -> Outcome:
        """All in figures; `seconds`: that it took."""
        took = sorted(self._took)
        office, replicas = course.office, course.replicas
        fair = sum(replica.tries for replica in replicas) / sum(replica.speed for replica in replicas)
        quantiles = {f"p{name}": quantile(took, int(name) / 10 ** len(name)) for name in ("50", "90", "99", "999")}
        return Outcome(
            strategy=course.strategy,
            calls=len(took),
            errors=sum(self._kinds.values()),
            kinds=dict(self._kinds.most_common()),
            tries=office.tries,
            **quantiles,
            longest=took[-1],
            mean=sum(took) / len(took),
            imbalance=max(replica.tries / replica.speed for replica in replicas) / fair if fair else 1.0,
            bad_share=office.bad / office.of_bad if office.of_bad else None,
            longest_queue=max(replica.longest for replica in replicas),
            events=dict(course.events.counts),
            duration=course.world.now,
            seconds=seconds,
            batches=tuple((errors, p99) for _, _, errors, _, p99 in self._parts(BATCHES, by_time=False)),
            tail=tuple((quantile(took, level), round(1.0 - level, 6)) for level in _LEVELS),
            course=tuple(self._parts(_STEPS, by_time=True)),
        )

    def _parts(self, count: int, *, by_time: bool) -> list[tuple[float, int, int, float, float]]:
        """The calls in so many parts, of equally many calls or of equal time: (beginning, calls, errors, p50, p99)."""
        order = sorted(range(len(self._began)), key=self._began.__getitem__)
        parts: list[list[int]] = [[] for _ in range(count)]
        for rank, index in enumerate(order):
            share = self._began[index] / self._duration if by_time else rank / len(order)
            parts[min(count - 1, int(share * count))].append(index)
        told: list[tuple[float, int, int, float, float]] = []
        for part in parts:
            if part:
                took = sorted(self._took[index] for index in part)
                errors = sum(self._failed[index] for index in part)
                told.append((self._began[part[0]], len(part), errors, quantile(took, 0.5), quantile(took, 0.99)))
        return told
