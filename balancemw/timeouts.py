"""Timeouts of async attempts that cost next to nothing until they fire.

``asyncio.timeout`` makes a timer per use, which alone costs more than all else that a call needs here. An attempt
instead joins the set of those being watched on its event loop, and leaves it; one timer per loop, set for the
earliest end in that set, looks through it when it fires. The rules of cancelling are those of ``asyncio.timeout``.
"""

import asyncio
import threading
from asyncio import current_task, get_running_loop
from math import inf
from typing import Any

from balancemw.context import Bound, Clock


class Watch(Bound):
    """A bound of one task, which is cancelled at its end unless it has been told before that it is over."""

    __slots__ = ("_cancelling", "_expired", "_open", "_task")

    _open: "set[Watch]"
    _task: "asyncio.Task[Any]"
    _cancelling: int
    _expired: bool

    def watch(self) -> bool:
        """Watch the current task from now on; returns whether there is one: not where something else than asyncio runs.

        Whoever is watched must say `end`, however it ends.
        """
        try:
            loop = get_running_loop()
        except RuntimeError:
            return False
        task = current_task(loop)
        if task is None:
            return False
        watches = _current.watches
        if watches is None or watches.loop is not loop:
            watches = _current.watches = _Watches(loop)
        self._open = watches.open
        self._task = task
        self._cancelling = task.cancelling()
        self._expired = False
        watches.open.add(self)
        if self.until < watches.due:
            watches.set_timer(self.until, self.clock)
        return True

    def expire(self) -> None:
        """Cancel the task: the time is up."""
        self._expired = True
        self._task.cancel()

    def end(self, error: BaseException | None = None) -> bool:
        """It is over, with `error`; returns whether that error is nothing but this timeout."""
        self._open.discard(self)
        if not self._expired:
            return False
        return self._task.uncancel() <= self._cancelling and isinstance(error, asyncio.CancelledError)


class _Watches:
    """The watches of one event loop."""

    __slots__ = ("_timer", "due", "loop", "open")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.open: set[Watch] = set()
        self.due = inf
        self._timer: asyncio.TimerHandle | None = None

    def set_timer(self, until: float, clock: Clock) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.due = until
        self._timer = self.loop.call_later(max(0.0, until - clock()), self._fire, clock)

    def _fire(self, clock: Clock) -> None:
        due, self.due, self._timer = self.due, inf, None
        for watch in [watch for watch in self.open if watch.until <= due]:
            self.open.discard(watch)
            watch.expire()
        if self.open:
            self.set_timer(min(watch.until for watch in self.open), clock)


class _OfThread(threading.local):
    """The watches of the loop that this thread ran last: loops change rarely, attempts are many."""

    watches: _Watches | None = None


_current = _OfThread()


def watch(until: float, clock: Clock) -> Watch | None:
    """Watch the current task until `until` on `clock`; None where no asyncio task is running."""
    watch = Watch(until, clock)
    return watch if watch.watch() else None
