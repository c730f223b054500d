"""What one of the app's own requests is answered, on its way to the server: counted, signed, and at times held back."""

from collections.abc import Awaitable, Sequence

from balancemw.context import Request
from balancemw.inbound import conclude
from balancemw.meter import Arrival
from balancemw.presence import Presence
from balancemw_starlette.asgi import Message, Scope, Send
from balancemw_starlette.attendance import signed

_START = "http.response.start"
_BODIES = ("http.response.body", "http.response.pathsend", "http.response.zerocopysend")


class Answer:
    """Passes an answer on by `send` if it is the app's, and else by `count`.

    A whole answer of the app's with status 500 is held back until `release`. Starlette answers an unhandled error with
    500 and then raises it. Around such an app, or one that has another mounted, the error comes too late for an answer
    of ours unless the 500 waits until the app is done.

    Args:
        send: the server's.
        scope: of the request.
        presence: of the app.
        arrival: the request's, in there.
        asked: the form in which a report of the load is asked for, or None.

    Attributes:
        request: what is known of the request, once it is.
        begun: whether an answer is under way, whoever gave it.
    """

    __slots__ = ("_arrival", "_asked", "_held", "_presence", "_scope", "_send", "begun", "request")

    request: Request

    def __init__(self, send: Send, scope: Scope, presence: Presence, arrival: Arrival, asked: str | None) -> None:
        self.begun = False
        self._send = send
        self._scope = scope
        self._presence = presence
        self._arrival = arrival
        self._asked = asked
        self._held: Sequence[Message] = ()

    def send(self, message: Message) -> Awaitable[None]:
        """Pass on a message of the app's, or hold it back."""
        kind = message["type"]
        if self._held or (kind == _START and message["status"] == 500):
            return self._hold(message)
        if kind == _START:
            return self.count(message)
        if kind in _BODIES and not message.get("more_body"):
            conclude(self.request)
        return self._send(message)

    def count(self, message: Message) -> Awaitable[None]:
        """Pass on a message; the one that begins the answer is counted, and says what callers are to know."""
        if message["type"] == _START:
            self.begun = True
            presence, asked = self._presence, self._asked
            presence.answered(self._arrival, message["status"] >= 500)
            if presence.draining or asked:
                message = signed(message, presence, self._scope, asked)
        return self._send(message)

    def fail(self) -> None:
        """The request has ended by an error; without an answer it has failed."""
        if not self.begun:
            self._presence.answered(self._arrival, True)

    async def _hold(self, message: Message) -> None:
        kind = message["type"]
        if kind == _START and message["status"] == 500:
            self._held = (*self._held, message)
            return
        if kind in _BODIES and not message.get("more_body"):
            conclude(self.request)
            self._held = (*self._held, message)
            return
        await self.release()
        await self._send(message)

    async def release(self) -> None:
        """Pass on what was held back."""
        if self._held:
            held, self._held = self._held, ()
            for message in held:
                await self.count(message)
