"""Whether counts fit the shares they should have: Pearson's chi-square test at the level of 0.001."""

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from math import log, sqrt
from random import Random
from statistics import NormalDist

from balancemw import Node
from balancemw.load import Load
from balancemw.strategies import Picker, Strategy, resolve

LEVEL = 0.001
PICKS = 100_000
NOW = 1000.0


def critical(freedom: int) -> float:
    """What chi-square exceeds by chance with probability `LEVEL`.

    One degree of freedom is a squared normal and two are an exponential. Beyond that: E. B. Wilson and M. M. Hilferty,
    "The distribution of chi-square" (1931), which is within 2 % here.
    """
    if freedom == 1:
        return NormalDist().inv_cdf(1.0 - LEVEL / 2.0) ** 2
    if freedom == 2:
        return -2.0 * log(LEVEL)
    part = 2.0 / (9.0 * freedom)
    return freedom * (1.0 - part + NormalDist().inv_cdf(1.0 - LEVEL) * sqrt(part)) ** 3


def fits(counts: Mapping[Hashable, int], shares: Mapping[Hashable, float]) -> bool:
    """Whether chance explains how `counts` differ from `shares`, which need not add up to 1."""
    drawn, whole = sum(counts.values()), sum(shares.values())
    assert drawn
    assert set(counts) <= set(shares)
    expected = {each: drawn * share / whole for each, share in shares.items()}
    assert min(expected.values()) >= 5, "too few draws for the test to mean anything"
    statistic = sum((counts.get(each, 0) - mean) ** 2 / mean for each, mean in expected.items())
    return statistic <= critical(len(shares) - 1)


def loads(weights: int | Sequence[float]) -> tuple[Load, ...]:
    """Idle nodes of these weights, or so many of weight 1, called n0, n1 …"""
    listed = [1.0] * weights if isinstance(weights, int) else weights
    return tuple(Load(Node(f"http://n{i}:80", weight)) for i, weight in enumerate(listed))


def strategy(name: str, seed: int = 1, **options: object) -> Strategy:
    """A strategy as the settings would make it."""
    return resolve(name, options)(Random(seed))


def picker(name: str, peers: Sequence[Load], seed: int = 1) -> Picker:
    """A picker over `peers`, all of them available."""
    return strategy(name, seed).picker(peers, peers)


def counted(pick: Callable[[float, str | None], Load], picks: int = PICKS) -> Counter[str]:
    """How often each host is picked."""
    hosts: Counter[str] = Counter()
    for _ in range(picks):
        hosts[pick(NOW, None).node.host] += 1
    return hosts


def by_weight(peers: Sequence[Load]) -> dict[Hashable, float]:
    """The shares W_i / ΣW."""
    return {peer.node.host: peer.weight for peer in peers}


def equally(peers: Sequence[Load]) -> dict[Hashable, float]:
    """The shares 1/N."""
    return {peer.node.host: 1.0 for peer in peers}
