"""Requests below a route's prefix: WSGI's are forwarded as our WSGI middleware does it, ASGI's as our ASGI one does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase

from balancemw.balancer import Balancer
from balancemw_starlette.forwarding import Forwarding as AsgiForwarding
from balancemw_werkzeug.forwarding import Forwarding as WsgiForwarding

_PART = 65536


class Forwarding:
    """The routes of a project.

    Args:
        balancer: whose settings name them.
    """

    def __init__(self, balancer: Balancer) -> None:
        self._wsgi = WsgiForwarding(balancer)
        self._asgi = AsgiForwarding(balancer)

    def answer(self, request: HttpRequest) -> HttpResponseBase | None:
        """The answer to a request below a prefix; None: the request is the project's."""
        began: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], *_: object) -> Callable[[bytes], object]:
            began.append((status, headers))
            return lambda _: None

        body = self._wsgi.answer(_environ(request), start_response)
        if body is None:
            return None
        status, headers = began[0]
        code, _, reason = status.partition(" ")
        return Forwarded(int(code), reason, headers, body)

    async def answer_async(self, request: HttpRequest) -> HttpResponseBase | None:
        """As `answer`, on an event loop."""
        scope: dict[str, Any] | None = getattr(request, "scope", None)
        app = None if scope is None else self._asgi.app_for(scope)
        if scope is None or app is None:
            return None
        bridge = _Bridge(request)
        bridge.run(app(scope, bridge.receive, bridge.send))
        status, headers = await bridge.head()
        return Forwarded(status, None, headers, bridge.body())


class Forwarded(StreamingHttpResponse):
    """The answer of a replica. Its headers are those that it sent: some may stand several times, in their order."""

    def __init__(
        self,
        status: int,
        reason: str | None,
        headers: list[tuple[str, str]],
        body: Iterable[bytes] | AsyncIterator[bytes],
    ) -> None:
        super().__init__(body, status=status, reason=reason)
        del self["Content-Type"]
        self._cookies = [value for name, value in headers if name.lower() == "set-cookie"]
        for name, value in headers:
            if name.lower() == "set-cookie":
                continue
            self[name] = f"{self[name]}, {value}" if self.has_header(name) else value

    def items(self) -> Any:
        """The headers, the replica's cookies among them: Django's own can say less than a replica may have said."""
        return [*super().items(), *(("Set-Cookie", cookie) for cookie in self._cookies)]


def _environ(request: HttpRequest) -> dict[str, Any]:
    if "wsgi.input" in request.META:
        return request.META
    return {
        **request.META,
        "REQUEST_METHOD": request.method,
        "wsgi.input": request,
        "wsgi.input_terminated": True,
        "wsgi.url_scheme": request.scheme,
    }


class _Bridge:
    """An ASGI app's answer as what Django can return: a head, and a body that is taken part by part.

    Attributes:
        task: runs the app.
    """

    task: "asyncio.Task[None]"

    def __init__(self, request: HttpRequest) -> None:
        self._request = request
        self._asked_all = False
        self._head: asyncio.Future[tuple[int, list[tuple[str, str]]]] = asyncio.get_running_loop().create_future()
        self._parts: asyncio.Queue[bytes | None] = asyncio.Queue(1)

    def run(self, answering: Awaitable[None]) -> None:
        """Have the app answer."""

        async def answer() -> None:
            await answering

        self.task = asyncio.create_task(answer())
        self.task.add_done_callback(self._end)

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
        if self._head.done():
            return
        if task.cancelled():
            self._head.cancel()
        else:
            self._head.set_exception(task.exception() or RuntimeError("the request was not answered"))

    async def head(self) -> tuple[int, list[tuple[str, str]]]:
        """Status and headers."""
        try:
            return await self._head
        except asyncio.CancelledError:
            self.task.cancel()
            raise

    async def body(self) -> AsyncIterator[bytes]:
        """The parts of the body; whoever stops taking them has gone away."""
        try:
            while True:
                taken = asyncio.ensure_future(self._parts.get())
                await asyncio.wait({taken, self.task}, return_when=asyncio.FIRST_COMPLETED)
                if not taken.done():
                    taken.cancel()
                    await self.task  # which has broken off, and raises why
                    return
                part = taken.result()
                if part is None:
                    return
                yield part
        finally:
            self.task.cancel()
