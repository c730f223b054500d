"""Strategies as they are often written, to show what becomes of them."""

from collections.abc import Sequence
from random import Random

from balancemw.load import Load
from balancemw.strategies import Picker


class LeastConnections:
    """The fewest calls in flight of all nodes, whatever became of those before: a node that fails is never busy."""

    def __init__(self, *, rng: Random) -> None:
        self._random = rng.random

    def picker(self, available: Sequence[Load], everyone: Sequence[Load]) -> Picker:
        return lambda now, key: min(available, key=lambda peer: (peer.in_flight / peer.weight, self._random()))


class Unlucky:
    """Chooses nobody."""

    def __init__(self, *, rng: Random) -> None:
        self._random = rng.random

    def picker(self, available: Sequence[Load], everyone: Sequence[Load]) -> Picker:
        print("this must not get into the outcome")

        def pick(now: float, key: str | None) -> Load:
            raise RuntimeError("out of luck")

        return pick


class Chatty(LeastConnections):
    """Prints."""

    def picker(self, available: Sequence[Load], everyone: Sequence[Load]) -> Picker:
        print("this must not get into the outcome")
        return super().picker(available, everyone)
