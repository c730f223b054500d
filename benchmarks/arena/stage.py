"""Three replicas, whoever sends to them, a load, and faults at their time."""

import json
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from balancemw.demo.processes import free_port
from benchmarks.arena.contenders import Contender
from benchmarks.arena.processes import Process, machine_time, processor_time, python
from benchmarks.arena.replica import TROUBLE
from benchmarks.proxies import running

SLOTS = (16, 16, 16)
"""Requests that each replica serves at a time."""

WARM = 1.0
"""Seconds of load before anything counts: connections are made, code is warm, averages are known."""

LEAD = 0.1  # seconds for the load generator to hear when to begin


@dataclass(frozen=True)
class Window:
    """A time in which a replica was not well: monotonic seconds, and what was wrong."""

    replica: int
    begin: float
    end: float
    what: str


class Arrival(NamedTuple):
    """A request that reached a replica: when (monotonic), its method and number, and the mode it met."""

    time: float
    method: str
    number: int
    mode: str


@dataclass(frozen=True)
class Scenario:
    """What happens to the replicas while a load is on.

    Attributes:
        name: of its file, and on the command line.
        title: what happens, in a few words.
        play: makes it happen.
        rate: requests a second.
        seconds: how long.
        slots: requests that each replica serves at a time.
        contenders: who takes part; see `benchmarks.arena.contenders`.
        notes: what is needed to read its table.
    """

    name: str
    title: str
    play: "Callable[[Stage], None]"
    rate: float = 300.0
    seconds: float = 9.0
    slots: Sequence[int] = SLOTS
    contenders: Sequence[str] = ("balancemw", "nginx", "HAProxy", "Envoy", "tenacity", "pyresilience")
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Run:
    """What came of a scenario with one contender.

    Attributes:
        begin, seconds: the time that counts, monotonic, and how long it was.
        calls: (number, due, seconds, status) of each request that the load generator sent.
        errors: how often each kind of failure was seen.
        arrivals: what reached each replica from `begin` on, in order.
        windows: when replicas were not well.
        others: share of the machine that processes had which are none of ours; None: the system does not tell.
    """

    begin: float
    seconds: float
    calls: Sequence[tuple[int, float, float, int]]
    errors: Mapping[str, int]
    arrivals: Sequence[Sequence[Arrival]]
    windows: Sequence[Window]
    others: float | None = None


class Stage:
    """What a scenario acts on. Times are seconds from when the load begins to count, in the scenario's own time.

    Args:
        folder: where replicas keep their logs.
        pace: seconds that one of the scenario's takes; less than 1 to see quickly that it runs.
        slots: of each replica.
    """

    def __init__(self, folder: Path, pace: float, slots: Sequence[int]) -> None:
        self.ports = [free_port() for _ in slots]
        self.windows: list[Window] = []
        self.begin = 0.0
        self._pace = pace
        self._slots = slots
        self._logs = [folder / f"arrivals-{place}.log" for place in range(len(slots))]
        self._processes: list[Process] = []
        self._unwell: dict[int, tuple[float, str]] = {}

    def open(self) -> None:
        """Start the replicas; returns when they listen."""
        for replica in range(len(self.ports)):
            self._processes.append(self._started(replica))
        for process in self._processes:
            process.hear()

    def until(self, seconds: float) -> None:
        """Wait for a point in time."""
        time.sleep(max(0.0, self.begin + seconds * self._pace - time.monotonic()))

    def behave(self, replica: int, mode: str) -> None:
        """Let a replica behave like that from now on; see `benchmarks.arena.replica`."""
        if mode in TROUBLE:
            self._unwell[replica] = time.monotonic(), mode
        self._processes[replica].tell(mode)
        if mode not in TROUBLE and replica in self._unwell:
            self._well(replica)

    def kill(self, *replicas: int) -> None:
        """SIGKILL them."""
        for replica in replicas:
            self._unwell[replica] = time.monotonic(), "killed"
            self._processes[replica].kill()

    def start(self, *replicas: int) -> None:
        """Start them again, on the same ports; returns when they listen."""
        for replica in replicas:
            self._processes[replica] = self._started(replica)
        for replica in replicas:
            self._processes[replica].hear()
            self._well(replica)

    def restart(self, replica: int, patience: float = 3.0) -> None:
        """End it as deployments do, by SIGTERM, and start it again."""
        self._unwell[replica] = time.monotonic(), "restarted"
        self._processes[replica].terminate(patience)
        self.start(replica)

    def _well(self, replica: int) -> None:
        since, what = self._unwell.pop(replica)
        self.windows.append(Window(replica, since, time.monotonic(), what))

    def _started(self, replica: int) -> Process:
        return python("benchmarks.arena.replica", self.ports[replica], self._logs[replica], self._slots[replica])

    def spent(self) -> float:
        """Seconds of processor time that the replicas that run have used."""
        return sum(processor_time(process.pid) for process in self._processes if process.running)

    def arrivals(self) -> list[list[Arrival]]:
        """What reached each replica since `begin`."""
        found = []
        for log in self._logs:
            lines = log.read_text().splitlines() if log.exists() else []
            all_of_it = [Arrival(float(t), method, int(n), mode) for t, method, n, mode in map(str.split, lines)]
            found.append([each for each in all_of_it if each.time >= self.begin])
        return found

    def end(self) -> None:
        """End everything, and close what is still open."""
        for replica in tuple(self._unwell):
            self._well(replica)
        for process in self._processes:
            process.kill()


@contextmanager
def set_stage(pace: float, slots: Sequence[int] = SLOTS) -> Generator[Stage]:
    """Replicas that answer; nothing of them is left when the block ends, however it ends."""
    with TemporaryDirectory(prefix="balancemw-bench-") as folder:
        stage = Stage(Path(folder), pace, slots)
        try:
            stage.open()
            yield stage
        finally:
            stage.end()


class Line:
    """A contender that is ready to send to the replicas of a stage, with its proxy, if it has one.

    Args:
        generator: the load generator's process.
        proxy: the proxy's process id.
    """

    def __init__(self, generator: Process, proxy: int | None) -> None:
        self._generator = generator
        self._proxy = proxy

    def begin(self, stage: Stage, rate: float, seconds: float, warm: float) -> None:
        """Put a load on; `stage.begin` is when it counts from. Returns then."""
        stage.begin = time.monotonic() + LEAD + warm
        self._generator.tell(f"{stage.begin!r} {rate} {seconds} {warm}")
        stage.until(0.0)

    def end(self) -> tuple[list[tuple[int, float, float, int]], dict[str, int]]:
        """What came of the load: its calls, and how often each kind of failure was seen."""
        told = json.loads(self._generator.hear())
        return told["calls"], told["errors"]

    def spent(self, stage: Stage) -> dict[str, float]:
        """Seconds of processor time so far; nothing where the system does not tell."""
        found: dict[str, float] = {}
        with suppress(AttributeError, OSError):
            found["client"] = processor_time(self._generator.pid)
            if self._proxy is not None:
                found["proxy"] = processor_time(self._proxy)
            found["replicas"] = stage.spent()
        return found


@contextmanager
def line_up(contender: Contender, stage: Stage) -> Generator[Line]:
    """Start what a contender consists of.

    Raises:
        ImportError: it is not installed.
        RuntimeError: it did not start.
    """
    with ExitStack() as stack:
        port, proxy = free_port(), None
        urls = [f"http://127.0.0.1:{each}" for each in ([port] if contender.proxy else stage.ports)]
        generator = stack.enter_context(python("benchmarks.arena.generator", contender.client, *urls))
        if contender.proxy is not None:  # both start at once
            proxy = stack.enter_context(running(contender.proxy, port, stage.ports))
        generator.hear()
        yield Line(generator, proxy)


def _others(line: Line, stage: Stage) -> Callable[[], float | None]:
    """From now until it is called: the share of the machine that others had."""

    def now() -> tuple[float, float]:
        busy, had = machine_time()
        return busy - sum(line.spent(stage).values()) - time.process_time(), had

    try:
        busy, had = now()
    except OSError:
        return lambda: None

    def then() -> float:
        later, more = now()
        return max(0.0, (later - busy) / (more - had))

    return then


def run(scenario: Scenario, contender: Contender, pace: float = 1.0) -> Run:
    """Play `scenario` to one contender; raises what `line_up` does."""
    with set_stage(pace, scenario.slots) as stage, line_up(contender, stage) as line:
        seconds = scenario.seconds * pace
        line.begin(stage, scenario.rate, seconds, WARM * pace)
        meanwhile = _others(line, stage)
        scenario.play(stage)
        stage.until(scenario.seconds)
        calls, errors = line.end()
        arrivals = stage.arrivals()
        others = meanwhile()
        stage.end()
    return Run(stage.begin, seconds, calls, errors, arrivals, stage.windows, others)
