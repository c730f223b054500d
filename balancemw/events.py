"""What happened, told to listeners and to the ``balancemw`` logger."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from itertools import count
from typing import NamedTuple

from balancemw.journal import Event, Journal, failed_tries
from balancemw.tally import Sum, Tally

LOG = logging.getLogger("balancemw")

_LEVELS = {
    "failed": logging.DEBUG,  # one per failed try: an outage at 1,000 calls/s must not become an outage of the log
    "trial": logging.INFO,
    "readmitted": logging.INFO,
    "cleared": logging.INFO,
    "expired": logging.INFO,
    "fail_open_ended": logging.INFO,
    "probe_proven": logging.INFO,
    "added": logging.INFO,
    "removed": logging.INFO,
    "discovery_recovered": logging.INFO,
    "up": logging.INFO,
    "noted": logging.INFO,
    "alertmanager_found": logging.INFO,
    "store_back": logging.INFO,
    "zone_spill_ended": logging.INFO,
}

_PASSING = ("failed",)  # each by itself only for listeners and for debugging; the journal has them in sum

Listener = Callable[[Event], object]


class _Here(threading.local):
    """What a thread is doing with events."""

    telling = False


class Events:
    """Takes news from the pools and passes it on. A listener that raises is told to the log and hurts nobody.

    Args:
        wall: seconds since the epoch.

    Attributes:
        pending: what was noted and not yet told, oldest first.
        journal: what was told.
    """

    def __init__(self, wall: Callable[[], float]) -> None:
        self.pending: deque[Note] = deque()
        self.journal = Journal()
        self._here = _Here()
        self._wall = wall
        self._ids = count(1)
        self._listeners: dict[object, Listener] = {}  # by subscription: threads may come and go at once

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with every event, in the thread where it happens; returns what ends that."""
        subscription = object()
        self._listeners[subscription] = listener

        def unsubscribe() -> None:
            self._listeners.pop(subscription, None)

        return unsubscribe

    def wants(self, event: str) -> bool:
        """Whether anyone would see an event of this name, so that the frequent ones cost nothing unseen."""
        return event not in _PASSING or bool(self._listeners) or LOG.isEnabledFor(_LEVELS.get(event, logging.WARNING))

    def tell(self) -> None:
        """Tell what is pending, oldest first. Threads may share the work; each event is told once.

        What a listener brings about by calling back waits its turn: all must hear of causes before effects.
        """
        if self._here.telling:
            return
        self._here.telling = True
        try:
            while True:
                try:
                    note = self.pending.popleft()
                except IndexError:
                    return
                self._emit(note)
        finally:
            self._here.telling = False

    def _emit(self, note: "Note") -> None:
        told = Event(0 if note.summed else next(self._ids), self._wall(), *note[:-1])
        if note.summed or told.event not in _PASSING:
            self.journal.add(told)
        self._log(told, logging.INFO if note.summed else _LEVELS.get(told.event, logging.WARNING))
        for listener in () if note.summed else tuple(self._listeners.values()):  # they were told of each one
            try:
                listener(told)
            except Exception:
                LOG.exception("a listener of balancemw failed on %s of %s", told.event, told.service)

    @staticmethod
    def _log(event: Event, level: int) -> None:
        if not LOG.isEnabledFor(level):
            return
        fields = {
            "event": event.event,
            "service": event.service,
            "node": event.node,
            "source": event.source,
            "fault": event.fault,
            "reason": event.reason,
            "evidence": dict(event.evidence),
        }
        who = " ".join(name for name in (event.service, event.node) if name) or "balancemw"
        LOG.log(level, "%s: %s by %s: %s", who, event.event, event.source, event.reason, extra=fields)


class Note(NamedTuple):
    """An event to be: its fields from `service` on.

    Attributes:
        summed: whether it stands for many of which listeners were told one by one.
    """

    service: str
    node: str | None
    event: str
    source: str
    fault: str | None = None
    reason: str = ""
    evidence: Mapping[str, object] = {}
    summed: bool = False


class News:
    """Events of one service, noted under its pool's lock and told outside it, since a listener may call back.

    Attributes:
        pending: what was noted and not yet told, of every service.
    """

    def __init__(self, events: Events, service: str) -> None:
        self.pending = events.pending
        self.tell = events.tell
        self._events = events
        self._service = service
        self._tally = Tally()

    def note(
        self,
        node: str | None,
        event: str,
        source: str,
        reason: str = "",
        *,
        fault: str | None = None,
        **evidence: object,
    ) -> None:
        """Note an event, unless nobody would hear of it."""
        if self._events.wants(event):
            kind = None if fault is None else str(fault)
            self.pending.append(Note(self._service, node, event, source, kind, reason, evidence))

    def failed(self, node: str, fault: str, reason: str, seconds: float, now: float) -> None:
        """Note a failed try: by itself for those who want it so, and in sum for the journal."""
        self.note(node, "failed", "traffic", reason, fault=fault, seconds=seconds)
        summed = self._tally.add(node, str(fault), reason, now)
        if summed is not None:
            self._note_sum(summed)

    def sum_up(self, now: float) -> None:
        """Note the sums of failed tries that are due."""
        for each in self._tally.due(now):
            self._note_sum(each)

    def _note_sum(self, each: Sum) -> None:
        reason, evidence = failed_tries(each.count, each.reason)
        self.pending.append(
            Note(self._service, each.node, "failed", "traffic", each.fault, reason, evidence, summed=True)
        )
