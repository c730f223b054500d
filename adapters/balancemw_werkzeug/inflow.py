"""The body of a request, from the server's input to a replica."""

from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any
from wsgiref.types import WSGIEnvironment

from balancemw.forward import Broken, Head, Refused, Tee

_PART = 65536


class ClientGone(Exception):
    """The client went away, or broke the rules, in the middle of its body: whom to answer is not there any more."""


class Inflow:
    """Reads a request's body part by part, once, and gives it to each try from the beginning while that is possible.

    Args:
        environ: of the request.
        head: what was declared of the body.
        limit: bytes that are kept, for another try.
        progress: called for every part that has been sent.

    Raises:
        Refused: a chunked body whose end the server does not tell.
    """

    def __init__(self, environ: WSGIEnvironment, head: Head, limit: int, progress: Callable[[], object]) -> None:
        if head.chunked and not environ.get("wsgi.input_terminated"):
            raise Refused("A body needs a Content-Length here.", HTTPStatus.LENGTH_REQUIRED)
        self._input: Any = environ["wsgi.input"]
        self._left = head.length
        self._present = head.chunked or bool(head.length)
        self._tee = Tee(limit, head.length)
        self._progress = progress

    @property
    def replayable(self) -> bool:
        """Whether another try could send all of it."""
        return self._tee.replayable

    def body(self) -> Iterator[bytes] | None:
        """The body for one try; None: there is none."""
        return self._parts() if self._present else None

    def _parts(self) -> Iterator[bytes]:
        for part in self._tee.replay():
            yield part
            self._progress()
        while not self._tee.complete:
            part = self._read()
            if part:
                yield part
                self._progress()

    def _read(self) -> bytes:
        try:
            size = _PART if self._left is None else min(_PART, self._left)
            part: bytes = self._input.read(size) if size else b""
            if self._left is not None:
                self._left -= len(part)
            self._tee.take(part)
            if not part or self._left == 0:
                self._tee.finish()
        except Broken as error:
            raise ClientGone(str(error)) from error
        except Exception as error:  # servers have errors of their own for this
            raise ClientGone(f"the request's body could not be read: {error!r}") from error
        return part
