"""The answer's body: its end is the end of the try, and what another answer replaces is read to its end."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

from balancemw.context import Bound
from balancemw.exchange import SMALL_BODY
from balancemw.pool import Pool
from balancemw.reading import Reading
from balancemw.tries import Try
from balancemw_httpx.libraries import AsyncByteStream, SyncByteStream
from balancemw_httpx.shortcut import Shortcut
from balancemw_httpx.timeouts import Timeouts
from balancemw_httpx.upload import close

_PATIENCE = 1.0  # seconds to read the rest of a response that another one replaces


class _Body(Reading):
    """The body of an answer, with which the try ends.

    Args:
        stream: the body as it comes.
        pool, attempt, route: as for `Reading`.
        short: by which the body comes; None: by the library's own transport.
    """

    __slots__ = ("_short", "_stream")

    def __init__(self, stream: Any, pool: Pool, attempt: Try, route: str, short: Shortcut | None = None) -> None:
        super().__init__(pool, attempt, route)
        self._stream: Any = stream
        self._short = short

    def _fail(self, error: BaseException) -> BaseException:
        """What to raise for `error`."""
        if isinstance(error, GeneratorExit):  # its reader had enough, and closes it
            return error
        if self._short is not None:
            error = self._short.told(error)
        self.break_off(error)
        return error

    def __del__(self) -> None:
        if self._open:
            self.abandon()


class Answer(_Body, SyncByteStream):
    """A body that is read without ``await``."""

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._stream
        except BaseException as error:
            raise self._fail(error)  # noqa: B904  it knows its cause
        self.end()

    def close(self) -> None:
        """Its reader had all of it, or enough."""
        stream, self._stream = self._stream, ()
        try:
            if hasattr(stream, "close"):  # what takes a pool's place in tests often has none
                stream.close()
        finally:
            if self._open:
                self.end()


class AsyncAnswer(_Body, AsyncByteStream):
    """A body that is read with ``await``."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts = self._stream.__aiter__()
        try:
            async for part in parts:
                yield part
        except BaseException as error:
            told = self._fail(error)
            await close(parts)
            raise told  # noqa: B904
        self.end()

    async def aclose(self) -> None:
        """Its reader had all of it, or enough."""
        stream, self._stream = self._stream, ()
        try:
            if hasattr(stream, "aclose"):
                await stream.aclose()
        finally:
            if self._open:
                self.end()


class _Rest:
    """How much of a response that is thrown away may still be read: read to its end its connection can serve again."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._size = SMALL_BODY
        self._until = time.monotonic() + _PATIENCE
        timeouts.bound = Bound(self._until)

    def goes_on(self, part: bytes) -> bool:
        self._size -= len(part)
        return self._size >= 0 and time.monotonic() < self._until


def release(response: Any, timeouts: Timeouts) -> None:
    """Give back the connection of a response that another one replaces."""
    rest = _Rest(timeouts)
    try:
        for part in response.stream:
            if not rest.goes_on(part):
                break
    except Exception:  # what is thrown away may be broken
        pass
    finally:
        with suppress(Exception):
            response.close()


async def release_async(response: Any, timeouts: Timeouts) -> None:
    """As `release`."""
    rest = _Rest(timeouts)
    parts = response.stream.__aiter__()
    try:
        async for part in parts:
            if not rest.goes_on(part):
                break
        await close(parts)
    except Exception:  # what is thrown away may be broken
        pass
    finally:
        with suppress(Exception):
            await response.aclose()
