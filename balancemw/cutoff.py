"""The end of a body whose time is up: what bounds a request from outside bounds also how long its answer is read.

An event loop has timers for that, and a task can be cancelled while it waits for a part (`PartWatch`). Nothing
interrupts a thread; but one that reads finds an end where another has shut the connection under it (`Cutoff`).
"""

import os
from collections.abc import Callable
from contextlib import suppress
from math import inf
from queue import Empty, SimpleQueue
from socket import AF_INET, SHUT_RDWR, SOCK_STREAM, fromfd
from threading import RLock, Thread
from time import monotonic

from balancemw.context import Bound, in_force, time_left
from balancemw.timeouts import Watch

_IDLE = 10.0  # seconds after which the thread ends that has nothing to wait for
_LONGEST = 3600.0  # seconds that it waits at once: to wait for longer than centuries is an error


class Cutoff:
    """The end of what a thread reads from a connection of its own.

    A socket's timeout bounds each wait for something, and what drips has no end of these.

    Args:
        bound: what bounds the reading.
        descriptor: gives that of the connection, as long as it is open; None: there is none that can be shut, and
            reading ends only where its reader asks whether it has `expired`. It must not hold on to the reader.

    Attributes:
        shut: whether the connection has been shut.
    """

    __slots__ = ("_bound", "_descriptor", "shut")

    def __init__(self, bound: Bound, descriptor: Callable[[], int] | None) -> None:
        self._bound = bound
        self._descriptor = descriptor
        self.shut = False
        if descriptor is not None:
            _all.add(self)

    @property
    def left(self) -> float | None:
        """Seconds; None: it is bounded no more, as the request has been answered for which it was made."""
        return time_left(in_force(self._bound))

    @property
    def expired(self) -> bool:
        """Whether the time is up."""
        if self.shut:
            return True
        left = self.left
        return left is not None and left <= 0.0

    def end(self) -> bool:
        """The body has ended; returns whether the connection is whole, and stays so. May be told twice."""
        if self._descriptor is None or _all.open.pop(self, self) is None:
            return True
        with _all.lock:  # as long as it may be that it is being shut
            return not self.shut

    def cut(self) -> None:
        """Shut the connection. What is in it stays there, and what reads through TLS must not know of it."""
        self.shut = True
        assert self._descriptor is not None
        with suppress(Exception), fromfd(self._descriptor(), AF_INET, SOCK_STREAM) as twin:  # it may be closed by now
            twin.shutdown(SHUT_RDWR)


class _Cutoffs:
    """Those of this process, and the thread that waits for them as long as there are any.

    Attributes:
        open: those that have not ended.
        lock: held while connections are shut; the garbage collector may end others in there.
    """

    def __init__(self) -> None:
        self.after_fork()

    def after_fork(self) -> None:
        """Begin anew in a child process, which has no thread of its parent's."""
        self._pid = os.getpid()
        self.lock = RLock()
        self.open: dict[Cutoff, None] = {}
        self._due = inf  # when the thread looks, on `monotonic`; infinity also where there is no thread
        self._running = False
        self._rouse: SimpleQueue[None] = SimpleQueue()

    def add(self, cutoff: Cutoff) -> None:
        """Wait for one more."""
        if self._pid != os.getpid():
            self.after_fork()
        left = cutoff.left
        due = inf if left is None else monotonic() + left
        with self.lock:
            self.open[cutoff] = None
            if due >= self._due:
                return
            self._due = due
            if self._running:
                self._rouse.put(None)
                return
            self._running = True
        try:
            Thread(target=self._wait, name="balancemw-cutoff", daemon=True).start()
        except RuntimeError:  # as many as the system allows, or the interpreter is about to end
            self._running, self._due = False, inf

    def _wait(self) -> None:
        wait = self._look(idle=False)
        while wait is not None:
            idle = not self.open
            try:
                self._rouse.get(timeout=wait)
            except Empty:
                wait = self._look(idle)
            else:
                wait = self._look(idle=False)

    def _look(self, idle: bool) -> float | None:
        """Cut off what is due; returns the seconds until the next look, or None: there is to be none."""
        with self.lock:
            least = inf
            for cutoff in list(self.open):
                left = cutoff.left
                if left is not None and left > 0.0:
                    least = min(least, left)
                elif self.open.pop(cutoff, self) is None and left is not None:
                    cutoff.cut()
            self._due = monotonic() + least
            if idle and not self.open:
                self._running = False
                return None
            return min(least, _LONGEST) if self.open else _IDLE


_all = _Cutoffs()


class PartWatch(Watch):
    """Watches a task whenever it waits for a part of a body, until `outer` is over, which is what bounds the body."""

    __slots__ = ()

    def __init__(self, outer: Bound) -> None:
        super().__init__(outer.until, outer.clock, outer)

    @property
    def left(self) -> float | None:
        """Seconds; None: it is bounded no more."""
        return time_left(in_force(self.outer))

    @property
    def expired(self) -> bool:
        """Whether the time is up."""
        left = self.left
        return left is not None and left <= 0.0

    def expire(self) -> None:
        """As `Watch`, unless it is bounded no more."""
        if self.left is None:
            self._open.pop(self)
        else:
            super().expire()
