"""The body of a request: whether it can be sent again as a whole, and that some of it has been sent."""

from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

import requests

from balancemw.exchange import SMALL_BODY

_ENCODING = "iso-8859-1" if version("urllib3").startswith("1.") else "utf-8"  # of what a text file gives

Progress = Callable[[], object]


class Body:
    """An iterable that is sent part by part. What has been taken from it is gone.

    Args:
        source: the caller's.
        progress: called whenever a part has been sent; what it raises ends the try.

    Attributes:
        error: what the source itself raised, or None.
    """

    def __init__(self, source: Any, progress: Progress) -> None:
        self._source = source
        self._progress = progress
        self._begun = False
        self.error: BaseException | None = None

    @property
    def resendable(self) -> bool:
        """Whether a replica would receive all of it, if it were sent now."""
        return not self._begun and self.error is None

    def rewind(self) -> bool:
        """Make ready to be sent again; returns whether it is."""
        return True

    def __iter__(self) -> Iterator[Any]:
        parts = self._take(lambda: iter(self._source))
        while True:
            part = self._take(lambda: next(parts, self))
            if part is self:
                return
            yield part

    def _take(self, take: Callable[[], Any]) -> Any:
        if self._begun:
            self._progress()
        self._begun = True
        try:
            return take()
        except BaseException as error:
            self.error = error
            raise


class Memory(Body):
    """Bytes, in parts, each of which may take its time."""

    @property
    def resendable(self) -> bool:
        """They are all there."""
        return True

    def __iter__(self) -> Iterator[memoryview]:
        view = memoryview(self._source).cast("B")
        for start in range(0, len(view), SMALL_BODY):
            if start:
                self._progress()
            yield view[start : start + SMALL_BODY]


class File(Body):
    """Something to read from; from where it stood at first, if it can go back there."""

    def __init__(self, source: Any, progress: Progress) -> None:
        super().__init__(source, progress)
        self._position = _position(source)

    @property
    def resendable(self) -> bool:
        """Whether it is whole, or can be made so."""
        return self.error is None and (self._position is not None or not self._begun)

    def rewind(self) -> bool:
        """Go back to where it stood."""
        if not self._begun:
            return True
        try:
            self._source.seek(self._position)
            self._begun = False
            return bool(self._source.tell() == self._position)
        except (AttributeError, TypeError, ValueError, OSError):
            return False

    def read(self, size: int = -1) -> Any:
        """As the file's; text as the bytes that are sent."""
        data = self._take(lambda: self._source.read(size))
        return data.encode(_ENCODING) if isinstance(data, str) else data


def _position(file: Any) -> object:
    try:
        if not getattr(file, "seekable", lambda: True)():
            return None
        file.seek(file.tell())
        return file.tell()
    except (AttributeError, TypeError, ValueError, OSError):
        return None


def body_of(request: requests.PreparedRequest, progress: Progress) -> Body | None:
    """What to send in place of a request's body; None: the body itself, which is in memory, or is none.

    On the wire it is the same.
    """
    source: Any = request.body
    if source is None or isinstance(source, str):
        return None
    if isinstance(source, bytes | bytearray | memoryview):
        long = len(source) > SMALL_BODY and "Content-Length" in request.headers  # else in one chunk
        return Memory(source, progress) if long else None
    return File(source, progress) if hasattr(source, "read") else Body(source, progress)
