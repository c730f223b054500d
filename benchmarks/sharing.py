"""How soon other workers know, what a store in trouble costs a call, and how soon all is right again after it."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from balancemw import Balancer, Node
from benchmarks import troubles
from benchmarks.replicas import silence, urls
from benchmarks.report import Report, micros, millis
from benchmarks.timing import Effort

KNOWN = (
    "known: from a mark in one worker until another, which has a balancer and a thread of its own, obeys it.",
    "targets: 250 ms with sqlite, 500 ms with Redis.",
)
COST = (
    "a call that does nothing, every 2 ms, from before the trouble begins until all is right again.",
    "right again: from the end of the trouble, or from what happens at once, until a mark that another worker made"
    " meanwhile is obeyed, or until another worker makes the checks.",
    "targets: no more than 5 ms above memory at the 99th percentile; right again within 3 s.",
)
PACE = 0.002
PATIENCE = 20.0
CHECKED = {"kind": "benchmarks.troubles:well", "interval": 1.0}

Trouble = Callable[[], AbstractContextManager[None]]
Row = tuple[str, ...]


def run(effort: Effort) -> list[Report]:
    """Measure with a file, and with Redis where its server is installed."""
    known: list[Row] = []
    cost: list[Row] = []
    notes = list(COST)
    with silence(), TemporaryDirectory() as directory:
        bench = _Bench(effort)
        cost.append(("memory", *bench.cost("memory")))
        _file(bench, Path(directory, "state.db"), known, cost)
        with troubles.small_disk(directory) as place:
            if place is None:
                notes.append("a full disk is left out: no small tmpfs can be mounted here.")
            else:
                path = place / "state.db"
                suffered = bench.cost(f"sqlite:///{path}", lambda: troubles.full(path), seconds=bench.a_while)
                cost.append(("sqlite, disk full", *suffered))
        if (program := troubles.redis_program()) is not None:
            server = troubles.Redis(program, directory)
            try:
                _redis(bench, server, known, cost)
            finally:
                server.end()
    columns = ("state", "median", "99 %", "worst")
    return [
        Report("A mark of one worker is known to another, ms", ("store", *columns[1:]), known, KNOWN),
        Report("A call, µs, and how soon all is right again, ms", (*columns, "right again"), cost, notes),
    ]


def _file(bench: "_Bench", path: Path, known: list[Row], cost: list[Row]) -> None:
    state = f"sqlite:///{path}"
    known.append(("sqlite", *bench.known(state)))
    cost.append(("sqlite", *bench.cost(state)))
    cost.append(("sqlite, locked", *bench.cost(state, lambda: troubles.locked(path), seconds=bench.a_while)))
    cost.append(("sqlite, deleted", *bench.cost(state, lambda: troubles.deleted(path))))
    for what, number in (("killed", signal.SIGKILL), ("stopped", signal.SIGSTOP)):
        with troubles.prober(_settings(state, checked=True)) as process:
            suffered = bench.cost(state, partial(troubles.struck, process, number), checked=True)
            cost.append((f"sqlite, prober {what}", *suffered))


def _redis(bench: "_Bench", server: troubles.Redis, known: list[Row], cost: list[Row]) -> None:
    known.append(("redis", *bench.known(server.url)))
    cost.append(("redis", *bench.cost(server.url)))
    cost.append(("redis, restarted", *bench.cost(server.url, server.restarted)))
    cost.append((f"redis, cut for {bench.long:g} s", *bench.cost(server.url, server.cut, seconds=bench.long)))


def _settings(state: str, *, checked: bool = False) -> dict[str, object]:
    service = {"nodes": urls(3), **({"probe": CHECKED} if checked else {})}
    return {"services": {"service": service}, "state": state}


class _Bench:
    """What is measured, with as much work as `effort` says.

    Attributes:
        a_while, long: seconds for which a store is in trouble.
    """

    def __init__(self, effort: Effort) -> None:
        self._rounds = effort.rounds
        self._calls = effort.rounds * 12
        self.a_while = effort.rounds * 0.02
        self.long = effort.rounds * 0.3

    def known(self, state: str) -> Row:
        """From a mark in one worker until another knows."""
        taken: list[float] = []
        with Balancer(_settings(state)) as one, Balancer(_settings(state)) as other:
            node = one["service"].nodes[0]
            one["service"].clear(node)
            for number in range(self._rounds):
                began = time.perf_counter()
                one["service"].mark(node, "weight", weight=1.0 + number % 9 / 10, reason="benchmark")
                weight = _weight(one)
                while _weight(other) != weight:
                    time.sleep(0.0005)
                taken.append(time.perf_counter() - began)
        return _percentiles(taken, millis)

    def cost(self, state: str, trouble: Trouble | None = None, *, seconds: float = 0.0, checked: bool = False) -> Row:
        """What calls take while the store, or whoever checks, is in trouble for so many seconds, and after it."""
        settings = _settings(state, checked=checked)
        with Balancer(settings) as one, Balancer(settings) as other:
            if trouble is None:
                return (*_percentiles(list(_calls(one, self._calls, lambda: True)), micros), "–")
            workers = 3 if checked else 2
            _until(lambda: one["service"].pool.budget.workers == other["service"].pool.budget.workers == workers)
            with trouble():
                other["service"].mark(other["service"].nodes[0], "weight", weight=0.5, reason="benchmark")
                end = time.perf_counter() + seconds
                taken = list(_calls(one, 0, lambda: time.perf_counter() >= end))
            ended, right = time.perf_counter(), _Right(one, other, checked=checked)
            taken += _calls(one, max(0, self._calls - len(taken)), right)
            other["service"].clear(other["service"].nodes[0])
        return (*_percentiles(taken, micros), millis(right.at - ended))


class _Right:
    """Whether all is right again; `at`: since when."""

    def __init__(self, one: Balancer, other: Balancer, *, checked: bool) -> None:
        self._workers = one, other
        self._checked = checked
        self.at = 0.0

    def __call__(self) -> bool:
        if not self.at and self._is_right():
            self.at = time.perf_counter()
        return self.at > 0.0

    def _is_right(self) -> bool:
        if self._checked:
            return any(worker._leads("service") for worker in self._workers)
        return _weight(self._workers[0]) == 0.5


def _calls(balancer: Balancer, least: int, over: Callable[[], bool]) -> Iterator[float]:
    """Seconds that each of at least so many calls takes, until it is over."""

    @balancer.call("service", idempotent=True)
    def nothing(_: Node) -> None:
        return None

    count, patience = 0, time.perf_counter() + PATIENCE * 2
    while not over() or count < least:
        began = time.perf_counter()
        nothing()
        yield time.perf_counter() - began
        if began > patience:
            raise RuntimeError(f"it is not over within {PATIENCE * 2:g} s")
        count += 1
        time.sleep(PACE)


def _weight(balancer: Balancer) -> float:
    return balancer["service"].pool.roster.find(balancer["service"].nodes[0]).weight


def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > end:
            raise RuntimeError("the workers do not find each other")
        time.sleep(0.01)


def _percentiles(taken: list[float], shown: Callable[[float], str]) -> Row:
    taken = sorted(taken)
    return tuple(shown(taken[min(len(taken) - 1, int(len(taken) * share))]) for share in (0.5, 0.99, 1.0))
