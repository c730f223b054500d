"""Runs an aiohttp application in a thread of its own, on a port that stays the same over its lives."""

import asyncio
import ssl
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from aiohttp import web

from tests.adapters.replicas import free_port
from tests.adapters.watching import PATIENCE

T = TypeVar("T")


class Served:
    """Answers every request by `answer`.

    Attributes:
        url: where.
        asked: the requests, in order.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._port = free_port()
        self._tls = tls
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._port}"
        self.asked: list[web.Request] = []
        self._loop = asyncio.new_event_loop()
        self._runner: web.AppRunner | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.start()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        raise NotImplementedError

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs `work` on the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    def do(self, change: Callable[[], T]) -> T:
        """Runs what is not async on the server's loop."""

        async def work() -> T:
            return change()

        return self.run(work())

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        return await self.answer(request)

    def start(self) -> None:
        async def work() -> None:
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", self._handle)
            self._runner = web.AppRunner(app, shutdown_timeout=0.01, handler_cancellation=True)
            await self._runner.setup()
            await web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=self._tls, reuse_address=True).start()

        self.run(work())

    def stop(self) -> None:
        """Cuts all connections and listens no more, until `start`."""
        runner, self._runner = self._runner, None
        if runner is None:
            return

        async def work() -> None:
            site: Any
            for site in runner.sites:  # a server that is closed while it accepts would forget the connection, open
                for listening in site._server.sockets:
                    self._loop.remove_reader(listening.fileno())
            await self._cut()
            await runner.cleanup()

        self.run(work())

    async def _cut(self) -> None:
        """Cuts all connections, whatever is still to be written, and those that are just being accepted."""
        loop: Any = self._loop
        for _ in range(4):
            await asyncio.sleep(0)
            for transport in list(loop._transports.values()):
                transport.abort()

    def close(self) -> None:
        self.stop()
        self.run(self._cut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
