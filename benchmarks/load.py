"""A load of GET requests at a fixed rate, as a process of its own: ``python -m benchmarks.load PORT RATE SECONDS``.

The rate does not depend on how quick the answers are (open loop), and a latency counts from when its request was due,
not from when a connection was free for it: a server that stalls is charged for all who had to wait meanwhile.
"""

import asyncio
import json
import subprocess
import sys
from dataclasses import dataclass
from math import ceil

_REQUEST = b"GET /api/inventory/stock/1 HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n"


@dataclass(frozen=True)
class Found:
    """What a load found: seconds from due to answered in ascending order, and how many had no answer of status 200."""

    latencies: list[float]
    failed: int

    def quantile(self, share: float) -> float:
        """The latency that this share of the answers does not exceed."""
        return self.latencies[max(0, ceil(share * len(self.latencies)) - 1)]


def load(port: int, rate: float, seconds: float) -> Found:
    """Put a load on 127.0.0.1:`port`: `rate` requests a second."""
    command = [sys.executable, "-m", "benchmarks.load", str(port), str(rate), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 60)
    return Found(**json.loads(done.stdout))


class _Connection(asyncio.Protocol):
    """Sends one request at a time and waits for its answer, which must have a Content-Length or be chunked."""

    def __init__(self) -> None:
        self._buffer = b""
        self._answer: asyncio.Future[bool] | None = None
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(False)

    async def ask(self) -> bool:
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(_REQUEST)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if not end or self._answer is None:
            return
        lines = head.lower().split(b"\r\n")
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), None)
        whole = body.endswith(b"0\r\n\r\n") if length is None else len(body) >= length
        if whole and not self._answer.done():
            self._buffer = b""
            self._answer.set_result(b" 200 " in lines[0])


async def _run(port: int, rate: float, seconds: float) -> Found:
    loop = asyncio.get_running_loop()
    idle: list[_Connection] = []
    latencies: list[float] = []
    failed = 0

    async def one(due: float) -> None:
        nonlocal failed
        try:
            connection = idle.pop() if idle else None
            if connection is None or connection.lost:
                _, connection = await loop.create_connection(_Connection, "127.0.0.1", port)
            good = await connection.ask()
        except OSError:
            good = False
        else:
            if not connection.lost:
                idle.append(connection)
        if good:
            latencies.append(loop.time() - due)
        else:
            failed += 1

    began = loop.time()
    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * seconds)):
            due = began + number / rate
            if (early := due - loop.time()) > 0.0:
                await asyncio.sleep(early)
            group.create_task(one(due))
    return Found(sorted(latencies), failed)


if __name__ == "__main__":
    found = asyncio.run(_run(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])))
    print(json.dumps({"latencies": found.latencies, "failed": found.failed}))
