"""A daemon thread that works as long as its owner lives, and shows that it does."""

import os
import time
from collections.abc import Callable
from threading import Thread, current_thread


class Daemon:
    """One thread of this process, from its beginning to its end.

    Args:
        name: of the thread.
        live: what it does, until that returns; it calls `show` now and then.
    """

    def __init__(self, name: str, live: Callable[[], object]) -> None:
        self._pid = os.getpid()
        self._thread = Thread(target=live, name=name, daemon=True)
        self.show()

    def show(self) -> None:
        """Give a sign of life."""
        self._seen_at = time.monotonic()

    def alive(self, patience: float) -> bool:
        """Whether it gave a sign within `patience` seconds; that the thread exists says little."""
        return time.monotonic() - self._seen_at < patience

    def begin(self) -> bool:
        """Start the thread; returns whether that was possible."""
        try:
            self._thread.start()
        except RuntimeError:
            return False
        return True

    def end(self, rouse: Callable[[], object], patience: float) -> None:
        """Call `rouse`, whereupon the thread sees that its time is over, and wait so many seconds for it to end."""
        if self._pid != os.getpid():  # the thread is our parent's, and `is_alive` may say here that it is alive
            return
        rouse()
        if self._thread.is_alive() and self._thread is not current_thread():
            self._thread.join(patience)
