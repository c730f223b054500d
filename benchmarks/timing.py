"""How long things take, side by side.

Machines are shared and change their speed from one second to the next. So it is processor time that counts, what is
compared runs in turns of a few milliseconds, and of ratios taken within each round the median is told.
"""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from itertools import repeat
from statistics import median

clock = time.process_time

Run = Callable[[int], float]
"""Does a thing so many times; returns the seconds of processor time that took."""


@dataclass(frozen=True)
class Effort:
    """How much work a benchmark is.

    Attributes:
        rounds: how often everything has its turn.
        turn: seconds that one turn takes, about.
        sizes: numbers of nodes to compare, the smallest first.
        target_size: that of them for which a target is given, where one is.
        pace: seconds that a second of a scenario takes.
        only: the contenders to whom faults are played; nobody named: to all.
    """

    rounds: int
    turn: float
    sizes: tuple[int, ...]
    target_size: int
    pace: float = 1.0
    only: tuple[str, ...] = ()


FULL = Effort(rounds=100, turn=0.005, sizes=(10, 100, 1_000, 10_000), target_size=1_000)
QUICK = Effort(rounds=3, turn=0.0002, sizes=(5, 20), target_size=20, pace=0.1)


class Times:
    """Seconds per call of each contender, by round."""

    def __init__(self, rounds: Mapping[str, list[float]]) -> None:
        self._rounds = rounds

    def median(self, name: str) -> float:
        """The median of the rounds."""
        return median(self._rounds[name])

    def best(self, name: str) -> float:
        """The least of the rounds: what it takes while nobody else uses the memory and its caches."""
        return min(self._rounds[name])

    def ratio(self, name: str, to: str) -> float:
        """How many times what `to` takes `name` takes."""
        return median(one / other for one, other in zip(self._rounds[name], self._rounds[to], strict=True))

    def difference(self, name: str, other: str) -> float:
        """Seconds that `name` takes longer than `other`."""
        return median(one - rest for one, rest in zip(self._rounds[name], self._rounds[other], strict=True))


def calls(function: Callable[[], object]) -> Run:
    """Calls `function`."""

    def run(times: int) -> float:
        began = clock()
        for _ in repeat(None, times):
            function()
        return clock() - began

    return run


def awaits(function: Callable[[], Awaitable[object]], runner: asyncio.Runner) -> Run:
    """Awaits what `function` returns, all in one task of the runner's loop."""

    async def run(times: int) -> float:
        began = clock()
        for _ in repeat(None, times):
            await function()
        return clock() - began

    return lambda times: runner.run(run(times))


def race(contenders: Mapping[str, Run], effort: Effort) -> Times:
    """Give everyone a turn in each round. The garbage collector runs: some contenders make work for it, others none."""
    names = list(contenders)
    times = {name: _calls_in(effort.turn, contenders[name]) for name in names}
    rounds: dict[str, list[float]] = {name: [] for name in names}
    gc.collect()
    gc.freeze()  # what is there already is nobody's doing
    try:
        for number in range(effort.rounds):
            first = number % len(names)  # nobody always runs in the wake of the same other
            for name in names[first:] + names[:first]:
                rounds[name].append(contenders[name](times[name]) / times[name])
    finally:
        gc.unfreeze()
    return Times(rounds)


def _calls_in(seconds: float, run: Run) -> int:
    """How many calls take `seconds`, found by doubling."""
    run(1)  # the first of all often builds what the others use
    times = 1
    while (took := run(times)) < seconds / 2.0:
        times *= 2
    return max(1, int(times * seconds / took))
