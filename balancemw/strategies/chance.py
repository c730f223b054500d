"""``random`` and ``weighted_random``: each call decided by lot, independent of every other call."""

from collections.abc import Sequence
from random import Random

from balancemw.load import Load
from balancemw.strategies import Picker


class Uniform:
    """P(i) = 1/N; weights are ignored."""

    def __init__(self, *, rng: Random) -> None:
        self._random = rng.random

    def picker(self, available: Sequence[Load], everyone: Sequence[Load]) -> Picker:  # noqa: ARG002
        random, count = self._random, len(available)

        def pick(now: float, key: str | None) -> Load:  # noqa: ARG001
            return available[int(random() * count)]

        return pick


class Weighted:
    """P(i) = W_i / ΣW in constant time, by the alias method.

    Source: M. D. Vose, "A linear algorithm for generating random numbers with a given distribution" (1991).
    """

    def __init__(self, *, rng: Random) -> None:
        self._random = rng.random

    def picker(self, available: Sequence[Load], everyone: Sequence[Load]) -> Picker:  # noqa: ARG002
        random, count = self._random, len(available)
        own, alias = alias_table([peer.weight for peer in available])

        def pick(now: float, key: str | None) -> Load:  # noqa: ARG001
            point = random() * count
            i = int(point)
            return available[i] if point - i < own[i] else available[alias[i]]

        return pick


def alias_table(weights: Sequence[float]) -> tuple[list[float], list[int]]:
    """Vose's table: column i stands for i with probability ``own[i]``, else for ``alias[i]``."""
    count, total = len(weights), sum(weights)
    own = [weight * count / total for weight in weights]
    alias = list(range(count))
    small = [i for i, share in enumerate(own) if share < 1.0]
    large = [i for i, share in enumerate(own) if share >= 1.0]
    while small and large:
        low, high = small.pop(), large[-1]
        alias[low] = high
        own[high] -= 1.0 - own[low]
        if own[high] < 1.0:
            small.append(large.pop())
    for i in small + large:  # 1 but for rounding
        own[i] = 1.0
    return own, alias
