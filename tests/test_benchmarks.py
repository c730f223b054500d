"""Each benchmark runs, with little work, and tells sane figures. How fast anything is depends on the machine."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from benchmarks.__main__ import COSTS, SCENARIOS
from benchmarks.arena.replica import TROUBLE
from benchmarks.arena.stage import Scenario
from benchmarks.arena.turns import Turn

ROOT = Path(__file__).parents[1]
FIGURE = re.compile(r"(?:1/)?-?[0-9][0-9,]*(?:\.[0-9]+)?|–")

ROWS = {
    "overhead": {"the bare function", "balanced", "balanced, with a response", "tenacity.retry"},
    "pick": {"random", "round_robin", "weighted_random", "weighted_round_robin", "least_requests", "consistent_hash"},
    "adapters": {
        "Starlette, ASGI",
        "werkzeug, WSGI",
        "Flask, WSGI",
        "Django, WSGI, sync view",
        "Django, ASGI, async view",
    },
    "clients": {"aiohttp", "httpx, sync", "httpx, async", "requests"},
    "forwarding": {"direct", "balancemw, ASGI", "balancemw, WSGI", "werkzeug's ProxyMiddleware"},
    "memory": {"peak_ewma", "consistent_hash"},
    "sharing": {
        *("memory", "sqlite", "sqlite, locked", "sqlite, deleted", "sqlite, prober killed", "sqlite, prober stopped"),
        *("redis", "redis, restarted", "redis, cut for 0.9 s"),
    },
    "availability": {"random", "round_robin", "weighted_random", "weighted_round_robin", "least_requests", "peak_ewma"},
    "steady": {"direct", "balancemw"},
}

DIFFERENCES = ("adapters", "clients", "forwarding", "steady")
"""Those whose rows end with figures that may be nothing, or less than that by noise in so few rounds."""

PLAYED = ("one_hung", "one_killed", "rolling_restart")
"""Scenarios that are played here: replicas are told to misbehave, killed and ended."""

MARK = "BALANCEMW_BENCH_TEST"


def benchmark(*arguments: str, **variables: str) -> "subprocess.Popen[str]":
    """A process of its own: Django's settings can be given but once to each."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "adapters")])
    command = [sys.executable, "-W", "error", "-m", "benchmarks", *arguments]
    environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "120", **variables}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True)


def output_of(process: "subprocess.Popen[str]") -> str:
    said, complaints = process.communicate(timeout=100)
    assert process.returncode == 0, complaints
    assert complaints == ""
    return said


def figures(output: str) -> dict[str, list[float]]:
    """The rows of all tables: each row's name, and what it tells."""
    found: dict[str, list[float]] = {}
    for line in output.splitlines():
        name, *cells = re.split(r" {2,}", line.strip())
        if cells and all(FIGURE.fullmatch(cell) for cell in cells):
            found[name] = [float(cell.removeprefix("1/").replace(",", "")) for cell in cells if cell != "–"]
    return found


def marked(mark: str) -> list[psutil.Process]:
    """The processes that carry `mark` in their environment: a benchmark's, and all that it started."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize("name", [*COSTS, "steady"])
def test_runs_and_tells_sane_figures(name: str) -> None:
    rows = figures(output_of(benchmark("--quick", name)))
    assert rows.keys() >= ROWS[name]
    costs = {label: row[:2] if name in DIFFERENCES else row for label, row in rows.items()}
    assert all(0.0 < cost < 1e6 for row in costs.values() for cost in row), costs


@pytest.mark.parametrize("file", ["missing/results.jsonl", "."])
def test_results_that_cannot_be_written_are_told_before_the_work(file: str, tmp_path: Path) -> None:
    told = benchmark("--quick", "--results", str(tmp_path / file), "memory")
    out, errors = told.communicate(timeout=60)
    assert (told.returncode, out) == (2, "")
    assert errors.splitlines()[-1].endswith(f"error: results cannot be written to {tmp_path / file}")


@pytest.mark.parametrize("name", PLAYED)
def test_a_scenario_is_played_to_everyone_and_leaves_nothing_but_its_results(name: str, tmp_path: Path) -> None:
    mark, stage, results = uuid.uuid4().hex, tmp_path / "stage", tmp_path / "results.jsonl"
    stage.mkdir()
    arguments = ["--quick", "--only", "balancemw", "--only", "tenacity", "--results", str(results), name]
    said = output_of(benchmark(*arguments, **{MARK: mark, "TMPDIR": str(stage)}))
    assert figures(said).keys() >= {"balancemw", "tenacity"}
    assert "balancemw: " in said  # who won
    assert "Quick: a second of the scenario took 0.1 s" in " ".join(said.split())
    (record,) = map(json.loads, results.read_text().splitlines())
    assert record["benchmark"] == name
    assert record["versions"].keys() >= {"balancemw", "aiohttp", "tenacity"}
    for each in record["data"]["contenders"].values():
        assert each["gets"] + each["posts"] == 270  # what is due is sent, whatever becomes of what was sent before
        assert 0.003 < each["p50"] <= each["p99"] <= each["p999"]
        assert each["posts_twice"] == 0
    assert list(stage.iterdir()) == []
    assert marked(mark) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_benchmark_that_is_stopped_leaves_nothing_behind(number: signal.Signals, tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    stopped = benchmark("one_hung", "--results", str(tmp_path / "none"), **{MARK: mark, "TMPDIR": str(tmp_path)})
    until = time.monotonic() + 60
    while len(marked(mark)) < 5 and time.monotonic() < until:  # itself, three replicas and the load generator
        assert stopped.poll() is None
        time.sleep(0.05)
    stopped.send_signal(number)
    out, errors = stopped.communicate(timeout=60)
    assert (stopped.returncode, out) == (128 + number, "")
    assert "KeyboardInterrupt" not in errors
    psutil.wait_procs(marked(mark), timeout=10)  # who was being started dies with its parent, and not before
    assert marked(mark) == []
    assert list(tmp_path.iterdir()) == []


class Slept:
    """A line whose first turn is over before we wake up; each turn takes a second of processor time."""

    def __init__(self) -> None:
        self.turns = 0

    def begin(self, stage: SimpleNamespace, rate: float, seconds: float, warm: float) -> None:
        self.turns += 1
        stage.begin = time.monotonic() - (2 * seconds if self.turns == 1 else 0.0)

    def spent(self, stage: SimpleNamespace) -> dict[str, float]:
        return {"proxy": float(self.turns)}

    def end(self) -> tuple[list[tuple[int, float, float, int]], dict[str, int]]:
        self.turns += self.turns > 1
        return [(0, 0.0, 0.001, 200)], {}


def test_a_turn_that_was_slept_through_is_taken_again() -> None:
    turn = Turn(Slept(), SimpleNamespace(), 100.0, 60.0)  # type: ignore[arg-type]
    assert (turn.spent, turn.failed) == ({"proxy": 1.0}, 0)


FORKED = """
import os, signal, sys
from benchmarks.arena.processes import Process
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
with Process([sys.executable, "-c", "import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, []))"]) as child:
    assert child.hear() == "set()"  # a replica can be ended
os.register_at_fork(after_in_parent=lambda: os.kill(os.getpid(), signal.SIGTERM))
with Process(["sleep", "60"]):
    print("not ended")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing of ours runs after a fork")
def test_a_signal_that_comes_while_a_process_is_started_is_not_lost() -> None:
    command = [sys.executable, "-c", FORKED]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "")


class Rehearsal:
    """A stage on which nothing happens; it notes what would."""

    def __init__(self) -> None:
        self.now = 0.0
        self.unwell: set[int] = set()

    def until(self, seconds: float) -> None:
        assert seconds > self.now
        self.now = seconds

    def behave(self, replica: int, mode: str) -> None:
        assert mode in ("ok", "stall", *TROUBLE)
        (self.unwell.add if mode in TROUBLE else self.unwell.discard)(replica)

    def kill(self, *replicas: int) -> None:
        self.unwell.update(replicas)

    def start(self, *replicas: int) -> None:
        self.unwell.difference_update(replicas)

    def restart(self, replica: int) -> None:
        assert replica not in self.unwell


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != "steady"])
def test_every_scenario_ends_well_and_in_time(name: str) -> None:
    scenario: Scenario = import_module(f"benchmarks.scenarios.{name}").SCENARIO
    rehearsal = Rehearsal()
    scenario.play(rehearsal)  # type: ignore[arg-type]
    assert scenario.name == name
    assert rehearsal.unwell == set()
    assert rehearsal.now < scenario.seconds


def test_an_unknown_name_is_told_with_the_known_ones() -> None:
    process = benchmark("speed")
    _, complaints = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "speed" in complaints
    assert "overhead" in complaints
