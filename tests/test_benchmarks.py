"""Each benchmark runs, with little work, and tells sane figures. How fast anything is depends on the machine."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import NAMES

ROOT = Path(__file__).parents[1]
FIGURE = re.compile(r"(?:1/)?-?[0-9][0-9,]*(?:\.[0-9]+)?")

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
    "forwarding": {"none: straight to a replica"},  # the rest needs what only the benchmarks' own environment has
    "memory": {"peak_ewma", "consistent_hash"},
    "sharing": {"sqlite", "redis", "memory", "sqlite, locked", "sqlite, deleted", "redis, cut"},
    "availability": {"random", "round_robin", "weighted_random", "weighted_round_robin", "least_requests", "peak_ewma"},
}


def benchmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A process of its own: Django's settings can be given but once to each."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "adapters")])
    command = [sys.executable, "-W", "error", "-m", "benchmarks", *arguments]
    environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "120"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100, check=False)


def figures(output: str) -> dict[str, list[float]]:
    """The rows of all tables: each row's name, and what it tells."""
    found: dict[str, list[float]] = {}
    for line in output.splitlines():
        name, *cells = re.split(r" {2,}", line.strip())
        if cells and all(FIGURE.fullmatch(cell) for cell in cells):
            found[name] = [float(cell.removeprefix("1/").replace(",", "")) for cell in cells]
    return found


@pytest.mark.parametrize("name", NAMES)
def test_runs_and_tells_sane_figures(name: str) -> None:
    done = benchmark("--quick", name)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    rows = figures(done.stdout)
    assert rows.keys() >= ROWS[name]
    # What a middleware or an adapter adds is a difference, which noise can make negative in so few rounds; and that
    # none failed is 0.
    few = name in ("adapters", "clients", "forwarding")
    costs = [cost for row in rows.values() for cost in (row[:2] if few else row)]
    assert all(0.0 < cost < 1e6 for cost in costs)


def test_an_unknown_name_is_told_with_the_known_ones() -> None:
    done = benchmark("speed")
    assert done.returncode == 2
    assert "speed" in done.stderr
    assert "overhead" in done.stderr
