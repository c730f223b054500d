"""What the workers of a service share, and the one thread per process and balancer that shares it."""

import os
import socket
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from threading import Event as Wake
from threading import Lock
from uuid import uuid4

from balancemw.alerts import Desk
from balancemw.context import Clock
from balancemw.daemon import Daemon
from balancemw.events import LOG, Events, Note
from balancemw.pool import Pool
from balancemw.settings import StateSettings
from balancemw.sharing.alerts import SharedAlerts
from balancemw.sharing.contact import Contact
from balancemw.sharing.courier import Courier
from balancemw.sharing.shared import Shared
from balancemw.stores import Store, StoreError, StoreReplaced, open_store

_PAUSE = 0.25  # seconds until a store that failed is tried again
_STEP = 0.5  # the longest sleep; each time it wakes the thread shows that it is alive
_DEAD_AFTER = 30.0  # seconds without a sign of life after which it is taken for dead and replaced
_FAREWELL = 0.5  # seconds that `stop` waits for the last things to be told

_left_behind: list[object] = []  # connections of a parent process: to close one here could disturb it


class Sharing:
    """Shares the marks, trials, elections and journal of a balancer. Methods may be called from any thread.

    Args:
        settings: where they are shared.
        pools: the services' pools.
        events: the balancer's.
        clock: the balancer's.
        epoch: seconds since the epoch at zero of that clock.
    """

    def __init__(
        self, settings: StateSettings, pools: Sequence[Pool], *, events: Events, clock: Clock, epoch: float
    ) -> None:
        self._settings = settings
        self._events = events
        self._clock = clock
        self._wake = Wake()
        self._lock = Lock()
        self._shared = [Shared(pool, epoch, self._nudge) for pool in pools]
        self._alerts: SharedAlerts | None = None
        self._life: _Life | None = None
        self._courier = self._new_courier()
        events.journal.share()

    def share_alerts(self, desk: Desk) -> None:
        """Share what arrives at `desk` as well."""
        self._alerts = self._courier.alerts = SharedAlerts(desk, self._nudge)

    def _nudge(self) -> None:
        self._wake.set()  # which is another one after a fork

    def _new_courier(self) -> Courier:
        worker = f"{os.getpid()}-{uuid4().hex[:12]}"
        contact = Contact()
        courier = Courier(
            worker,
            self._shared,
            events=self._events,
            clock=self._clock,
            contact=contact,
            real=time.monotonic,
        )
        courier.alerts = self._alerts
        return courier

    def leads(self, service: str) -> bool:
        """Whether this worker makes the active checks of the service."""
        return self._courier.leads(service)

    def ensure(self) -> None:
        """See to it that the thread runs. Costs next to nothing when it does."""
        life = self._life
        if self._courier.contact.alone:  # the thread itself may be stuck in a question to the store
            self._go_alone()
        if life is not None and life.thread.alive(_DEAD_AFTER):
            return
        with self._lock:
            if self._life is not life:  # another caller was quicker
                return
            if life is not None:
                self._courier = self._new_courier()
            self._life = _Life(self, self._wake)
            started = self._life.thread.begin()
        if life is not None:
            LOG.warning("the sharing thread gave no sign of life for %g s: another takes its place", _DEAD_AFTER)
        if not started:
            self._go_alone()
            LOG.warning("the sharing thread cannot be started: this worker shares nothing for now")

    def stop(self) -> None:
        """Tell what is left and end the thread; `ensure` starts another. Takes half a second at most."""
        with self._lock:
            life, self._life = self._life, None
        if life is not None:
            life.thread.end(life.rouse, _FAREWELL)
        self._go_alone()

    def _go_alone(self) -> None:
        self._events.journal.adrift = True
        for each in self._shared:
            each.set_alone(alone=True)

    def after_fork(self) -> None:
        """Begin anew in a child process, as another worker."""
        self._lock = Lock()
        self._wake = Wake()
        _left_behind.append(self._life)
        self._life = None
        if self._alerts is not None:
            self._alerts.after_fork()
        self._events.journal.share()  # what waits is the parent's to tell
        self._courier = self._new_courier()

    # -- in the thread

    def work(self, life: "_Life", *, changed: bool) -> bool:
        """One round; returns whether there are more to come.

        Raises:
            StoreError: it came to nothing, and `life` had better open the store again.
        """
        courier = self._courier
        if self._life is not life:
            if life.ended:  # perhaps before it has begun, as in a program that marks a node and is done
                courier.farewell(life.store or self._open(life))
            return False
        courier.contact.asks()
        changed = changed or life.store is None
        courier.round(life.store or self._open(life), changed=changed)
        if courier.contact.answered():
            self._tell("store_back", f"{self._settings.kind} answers again: what was noted meanwhile is shared")
        courier.recover()
        return True

    def _open(self, life: "_Life") -> Store:
        life.store = open_store(self._settings.kind, self._settings.place, _host())
        return life.store

    def excuse(self, error: Exception) -> None:
        """The store has failed."""
        told = self._courier.contact.failed()
        self._courier.fail(told=told)
        if isinstance(error, StoreReplaced):
            self._tell("store_corrupt", str(error))
        elif told:
            self._tell("store_lost", f"{error}: this worker goes on with what it knows")

    def _tell(self, event: str, reason: str) -> None:
        self._events.pending.append(Note("", None, event, "store", reason=reason))
        self._events.tell()


class _Life:
    """One thread and its connection to the store, from its beginning to its end.

    It holds its owner only while it works, so that a balancer which nobody uses any more can go, and it with that.

    Attributes:
        thread: the thread.
        store: None while there is no connection.
    """

    def __init__(self, sharing: Sharing, wake: Wake) -> None:
        self.store: Store | None = None
        self._ending = Wake()
        self._sharing = weakref.ref(sharing)
        self._wake = wake
        self.thread = Daemon("balancemw-sharing", self._live)

    @property
    def ended(self) -> bool:
        """Whether it was asked to end."""
        return self._ending.is_set()

    def rouse(self) -> None:
        """Let the thread say its last, and end."""
        self._ending.set()
        self._wake.set()

    def _live(self) -> None:
        try:
            while self._step():
                self.thread.show()
        except BaseException:
            LOG.exception("the sharing thread ended unexpectedly")
        finally:
            self._close()

    def _step(self) -> bool:
        try:
            changed = self.store.wait(self._wake, _STEP) if self.store is not None else True
            self._wake.clear()
            return self._work(changed=changed)
        except Exception as error:
            if not isinstance(error, StoreError):
                LOG.exception("sharing went wrong in an unexpected way")
            self._close()
            sharing = self._sharing()
            if sharing is None or self.ended:
                return False
            sharing.excuse(error)
            del sharing
            return not self._ending.wait(_PAUSE)

    def _work(self, *, changed: bool) -> bool:
        sharing = self._sharing()
        return sharing is not None and sharing.work(self, changed=changed)

    def _close(self) -> None:
        store, self.store = self.store, None
        if store is not None:
            store.close()


def _host() -> str:
    """What tells this host from others, also where many of them carry one name."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = ""
    return f"{socket.gethostname()}-{boot[:8]}"
