"""What a change of availability costs: a node goes out or comes back, and the next choice has to know."""

import gc
from statistics import median
from time import perf_counter

from balancemw import Service
from balancemw.strategies import BUILT_IN
from benchmarks.replicas import balancer_of
from benchmarks.report import Report, millis
from benchmarks.timing import Effort

SIZE, MOST = 1_000, 0.010  # at so many nodes, at most so many seconds
STORM = 1_000  # changes between two choices


def run(effort: Effort) -> list[Report]:
    """Measure every strategy at every size."""
    rows: list[tuple[str, ...]] = []
    storms: list[tuple[str, ...]] = []
    slow: list[str] = []
    for strategy in BUILT_IN:
        cells: list[str] = []
        for size in effort.sizes:
            with balancer_of(size, strategy=strategy) as balancer:
                service = balancer["service"]
                change = max(_changes(service, max(1, effort.rounds // 5)))
                cells.append(millis(change))
                if size == SIZE or len(effort.sizes) * len(BUILT_IN) < SIZE > size == effort.sizes[-1]:
                    storms.append((strategy, *(millis(each) for each in _storm(service, change))))
                if size == SIZE and change > MOST:
                    slow.append(strategy)
        rows.append((strategy, *cells))
    return [Report("x", ("",), rows), Report("y", ("",), storms)]


def _changes(service: Service, rounds: int) -> tuple[float, float]:
    raise NotImplementedError
