"""What comes from the client while its request is forwarded: the parts of the body, and that it has gone away."""

import asyncio
from typing import Any

from aiohttp import payload
from aiohttp.abc import AbstractStreamWriter

from balancemw.forward import Broken, Refused, Tee
from balancemw.forward.refusal import too_slow
from balancemw_starlette.asgi import Receive

_PATIENCE = 60.0  # seconds for the next part of a body, as nginx's client_body_timeout
_BEAT, _LEAST_BEAT = 1.0, 0.02


class Inflow:
    """Reads what the server has from the client, one part ahead; at its end the task that forwards is cancelled.

    Nobody else calls `receive`: a try that is cut off in the middle of reading loses nothing, and that the client went
    away is noticed whatever is being waited for. Used as ``with inflow: …`` by the task that forwards.

    Attributes:
        over: what ended the request before its answer, or None.
        answered: whether the answer has begun.
        receive: the server's.
    """

    def __init__(self, receive: Receive) -> None:
        self.over: BaseException | None = None
        self.answered = False
        self.receive = receive
        self._parts: asyncio.Queue[bytes | None] = asyncio.Queue(1)
        self._first: bytes | None = None
        self._task: asyncio.Task[Any] | None = None
        self._cancelled = 0  # how often the task was before, by others
        self._pump: asyncio.Task[None] | None = None

    def __enter__(self) -> "Inflow":
        self._task = asyncio.current_task()
        self._cancelled = self._task.cancelling() if self._task is not None else 0
        self._pump = asyncio.create_task(self._run())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> bool:
        """Whether `error` is our own cancellation: `over` tells what to do about it."""
        task, self._task = self._task, None
        if self._pump is not None:
            self._pump.cancel()
        if self.over is None or task is None:
            return False
        return task.uncancel() <= self._cancelled and isinstance(error, asyncio.CancelledError)

    def end(self, reason: BaseException) -> None:
        """Stop forwarding, for this reason."""
        if self._task is not None and self.over is None:
            self.over = reason
            self._task.cancel()

    async def _run(self) -> None:
        complete = False
        try:
            while True:
                message = await self.receive()
                if message["type"] == "http.disconnect":
                    self.end(Gone())
                    return
                if complete:  # a server that repeats itself
                    return
                part = message.get("body", b"")
                if part:
                    await self._parts.put(part)
                if not message.get("more_body", False):
                    complete = True
                    await self._parts.put(None)
        except Exception as error:
            self.end(error)

    async def peek(self) -> bool:
        """Whether a body follows, for a version of HTTP whose headers need not say so."""
        self._first = await self._parts.get()
        return self._first is not None

    @property
    def ready(self) -> bool:
        """Whether `next` need not wait."""
        return self._first is not None or not self._parts.empty()

    async def next(self) -> bytes | None:
        """The next part, None at the end."""
        first, self._first = self._first, None
        return first if first is not None else await self._parts.get()


class Gone(Exception):
    """The client has gone away."""


class Flow(payload.Payload):
    """A request's body as aiohttp sends it: what was kept of it first, then whatever comes.

    Args:
        inflow: where it comes from.
        tee: keeps it.
        beat: seconds; at least so often aiohttp is reminded that the client is still at it.
    """

    def __init__(self, inflow: Inflow, tee: Tee, beat: float | None) -> None:
        super().__init__(None)
        self._inflow = inflow
        self._tee = tee
        self._beat = _BEAT if beat is None else min(_BEAT, max(_LEAST_BEAT, beat))

    @property
    def consumed(self) -> bool:
        """Whether it can no longer be sent from the beginning."""
        return not self._tee.replayable

    @property
    def resendable(self) -> bool:
        """That it can be sent from the beginning, as `balancemw_aiohttp` asks."""
        return self._tee.replayable

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:  # noqa: ARG002  as aiohttp has it
        raise TypeError("a body that flows cannot be had as text")

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send it to a replica. It does not fail: a body that breaks off ends all, and is no fault of the replica's."""
        for kept in self._tee.replay():
            await writer.write(kept)
        while not self._tee.complete:
            try:
                part = await self._next(writer)
                if part is None:
                    self._tee.finish()
                else:
                    self._tee.take(part)
            except (Broken, Refused) as error:
                self._inflow.end(error if isinstance(error, Refused) else Refused(f"In the request, {error}."))
                await asyncio.Event().wait()  # until the request that this is part of has been cancelled
            else:
                if part is not None:
                    await writer.write(part)

    async def _next(self, writer: AbstractStreamWriter) -> bytes | None:
        """The next part. While it does not come, that is the client's time, not the replica's."""
        if self._inflow.ready:
            return await self._inflow.next()
        for _ in range(int(_PATIENCE / self._beat)):
            try:
                async with asyncio.timeout(self._beat):
                    return await self._inflow.next()
            except TimeoutError:
                await writer.write(b"")
        if self._inflow.answered:
            return await self._inflow.next()
        raise too_slow()
