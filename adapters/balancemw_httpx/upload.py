"""What is known of a request's body: whether it can be sent again as a whole, and that some of it has been sent."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from balancemw.exchange import SMALL_BODY
from balancemw_httpx.libraries import AsyncByteStream, Library, SyncByteStream


def is_short(request: Any, library: Library) -> bool:
    """Whether a request's body is none, or in memory and sent in no time."""
    if type(request.stream) is not library.byte_stream:
        return False
    try:
        return len(request.content) <= SMALL_BODY
    except library.module.RequestNotRead:  # made from another request's stream, as after a redirect
        return False


class Upload(SyncByteStream, AsyncByteStream):
    """The body of one request, through all its tries, where it is more than a few bytes in memory.

    The libraries send again whatever a file or an iterator has left, be it nothing, and their multipart forms too, with
    a status of 200 to show for it. So only what begins anew is sent a second time, and anything of which nothing was
    taken.

    Args:
        stream: as the library made it.
        library: which one.
        progress: called whenever part of the body has been sent.

    Attributes:
        error: what the body itself raised.
    """

    def __init__(self, stream: Any, library: Library, progress: Callable[[], object]) -> None:
        self.error: Exception | None = None
        self._stream = stream
        self._progress = progress
        self._in_memory = type(stream) is library.byte_stream
        self._begun = False

    @property
    def resendable(self) -> bool:
        """Whether a replica would receive all of it, if it were sent now."""
        return not self._begun or self._in_memory or _is_rewinding_form(self._stream)

    def __iter__(self) -> Iterator[bytes]:
        self._begun = True
        try:
            for part in self._stream:
                for piece in self._pieces(part):
                    yield piece
                    self._progress()
        except Exception as error:
            self.error = error
            raise

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._begun = True
        parts = self._stream.__aiter__()
        try:
            async for part in parts:
                for piece in self._pieces(part):
                    yield piece
                    self._progress()
        except Exception as error:
            self.error = error
            raise
        finally:
            await close(parts)

    def _pieces(self, part: bytes) -> Iterator[bytes]:
        """What is in memory comes as one part, which on a slow line would look as if nothing happened."""
        if not self._in_memory:
            yield part
            return
        for begin in range(0, len(part), SMALL_BODY):
            yield part[begin : begin + SMALL_BODY]


async def close(parts: Any) -> None:
    """End an async iterator that may not have come to its end."""
    aclose = getattr(parts, "aclose", None)
    if aclose is not None:
        await aclose()


def _is_rewinding_form(stream: Any) -> bool:
    """Whether it is a multipart form that sends each of its files from the beginning every time."""
    fields = getattr(stream, "fields", None)
    if type(stream).__name__ != "MultipartStream" or not isinstance(fields, list):
        return False
    return all(_rewinds(getattr(field, "file", b"")) for field in fields)  # a field without a file is text


def _rewinds(file: Any) -> bool:
    if isinstance(file, str | bytes):
        return True
    try:
        return bool(file.seekable()) and callable(file.seek)
    except (AttributeError, ValueError, OSError):
        return False
