"""What happened, told to listeners and to the ``balancemw`` logger."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count

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
    "up": logging.INFO,
}


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to a node or a service.

    Attributes:
        id: counts up from 1 within a process.
        time: seconds since the epoch.
        service: name of the service.
        node: ``host:port``, or None where it concerns the whole pool.
        event: what happened: ``failed``, ``ejected``, ``resting``, ``trial``, ``readmitted``, ``down``,
            ``drain``, ``weight``, ``up``, ``cleared``, ``expired``, ``fail_open``, ``fail_open_ended``,
            ``budget_exhausted``, ``spared``, ``probe_unproven``, ``probe_proven``, ``added`` or ``removed``.
        source: who says so: ``traffic``, ``probe``, ``operator``, ``alert``, ``discovery``, ``self``, or ``pool``.
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
    """

    def __init__(self, wall: Callable[[], float]) -> None:
        self.pending: deque[Note] = deque()
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
        return bool(self._listeners) or LOG.isEnabledFor(_LEVELS.get(event, logging.WARNING))

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
        told = Event(next(self._ids), self._wall(), *note)
        self._log(told)
        for listener in tuple(self._listeners.values()):
            try:
                listener(told)
            except Exception:
                LOG.exception("a listener of balancemw failed on %s of %s", told.event, told.service)

    @staticmethod
    def _log(event: Event) -> None:
        level = _LEVELS.get(event.event, logging.WARNING)
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
        who = f"{event.service} {event.node}" if event.node else event.service
        LOG.log(level, "%s: %s by %s: %s", who, event.event, event.source, event.reason, extra=fields)


Note = tuple[str, str | None, str, str, str | None, str, Mapping[str, object]]
"""An event to be: the fields of `Event` from `service` on."""


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
            self.pending.append((self._service, node, event, source, kind, reason, evidence))
