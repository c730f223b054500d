"""``prequal``: hot or cold by the calls in flight, then the quickest, as the nodes themselves report both.

Source: B. Wydrowski, R. Kleinberg, S. M. Rumble and A. Archer, "Load is not what you should balance: introducing
Prequal" (NSDI 2024). A node is *hot* if it has more requests in flight (RIF) than a quantile of what nodes have of
late, else *cold*. Of some candidates the cold one with the least latency is chosen; if all are hot, the one with the
fewest requests in flight. Here nothing is probed: the reports come with the answers to calls. What follows from that:

* A report is of the nodes that were called, and no probe is spent on the others. Candidates are therefore drawn at
  random from all nodes, and not from a pool of reports, which would call the same nodes again and again.
* Since then the caller knows its own calls, those begun and those ended. RIF is its own calls now, and besides them
  those of others as of the report.
* A report that is older than `max_age` tells nothing of the others' calls any more: what other nodes report counts in
  its place, and the latency that the caller itself saw. Without reports the caller goes by its own view alone.
* The latency was measured at the RIF of then, so it is set in proportion to that of now: what a call would wait. With
  reports that are not a millisecond old that makes no difference, with those of a second ago it prevents a herd.
* Of so few nodes that not even one belongs to the share beyond the quantile (six, by default) none is hot: otherwise
  a good node would now and then be passed over for one that is many times slower.
* Failures count as requests in flight until they fade, and a node that fails keeps the latency of its good answers:
  a node that fails fast must not look like a fast one (the paper's sinkhole).

The paper's reuse budget and removal of probes have no meaning where a report is not paid for.
"""

from collections import deque
from collections.abc import Callable, Sequence
from math import gcd, inf
from random import Random

from balancemw.load import UNKNOWN, Load
from balancemw.strategies import Picker
from balancemw.strategies.options import number, whole

_RECENT = 128  # candidates whose RIF make the distribution that the quantile is taken of
_SETTLED = 16  # picks after which it is taken anew: by then eight candidates each have renewed the distribution
_FOLLOW = 0.02  # part that one report has in what is usual
_STRIDES = 16  # the widest step from one candidate to the next


class Prequal:
    """The quickest of the nodes that are not too busy, by what they report.

    Args:
        rng: decides who the candidates are.
        quantile: Q_RIF, the share of nodes that counts as cold, 0..1; near 0 the fewest requests in flight win.
        choices: how many candidates a choice compares, 2..64; all nodes where there are no more.
        max_age: seconds for which a report counts, above 0.

    Raises:
        OptionError: an option makes no sense.
    """

    reports = True

    def __init__(self, *, rng: Random, quantile: float = 2.0**-0.25, choices: int = 8, max_age: float = 1.0) -> None:
        self._random = rng.random
        self._quantile = number("quantile", quantile, 0.0, 1.0)
        self._choices = whole("choices", choices, 2, 64)
        self._view = _viewer(number("max_age", max_age, 0.0, above=True))
        self._recent: deque[float] = deque(maxlen=_RECENT)

    def picker(self, available: Sequence[Load], everyone: Sequence[Load]) -> Picker:  # noqa: ARG002
        random, view, recent = self._random, self._view, self._recent
        draw = _draw(available, self._choices)
        enough = len(available) * (1.0 - self._quantile) >= 1.0  # for one of them to belong to the hot share
        threshold, left = self._threshold() if enough else inf, _SETTLED if enough else inf

        def pick(now: float, key: str | None) -> Load:  # noqa: ARG001
            nonlocal threshold, left
            cold = hot = None
            quickest = fewest = inf
            for peer in draw(random()):
                load, latency = view(peer, now)
                recent.append(load)
                if load > threshold:
                    if hot is None or load < fewest:
                        hot, fewest = peer, load
                elif cold is None or latency * load < quickest:
                    cold, quickest = peer, latency * load
            left -= 1
            if left <= 0:
                threshold, left = self._threshold(), _SETTLED
            return cold or hot  # type: ignore[return-value]  # somebody is drawn

        return pick

    def _threshold(self) -> float:
        """The most load at which a node is cold."""
        recent = sorted(self._recent)
        return recent[int(self._quantile * (len(recent) - 1))] if recent else inf


def _draw(available: Sequence[Load], choices: int) -> Callable[[float], Sequence[Load]]:
    """Draws `choices` distinct nodes, or all, by one random number.

    From a random node on every so many-th is drawn. A stride without a common divisor with their number meets each
    node once, and different strides bring together different nodes.
    """
    count = len(available)
    choices = min(choices, count)
    strides = [stride for stride in range(1, _STRIDES + 1) if gcd(stride, count) == 1]
    ways = len(strides)
    draws = count * ways
    ring = (*available,) * (2 + choices * strides[-1] // count)

    def draw(chance: float) -> Sequence[Load]:
        start, way = divmod(int(chance * draws), ways)
        stride = strides[way]
        return ring[start : start + choices * stride : stride]

    return draw


def _viewer(max_age: float) -> Callable[[Load, float], tuple[float, float]]:
    """What is asked of each candidate: its requests in flight with one more, per weight, and its latency in seconds."""
    usual = 0.0  # calls of others, as nodes report them
    heard = False

    def view(peer: Load, now: float) -> tuple[float, float]:
        nonlocal usual, heard
        own, others, load = peer.in_flight, peer.others, peer.in_flight + 1.0
        if others >= 0.0 and now - peer.reported_at < max_age:
            usual += (others - usual) * (_FOLLOW if heard else 1.0)
            heard = True
            latency = peer.reported_latency or peer.faded_latency(now)
        else:
            others, latency = usual, peer.faded_latency(now)
        if peer.penalty and (failures := peer.failures(now)):
            load += failures
            latency = max(latency, peer.latency) or UNKNOWN
        if own > peer.streams:
            age = now - peer.started / (own - peer.streams)
            if age > latency:
                latency = age if latency else max(age, UNKNOWN)
        return (load + others) / peer.weight, latency

    return view
