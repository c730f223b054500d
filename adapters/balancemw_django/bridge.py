"""What an ASGI app answers, as what Django can return: a head, and a body that is taken part by part."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any

from django.http import HttpRequest

_PART = 65536


class Bridge:
    """Between an ASGI app and a response of Django's, whose body it is.

    Args:
        request: what the app is asked.
    """

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self._asked_all = False
        self._loop = asyncio.get_running_loop()
        self._head: asyncio.Future[tuple[int, list[tuple[str, str]]]] = self._loop.create_future()
        self._parts: asyncio.Queue[bytes | None] = asyncio.Queue(1)
        self._task: asyncio.Task[None] | None = None

    def run(self, answering: Awaitable[None]) -> None:
        """Have the app answer."""

        async def answer() -> None:
            await answering

        self._task = asyncio.create_task(answer())
        self._task.add_done_callback(self._end)

    async def receive(self) -> dict[str, Any]:
        """The next part of the body, which Django has on disk or in memory; then nothing ever, as the client waits."""
        if self._asked_all:
            await asyncio.Event().wait()
        part = self._request.read(_PART)
        self._asked_all = len(part) < _PART
        return {"type": "http.request", "body": part, "more_body": not self._asked_all}

    async def send(self, message: Any) -> None:
        """Take what the app says."""
        if message["type"] == "http.response.start":
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]]
            self._head.set_result((message["status"], headers))
            return
        if message.get("body"):
            await self._parts.put(message["body"])
        if not message.get("more_body"):
            await self._parts.put(None)

    def _end(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if self._head.done():
            return
        if task.cancelled():
            self._head.cancel()
        else:
            self._head.set_exception(error or RuntimeError("the request was not answered"))

    async def head(self) -> tuple[int, list[tuple[str, str]]]:
        """Status and headers."""
        try:
            return await self._head
        except asyncio.CancelledError:
            self.close()
            raise

    def close(self) -> None:
        """The client has all, or has gone. Django says so in whichever thread."""
        if self._task is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._task.cancel)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        """The next part of the body."""
        assert self._task is not None
        taken = asyncio.ensure_future(self._parts.get())
        try:
            await asyncio.wait({taken, self._task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not taken.done():
                taken.cancel()
        if not taken.done():
            await self._task  # which has broken off, and raises why
            raise StopAsyncIteration
        part = taken.result()
        if part is None:
            raise StopAsyncIteration
        return part
