"""What an idle node costs in memory."""

import gc
import tracemalloc

from balancemw import Balancer
from benchmarks.replicas import urls
from benchmarks.report import Report
from benchmarks.timing import Effort

MOST = 4096
STRATEGIES = ("peak_ewma", "consistent_hash")
COUNTED = (
    "counted: all that Python allocates and keeps for a node once the app's own mapping of settings exists: the",
    "settings made of it, the node, its load, its record and its place in the picker. A difference of two sizes takes",
    "fixed costs off.",
)


def run(effort: Effort) -> list[Report]:
    """Measure the default strategy, and the one whose picker is the largest."""
    few, many = effort.sizes[0], effort.sizes[-1]
    rows: list[tuple[str, str]] = []
    worst = 0.0
    for strategy in STRATEGIES:
        _allocated(few, strategy)  # imports and caches are no node's cost
        each = (_allocated(many, strategy) - _allocated(few, strategy)) / (many - few)
        rows.append((strategy, f"{each:,.0f}"))
        worst = max(worst, each)
    target = f"target: under {MOST:,} bytes ({'met' if worst < MOST else 'missed'})"
    return [Report(f"An idle node of {many:,}, bytes", ("strategy", "bytes"), rows, (*COUNTED, target))]


def _allocated(count: int, strategy: str) -> int:
    """Bytes that a balancer of so many nodes holds after its first choice."""
    settings = {"services": {"service": {"nodes": urls(count), "strategy": strategy}}}
    gc.collect()
    tracemalloc.start()
    try:
        balancer = Balancer(settings)
        balancer["service"].pick("key")
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
        balancer.close()
    finally:
        tracemalloc.stop()
    return held
