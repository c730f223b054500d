"""What it costs to forward a request whole: our `routes`, werkzeug's ProxyMiddleware, nginx, HAProxy and Envoy."""

import socket
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

from benchmarks.load import load
from benchmarks.report import Report, millis
from benchmarks.timing import Effort

RATE, SECONDS = 400.0, 6.0
READ = (
    f"{RATE:g} GET requests a second for {SECONDS:g} s at a fixed rate, three replicas that answer at once; latency "
    "counts from when a request was due"
)

_REPLICA = """
import asyncio, sys
ANSWER = b"HTTP/1.1 200 OK\\r\\nContent-Type: text/plain\\r\\nContent-Length: 2\\r\\n\\r\\nok"
class Replica(asyncio.Protocol):
    def connection_made(self, transport): self.transport = transport
    def data_received(self, data): self.transport.write(ANSWER * data.count(b"\\r\\n\\r\\n"))
async def main():
    loop = asyncio.get_running_loop()
    servers = [await loop.create_server(Replica, "127.0.0.1", 0) for _ in range(3)]
    print(*(server.sockets[0].getsockname()[1] for server in servers), flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


def run(effort: Effort) -> list[Report]:
    """Measure every contender whose program is installed."""
    from benchmarks.proxies import CONTENDERS

    seconds = SECONDS if effort.rounds > 10 else 0.5
    rows: list[tuple[str, ...]] = []
    notes = [READ, "processor time is that of the forwarder with its workers, per request; each has one worker"]
    with _replicas() as replicas:
        found = load(replicas[0], RATE, seconds)
        rows.append(("none: straight to a replica", "", *_latencies(found)))
        for name, contender in CONTENDERS.items():
            try:
                rows.append((name, *_measure(contender, replicas, seconds)))
            except (ImportError, RuntimeError) as error:
                notes.append(f"{name}: left out: {error}")
    columns = ("", "µs a request", "p50, ms", "p99, ms", "failed")
    return [Report("A request forwarded", columns, rows, notes)]


def _measure(contender: object, replicas: Sequence[int], seconds: float) -> tuple[str, ...]:
    import psutil

    from benchmarks.proxies import running

    port = _free_port()
    with running(contender, port, replicas) as pid:  # type: ignore[arg-type]
        load(port, RATE, min(1.0, seconds))  # connections are made, and code is warm
        parent = psutil.Process(pid)
        before = _processor_time(parent)
        found = load(port, RATE, seconds)
        spent = _processor_time(parent) - before
    return f"{spent / (RATE * seconds) * 1e6:.0f}", *_latencies(found)


def _latencies(found: object) -> tuple[str, str, str]:
    from benchmarks.load import Found

    assert isinstance(found, Found)
    return millis(found.quantile(0.5)), millis(found.quantile(0.99)), str(found.failed)


def _processor_time(parent: Any) -> float:
    """Seconds that a process and those it started have used."""
    times = [process.cpu_times() for process in (parent, *parent.children(recursive=True))]
    return sum(each.user + each.system for each in times)


@contextmanager
def _replicas() -> Generator[list[int]]:
    process = subprocess.Popen([sys.executable, "-c", _REPLICA], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield [int(port) for port in process.stdout.readline().split()]
    finally:
        process.kill()
        process.communicate()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
