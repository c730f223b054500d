"""The journal: the latest of what happened, in words that tell the story once."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import count

from balancemw.tally import PACE


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to a node or a service.

    Attributes:
        id: counts up from 1, for the listeners of a process and in its journal alike; where the journal is shared,
            in that for all workers together.
        time: seconds since the epoch.
        service: name of the service; ``""`` where none is concerned.
        node: ``host:port``, or None where it concerns the whole pool.
        event: what happened: ``failed``, ``ejected``, ``resting``, ``trial``, ``readmitted``, ``down``,
            ``drain``, ``weight``, ``up``, ``cleared``, ``expired``, ``fail_open``, ``fail_open_ended``,
            ``budget_exhausted``, ``spared``, ``zone_spill``, ``zone_spill_ended``, ``probe_unproven``,
            ``probe_proven``, ``added``, ``removed``, ``noted``, ``held_back``, ``unmatched``, ``alerts_lost``,
            ``alertmanager_lost``, ``alertmanager_found``, ``store_lost``, ``store_back``, ``store_corrupt``,
            ``discovery_failed`` or ``discovery_recovered``.
        source: who says so: ``traffic``, ``probe``, ``operator``, ``alert``, ``discovery``, ``self``, ``pool``
            or ``store``.
        fault: the kind of fault behind it, or None.
        reason: the same in words.
        evidence: figures behind it, JSON-able.
    """

    id: int
    time: float
    service: str
    node: str | None
    event: str
    source: str
    fault: str | None = None
    reason: str = ""
    evidence: Mapping[str, object] = field(default_factory=dict[str, object], hash=False)


class Journal:
    """The latest events, oldest first, in memory: reading takes no I/O. Threads may read it and add to it at once.

    Where the journal is shared, an event waits for the number that it gets there, the same for all workers.

    Args:
        size: how many are kept.

    Attributes:
        catch_up: called before reading; lets what is still being summed up be told.
        waiting: own events that are still to be shared, oldest first; None where the journal is not shared.
        posting: those before them that are being shared, each with its number among ours.
        adrift: whether the shared journal is out of reach; then those that wait are shown with the next numbers,
            which others may be given once it is back.
    """

    def __init__(self, size: int = 1000) -> None:
        self._size = size
        self._ids = count(1)
        self._events: deque[Event] = deque(maxlen=size)
        self.catch_up: Callable[[], None] = lambda: None
        self.waiting: deque[Event] | None = None
        self.posting: deque[tuple[int, Event]] = deque(maxlen=size)
        self.adrift = False

    def share(self) -> None:
        """From now on the numbers come from others, by `number`."""
        self.waiting = deque(maxlen=self._size)
        self.posting.clear()
        self.adrift = True  # until it was reached for the first time

    def add(self, event: Event) -> None:
        """Keep `event`, in place of the oldest where there is no room."""
        if self.waiting is None:
            self._events.append(replace(event, id=next(self._ids)))
        else:
            self.waiting.append(event)

    def number(self, events: Iterable[Event]) -> None:
        """Keep events of all workers, with their shared numbers, in that order."""
        self._events.extend(events)

    def after(self, number: int = 0, limit: int = 1000) -> list[Event]:
        """The oldest `limit` events whose ids are above `number`; what workers say alike of failed tries is one."""
        self.catch_up()
        known = list(self._events.copy())
        if self.adrift and self.waiting is not None:
            last = known[-1].id if known else 0
            ours = [*(event for _, event in self.posting.copy()), *self.waiting.copy()]
            known += [replace(event, id=last + place) for place, event in enumerate(ours, 1)]
        return in_sum(event for event in known[-self._size :] if event.id > number)[:limit]


def failed_tries(number: int, last: str) -> tuple[str, Mapping[str, object]]:
    """Reason and evidence of an event that stands for so many failed tries; `last`: the last one in words."""
    tries = "1 try" if number == 1 else f"{number} tries"
    return f"{tries} failed: {last}", {"count": number, "last_error": last}


def in_sum(events: Iterable[Event]) -> list[Event]:
    """`events`, but failed tries of one node and kind that several workers tell of at much the same time are one.

    What else happens to the node begins a new sum: first comes what led to it, and then what was still under way.
    """
    told: dict[int, Event] = {}
    sums: dict[tuple[str, str | None], dict[str | None, tuple[float, Event]]] = {}
    for event in events:
        told[event.id] = event
        kinds = sums.setdefault((event.service, event.node), {})
        if event.event != "failed":
            kinds.clear()
        else:
            since, former = kinds.get(event.fault, (event.time, None))
            if former is not None and event.time - since <= PACE:
                del told[former.id]
                told[event.id] = _added(former, event)
            else:
                since = event.time
            kinds[event.fault] = since, told[event.id]
    return list(told.values())


def _added(former: Event, event: Event) -> Event:
    count = sum(int(str(each.evidence.get("count", 1))) for each in (former, event))
    reason, evidence = failed_tries(count, str(event.evidence.get("last_error", event.reason)))
    return replace(event, reason=reason, evidence=evidence)
