"""Nothing happens: what a call costs in all processes that it needs, and how long it takes, at two rates."""

from collections.abc import Mapping
from contextlib import ExitStack

from benchmarks.arena.contenders import CONTENDERS, PROXIES
from benchmarks.arena.stage import set_stage
from benchmarks.arena.turns import PARTS, Turn, cells, line_all_up, race, summed_up
from benchmarks.report import Report
from benchmarks.timing import Effort

RATES = {100.0: 1.2, 800.0: 0.9}
"""Requests a second, and seconds of one turn."""

ROUNDS = 7
SHARE = 5
"""What we add to a call is to be at most one such part of what the cheapest proxy adds."""

COLUMNS = ("", "client", "proxy", "replicas", "in all", "added", "p50", "p99", "failed")
READ = (
    "Processor time in µs per call: of the process that calls, of the proxy and of the three replicas; added: to "
    "direct, the median of the rounds' differences. Latency in ms from when a call was due. One call in ten is a POST."
)


def run(effort: Effort) -> list[Report]:
    """A table for each rate."""
    with ExitStack() as stack:
        stage = stack.enter_context(set_stage(effort.pace))
        contenders = [CONTENDERS[name] for name in ("direct", "balancemw", *PROXIES)]
        lines, notes = line_all_up(contenders, stage, stack)
        rounds = ROUNDS if effort.pace == 1.0 else 1
        found = {rate: race(lines, stage, rate, turn * effort.pace, rounds) for rate, turn in RATES.items()}
    return [_report(rate, turns, notes) for rate, turns in found.items()]


def _report(rate: float, turns: Mapping[str, list[Turn]], notes: list[str]) -> Report:
    data = {name: summed_up(each, turns["direct"]) for name, each in turns.items()}
    rows = [(name, *cells(each, (*PARTS, "total", "added"))) for name, each in data.items()]
    return Report(f"Steady, {rate:g} calls a second", COLUMNS, rows, (*_verdict(data), READ, *notes), {"costs": data})


def _verdict(data: Mapping[str, Mapping[str, float]]) -> list[str]:
    proxies = {name: data[name]["added"] for name in PROXIES if name in data}
    if not proxies:
        return []
    name = min(proxies, key=proxies.__getitem__)
    ours, theirs = data["balancemw"]["added"] * 1e6, proxies[name] * 1e6
    met = "met" if ours * SHARE <= theirs else "missed"
    said = f"balancemw adds {ours:.0f} µs of processor time to a call, {name}, the cheapest proxy, {theirs:.0f} µs"
    return [f"{said}; target: at most 1/{SHARE} of that ({met})"]
