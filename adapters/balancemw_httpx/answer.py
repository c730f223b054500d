"""The answer's body: its end is the end of the try, and what another answer replaces is read to its end."""

import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from math import inf
from typing import Any

from balancemw.context import Bound
from balancemw.cutoff import Cutoff, PartWatch
from balancemw.exchange import SMALL_BODY
from balancemw.pool import Pool
from balancemw.reading import Reading
from balancemw.tries import Try
from balancemw_httpx.errors import TooLate
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

    __slots__ = ("_cutoff", "_short", "_stream", "_timeouts")

    _timeouts: Timeouts

    def __init__(self, stream: Any, pool: Pool, attempt: Try | None, route: str, short: Shortcut | None = None) -> None:
        super().__init__(pool, attempt, route)
        self._stream: Any = stream
        self._short = short
        self._cutoff: Any = None

    def bound_by(self, outer: Bound, timeouts: Timeouts, extensions: Mapping[str, Any]) -> None:
        """Let `outer`, which bounds the request from outside, bound how long the body is read.

        Args:
            outer: what bounds it.
            timeouts: of the request.
            extensions: of the answer.
        """
        if outer.until < inf:
            self._timeouts = timeouts
            self._cutoff = self._limit(outer, extensions)

    def _limit(self, outer: Bound, extensions: Mapping[str, Any], /) -> Any:
        raise NotImplementedError

    def _fail(self, error: BaseException) -> BaseException:
        """What to raise for `error`."""
        if isinstance(error, GeneratorExit):  # its reader had enough, and closes it
            return error
        if self._short is not None:
            error = self._short.told(error)
        if self._cutoff is not None and isinstance(error, Exception) and self._cutoff.expired:
            error = self._late(error)
        self.break_off(error)
        return error

    def _late(self, error: BaseException | None = None) -> BaseException:
        if isinstance(error, TooLate):
            return error
        late = TooLate(self.too_late)
        late.__cause__ = error
        return late

    def __del__(self) -> None:
        if self._open:
            self.abandon()


class Answer(_Body, SyncByteStream):
    """A body that is read without ``await``."""

    def _limit(self, outer: Bound, extensions: Mapping[str, Any], /) -> Cutoff:
        connection = extensions.get("network_stream")
        if connection is None or extensions.get("http_version") == b"HTTP/2":  # which other requests use too
            self._timeouts.bound = outer
            return Cutoff(outer, None)
        return Cutoff(outer, lambda: connection.get_extra_info("socket").fileno())

    def __iter__(self) -> Iterator[bytes]:
        try:
            if self._cutoff is None:
                yield from self._stream
            else:
                yield from self._in_time(self._cutoff)
        except BaseException as error:
            raise self._fail(error)  # noqa: B904  it knows its cause
        self.end()

    def _in_time(self, cutoff: Cutoff) -> Iterator[bytes]:
        parts = iter(self._stream)
        while (part := next(parts, None)) is not None and not cutoff.expired:
            yield part
        if cutoff.expired:  # a body that ends where its connection does looks whole
            late = self._late()
            self.break_off(late)
            self.close()
            raise late

    def close(self) -> None:
        """Its reader had all of it, or enough."""
        if self._cutoff is not None:
            self._cutoff.end()
        stream, self._stream = self._stream, ()
        try:
            if hasattr(stream, "close"):  # what takes a pool's place in tests often has none
                stream.close()
        finally:
            if self._open:
                self.end()

    def __del__(self) -> None:
        if self._cutoff is not None:
            self._cutoff.end()
        if self._open:
            self.abandon()


class AsyncAnswer(_Body, AsyncByteStream):
    """A body that is read with ``await``."""

    def _limit(self, outer: Bound, _extensions: Mapping[str, Any], /) -> PartWatch:
        return PartWatch(outer)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts = self._stream.__aiter__()
        try:
            if self._cutoff is None:
                async for part in parts:
                    yield part
            else:
                while (next_part := await self._next(parts, self._cutoff)) is not None:
                    yield next_part
        except BaseException as error:
            told = self._fail(error)
            await close(parts)
            raise told  # noqa: B904
        self.end()

    async def _next(self, parts: AsyncIterator[bytes], cutoff: PartWatch) -> bytes | None:
        """The next part; None: it was the last."""
        left = cutoff.left
        if left is None:
            return await anext(parts, None)
        if left <= 0.0:
            raise self._late()
        if not cutoff.watch():  # something else than asyncio runs
            self._timeouts.bound = cutoff
            return await anext(parts, None)
        try:
            part = await anext(parts, None)
        except BaseException as error:
            if cutoff.end(error):
                raise self._late(error) from error
            raise
        cutoff.end()
        return part

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
