"""What is known of a request's body: whether it can be sent again as a whole, and that some of it has been sent."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import ClientRequest, MultipartWriter, payload

from balancemw.exchange import SMALL_BODY

Write = Callable[[Any, int | None], Awaitable[None]]


def is_short(body: object) -> bool:
    """Whether a request's body is none, or in memory and sent in no time."""
    return not body or (isinstance(body, payload.BytesPayload) and (body.size or 0) <= SMALL_BODY)


class Body:
    """The body of one request, through all its tries.

    aiohttp sends again whatever is left of a body, be it nothing; `consumed` of its payloads tells too little, in some
    versions nothing before an iterator is exhausted. So only kinds of which it is known are sent a second time.

    Args:
        request: whose body it is.
        progress: called whenever part of a body that may take long has been sent.
    """

    __slots__ = ("_begun", "_body", "_progress", "_write")

    def __init__(self, request: ClientRequest, progress: Callable[[], object]) -> None:
        body: Any = request.body  # a payload, or b"" for none
        self._body = body
        self._begun = False
        self._progress = progress
        self._write: Write | None = None
        if not is_short(body):
            self._write = body.write_with_length
            body.write_with_length = self._tell

    async def _tell(self, writer: Any, content_length: int | None) -> None:
        self._begun = True
        assert self._write is not None
        await self._write(_Writer(writer, self._progress), content_length)

    @property
    def resendable(self) -> bool:
        """Whether a replica would receive all of it, if it were sent now."""
        if not self._body:
            return True
        return _is_known(self._body) or (self._write is not None and not self._begun)

    def leave(self) -> None:
        """Leave the payload as it was: its owner may send it again."""
        if self._write is not None:
            del self._body.write_with_length


def _is_known(body: object) -> bool:
    """Whether it is of a kind that begins anew when it is written again."""
    if isinstance(body, payload.BytesPayload):
        return True
    if not isinstance(body, payload.Payload) or body.consumed:
        return False
    if isinstance(body, MultipartWriter):
        return all(_is_known(part) for part, _, _ in body)
    if isinstance(body, payload.IOBasePayload):
        return _seekable(getattr(body, "_value", None))
    return getattr(body, "resendable", False) is True  # a payload that keeps what it sends says so


def _seekable(file: Any) -> bool:
    try:
        return bool(file.seekable())
    except (AttributeError, ValueError, OSError):
        return False


class _Writer:
    """aiohttp's writer of a body, that tells of every part which has been handed over."""

    def __init__(self, writer: Any, progress: Callable[[], object]) -> None:
        self._writer = writer
        self._progress = progress

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    async def write(self, *args: Any, **kwargs: Any) -> None:
        """Write a part, which waits while the replica takes no more."""
        await self._writer.write(*args, **kwargs)
        self._progress()
