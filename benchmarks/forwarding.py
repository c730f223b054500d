"""What it costs to forward a request whole: our `routes`, werkzeug's ProxyMiddleware, nginx, HAProxy and Envoy."""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.arena.contenders import CONTENDERS, PROXIES, Contender
from benchmarks.arena.stage import set_stage
from benchmarks.arena.turns import cells, line_all_up, race, summed_up
from benchmarks.proxies import Command
from benchmarks.report import Report
from benchmarks.timing import Effort

RATE, TURN, ROUNDS = 300.0, 1.0, 4
READ = (
    f"{RATE:g} calls a second; processor time is that of the forwarder with its workers; each has one worker. Latency "
    "in ms from when a call was due."
)


def run(effort: Effort) -> list[Report]:
    """Measure every contender whose program is installed."""
    with ExitStack() as stack:
        stage = stack.enter_context(set_stage(effort.pace))
        contenders = [CONTENDERS["direct"], *_IN_PYTHON, *(CONTENDERS[name] for name in PROXIES)]
        lines, notes = line_all_up(contenders, stage, stack)
        turns = race(lines, stage, RATE, TURN * effort.pace, ROUNDS if effort.pace == 1.0 else 1)
    data = {name: summed_up(each, turns["direct"]) for name, each in turns.items()}
    rows = [(name, *cells(each, ("proxy",))) for name, each in data.items()]
    columns = ("", "µs a call", "p50", "p99", "failed")
    return [Report("A request forwarded", columns, rows, (READ, *notes), {"costs": data})]


def _asgi(port: int, replicas: Sequence[int], folder: Path) -> Command:
    app = ["uvicorn", "benchmarks.forwarding_apps:asgi", "--port", str(port), "--log-level", "warning"]
    return [sys.executable, "-m", *app, "--no-access-log"], _environment(replicas)


def _wsgi(port: int, replicas: Sequence[int], folder: Path) -> Command:
    return _gunicorn("wsgi", port), _environment(replicas)


def _werkzeug(port: int, replicas: Sequence[int], folder: Path) -> Command:
    return _gunicorn("werkzeug", port), _environment(replicas)


def _gunicorn(app: str, port: int) -> list[str]:
    shape = ["--worker-class", "gthread", "--threads", "32", "--log-level", "warning", "--keep-alive", "30"]
    bind = ["--bind", f"127.0.0.1:{port}", "--no-control-socket"]
    return [sys.executable, "-m", "gunicorn", f"benchmarks.forwarding_apps:{app}", *bind, *shape]


def _environment(ports: Sequence[int]) -> dict[str, str]:
    return {"REPLICAS": " ".join(f"http://127.0.0.1:{port}" for port in ports)}


_IN_PYTHON = (
    Contender("balancemw, ASGI", "plain", "our routes around an ASGI app", ("balancemw", "uvicorn"), _asgi),
    Contender("balancemw, WSGI", "plain", "our routes around a WSGI app, 32 threads", ("balancemw", "gunicorn"), _wsgi),
    Contender(
        "werkzeug's ProxyMiddleware",
        "plain",
        "knows one replica and never tries again; 32 threads",
        ("werkzeug", "gunicorn"),
        _werkzeug,
    ),
)
