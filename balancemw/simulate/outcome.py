"""What came of a simulation: what callers saw, and what the replicas got."""

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, fsum

from balancemw.simulate.calls import Office

BATCHES = 20
"""Parts of a run, of equally many calls, whose differences tell chance from merit."""

STEPS = 60
"""Parts of the time of a run that are told by themselves."""

_LEVELS = tuple(round(1.0 - 10.0 ** (-step / 10.0), 6) for step in range(51))  # 0, 0.2057 … 0.99999

Part = tuple[float, int, int, float, float]
"""Of a run: when it began, calls that began in it, errors of these, their p50 and p99."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One strategy, or one variant of the service's settings, in one scenario. Times are seconds; that of a call is
    from its beginning to its answer or error.

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
        seconds: that the simulation took; the only one of these that the next run does not repeat.
        batches: (errors, p99) of each twentieth of the calls, in the order in which they began.
        tail: (time, share of the calls that took longer).
        course: one sixtieth of the time after the other, without those in which no call began.
        variant: of the service's settings; "": none.
        crossed: share of the tries that went to another zone than their caller's; None: there are no zones.
        connections: replicas that a caller had answers from, on average; None: no variants are compared.
        options: of the strategy.
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
    longest_queue: int
    events: Mapping[str, int] = field(hash=False)
    duration: float
    seconds: float = field(compare=False)
    batches: tuple[tuple[int, float], ...]
    tail: tuple[tuple[float, float], ...]
    course: tuple[Part, ...]
    variant: str = ""
    bad_share: float | None = None
    crossed: float | None = None
    connections: float | None = None
    options: Mapping[str, object] = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        """What it is called beside others of its scenario."""
        if self.variant or not self.options:
            return self.variant or self.strategy
        return f"{self.strategy} ({', '.join(f'{name} = {value}' for name, value in self.options.items())})"

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
    """Takes down how calls end. A call is known by its number, in the order in which they begin.

    Args:
        calls: how many there will be.
    """

    def __init__(self, calls: int) -> None:
        self._began = array("d")
        self._took = array("d", bytes(8 * calls))
        self._failed = bytearray(calls)
        self._kinds: Counter[str] = Counter()

    def begin(self, now: float) -> int:
        """A call begins; returns its number."""
        number = len(self._began)
        self._began.append(now)
        return number

    def end(self, number: int, now: float, fault: str) -> None:
        """It has ended, with the kind of its last fault or ``""``."""
        self._took[number] = now - self._began[number]
        if fault:
            self._failed[number] = 1
            self._kinds[str(fault)] += 1

    def outcome(self, strategy: str, office: Office, events: Mapping[str, int], seconds: float) -> Outcome:
        """All in figures.

        Args:
            strategy: that made the choices.
            office: of the calls.
            events: that the pools noted.
            seconds: that the simulation took.
        """
        took = sorted(self._took)
        count, replicas = len(took), office.replicas
        fair = sum(replica.tries for replica in replicas) / sum(replica.speed for replica in replicas)
        batches = [self._part(count * i // BATCHES, count * (i + 1) // BATCHES) for i in range(BATCHES)]
        return Outcome(
            strategy=strategy,
            calls=count,
            errors=sum(self._kinds.values()),
            kinds=dict(self._kinds.most_common()),
            tries=office.tries,
            p50=quantile(took, 0.5),
            p90=quantile(took, 0.9),
            p99=quantile(took, 0.99),
            p999=quantile(took, 0.999),
            longest=took[-1],
            mean=fsum(took) / count,
            imbalance=max(replica.tries / replica.speed for replica in replicas) / fair if fair else 1.0,
            longest_queue=max(replica.longest for replica in replicas),
            events=dict(events),
            duration=office.world.now,
            seconds=seconds,
            batches=tuple((errors, p99) for _, _, errors, _, p99 in batches),
            tail=tuple((quantile(took, each), round(1.0 - each, 6)) for each in _LEVELS if count * (1.0 - each) >= 1.0),
            course=tuple(self._parts_by_time()),
        )

    def _parts_by_time(self) -> Iterator[Part]:
        whole, first = self._began[-1] * (1.0 + 1e-9), 0
        for step in range(1, STEPS + 1):
            last = bisect_left(self._began, whole * step / STEPS)
            if last > first:
                yield self._part(first, last)
            first = last

    def _part(self, first: int, last: int) -> Part:
        took = sorted(self._took[first:last])
        began = self._began[first] if last > first else 0.0
        return began, last - first, sum(self._failed[first:last]), quantile(took, 0.5), quantile(took, 0.99)
