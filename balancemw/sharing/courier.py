"""What one worker carries to the store and back."""

from collections.abc import Mapping, Sequence
from itertools import count

from balancemw.context import Clock
from balancemw.events import Events
from balancemw.sharing.alerts import SharedAlerts
from balancemw.sharing.contact import TTL, Contact
from balancemw.sharing.figures import figures_text, read_figures
from balancemw.sharing.shared import Shared
from balancemw.sharing.trials import Trials
from balancemw.stores import Claim, Cursor, Store

_PACE = 0.5  # seconds between heartbeats, and between renewals of a lease
_SHOWN = 1000  # entries of the journal that are kept in memory
_AT_ONCE = 200  # entries added to it in one go

_SEEN_BY_ALL: Mapping[str, float] = {"expired": 5, "fail_open": 5, "fail_open_ended": 5, "added": 60, "removed": 60}
"""Events that every worker sees for itself, and the seconds within which one of them tells for all."""

_SAID_BY_ONE: Mapping[str, Mapping[str, float]] = {
    # Each worker derives for itself what follows from alerts.
    "alert": dict.fromkeys(("down", "drain", "weight", "cleared", "expired", "held_back", "noted"), 5.0),
    # Many come to the same verdict at once, before the first could tell the others.
    "traffic": {**_SEEN_BY_ALL, **dict.fromkeys(("ejected", "resting", "weight", "cleared"), 0.5)},
}
"""The same by source, where it is not the same for all sources."""


class Courier:
    """One worker's dealings with the store. For one thread, but for `leads`. Every round may raise `StoreError`.

    Args:
        worker: who we are to the others.
        shared: of all services.
        events: what is told here.
        clock: the balancer's clock.
        contact: how the store has answered; its clock is the real one.
        real: real seconds.

    Attributes:
        alerts: what is shared of alerts, or None.
    """

    def __init__(
        self,
        worker: str,
        shared: Sequence[Shared],
        *,
        events: Events,
        clock: Clock,
        contact: Contact,
        real: Clock,
    ) -> None:
        self.worker = worker
        self.contact = contact
        self.workers = 1
        self.alerts: SharedAlerts | None = None
        self._shared = {each.pool.name: each for each in shared}
        self._journal = events.journal
        self._clock = clock
        self._real = real
        self._trials = Trials(worker)
        self._elected = [each.pool.name for each in shared if each.pool.settings.probe]
        self._leads_until: dict[str, float] = {}
        self._cursor = Cursor()
        self._beat_at = float("-inf")
        self._numbers = count(1)
        self._last_read = 0
        for each in shared:
            each.worker = worker

    def leads(self, service: str) -> bool:
        """Whether this worker makes the checks of the service: it was elected, or cannot know who else would."""
        return self._real() < self._leads_until.get(service, float("-inf")) or self.contact.alone

    def round(self, store: Store, *, changed: bool) -> None:
        """Carry what there is; `changed`: others have changed something."""
        real = self._real()
        beats = real >= self._beat_at
        told = self._exchange(store, look=changed or beats)
        if beats or any(each.news for each in self._shared.values()):
            self._tell_figures(store)
        elif changed:
            self._heed(store.figures())
        if beats:
            self._stand(store)
            self._beat_at = real + _PACE
        self._post(store, look=changed or beats or told)
        now = self._clock()
        self._trials.tend(
            self._shared.values(), store, now, real, workers=self.workers, catch_up=lambda: self._catch_up(store)
        )

    # -- who is there, and who makes the checks

    def _tell_figures(self, store: Store) -> None:
        self._journal.catch_up()
        ours = {name: each.figures() for name, each in self._shared.items()}
        self._heed(store.beat(self.worker, TTL, figures_text(self.worker, ours)))

    def _heed(self, texts: Sequence[str]) -> None:
        told = dict(map(read_figures, texts))
        others = [figures for worker, figures in told.items() if worker != self.worker]
        self.workers = 1 + len(others)
        for name, each in self._shared.items():
            each.pool.budget.workers = self.workers
            each.heed([figures[name] for figures in others if name in figures])

    def _stand(self, store: Store) -> None:
        """Stand for election, or prolong what came of it."""
        for service in self._elected:
            asked_at = self._real()
            if store.hold(f"probe:{service}", self.worker, TTL):
                self._leads_until[service] = asked_at + TTL
            else:
                self._leads_until.pop(service, None)

    # -- marks

    def _exchange(self, store: Store, *, look: bool) -> bool:
        """Tell and read; returns whether there was something to tell."""
        taken = {name: each.take() for name, each in self._shared.items()}
        alerts = self.alerts.take(self.worker) if self.alerts is not None else []
        claims = [*(claim for each in taken.values() for claim in each), *alerts]
        if not claims and not look:
            return False
        known = self._cursor.generation != ""
        try:
            page = store.exchange(claims, self._cursor)
        except BaseException:
            self._put_back(taken, alerts, late=True)
            raise
        if page.anew:
            self._put_back(taken, alerts, late=known)
        if page.anew and known:  # before anything is adopted: whoever came first may have told what is outdated
            for each in (*self._shared.values(), self.alerts):
                if each is not None:
                    each.retell()
        self._adopt(page.claims)
        self._cursor = page.cursor
        return self._exchange(store, look=False) or bool(claims) if page.anew else bool(claims)

    def _catch_up(self, store: Store) -> None:
        self._exchange(store, look=True)

    def _put_back(self, taken: Mapping[str, Sequence[Claim]], alerts: Sequence[Claim], *, late: bool) -> None:
        if self.alerts is not None:
            self.alerts.put_back(alerts)
        for name, claims in taken.items():
            self._shared[name].put_back(claims, late=late)

    def _adopt(self, claims: Sequence[Claim]) -> None:
        now = self._clock()
        for each in self._shared.values():
            each.welcome(now)
        for claim in claims:
            if claim.key[0] in self._shared:
                self._shared[claim.key[0]].adopt((claim,), now)
        alerts = [claim for claim in claims if not claim.key[0]]
        if self.alerts is not None and alerts:
            self.alerts.adopt(alerts, now)

    # -- the journal

    def _post(self, store: Store, *, look: bool) -> None:
        self._collect(store)
        while self._journal.posting:
            entries = list(self._journal.posting)[:_AT_ONCE]
            store.append(self.worker, entries, self._last_read)
            for _ in entries:
                self._journal.posting.popleft()
            look = True
        if look:
            read = store.read(self._last_read, _SHOWN)
            self._journal.number(read)
            self._last_read = read[-1].id if read else self._last_read

    def _collect(self, store: Store) -> None:
        waiting = self._journal.waiting
        while waiting:
            event = waiting[0]
            seconds = _SAID_BY_ONE.get(event.source, _SEEN_BY_ALL).get(event.event)
            said = f"said:{event.event}:{event.service}:{event.node}:{event.source}"
            if seconds is None or store.hold(said, self.worker, seconds):
                self._journal.posting.append((next(self._numbers), event))
            if waiting and waiting[0] is event:  # newer ones may have pushed it out meanwhile
                waiting.popleft()

    # -- trouble and the end

    def fail(self, *, told: bool) -> None:
        """The store does not answer; `told`: it was told that it is lost."""
        self._journal.adrift = self._journal.adrift or told
        alone = self.contact.alone
        self._beat_at = float("-inf")  # whatever was ours must be asked for anew
        for each in self._shared.values():
            each.cut_off = True
            each.set_alone(alone=alone)
        if alone:
            self._trials.drop()

    def recover(self) -> None:
        """It answers."""
        self._journal.adrift = False
        for each in self._shared.values():
            each.cut_off = False
            each.set_alone(alone=False)

    def farewell(self, store: Store) -> None:
        """Carry what is left, and give back what is held."""
        self._exchange(store, look=False)
        self._journal.catch_up()
        self._post(store, look=False)
        for name in (*self._trials.names(), *(f"probe:{service}" for service in self._leads_until)):
            store.release(name, self.worker)
        self._leads_until.clear()
        self._trials.drop()
        store.leave(self.worker)
