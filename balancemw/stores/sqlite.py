"""State in a file of sqlite's, shared by the workers of one host."""

import sqlite3
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from threading import Event as Wake
from uuid import uuid4

from balancemw.journal import Event
from balancemw.stores import FORGOTTEN, KEPT, Claim, Cursor, Page, StoreError, StoreReplaced
from balancemw.stores.claim import Key, read_claim
from balancemw.stores.entry import entry_text, read_entry
from balancemw.stores.file import File, identity

_BUSY = 0.25  # seconds to wait for other workers' writing
_LOOK = 0.05  # seconds between looks for what others have written: within twice that all know

_SCHEMA = """
CREATE TABLE IF NOT EXISTS about (one INTEGER PRIMARY KEY, generation TEXT NOT NULL, revision INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS claims (service TEXT, url TEXT, source TEXT, revision INTEGER NOT NULL UNIQUE,
    at REAL NOT NULL, ends REAL, text TEXT NOT NULL, PRIMARY KEY (service, url, source)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS leases (name TEXT PRIMARY KEY, holder TEXT NOT NULL, until REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS workers (worker TEXT PRIMARY KEY, until REAL NOT NULL, figures TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS journal (id INTEGER PRIMARY KEY, writer TEXT NOT NULL, number INTEGER NOT NULL,
    text TEXT NOT NULL, UNIQUE (writer, number));
"""
_MADE = "SELECT count(*) FROM sqlite_master WHERE name = 'about'"
_ABOUT = "SELECT generation, revision FROM about"
_NEWER = "SELECT service, url, source, text FROM claims WHERE revision > ? ORDER BY revision"
_ONE = "SELECT at, text FROM claims WHERE service = ? AND url = ? AND source = ?"


class SqliteStore:
    """A `Store` in the file at `path`, which is made where there is none. Used by one thread.

    A file that is damaged is renamed to ``….corrupt-<time>``; one that was deleted is made anew.

    Raises:
        StoreError: the file cannot be opened.
        StoreReplaced: it was damaged, and another will take its place.
    """

    def __init__(self, path: str) -> None:
        self._file = File(path)
        self._seen = -1
        with self._guarded(), self._file.locked():
            self._file.clean()
            # isolation_level None: transactions are begun and ended here, in so many words.
            self._db = sqlite3.connect(path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
            self._identity = identity(path)
            self._prepare()
            self._log = identity(f"{path}-wal")

    def _prepare(self) -> None:
        try:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")  # a crash of the machine may cost the last second
            if not self._db.execute(_MADE).fetchone()[0]:
                self._db.executescript(_SCHEMA)
            with self._writing():
                self._db.execute("INSERT OR IGNORE INTO about VALUES (1, ?, 0)", (uuid4().hex,))
        except sqlite3.Error:
            self.close()
            raise

    # -- errors

    @contextmanager
    def _guarded(self) -> Generator[None, None, None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            damaged = type(error) is sqlite3.DatabaseError  # no database, or no longer one; its subclasses are milder
            aside = self._set_aside() if damaged else None
            if aside is not None:
                raise StoreReplaced(f"{self._file.path}: {error}; set aside as {aside}") from error
            raise StoreError(f"{self._file.path}: {error}") from error

    def _set_aside(self) -> str | None:
        self.close()
        with self._file.locked():
            return self._file.set_aside(getattr(self, "_identity", None))

    @contextmanager
    def _writing(self) -> Generator[None, None, None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            with suppress(sqlite3.Error):  # a full disk ends the transaction by itself
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # -- marks

    def exchange(self, claims: Sequence[Claim], cursor: Cursor) -> Page:
        with self._guarded():
            generation, revision = self._db.execute(_ABOUT).fetchone()
            if generation != cursor.generation:
                return Page(*self._read(Cursor(generation), ()), anew=True)
            if not claims and revision == cursor.revision:
                return Page(cursor, ())
            lost: list[Key] = []
            if claims:
                with self._writing():
                    lost = [claim.key for claim in claims if not self._write(claim)]
            return Page(*self._read(cursor, lost))

    def _write(self, claim: Claim) -> bool:
        """Write it; False when there is a newer one to which it yields."""
        if claim.yields:
            found = self._db.execute(_ONE, claim.key).fetchone()
            if found is not None and 0.0 < found[0] - claim.at < claim.yields:
                return False
        revision = self._db.execute("UPDATE about SET revision = revision + 1 RETURNING revision").fetchone()[0]
        now = time.time()
        ends = None if claim.ends is None else max(claim.ends, now)
        row = (*claim.key, revision, claim.at, ends, claim.text())
        self._db.execute("INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        self._db.execute("DELETE FROM claims WHERE ends < ?", (now - FORGOTTEN,))
        return True

    def _read(self, cursor: Cursor, lost: Sequence[Key]) -> tuple[Cursor, list[Claim]]:
        self._db.execute("BEGIN")
        try:
            revision = self._db.execute(_ABOUT).fetchone()[1]
            rows = self._db.execute(_NEWER, (cursor.revision,)).fetchall()
            rows += [(*key, self._db.execute(_ONE, key).fetchone()[1]) for key in lost]
        finally:
            self._db.execute("COMMIT")
        found = (read_claim((service, url, source), text) for service, url, source, text in rows)
        return Cursor(cursor.generation, revision), [claim for claim in found if claim is not None]

    # -- the journal

    def append(self, writer: str, entries: Sequence[tuple[int, Event]], above: int) -> None:
        with self._guarded(), self._writing():
            last = max(above, self._db.execute("SELECT coalesce(max(id), 0) FROM journal").fetchone()[0])
            for number, event in entries:
                row = (last + 1, writer, number, entry_text(event))
                last += self._db.execute("INSERT OR IGNORE INTO journal VALUES (?, ?, ?, ?)", row).rowcount
            self._db.execute("DELETE FROM journal WHERE id <= ?", (last - KEPT,))

    def read(self, after: int, limit: int) -> list[Event]:
        with self._guarded():
            newest = "SELECT id, text FROM journal WHERE id > ? ORDER BY id DESC LIMIT ?"
            rows = self._db.execute(newest, (after, limit)).fetchall()
        return [event for number, text in reversed(rows) if (event := read_entry(number, text)) is not None]

    # -- leases and workers

    def hold(self, name: str, holder: str, ttl: float) -> bool:
        with self._guarded():
            if self._held_by_another(name, holder, ttl):
                return False  # without writing, as most often
            with self._writing():
                if self._held_by_another(name, holder, ttl):
                    return False
                now = time.time()
                self._db.execute("INSERT OR REPLACE INTO leases VALUES (?, ?, ?)", (name, holder, now + ttl))
                self._db.execute("DELETE FROM leases WHERE until < ?", (now,))
            return True

    def _held_by_another(self, name: str, holder: str, ttl: float) -> bool:
        found = self._db.execute("SELECT holder, until FROM leases WHERE name = ?", (name,)).fetchone()
        if found is None or found[0] == holder:
            return False
        left: float = found[1] - time.time()
        return bool(0.0 < left <= 2.0 * ttl)  # more: the clock was set back since

    def release(self, name: str, holder: str) -> None:
        with self._guarded(), self._writing():
            self._db.execute("DELETE FROM leases WHERE name = ? AND holder = ?", (name, holder))

    def beat(self, worker: str, ttl: float, figures: str) -> list[str]:
        # Where the file was emptied, the next to open it makes a new log, and would write unseen by us.
        path = self._file.path
        if identity(path) != self._identity or identity(f"{path}-wal") != self._log:
            raise StoreError(f"{path}: the file was deleted or replaced")
        now = time.time()
        with self._guarded(), self._writing():
            self._db.execute("INSERT OR REPLACE INTO workers VALUES (?, ?, ?)", (worker, now + ttl, figures))
            self._db.execute("DELETE FROM workers WHERE until < ?", (now,))
        return self.figures()

    def figures(self) -> list[str]:
        with self._guarded():
            alive = "SELECT figures FROM workers WHERE until >= ?"
            return [row[0] for row in self._db.execute(alive, (time.time(),)).fetchall()]

    def leave(self, worker: str) -> None:
        with self._guarded(), self._writing():
            self._db.execute("DELETE FROM workers WHERE worker = ?", (worker,))

    # -- the rest

    def wait(self, wake: Wake, seconds: float) -> bool:
        wake.wait(min(seconds, _LOOK))
        with self._guarded():
            seen: int = self._db.execute("PRAGMA data_version").fetchone()[0]
        changed, self._seen = seen != self._seen, seen
        return changed

    def close(self) -> None:
        with suppress(sqlite3.Error, AttributeError):  # it may not even have been opened
            self._db.close()
