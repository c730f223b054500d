"""A replica, as a program of its own: ``python -m benchmarks.arena.replica PORT LOG SLOTS``.

Its behaviour is told on standard input, one mode a line, and it ends when that is closed: it never outlives who
started it. Requests are served `SLOTS` at a time, the others wait in line; each takes a few milliseconds, some several
times that (log-normal, as service times are). How long depends on the request's number alone: whoever asks, and
whichever replica, the same request is the same work. What arrives is appended to LOG before anything else is done with
it, so that it is known even if the process is killed the moment after: when, the method, the number at the end of the
path, and the mode.

Modes: ``ok``; ``stall``: one request in 50, whichever that may be, takes `STALL` seconds, as with pauses for garbage,
cold caches or locks, which replicas have that are well; ``slow`` takes `SLOWNESS` times as long; ``fail`` answers 503
at once, and 200 to health checks; ``hang`` accepts everything, health checks included, and answers nothing; ``cut``
breaks off every answer half-way, after a status of 200.

SIGTERM ends it as servers end: what has begun is answered, idle connections are closed.
"""

import asyncio
import contextlib
import gc
import os
import random
import signal
import sys
import threading
import time
from collections import deque
from functools import partial
from math import log as log_of

MEDIAN, SIGMA = 0.005, 0.4
"""Of the service time's distribution: seconds, and the spread of its logarithm. One in 100 takes 2.5 times MEDIAN."""

SLOWNESS = 10.0
STALLED, STALL = 0.02, 0.1  # the share of requests, and seconds
TROUBLE = ("slow", "fail", "hang", "cut")
"""The modes of a replica that is unwell."""

GRACE = 2.0  # seconds for what has begun when it is told to end

_BODY = b'{"stock": [' + b", ".join(b'{"sku": "sku-%02d", "left": %d}' % (i, i) for i in range(30)) + b"]}"
_GOOD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n" % len(_BODY)
_BAD = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n"
_HEALTHY = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n"


class Replica:
    """What all connections share: the mode, the slots and the line before them.

    Args:
        log: file descriptor, opened for appending.
        slots: requests that are served at a time.
    """

    def __init__(self, log: int, slots: int) -> None:
        self.mode = "ok"
        self.ending = False
        self.connections: set[Connection] = set()
        self._log = log
        rng = random.Random(7)
        self._work = [rng.lognormvariate(log_of(MEDIAN), SIGMA) for _ in range(4096)]
        self._chance = random.Random(log).random
        self._free = slots
        self._line: deque[tuple[Connection, float]] = deque()
        self._held: list[Connection] = []
        self._loop = asyncio.get_running_loop()

    def change(self, mode: str) -> None:
        """Behave like that from now on. What hung is answered, if anyone is still there to hear it."""
        self.mode = mode
        held, self._held = self._held, []
        for connection in held:
            self._answer(connection)

    def ask(self, connection: "Connection", method: bytes, path: bytes) -> None:
        """A request has arrived."""
        if path.endswith(b"/health"):
            if self.mode == "hang":
                self._held.append(connection)
            else:
                connection.answer(_HEALTHY, b"ok")
            return
        number = path.rpartition(b"/")[2].decode()
        os.write(self._log, f"{time.monotonic():.6f} {method.decode()} {number} {self.mode}\n".encode())
        seconds = self._work[int(number) % len(self._work)]
        if self.mode == "fail":
            connection.answer(_BAD, b"")
        elif self._free:
            self._serve(connection, seconds)
        else:
            self._line.append((connection, seconds))

    def _serve(self, connection: "Connection", seconds: float) -> None:
        self._free -= 1
        if self.mode == "slow":
            seconds *= SLOWNESS
        elif self.mode == "stall" and self._chance() < STALLED:
            seconds = STALL
        self._loop.call_later(seconds, self._served, connection)

    def _served(self, connection: "Connection") -> None:
        self._free += 1
        if self.mode == "hang":
            self._held.append(connection)
        else:
            self._answer(connection)
        if self._line:
            self._serve(*self._line.popleft())

    def _answer(self, connection: "Connection") -> None:
        if self.mode == "cut":
            connection.answer(_GOOD, _BODY[: len(_BODY) // 2], then_close=True)
        else:
            connection.answer(_GOOD, _BODY)

    def end(self) -> None:
        """Finish what has begun, and close what is idle."""
        self.ending = True
        for connection in tuple(self.connections):
            connection.close_if_idle()


class Connection(asyncio.Protocol):
    """Takes one request at a time, as HTTP/1.1 without pipelining."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._buffer = b""
        self._busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._replica.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._replica.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if not end or self._busy:
            return
        first, *fields = head.split(b"\r\n")
        length = next((int(field[15:]) for field in fields if field.lower().startswith(b"content-length:")), 0)
        if len(body) >= length:
            self._buffer = body[length:]
            self._busy = True
            method, path, _ = first.split(b" ")
            self._replica.ask(self, method, path)

    def answer(self, head: bytes, body: bytes, *, then_close: bool = False) -> None:
        """Answer the request that is open."""
        self._busy = False
        if self._transport.is_closing():
            return
        close = b"Connection: close\r\n" if self._replica.ending else b""
        self._transport.write(head + close + b"\r\n" + body)
        if then_close or self._replica.ending:
            self._transport.close()

    def close_if_idle(self) -> None:
        """Close, unless a request is open."""
        if not self._busy:
            self._transport.close()


def obey(replica: Replica, loop: asyncio.AbstractEventLoop) -> None:
    """Change the mode as told on standard input, and end with it."""
    for line in sys.stdin:
        loop.call_soon_threadsafe(replica.change, line.strip())
    os._exit(0)


async def main(port: int, log: str, slots: int) -> None:
    """Serve until SIGTERM, or until standard input is closed."""
    loop = asyncio.get_running_loop()
    file = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    replica = Replica(file, slots)
    server = await loop.create_server(partial(Connection, replica), "127.0.0.1", port, backlog=1024)
    told = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, told.set)
    threading.Thread(target=obey, args=(replica, loop), daemon=True).start()
    gc.freeze()
    print("ready", flush=True)
    await told.wait()
    server.close()
    replica.end()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GRACE):
            while replica.connections:
                await asyncio.sleep(0.005)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
    os._exit(0)  # the thread that reads standard input waits for ever
