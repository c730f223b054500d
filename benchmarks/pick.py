"""What a choice costs, by strategy and number of nodes."""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from itertools import cycle, islice

from balancemw import Service
from balancemw.orca import IN_FLIGHT, LATENCY, LoadReport
from balancemw.strategies import BUILT_IN
from benchmarks.replicas import balancer_of
from benchmarks.report import Report, micros
from benchmarks.timing import Effort, clock, race

MOST = 1.5
KEYS = [f"key-{i}" for i in range(10_000)]

_SETTLED: Mapping[str, Mapping[str, object]] = {"prequal": {"max_age": 3600}, "load_weighted": {"blackout_period": 0}}
_BOUND = "consistent_hash, balance_factor = 1.25"
STRATEGIES: Mapping[str, Mapping[str, object]] = {
    **{name: {"name": name, **_SETTLED.get(name, {})} for name in BUILT_IN},
    _BOUND: {"name": "consistent_hash", "balance_factor": 1.25},
}
"""By what they are called in the table. Reports of load are heard once, and count as long as it is measured."""


def run(effort: Effort) -> list[Report]:
    """Measure every strategy at every size."""
    small, large = str(effort.sizes[0]), str(effort.sizes[-1])
    rows: list[tuple[str, ...]] = []
    over: list[str] = []
    for label, strategy in STRATEGIES.items():
        with ExitStack() as stack:
            services = {
                size: stack.enter_context(balancer_of(size, strategy=strategy))["service"] for size in effort.sizes
            }
            for service in services.values():
                _report(service)
            times = race({str(size): _picks(service) for size, service in services.items()}, effort)
        ratio = times.best(large) / times.best(small)
        if ratio > MOST:
            over.append(f"{label} ({ratio:.2f})")
        rows.append((label, *(micros(times.best(str(size))) for size in effort.sizes), f"{ratio:.2f}"))
    columns = ("strategy", *(f"{size:,} nodes" for size in effort.sizes), "ratio")
    read = "the best rounds: at the largest size most of the rest is waiting for memory, which all that runs shares"
    target = f"target for the ratio: at most {MOST} ({'missed by ' + ', '.join(over) if over else 'met'})"
    return [Report("service.pick(key), µs", columns, rows, (read, target))]


def _report(service: Service) -> None:
    """Every node tells of its load, one in seven of the same."""
    for i, peer in enumerate(service.pool.roster.peers.values()):
        named = {IN_FLIGHT: float(i % 7), LATENCY: 0.010 + 0.001 * (i % 7)}
        report = LoadReport(cpu_utilization=0.5, rps_fractional=100.0 + i % 7, named_metrics=named)
        service.pool.hear(peer, report, time.monotonic())


def _picks(service: Service) -> Callable[[int], float]:
    pick, keys = service.pick, cycle(KEYS)

    def run(times: int) -> float:
        mine = list(islice(keys, times))
        began = clock()
        for key in mine:
            pick(key)
        return clock() - began

    return run
