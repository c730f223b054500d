"""A callable of the user's as a source: sync or async, it may hang, and cannot be trusted to end when told to."""

import asyncio
import inspect
from collections.abc import Awaitable
from typing import Any

import aiohttp

from balancemw.checks import NotMade, in_thread, take_error
from balancemw.discovery.found import Answer, SourceError, read_entries
from balancemw.settings import CallableSettings
from balancemw.settings.words import one_line


class Function:
    """Asks a callable; one that hangs is not called again until it has returned."""

    def __init__(self, settings: CallableSettings) -> None:
        self._settings = settings
        self._under_way = False

    async def ask(self, _session: aiohttp.ClientSession) -> Answer:
        """What the callable returns."""
        if self._under_way:
            raise SourceError("it has been called and has not returned")
        timeout = self._settings.timeout
        asked = asyncio.ensure_future(self._call())
        asked.add_done_callback(take_error)
        try:
            await asyncio.wait({asked}, timeout=timeout)
        finally:
            if not asked.done():
                asked.cancel()
        if not asked.done():
            raise SourceError(f"no answer within {timeout:g} s")
        if asked.cancelled():
            raise SourceError("it was cancelled")
        return Answer(read_entries(asked.result(), self._settings), self._settings.interval)

    async def _call(self) -> Any:
        self._under_way = True
        call = self._settings.call
        try:
            if inspect.iscoroutinefunction(call):
                return await self._awaited(call())
            answer = await in_thread(self._work)
            return await self._awaited(answer) if inspect.isawaitable(answer) else answer
        except asyncio.CancelledError:
            raise
        except NotMade:
            self._under_way = False
            raise
        except BaseException as error:  # SystemExit too: it must not end the monitor
            raise SourceError(one_line(f"{type(error).__name__}: {error}".rstrip(": "))) from error

    async def _awaited(self, answer: Awaitable[Any]) -> Any:
        self._under_way = True
        try:
            return await answer
        finally:
            self._under_way = False

    def _work(self) -> Any:
        try:
            answer = self._settings.call()
            return list(answer) if inspect.isgenerator(answer) else answer
        finally:
            self._under_way = False  # here and not where it is awaited: nobody may be waiting any more

    def close(self) -> None:
        """Nothing to do."""
