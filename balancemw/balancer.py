"""The front door: services by name, decorators, and the life of what runs in the background."""

import atexit
import os
import random
import time
import weakref
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from balancemw.alerts import Desk, Inquiry
from balancemw.arguments import check_service
from balancemw.context import REQUEST, Clock, Request
from balancemw.decorator import Decorator, as_decorator
from balancemw.errors import BalancerNotConfigured, UnknownService, did_you_mean
from balancemw.events import Events, Listener, News
from balancemw.journal import Journal
from balancemw.monitor import Monitor
from balancemw.pool import Pool
from balancemw.presence import Presence
from balancemw.retry import RetryPolicy
from balancemw.service import CallOptions, Key, Service
from balancemw.settings import Settings
from balancemw.sharing import Sharing
from balancemw.status import service_status
from balancemw.threads import Threads
from balancemw.timeouts import forget_loops


class Balancer:
    """Spreads the calls of an app over the replicas of its services, and keeps them away from sick ones.

    Making one validates the settings and opens nothing: background work begins with the first call. One balancer
    serves all threads and event loops of a process, and a forked process goes on with a copy of what it knew.

    Args:
        settings: a mapping, `Settings`, or the path of a TOML file; None: what ``BALANCEMW_SETTINGS`` names.
        clock: like ``time.monotonic``; for tests.
        rng: what is left to chance; for tests.
        sleep: like ``time.sleep``, used between the tries of sync calls; for tests.

    Attributes:
        settings: what it was made of.
        alerts: where alerts arrive; not part of the public interface.
        presence: how it is with the app itself; likewise.

    Raises:
        SettingsError: the settings are wrong, with every problem.
    """

    def __init__(
        self,
        settings: Settings | Mapping[str, object] | str | os.PathLike[str] | None = None,
        *,
        clock: Clock = time.monotonic,
        rng: random.Random | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.settings = Settings.load(settings)
        self._clock = clock
        self._rng = rng or random.Random()
        self._epoch = time.time() - clock()
        self._pid = os.getpid()
        self._closed = False
        self._events = Events(lambda: clock() + self._epoch)
        self._threads = Threads()
        self._services = {name: self._service(name, sleep) for name in self.settings.services}
        pools = [service.pool for service in self._services.values()]
        alerts, news = self.settings.alerts, News(self._events, "")
        self.alerts = Desk(alerts, pools, news=news, epoch=self._epoch)
        errands = [Inquiry(alerts, self.alerts, news=news, clock=clock, rng=self._rng)] if alerts.url else []
        self._sharing = self._share(pools)
        self._monitor = Monitor(pools, clock=clock, rng=self._rng, leads=self._leads, errands=errands)
        self.alerts.hasten = self._monitor.hasten
        self._events.journal.catch_up = self._sum_up
        inbound = self.settings.inbound
        self.presence = Presence(inbound.health_path, inbound.drain_seconds, reports=inbound.report_load)
        _alive.add(self)

    def drain(self, reason: str = "asked to") -> None:
        """Have the app say that it is going, in its health document and in every answer, so that calls stay away."""
        self.presence.drain(reason)

    def resume(self) -> None:
        """Take `drain` back."""
        self.presence.resume()

    def report_utilization(self, utilization: Callable[[], float]) -> None:
        """Have the app's load reports say what it knows better than anybody: how much of what it can do is in use.

        Args:
            utilization: called for every report; 0 and up, where 1.0 is all that the app can do: the share of a pool of
                connections in use, or the length of a queue relative to what is a long one. It must not block.
        """
        self.presence.utilization = utilization

    def _service(self, name: str, sleep: Callable[[float], object]) -> Service:
        tend, settings = self._housekeeping, self.settings.services[name]
        pool = Pool(name, settings, rng=self._rng, events=self._events, housekeeping=tend)
        return Service(pool, clock=self._clock, rng=self._rng, sleep=sleep, threads=self._threads, housekeeping=tend)

    def _share(self, pools: list[Pool]) -> Sharing | None:
        state = self.settings.state
        if state.kind == "memory":
            return None
        sharing = Sharing(state, pools, events=self._events, clock=self._clock, epoch=self._epoch)
        sharing.share_alerts(self.alerts)
        return sharing

    def _leads(self, service: str) -> bool:
        return self._sharing is None or self._sharing.leads(service)

    def __repr__(self) -> str:
        return f"<Balancer of {', '.join(self._services) or 'no services'}>"

    @property
    def services(self) -> Mapping[str, Service]:
        """The services by name."""
        return dict(self._services)

    def __getitem__(self, name: str) -> Service:
        try:
            return self._services[name]
        except KeyError:
            known = f" (known: {', '.join(self._services)})" if self._services else ""
            raise UnknownService(f"no service {name!r}{did_you_mean(str(name), self._services)}{known}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._services

    def call(
        self,
        name: str,
        *,
        idempotent: bool = False,
        key: Key = None,
        timeout: float | None = None,
        attempts: int | None = None,
        retry: RetryPolicy | None = None,
    ) -> Decorator:
        """Decorate a function that calls service `name`; it gets the chosen `Node` first (after ``self``).

        Args:
            name: the service.
            idempotent: whether sending it twice does no harm. What may have reached a replica is sent again only then.
            key: for strategies that go by key: a string, or a callable of the call's arguments without the node.
            timeout: seconds for the whole call with all tries and waits; None: the service's.
            attempts: tries in all; None: the service's.
            retry: a policy of one's own instead of `attempts`.

        Raises:
            UnknownService: there is no such service.
            TypeError, ValueError: an argument makes no sense, or the function is a generator or a context manager.
        """
        check_service(name, "balancer.call")
        terms = self[name].terms(CallOptions(idempotent, timeout, attempts, retry))
        return as_decorator(terms, key)

    def start(self) -> None:
        """Begin background work now instead of with the first call."""
        self._closed = False
        self._housekeeping()

    def close(self) -> None:
        """End background work. Calls still work; `start` begins it again."""
        self._closed = True
        self._monitor.stop()
        self._threads.close()
        if self._sharing is not None:
            self._sharing.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` with every `Event`, in the thread where it happens; returns what ends that."""
        return self._events.subscribe(listener)

    @property
    def journal(self) -> Journal:
        """The latest events, for those who come later than `subscribe` would need."""
        return self._events.journal

    def status(self) -> dict[str, object]:
        """What is known of every service and node, as plain JSON-able data; times are seconds since the epoch."""
        now = self._clock()
        self.alerts.keep_up(now)
        status: dict[str, object] = {
            "services": {name: service_status(each.pool, now, self._epoch) for name, each in self._services.items()}
        }
        if self.settings.admin.token or self.settings.alerts.url:  # else none can come
            status["alerts"] = self.alerts.status()
        return status

    def receive_alerts(self, document: object) -> dict[str, int]:
        """`Desk.receive` a webhook, from now on also in the background."""
        self._housekeeping()
        return self.alerts.receive(document, self._clock())

    def _housekeeping(self) -> None:
        # A fork is noticed by the process id: servers that fork in C do not run Python's at-fork hooks.
        if self._pid != os.getpid():
            self.after_fork()
        if not self._closed:
            if self._sharing is not None:
                self._sharing.ensure()
            self._monitor.ensure()
        self.alerts.keep_up(self._clock())

    def _sum_up(self) -> None:
        now = self._clock()
        for service in self._services.values():
            service.pool.sum_up(now)

    def after_fork(self) -> None:
        """Begin anew in a child process. It is noticed by itself; only a server that hides its forks need say so."""
        self._pid = os.getpid()
        self._rng.seed()  # or every worker would draw the same numbers
        forget_loops()
        self._monitor.after_fork()
        self._threads.after_fork()
        self.presence.after_fork()
        self.alerts.after_fork()
        if self._sharing is not None:
            self._sharing.after_fork()
        for service in self._services.values():
            service.pool.after_fork()


_alive: "weakref.WeakSet[Balancer]" = weakref.WeakSet()
_process = Request(None)  # what holds where no request is being served
_provide: Callable[[], Balancer] | None = None  # where that is asked for its balancer as long as it has none


def configure(settings: Settings | Mapping[str, object] | str | os.PathLike[str] | None = None) -> Balancer:
    """Make a balancer and install it as the process's own, for `balanced` outside of requests.

    Raises:
        SettingsError: the settings are wrong; then the former one stays.
    """
    return install(Balancer(settings))


def install(balancer: Balancer) -> Balancer:
    """Make `balancer` the process's own and return it; a TypeError if it is none."""
    if not isinstance(balancer, Balancer):  # its type alone is told: settings have secrets
        raise TypeError(f"balancer= is a Balancer, no {type(balancer).__name__}; what one is made of is settings=")
    _process.balancer = balancer
    return balancer


def install_lazily(provide: Callable[[], Balancer]) -> None:
    """Make the process's own whatever `provide()` returns. It is asked at each use, and not before."""
    global _provide  # noqa: PLW0603  a process has one
    _provide = provide
    _process.balancer = None


def current() -> Balancer:
    """The balancer of the current request, else the process's own.

    Raises:
        BalancerNotConfigured: there is neither.
    """
    balancer: Balancer | None = (REQUEST.get() or _process).balancer
    if balancer is not None:
        return balancer
    if _provide is not None:
        return _provide()
    raise BalancerNotConfigured(
        "no balancer here: add the middleware to the app, or call balancemw.configure(settings) first"
    )


def _in_child() -> None:
    for balancer in list(_alive):
        balancer.after_fork()


def _at_exit() -> None:
    for balancer in list(_alive):
        balancer.close()


os.register_at_fork(after_in_child=_in_child)
atexit.register(_at_exit)
