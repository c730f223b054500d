"""Contenders that are ready all the time and have turns of a second or two, round by round.

What the machine does else then meets all alike, which is what small differences ask for.
"""

import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from statistics import median

from benchmarks.arena.contenders import Contender
from benchmarks.arena.figures import quantile
from benchmarks.arena.stage import Line, Stage, line_up

PARTS = ("client", "proxy", "replicas")


class Turn:
    """What one turn of one contender came to, in seconds.

    Attributes:
        spent: processor time per call, by part.
        latencies: of the calls that were answered with 200.
        failed: how many were not.
    """

    def __init__(self, line: Line, stage: Stage, rate: float, seconds: float) -> None:
        late = seconds
        while late > seconds / 5:  # on a busy machine we may wake up when it is over, and have seen nothing of it
            line.begin(stage, rate, seconds, warm=seconds / 5)
            before = line.spent(stage)
            late = time.monotonic() - stage.begin
            calls, _ = line.end()
        after = line.spent(stage)
        self.spent = {part: (after[part] - before[part]) / len(calls) for part in before}
        self.latencies = [took for _, _, took, status in calls if status == 200]
        self.failed = len(calls) - len(self.latencies)

    @property
    def total(self) -> float:
        return sum(self.spent.values())


def line_all_up(contenders: Iterable[Contender], stage: Stage, stack: ExitStack) -> tuple[dict[str, Line], list[str]]:
    """Everyone who is installed, ready until `stack` is closed, and a line about everyone."""
    lines: dict[str, Line] = {}
    notes: list[str] = []
    for contender in contenders:
        try:
            notes.append(f"{contender.name} ({contender.versions()}): {contender.allowed}")
            lines[contender.name] = stack.enter_context(line_up(contender, stage))
        except (ImportError, RuntimeError) as error:
            notes.append(f"{contender.name}: left out: {error}")
    return lines, notes


def race(lines: Mapping[str, Line], stage: Stage, rate: float, seconds: float, rounds: int) -> dict[str, list[Turn]]:
    """Give everyone a turn in each round."""
    turns: dict[str, list[Turn]] = {name: [] for name in lines}
    names = list(lines)
    for number in range(rounds):
        first = number % len(names)  # nobody always runs in the wake of the same other
        for name in names[first:] + names[:first]:
            turns[name].append(Turn(lines[name], stage, rate, seconds))
    return turns


def summed_up(turns: list[Turn], others: list[Turn]) -> dict[str, float]:
    """Seconds per call: medians of the parts and of their sum, the median of what it is more than with `others`."""
    latencies = sorted(seconds for turn in turns for seconds in turn.latencies)
    return {
        **{part: median(turn.spent[part] for turn in turns) for part in PARTS if part in turns[0].spent},
        "total": median(turn.total for turn in turns),
        "added": median(turn.total - other.total for turn, other in zip(turns, others, strict=True)),
        "p50": quantile(latencies, 0.5),
        "p99": quantile(latencies, 0.99),
        "failed": sum(turn.failed for turn in turns),
    }


def cells(data: Mapping[str, float], parts: Iterable[str]) -> tuple[str, ...]:
    """Processor time of `parts` in µs, latencies in ms, and the number of failures."""
    micros = [f"{data[part] * 1e6:.0f}" if part in data else "–" for part in parts]
    return (*micros, *(f"{data[name] * 1e3:.2f}" for name in ("p50", "p99")), f"{data['failed']:.0f}")
