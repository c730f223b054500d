"""The body of a request on its way: it flows as it comes, and is kept while it is small, to be sent again."""

from collections.abc import Iterator


class Broken(Exception):
    """The body is shorter or longer than was declared, or has been cut off: it must not look like a whole one."""


class Tee:
    """What has come of a body. It keeps all of it up to `limit` bytes, and beyond that nothing.

    Each try first sends what is in `kept`, then whatever comes. `take` is told every part as it comes, before it is
    sent. `finish` is told the end.

    Args:
        limit: bytes that are kept at most.
        declared: bytes that are to come, or None where that is not known.

    Attributes:
        kept: the parts so far; empty once they were too much.
        replayable: whether a further try could send all of it from the beginning.
        complete: whether all of it has come.
    """

    __slots__ = ("_declared", "_limit", "_size", "complete", "kept", "replayable")

    def __init__(self, limit: int, declared: int | None) -> None:
        self.kept: list[bytes] = []
        self.replayable = True
        self.complete = False
        self._limit = limit
        self._declared = declared
        self._size = 0

    def take(self, part: bytes) -> None:
        """A part has come.

        Raises:
            Broken: it goes beyond the declared length.
        """
        self._size += len(part)
        if self._declared is not None and self._size > self._declared:
            raise Broken(f"the body is longer than the {self._declared} bytes that were declared")
        if not self.replayable:
            return
        if self._size > self._limit:
            self.replayable = False
            self.kept = []
        elif part:
            self.kept.append(part)

    def finish(self) -> None:
        """All has come.

        Raises:
            Broken: it is less than was declared.
        """
        if self._declared is not None and self._size < self._declared:
            raise Broken(f"the body ended after {self._size} of {self._declared} bytes")
        self.complete = True

    def replay(self) -> Iterator[bytes]:
        """The parts that a try has to send before it reads on.

        Raises:
            Broken: they are gone.
        """
        if not self.replayable:
            raise Broken("the body has begun to flow and was too long to be kept")
        yield from self.kept
