"""A replica of the demo's service, as a program of its own: ``python -m balancemw.demo.replica NAME PORT LOG``.

It takes orders on standard input, one mode a line, and ends when that is closed, so that it never outlives the demo.
The id of every order that arrives is appended to LOG before anything else is done with it: what was received is known
even if the process is killed the moment after.
"""

import asyncio
import os
import random
import sys
import threading

from aiohttp import web

WORK = (0.002, 0.006)
"""Seconds that a request takes, from and to."""

SLOWNESS = 30
"""How many times as long it takes in mode ``slow``."""


class Replica:
    """Serves stock, orders and a health check in the current mode.

    Modes: ``ok``; ``hang`` reads and never answers; ``slow`` takes `SLOWNESS` times as long; ``fail`` answers 503 at
    once, while the health check goes on saying 200, so that only real calls can notice.

    Args:
        name: what it answers.
        log: file descriptor, opened for appending.
    """

    def __init__(self, name: str, log: int) -> None:
        self.name = name
        self._log = log
        self._mode = "ok"
        self._changed = asyncio.Event()

    def change(self, mode: str) -> None:
        """Behave like that from now on; hanging requests are answered, if anyone is still there to hear it."""
        self._mode = mode
        self._changed.set()
        self._changed = asyncio.Event()

    async def stock(self, request: web.Request) -> web.Response:
        await self._work()
        return web.json_response(
            {"sku": request.match_info["sku"], "left": random.randrange(100), "replica": self.name}
        )

    async def order(self, request: web.Request) -> web.Response:
        number = request.match_info["id"]
        os.write(self._log, f"{self.name} {number}\n".encode())
        await self._work()
        return web.json_response({"order": number, "replica": self.name}, status=201)

    async def health(self, _: web.Request) -> web.Response:
        while self._mode == "hang":
            await self._changed.wait()
        return web.json_response({"replica": self.name})

    async def _work(self) -> None:
        if self._mode == "fail":
            raise web.HTTPServiceUnavailable(text=f"{self.name} is out of order")
        seconds = random.uniform(*WORK)
        await asyncio.sleep(seconds * SLOWNESS if self._mode == "slow" else seconds)
        while self._mode == "hang":
            await self._changed.wait()


def obey(replica: Replica, loop: asyncio.AbstractEventLoop) -> None:
    """Change the mode as told on standard input, and end with it."""
    for line in sys.stdin:
        loop.call_soon_threadsafe(replica.change, line.strip())
    os._exit(0)


async def main(name: str, port: int, log: str) -> None:
    """Serve until standard input is closed."""
    replica = Replica(name, os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
    app = web.Application()
    app.add_routes(
        [
            web.get("/stock/{sku}", replica.stock),
            web.post("/orders/{id}", replica.order),
            web.get("/health", replica.health),
        ]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True, backlog=1024).start()
    threading.Thread(target=obey, args=(replica, asyncio.get_running_loop()), daemon=True).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
