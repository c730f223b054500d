"""Virtual time: what happens when, in order."""

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any

Action = Callable[[Any, Any], object]
"""What happens: called with two arguments of whoever planned it."""

Entry = tuple[float, int, Action, Any, Any]


class World:
    """A clock, and what is planned. What is planned for the same moment happens in the order it was planned.

    Attributes:
        now: seconds since the beginning.
        plans: a heap of (when, number, action, its two arguments).
        number: returns the next of the numbers by which what happens at the same moment is put in order.
    """

    __slots__ = ("now", "number", "plans")

    def __init__(self) -> None:
        self.now = 0.0
        self.plans: list[Entry] = []
        self.number = count().__next__

    def clock(self) -> float:
        """`now`, as the engine asks for it."""
        return self.now

    def at(self, when: float, action: Action, one: object = None, other: object = None) -> None:
        """Plan ``action(one, other)``."""
        heappush(self.plans, (when, self.number(), action, one, other))

    def cancel(self, action: Action) -> Iterator[Entry]:
        """Strike all plans of `action`, and return them in order."""
        struck = sorted(entry for entry in self.plans if entry[2] == action)
        if struck:
            self.plans[:] = [entry for entry in self.plans if entry[2] != action]
            heapify(self.plans)
        return iter(struck)

    def run(self, until: float) -> None:
        """Let everything happen that is planned for a time up to `until`, and what follows from it up to then."""
        plans = self.plans
        while plans and plans[0][0] <= until:
            when, _, action, one, other = heappop(plans)
            self.now = when
            action(one, other)
