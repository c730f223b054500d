"""Where workers meet: marks, leases, heartbeats and the journal, behind one small interface.

Used by one background thread per process and never by a call, so everything may block for a little; what takes longer,
or fails, is a `StoreError`, after which the thread opens the store anew. Times are seconds since the epoch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event as Wake
from typing import Protocol

from balancemw.journal import Event
from balancemw.stores.claim import Claim

__all__ = ["Claim", "Cursor", "Page", "Store", "StoreError", "StoreReplaced", "open_store"]

PATIENCE = 1.0
"""Seconds after which a store that does not answer is taken for lost."""

KEPT = 10_000
"""Entries that the journal keeps."""

FORGOTTEN = 7 * 24 * 3600.0
"""Seconds after which nobody needs to be told any more of a mark that was cleared or has ended."""


class StoreError(Exception):
    """The store cannot be used now; the text says why and holds no secret."""


class StoreReplaced(StoreError):
    """What was there could not be used and was set aside; with the next opening all begins anew."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a worker has read.

    Attributes:
        generation: which store it was: one that was lost and made anew has another.
        revision: of the newest claim read.
    """

    generation: str = ""
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """What a store has to tell.

    Attributes:
        cursor: from where to read on.
        claims: the newest of each key, in the store's order.
        anew: whether the store is not the one of the caller's cursor: then nothing was written, and this is all of it.
    """

    cursor: Cursor
    claims: Sequence[Claim]
    anew: bool = False


class Store(Protocol):
    """A place that all workers can reach. Every method may raise `StoreError`."""

    def exchange(self, claims: Sequence[Claim], cursor: Cursor) -> Page:
        """Write `claims` and read what is new since `cursor`, as one step.

        The last writer wins, but a claim that is late, or was overtaken on its way (see `Claim.yields`), yields to one
        that was made after it; then that one is read.
        """
        ...

    def append(self, writer: str, entries: Sequence[tuple[int, Event]], above: int) -> None:
        """Add events to the journal, each once however often it is tried.

        Args:
            writer: whose they are.
            entries: the events, each with the writer's own number for it, ascending.
            above: the numbers that the store gives them must be above this one.
        """
        ...

    def read(self, after: int, limit: int) -> list[Event]:
        """The journal's newest `limit` entries of those above `after`, oldest first."""
        ...

    def hold(self, name: str, holder: str, ttl: float) -> bool:
        """Take the lease `name` for `ttl` seconds from now, or prolong it; False while someone else holds it."""
        ...

    def release(self, name: str, holder: str) -> None:
        """Give the lease back, if `holder` has it."""
        ...

    def beat(self, worker: str, ttl: float, figures: str) -> list[str]:
        """Say that the worker lives, for `ttl` seconds; returns what `figures` does, its own among it."""
        ...

    def figures(self) -> list[str]:
        """The figures of all workers that live on this host."""
        ...

    def leave(self, worker: str) -> None:
        """The worker ends."""
        ...

    def wait(self, wake: Wake, seconds: float) -> bool:
        """Wait until `wake` is set or others have changed something, not longer than `seconds`; whether they have."""
        ...

    def close(self) -> None:
        """Let go of it; raises nothing."""
        ...


def open_store(kind: str, place: str, host: str) -> Store:
    """The store of the setting ``state``.

    Args:
        kind: ``"sqlite"`` or ``"redis"``.
        place: a path or a url.
        host: what tells this host from others that use the same one; those who share a file are one host.

    Raises:
        StoreError: it cannot be reached.
    """
    if kind == "sqlite":
        from balancemw.stores.sqlite import SqliteStore  # noqa: PLC0415  only who uses it needs it

        return SqliteStore(place)
    from balancemw.stores.redis import RedisStore  # noqa: PLC0415

    return RedisStore(place, host)
