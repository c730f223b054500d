"""Which alerts are known, and since when: what makes replays harmless, and lets what is out of order sort itself out.

An entry is identified by its fingerprint. Of two entries the later wins, by the time the alert began to fire, and of
one firing its end wins over its beginning; so it does not matter in which order, how often or through which worker
they come. That makes entries easy to share: whoever has been told all of them knows the same.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from math import inf, isfinite

from balancemw.alerts.payload import Alert, plain

REMEMBERED = 900.0
"""Seconds for which a resolved alert is remembered, so that a firing that comes late or again does not revive it."""

MOST = 10_000
"""Alerts that are known at a time."""

_LONGEST = 1000  # characters of a label's value


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one alert. Times are seconds since the epoch.

    Attributes:
        fingerprint: what identifies it.
        starts_at: when it began to fire.
        firing: else it is resolved.
        until: firing: when its lease ends; resolved: when it may be forgotten.
        labels: names and values.
        summary: in words.
        overruled: the nodes, by service and url, of which someone has said that they are well in spite of this firing.
        listed: whether Alertmanager has listed it.
    """

    fingerprint: str
    starts_at: float
    firing: bool
    until: float
    labels: Mapping[str, str]
    summary: str = ""
    overruled: tuple[str, ...] = ()
    listed: bool = False

    @property
    def age(self) -> tuple[float, bool]:
        """What decides between two entries of one fingerprint: the greater one is the later."""
        return self.starts_at, not self.firing

    @property
    def told(self) -> str:
        """The alert in words."""
        severity = self.labels.get("severity")
        name = plain(self.labels.get("alertname", "an alert without a name"), 80)
        about = f"{name} ({plain(severity, 40)})" if severity else name
        return f"{about}: {self.summary}" if self.summary else about

    def text(self) -> str:
        """As one line of JSON, for a store."""
        return json.dumps(asdict(self))


_NOTHING = Entry("", 0.0, False, 0.0, {})


def entry_of(text: str) -> Entry:
    """What `Entry.text` has written.

    Raises:
        ValueError: it has not: others may write into a store, and other versions.
    """
    entry, whole = _NOTHING, False
    try:
        entry = Entry(**json.loads(text))
        words = (entry.fingerprint, entry.summary, *entry.labels, *entry.labels.values(), *entry.overruled)
        whole = all(isinstance(word, str) for word in words) and isfinite(entry.starts_at) and isfinite(entry.until)
    except (TypeError, AttributeError, RecursionError):
        pass
    if not whole:
        raise ValueError("not an entry of the ledger")
    return replace(entry, firing=bool(entry.firing), listed=bool(entry.listed), overruled=tuple(entry.overruled))


class Ledger:
    """The known alerts.

    Args:
        lease: seconds for which a firing alert counts without being heard of again.
        labels: the names of those that are remembered; None: all.

    Attributes:
        changed: called with each entry that is new or has changed, for whoever shares them.
        version: another number after each change.
    """

    def __init__(self, lease: float, labels: Collection[str] | None = None) -> None:
        self._lease = lease
        self._labels = labels
        self._firing: dict[str, Entry] = {}
        self._resolved: dict[str, Entry] = {}
        self.changed: Callable[[Entry], object] = lambda _entry: None
        self.version = 0

    def __len__(self) -> int:
        return len(self._firing) + len(self._resolved)

    def __iter__(self) -> Iterator[Entry]:
        yield from (*self._firing.values(), *self._resolved.values())

    def get(self, fingerprint: str) -> Entry | None:
        """The entry of that fingerprint, if there is one."""
        return self._firing.get(fingerprint) or self._resolved.get(fingerprint)

    @property
    def firing(self) -> tuple[Entry, ...]:
        """The alerts that fire."""
        return tuple(self._firing.values())

    @property
    def next_end(self) -> float:
        """When the first entry ends, in seconds since the epoch; infinity: there is none."""
        return min((entry.until for entry in self), default=inf)

    def take(self, alert: Alert, epoch: float, *, listed: bool = False) -> str:
        """Note what is told of an alert at `epoch`, in seconds since the epoch; `listed`: by Alertmanager's list.

        Returns:
            ``new``, ``renewed``, ``resolved``, ``stale`` (about a time before what is known), ``refused`` (no room).
        """
        if alert.firing and alert.ends_at is not None and alert.ends_at <= epoch and not listed:
            return "stale"
        known = self.get(alert.fingerprint)
        entry = self._entry(alert, epoch, listed)
        if known is not None and entry.age < known.age:
            return "stale"
        if known is None and not self._has_room():
            return "refused"
        renewed = known is not None and known.age == entry.age
        self._put(entry)
        return "renewed" if renewed else "new" if alert.firing else "resolved"

    def _entry(self, alert: Alert, epoch: float, listed: bool) -> Entry:
        until = epoch + (self._lease if alert.firing else REMEMBERED)
        if alert.firing and alert.ends_at is not None and not listed:  # in the list it is when to expect a resolution
            until = min(until, alert.ends_at)
        names = alert.labels if self._labels is None else [name for name in self._labels if name in alert.labels]
        labels = {name: alert.labels[name][:_LONGEST] for name in names}
        return Entry(
            alert.fingerprint, alert.starts_at, alert.firing, until, labels, summary=alert.summary, listed=listed
        )

    def _has_room(self) -> bool:
        """Whether another entry may come, if need be in place of the resolved one that is known for longest."""
        if len(self) >= MOST and self._resolved:
            del self._resolved[next(iter(self._resolved))]
        return len(self) < MOST

    def absorb(self, entries: Iterable[Entry]) -> None:
        """Take in what others have noted. Where more is known here, they are told: it may have been overwritten."""
        for entry in entries:
            if self.get(entry.fingerprint) or self._has_room():
                self._put(entry, shared=True)
                known = self.get(entry.fingerprint)
                if known is not None and known != entry:
                    self.changed(known)

    def _put(self, entry: Entry, *, shared: bool = False) -> None:
        known = self.get(entry.fingerprint)
        if known is not None:
            entry = _later(known, entry)
        if entry == known:
            return
        here, there = (self._firing, self._resolved) if entry.firing else (self._resolved, self._firing)
        self.version += 1
        there.pop(entry.fingerprint, None)
        here[entry.fingerprint] = entry
        if not shared:
            self.changed(entry)

    def overrule(self, fingerprint: str, node: str) -> None:
        """Someone has said that the node is well in spite of this firing."""
        entry = self._firing[fingerprint]
        self._put(replace(entry, overruled=(*entry.overruled, node)))

    def gone(self, fingerprint: str, epoch: float) -> None:
        """Alertmanager, which had listed the alert, does so no more."""
        self._put(replace(self._firing[fingerprint], firing=False, until=epoch + REMEMBERED))

    def expire(self, epoch: float) -> None:
        """Forget what has ended."""
        for entries in (self._firing, self._resolved):
            for entry in tuple(entries.values()):
                if entry.until <= epoch:
                    self.version += 1
                    del entries[entry.fingerprint]


def _later(known: Entry, entry: Entry) -> Entry:
    """Of two entries of one fingerprint the one that counts; where they tell of the same, what both know."""
    if known.age != entry.age:
        return max(known, entry, key=lambda each: each.age)
    return replace(
        known,
        until=max(known.until, entry.until),
        overruled=tuple(sorted({*known.overruled, *entry.overruled})),
        listed=known.listed or entry.listed,
    )
