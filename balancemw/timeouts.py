"""Timeouts of async attempts that cost next to nothing until they fire.

``asyncio.timeout`` makes a timer per use, which alone costs more than all else that a call needs here. An attempt
instead joins those being watched on its event loop, and leaves them; one timer per loop, set for the earliest end
among them, looks through them when it fires. The rules of cancelling are those of ``asyncio.timeout``.
"""

import asyncio
import sys
import threading
from asyncio import current_task, get_running_loop
from math import inf
from threading import get_ident
from typing import Any, ClassVar

from balancemw.context import Bound, Clock

# Python 3.11 asks the kernel who it is whenever it is asked for the running loop, and looks for the task in Python.
_OLD = sys.version_info < (3, 12)
_task_of = asyncio.tasks._current_tasks.get if _OLD else current_task  # type: ignore[attr-defined]


class Watch(Bound):
    """A bound of one task, which is cancelled at its end unless it has been told before that it is over."""

    __slots__ = ("_cancelled", "_cancelling", "_open")

    _open: "dict[Watch, asyncio.Task[Any]]"  # of the loop: nothing here may hold a task, whose context holds this
    _cancelling: int
    _cancelled: "asyncio.Task[Any] | None"

    def watch(self) -> bool:
        """Watch the current task from now on; returns whether there is one: not where something else than asyncio runs.

        Whoever is watched must say `end`, however it ends.
        """
        watches = _Watches.latest
        if watches is None or not watches.tells or watches.loop._thread_id != get_ident():  # type: ignore[attr-defined]
            try:
                loop = get_running_loop()
            except RuntimeError:
                return False
            if watches is None or watches.loop is not loop:
                watches = _watches_of(loop)
        task = _task_of(watches.loop)
        if task is None:
            return False
        self._open = watches.open
        self._cancelling = task.cancelling()
        self._cancelled = None
        watches.open[self] = task
        if self.until < watches.due:
            watches.set_timer(self.until, self.clock)
        return True

    def expire(self) -> None:
        """Cancel the task: the time is up."""
        self._cancelled = task = self._open.pop(self)
        task.cancel()

    def end(self, error: BaseException | None = None) -> bool:
        """It is over, with `error`; returns whether that error is nothing but this timeout."""
        if self._open.pop(self, None) is not None:
            return False
        task, self._cancelled = self._cancelled, None
        if task is None:
            return False
        return task.uncancel() <= self._cancelling and isinstance(error, asyncio.CancelledError)


class _Watches:
    """The watches of one event loop.

    Attributes:
        latest: those of the loop that any thread ran last: most processes have but one.
        tells: whether the loop is known by its own word to be the one that runs in this thread, where to ask is dear.
    """

    __slots__ = ("_timer", "due", "loop", "open", "tells")

    latest: "ClassVar[_Watches | None]" = None

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        nested = hasattr(loop, "_nest_patched")  # by nest_asyncio: then another may run inside it
        self.tells = _OLD and isinstance(loop, asyncio.BaseEventLoop) and not nested
        self.open: dict[Watch, asyncio.Task[Any]] = {}
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
            watch.expire()
        if self.open:
            self.set_timer(min(watch.until for watch in self.open), clock)


class _OfThread(threading.local):
    """The watches of the loop that this thread ran last: loops change rarely, attempts are many."""

    watches: _Watches | None = None


_current = _OfThread()


def _watches_of(loop: asyncio.AbstractEventLoop) -> _Watches:
    watches = _current.watches
    if watches is None or watches.loop is not loop:
        watches = _current.watches = _Watches(loop)
    _Watches.latest = watches
    return watches


def forget_loops() -> None:
    """Begin anew in a child process: its parent's loop still says there that it runs."""
    _Watches.latest = _current.watches = None


def watch(until: float, clock: Clock) -> Watch | None:
    """Watch the current task until `until` on `clock`; None where no asyncio task is running."""
    watch = Watch(until, clock)
    return watch if watch.watch() else None


def timeout_of(error: BaseException | None) -> TimeoutError:
    """The timeout that a cancellation of ours stands for."""
    timeout = TimeoutError("no answer within the attempt's time")
    timeout.__cause__ = error
    return timeout
