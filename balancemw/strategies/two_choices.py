"""``least_requests`` and ``peak_ewma``: the better of two distinct nodes drawn at random.

Two random choices avoid the herd that runs to the one best node, and cost the same for any number of nodes.
Source: M. Mitzenmacher, "The power of two choices in randomized load balancing" (2001); Finagle ``P2CPick``.
The pair is drawn in random order, by one number, and the first wins a tie: equal peers are equally likely.
"""

from collections.abc import Callable, Sequence
from random import Random

from balancemw.load import Load
from balancemw.strategies import Picker


class LeastRequests:
    """Fewer calls in flight per weight; failures count as calls in flight until they fade."""

    def __init__(self, *, rng: Random) -> None:
        self._random = rng.random

    def picker(self, available: Sequence[Load], everyone: Sequence[Load]) -> Picker:  # noqa: ARG002
        return _better_of_two(available, Load.busyness, self._random)


class PeakEwma:
    """Lower expected wait: peak latency × calls in flight per weight, corrected as `balancemw.load` tells."""

    def __init__(self, *, rng: Random) -> None:
        self._random = rng.random

    def picker(self, available: Sequence[Load], everyone: Sequence[Load]) -> Picker:  # noqa: ARG002
        return _better_of_two(available, Load.cost, self._random)


def _better_of_two(
    available: Sequence[Load], score: Callable[[Load, float], float], random: Callable[[], float]
) -> Picker:
    count, others = len(available), len(available) - 1
    if not others:
        only = available[0]
        return lambda _now, _key: only
    pairs = count * others

    def pick(now: float, key: str | None) -> Load:  # noqa: ARG001
        pair = int(random() * pairs)
        i, j = pair // others, pair % others
        one, other = available[i], available[j + (j >= i)]
        return other if score(other, now) < score(one, now) else one

    return pick
