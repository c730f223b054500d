"""What one of the app's own requests is answered, on its way to the server: counted, signed, and at times held back."""

from collections.abc import Awaitable, Sequence
from math import inf
from typing import TYPE_CHECKING

from balancemw.context import Request
from balancemw.inbound import conclude
from balancemw_starlette.asgi import Message, Scope, Send
from balancemw_starlette.attendance import signed

_START = "http.response.start"
_BODIES = ("http.response.body", "http.response.pathsend", "http.response.zerocopysend")


class Answer(Request):
    """A request, and its answer, which is passed on by `send` if it is the app's, and else by `count`.

    A whole answer of the app's with status 500 is held back until `release`. Starlette answers an unhandled error with
    500 and then raises it. Around such an app, or one that has another mounted, the error comes too late for an answer
    of ours unless the 500 waits until the app is done.

    Attributes:
        server: the server's ``send``.
        scope: of the request.
        begun: whether an answer is under way, whoever gave it.
        held: what is held back.
    """

    __slots__ = ("begun", "held", "scope", "server")

    server: Send
    scope: Scope
    begun: bool
    held: Sequence[Message]

    if TYPE_CHECKING:

        def __init__(self) -> None: ...
    else:
        __init__ = object.__init__  # one in Python would cost as much as all that is set, most of it by `Door.open`

    def send(self, message: Message) -> Awaitable[None]:
        """Pass on a message of the app's, or hold it back."""
        kind = message["type"]
        if self.held or (kind == _START and message["status"] == 500):
            return self._hold(message)
        if kind == _START:
            return self.count(message)
        if kind in _BODIES and not message.get("more_body"):
            self.until = inf  # as `conclude`
        return self.server(message)

    def count(self, message: Message) -> Awaitable[None]:
        """Pass on a message; the one that begins the answer is counted, and says what callers are to know."""
        if message["type"] == _START:
            self.begun = True
            presence, note, failed = self.balancer.presence, self.note, message["status"] >= 500
            if failed or note is not None:
                presence.answered(note, failed)
            if presence.draining or note is not None:
                message = signed(message, presence, self.scope, note.asked if note else None)
        return self.server(message)

    def fail(self) -> None:
        """The request has ended by an error; without an answer it has failed."""
        if not self.begun:
            self.balancer.presence.answered(self.note, True)

    async def _hold(self, message: Message) -> None:
        kind = message["type"]
        if kind == _START and message["status"] == 500:
            self.held = (*self.held, message)
            return
        if kind in _BODIES and not message.get("more_body"):
            conclude(self)
            self.held = (*self.held, message)
            return
        await self.release()
        await self.server(message)

    async def release(self) -> None:
        """Pass on what was held back."""
        if self.held:
            held, self.held = self.held, ()
            for message in held:
                await self.count(message)
