"""What a change of availability costs: a node goes out or comes back, and the next choice has to know."""

from statistics import median

from balancemw import Balancer
from balancemw.strategies import BUILT_IN
from benchmarks.replicas import balancer_of
from benchmarks.report import Report, millis
from benchmarks.timing import Effort, clock

MOST = 0.010  # seconds, at the target's number of nodes
STORM = 1_000  # changes between two choices


def run(effort: Effort) -> list[Report]:
    """Measure every strategy at every size."""
    return [_single(effort), _storm(effort)]


def _single(effort: Effort) -> Report:
    rows: list[tuple[str, ...]] = []
    slow: list[str] = []
    for strategy in BUILT_IN:
        seconds: dict[int, float] = {}
        for size in effort.sizes:
            with balancer_of(size, strategy=strategy) as balancer:
                seconds[size] = _change(balancer, effort.rounds)
        rows.append((strategy, *map(millis, seconds.values())))
        if seconds[effort.target_size] > MOST:
            slow.append(strategy)
    columns = ("strategy", *(f"{size:,} nodes" for size in effort.sizes))
    verdict = f"missed by {', '.join(slow)}" if slow else "met"
    target = f"target: under {MOST * 1e3:.0f} ms at {effort.target_size:,} nodes ({verdict})"
    return Report(
        "One node marked down or cleared, and the next pick, the slower of the two, ms", columns, rows, (target,)
    )


def _change(balancer: Balancer, rounds: int) -> float:
    """Seconds from a change of one node to the next choice made: the slower of out and back, of each the median."""
    service = balancer["service"]
    node = service.nodes[len(service.nodes) // 2]
    service.pick("key")
    out: list[float] = []
    back: list[float] = []
    for _ in range(rounds):
        began = clock()
        service.mark(node, "down", reason="benchmark")
        service.pick("key")
        middle = clock()
        service.clear(node)
        service.pick("key")
        out.append(middle - began)
        back.append(clock() - middle)
    return max(median(out), median(back))


def _storm(effort: Effort) -> Report:
    rows: list[tuple[str, ...]] = []
    for strategy in BUILT_IN:
        with balancer_of(effort.target_size, strategy=strategy) as balancer:
            one = _change(balancer, effort.rounds)
            storms = [_changes(balancer) for _ in range(max(1, effort.rounds // 10))]
        changes, pick = (median(part) for part in zip(*storms, strict=True))
        rows.append((strategy, millis(changes), millis(pick), millis(STORM * one)))
    columns = ("strategy", "changes", "pick after", "with picks between")
    return Report(f"{STORM:,} changes among {effort.target_size:,} nodes before one pick, ms", columns, rows)


def _changes(balancer: Balancer) -> tuple[float, float]:
    """Seconds for a storm of changes, each node in turn out and back, and for the choice after it."""
    service = balancer["service"]
    nodes = service.nodes
    began = clock()
    for number in range(STORM // 2):
        node = nodes[number % len(nodes)]
        service.mark(node, "down", reason="benchmark")
        service.clear(node)
    middle = clock()
    service.pick("key")
    return middle - began, clock() - middle
