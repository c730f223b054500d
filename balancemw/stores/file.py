"""The file of a sqlite database, which may be deleted or damaged while workers use it."""

import fcntl
import os
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress

_COMPANIONS = ("-wal", "-shm", "-journal")
_PATIENCE = 0.5  # seconds to wait for a worker that opens the file or sets it aside
_STEP = 0.01

Identity = tuple[int, int]


def identity(path: str) -> Identity | None:
    """What tells the file at `path` from another of the same name; None: there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


class File:
    """A database file and its companions. All but `locked` is for those who have locked it.

    Attributes:
        path: where it is.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    @contextmanager
    def locked(self) -> Generator[None, None, None]:
        """Keep other workers from opening or moving the file meanwhile.

        Raises:
            OSError: another has it for too long, or the lock cannot be made.
        """
        lock = os.open(f"{self.path}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o666)
        try:
            end = time.monotonic() + _PATIENCE
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > end:
                        raise
                    time.sleep(_STEP)
            yield
        finally:
            os.close(lock)

    def clean(self) -> None:
        """Where the database is gone its companions must not outlive it: sqlite would put the two together."""
        if identity(self.path) is None:
            for suffix in _COMPANIONS:
                with suppress(FileNotFoundError):
                    os.unlink(self.path + suffix)

    def set_aside(self, known: Identity | None) -> str | None:
        """Rename the file, if it is still the one that is `known`; returns its new name."""
        if known is None or identity(self.path) != known:
            return None  # another worker was quicker
        stamp = time.strftime("%Y%m%dT%H%M%S")
        aside = f"{self.path}.corrupt-{stamp}-{os.getpid()}"
        os.rename(self.path, aside)
        for suffix in _COMPANIONS:
            with suppress(FileNotFoundError):
                os.rename(self.path + suffix, aside + suffix)
        return aside
