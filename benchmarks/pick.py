"""What a choice costs, by strategy and number of nodes."""

from collections.abc import Callable
from contextlib import ExitStack
from itertools import cycle, islice

from balancemw import Service
from balancemw.strategies import BUILT_IN
from benchmarks.replicas import balancer_of
from benchmarks.report import Report, micros
from benchmarks.timing import Effort, clock, race

MOST = 1.5
KEYS = [f"key-{i}" for i in range(10_000)]


def run(effort: Effort) -> list[Report]:
    """Measure every strategy at every size."""
    small, large = str(effort.sizes[0]), str(effort.sizes[-1])
    rows: list[tuple[str, ...]] = []
    over: list[str] = []
    for strategy in BUILT_IN:
        with ExitStack() as stack:
            services = {
                size: stack.enter_context(balancer_of(size, strategy=strategy))["service"] for size in effort.sizes
            }
            times = race({str(size): _picks(service) for size, service in services.items()}, effort)
        ratio = times.best(large) / times.best(small)
        if ratio > MOST:
            over.append(f"{strategy} ({ratio:.2f})")
        rows.append((strategy, *(micros(times.best(str(size))) for size in effort.sizes), f"{ratio:.2f}"))
    columns = ("strategy", *(f"{size:,} nodes" for size in effort.sizes), "ratio")
    read = "the best rounds: at the largest size most of the rest is waiting for memory, which all that runs shares"
    target = f"target for the ratio: at most {MOST} ({'missed by ' + ', '.join(over) if over else 'met'})"
    return [Report("service.pick(key), µs", columns, rows, (read, target))]


def _picks(service: Service) -> Callable[[int], float]:
    pick, keys = service.pick, cycle(KEYS)

    def run(times: int) -> float:
        mine = list(islice(keys, times))
        began = clock()
        for key in mine:
            pick(key)
        return clock() - began

    return run
