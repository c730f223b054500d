"""The keys of calls, and how often each comes."""

from bisect import bisect
from collections.abc import Callable
from itertools import accumulate

Key = Callable[[float], str]
"""The key that a random number in 0..1 stands for."""


def keys(count: int, skew: float) -> Key | None:
    """So many keys, of which the n-th comes 1 / n**skew times as often as the first (Zipf); None: there are none."""
    if not count:
        return None
    if not skew:
        return lambda drawn: f"key-{int(drawn * count)}"
    sums = [*accumulate(n**-skew for n in range(1, count + 1))]
    return lambda drawn: f"key-{min(count - 1, bisect(sums, drawn * sums[-1]))}"
