"""A bounded number of threads, for what would otherwise hold up its caller. They come when needed and go when idle."""

import os
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Lock, Thread

MOST = 64
"""Threads in all: each stands for one try that waits for its node, and takes little but its stack."""

SPARE = 16
"""Of these, those that only a second try gets: first ones in all of them would leave no hedge."""

_IDLE = 10.0  # seconds after which a thread that has nothing to do ends

Job = Callable[[], object]
_Inbox = SimpleQueue[Job | None]


class Threads:
    """Daemon threads that do jobs, of which none ever waits for a thread: it gets one at once, or none.

    Daemons, because nothing interrupts a thread, and a job that nobody waits for any more must not hold up the exit.

    Args:
        most: how many at once.
        idle: seconds after which one that has nothing to do ends.
    """

    def __init__(self, most: int = MOST, idle: float = _IDLE) -> None:
        self._most = most
        self._wait = idle
        self.after_fork()

    def after_fork(self) -> None:
        """Begin anew in a child process, which has none of its parent's threads."""
        self._pid = os.getpid()
        self._lock = Lock()
        self._idle: list[_Inbox] = []
        self._count = 0

    @property
    def count(self) -> int:
        """How many there are."""
        return self._count

    def start(self, job: Job, *, spare: int = 0) -> bool:
        """Do `job` in a thread, unless that would leave fewer than `spare` free; returns whether it is being done.

        `job` must not raise.
        """
        if self._pid != os.getpid():  # of a server that forks without a word
            self.after_fork()
        with self._lock:
            if self._count - len(self._idle) >= self._most - spare:
                return False
            inbox = self._idle.pop() if self._idle else None
            self._count += inbox is None
        if inbox is not None:
            inbox.put(job)
            return True
        return self._add(job)

    def _add(self, job: Job) -> bool:
        inbox: _Inbox = SimpleQueue()
        inbox.put(job)
        try:
            Thread(target=self._work, args=(inbox,), name="balancemw-try", daemon=True).start()
        except RuntimeError:  # as many as the system allows, or the interpreter is about to end
            with self._lock:
                self._count -= 1
            return False
        return True

    def _work(self, inbox: _Inbox) -> None:
        while True:
            try:
                job = inbox.get(timeout=self._wait)
            except Empty:
                if self._retire(inbox):
                    return
                job = inbox.get()  # it was being given one just then
            if job is None:
                return
            job()
            del job  # and all that it holds on to
            with self._lock:
                self._idle.append(inbox)

    def _retire(self, inbox: _Inbox) -> bool:
        with self._lock:
            if inbox not in self._idle:
                return False
            self._idle.remove(inbox)
            self._count -= 1
            return True

    def close(self) -> None:
        """End those that are idle; the others go when they have been idle for a while. New jobs still get threads."""
        with self._lock:
            idle, self._idle = self._idle, []
            self._count -= len(idle)
        for inbox in idle:
            inbox.put(None)
