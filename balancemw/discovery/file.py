"""A file as a source: looked at every second, read when it has changed."""

import json
import os
import tomllib
from typing import Any

import aiohttp

from balancemw.checks import in_thread
from balancemw.discovery.found import Answer, Found, SourceError, read_entries
from balancemw.errors import did_you_mean
from balancemw.settings import FileSettings

_LARGEST = 16 * 2**20  # bytes

Signature = tuple[int, int, int, int]
"""Device, inode, size and time of change in nanoseconds: one of them differs when the content does."""


class File:
    """Watches one file.

    A file put in its place by renaming is complete. One written in place may be half-written: it is read when it has
    been left alone for one interval.
    """

    def __init__(self, settings: FileSettings) -> None:
        self._settings = settings
        self._read: Signature | None = None  # as it was when it was read last
        self._seen: Signature | None = None  # as it was at the last look
        self._problem = ""  # with what was read last

    async def ask(self, _session: aiohttp.ClientSession) -> Answer:
        """What the file names, if it has changed."""
        return Answer(await in_thread(self._look), self._settings.interval)

    def _look(self) -> tuple[Found, ...] | None:
        try:
            data = self._changed()
        except OSError as error:
            self._read = self._seen = None
            raise SourceError(f"cannot be read: {error.strerror or error}", pause=self._settings.interval) from error
        problem, again = self._problem, data is not None
        if data is not None:
            self._problem = ""
            try:
                return parse(data, self._settings)
            except SourceError as error:
                problem = self._problem = str(error)
        if problem:
            raise SourceError(problem, again=again, pause=self._settings.interval)
        return None

    def _changed(self) -> bytes | None:
        """The content, if it is another one than last time and complete."""
        with open(self._settings.path, "rb") as file:
            now = _signature(os.fstat(file.fileno()))
            if now == self._read or self._half_written(now):
                return None
            data = file.read(_LARGEST + 1)
            if _signature(os.fstat(file.fileno())) != now:
                return None
        self._read = now
        return data

    def _half_written(self, now: Signature) -> bool:
        seen, self._seen = self._seen, now
        same_file = self._read is not None and self._read[:2] == now[:2]
        return same_file and now != seen

    def close(self) -> None:
        """Nothing to do."""


def _signature(stat: os.stat_result) -> Signature:
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns


def parse(data: bytes, settings: FileSettings) -> tuple[Found, ...]:
    """The nodes in a file's content: a table or object with ``nodes``, or in JSON a bare list.

    Raises:
        SourceError: the content is not valid.
    """
    if len(data) > _LARGEST:
        raise SourceError(f"is larger than {_LARGEST >> 20} MiB")
    try:
        text = data.decode("utf-8-sig")
        content: Any = tomllib.loads(text) if settings.path.endswith(".toml") else json.loads(text)
    except UnicodeDecodeError:
        raise SourceError("is not UTF-8") from None
    except RecursionError:
        raise SourceError("is nested too deeply") from None
    except ValueError as error:
        raise SourceError(f"cannot be read: {error}") from None
    if isinstance(content, list):
        return read_entries(content, settings)
    if not isinstance(content, dict):
        raise SourceError("expected a list of nodes or an object with one")
    for key in content:
        if key != "nodes":
            raise SourceError(f"{key!r:.60}: unknown key{did_you_mean(key, ['nodes'])}")
    if "nodes" not in content:
        raise SourceError('nodes: missing; write ["http://host:port"]')
    return read_entries(content["nodes"], settings)
