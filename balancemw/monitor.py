"""The monitor: one daemon thread per process that finds and checks nodes, on an event loop and a session of its own."""

import asyncio
import time
import weakref
from collections.abc import Callable, Coroutine, Iterable
from math import inf
from random import Random
from threading import Lock

import aiohttp

from balancemw.alerts import Inquiry
from balancemw.checks import Check, Loop, NotMade, Outcome, open_session
from balancemw.context import Clock
from balancemw.daemon import Daemon
from balancemw.discovery import Finder
from balancemw.events import LOG
from balancemw.peer import Peer
from balancemw.pool import Pool
from balancemw.probe import Probe

_AT_ONCE = 100  # checks under way at a time, over all services
_LONGEST_SLEEP = 5.0  # seconds, real ones like all below; each time it wakes the monitor shows that it is alive
_POLL = 0.05  # the same where the balancer's clock is not the real one, and may be moved at any time
_DEAD_AFTER = 30.0  # without a sign of life it is taken for dead and replaced
_FOLLOW = 0.25  # how often a worker that another one checks for looks whether it is to take over
_FAREWELL = 2.0  # how long `stop` waits for the thread to end


class Monitor:
    """Checks the nodes of services that have a ``probe``, and finds those of services that have a ``discovery``.

    Methods may be called from any thread.

    Args:
        pools: the services' pools.
        clock: the balancer's clock, on which the checks are planned. Their timeouts run on the real one.
        rng: spreads the checks.
        leads: whether this process makes the checks of the service of that name; else another one does.
        errands: what else is to be asked from time to time.
    """

    def __init__(
        self,
        pools: Iterable[Pool],
        *,
        clock: Clock,
        rng: Random,
        leads: Callable[[str], bool] = lambda _: True,
        errands: Iterable[Inquiry] = (),
    ) -> None:
        self._clock = clock
        pools = list(pools)
        self._leads = leads
        self._led: set[str] = set()
        self._errands = tuple(errands)
        self._probed = [
            (Probe(pool, settings, rng), Check(settings, "" if pool.settings.host_header == "node" else pool.name))
            for pool in pools
            if (settings := pool.settings.probe)
        ]
        self._finders = [Finder(pool, source, clock, rng) for pool in pools if (source := pool.settings.discovery)]
        self._needed = bool(self._probed or self._finders or self._errands)
        self._followed: _Life | None = None  # the life in which the sources are asked
        self._lock = Lock()
        self._life: _Life | None = None
        self._hindered = False

    def ensure(self) -> None:
        """See to it that the thread runs, if there is anything to do. Costs next to nothing when it does."""
        life = self._life
        if not self._needed or (life is not None and life.thread.alive(_DEAD_AFTER)):
            return
        with self._lock:
            if self._life is not life:  # another caller was quicker
                return
            started = self._begin()
        if life is not None:
            LOG.warning("the monitor thread gave no sign of life for %g s: another takes its place", _DEAD_AFTER)
        if not started:
            LOG.warning("the monitor thread cannot be started: nodes are not found or checked for now")

    def _begin(self) -> bool:
        now = self._clock()
        for probe, _ in self._probed:
            probe.start(now)
        for finder in self._finders:
            finder.start()
        for errand in self._errands:
            errand.begin()
        self._life = _Life(self)  # also where it cannot begin: the next try comes when this one is taken for dead
        if self._life.thread.begin():
            return True
        self._rest()
        return False

    def _rest(self) -> None:
        for probe, _ in self._probed:
            probe.stop()
        for finder in self._finders:
            finder.stop()
        self._followed = None

    def hasten(self, pool: Pool, peer: Peer) -> None:
        """Have a peer checked at once, if its service has a probe."""
        for probe, _ in self._probed:
            if probe.pool is pool:
                probe.hasten(peer)
        life = self._life
        if life is not None:
            life.rouse()

    def stop(self) -> None:
        """End the thread; `ensure` starts another. What is known of the nodes stays."""
        with self._lock:
            life, self._life = self._life, None
            self._rest()
        if life is not None:
            life.thread.end(life.rouse, _FAREWELL)

    def after_fork(self) -> None:
        """Forget, in a child process, the thread that lives in the parent only."""
        self._lock = Lock()
        self._life = None
        self._rest()
        for _, check in self._probed:
            check.after_fork()
        for finder in self._finders:
            finder.start()  # with the first call

    # -- in the thread

    def advance(self, life: "_Life", session: aiohttp.ClientSession) -> float | None:
        """Begin the checks that are due; returns the seconds until there may be more, None when `life` is over."""
        if self._life is not life:
            return None
        if self._followed is not life:
            self._followed = life
            for finder in self._finders:
                life.work_on(finder.follow(session))
        now, soonest = self._clock(), inf
        for probe, check in self._probed:
            if not self._takes(probe, now):
                soonest = min(soonest, now + _FOLLOW)
                continue
            for peer in probe.due(now):
                life.work_on(self._check(life, session, probe, check, peer))
            soonest = min(soonest, probe.next_due)
        for errand in self._errands:
            if now >= errand.next_due:
                life.work_on(self._run(life, errand, session))
            soonest = min(soonest, errand.next_due)
        longest = _LONGEST_SLEEP if self._clock is time.monotonic else _POLL
        return min(max(soonest - now, 0.0), longest)

    def _takes(self, probe: Probe, now: float) -> bool:
        """Whether the checks of the service are ours to make."""
        if not self._leads(probe.service):
            self._led.discard(probe.service)
            probe.follow(now)
            return False
        if probe.service not in self._led:
            self._led.add(probe.service)
            probe.start(now)
        return True

    async def _check(
        self, life: "_Life", session: aiohttp.ClientSession, probe: Probe, check: Check, peer: Peer
    ) -> None:
        try:
            async with life.turns:
                if not self._leads(probe.service):  # it took long to come to its turn, or the process was stopped
                    return
                outcome = await self._outcome(check, peer, session)
            if self._life is life and self._leads(probe.service):
                self._conclude(probe, peer, outcome)
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException:  # a listener that exits, too: it would end the thread and not the process
            LOG.exception("checking %s went wrong in an unexpected way", peer.node.url)
            probe.postpone(peer, self._clock())
        life.wake.set()

    @staticmethod
    async def _run(life: "_Life", errand: Inquiry, session: aiohttp.ClientSession) -> None:
        try:
            await errand.run(session)
        except Exception:
            LOG.exception("%r went wrong in an unexpected way", errand)
        life.wake.set()

    async def _outcome(self, check: Check, peer: Peer, session: aiohttp.ClientSession) -> Outcome | None:
        try:
            outcome = await check(peer.node, session)
        except NotMade as error:
            if not self._hindered:
                self._hindered = True
                LOG.warning("nodes cannot be checked, which is not their fault: %s", error)
            return None
        self._hindered = False
        return outcome

    def _conclude(self, probe: Probe, peer: Peer, outcome: Outcome | None) -> None:
        now = self._clock()
        if outcome is None:
            probe.postpone(peer, now)
        elif outcome.said:
            probe.heed(peer, outcome.said, now)
        else:
            probe.record(peer, outcome.passed, outcome.reason, now, outcome.fault)


class _Life:
    """One thread with its event loop, from its beginning to its end.

    It holds its monitor only while it works, so that a balancer which nobody uses any more can go, and it with that.

    Attributes:
        thread: the thread.
        wake: ends the thread's sleep; set from within the loop.
        turns: of the checks under way.
    """

    def __init__(self, monitor: Monitor) -> None:
        self.wake = asyncio.Event()
        self.turns = asyncio.Semaphore(_AT_ONCE)
        self._monitor = weakref.ref(monitor)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.thread = Daemon("balancemw-monitor", self._live)

    def rouse(self) -> None:
        """End the thread's sleep."""
        if self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(self.wake.set)
            except RuntimeError:  # it has ended
                pass

    def work_on(self, work: Coroutine[object, object, None]) -> None:
        """Run `work` beside what else is under way."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)  # the loop itself does not keep it alive
        task.add_done_callback(self._tasks.discard)

    def _live(self) -> None:
        try:
            with asyncio.Runner(loop_factory=Loop) as runner:
                runner.run(self._work())
        except BaseException:
            LOG.exception("the monitor thread ended unexpectedly")

    async def _work(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with open_session() as session:
            while (pause := self._step(session)) is not None:
                self.thread.show()
                await self._sleep(pause)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _step(self, session: aiohttp.ClientSession) -> float | None:
        monitor = self._monitor()
        if monitor is None:
            return None
        try:
            return monitor.advance(self, session)
        except Exception:
            LOG.exception("the monitor went wrong in an unexpected way")
            return _LONGEST_SLEEP

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.wake.wait()
        except TimeoutError:
            pass
        self.wake.clear()
