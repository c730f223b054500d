"""``load_weighted``: in turn, by weights that follow from what the nodes report of their load.

Source: gRPC A58, ``weighted_round_robin``, with the order of sources of A114. A node's weight is

    rate / (utilization + errors / rate · error_utilization_penalty)

with rate (``rps_fractional``) and errors (``eps``) per second and utilization as the node reports them: the rate that
it could serve at full utilization, less if it fails. A report without a rate or a utilization says nothing. A weight
counts when reports have come for `blackout_period`, until none has come for `weight_expiration_period`. A node
without one gets the mean; with fewer than two that have one, all are equal.

That measures what a configured weight guesses. Therefore the configured weights count only where no reports do: among
nodes without a weight of their own, and for all while there are fewer than two. What an operator or an alert has set
(`Service.mark` with kind ``weight``) counts always.

Turns are taken without a lock and exactly by weight, whatever the weights. The nodes lie side by side on a circle, each
as long as its weight; one step of the golden ratio after the other goes round it. Of all steps that one keeps the
turns of each node apart most evenly, with gaps of at most three lengths (V. T. Sós, "On the distribution mod 1 of the
sequence n·alpha", 1958). The steps go on when weights change, so that no turn is lost or comes twice for it. Who lies
where a step ends is read off a guide with two cells or more for each node, which costs the same for any number of them
(H.-C. Chen and Y. Asau, "On generating random variates from an empirical distribution", 1974). (gRPC has
come from its earliest-deadline-first queue to static strides for that, which do not bear weights far apart.)
"""

from array import array
from collections.abc import Sequence
from itertools import accumulate, count
from math import inf
from random import Random
from typing import NamedTuple

from balancemw.load import Load
from balancemw.orca import LoadReport
from balancemw.strategies import OptionError, Picker
from balancemw.strategies.options import number

_SPREAD = 10.0  # times the mean that a measured weight is at most, and part of it that it is at least; as in gRPC

_FIELDS, _NAMED = ("application_utilization", "cpu_utilization", "mem_utilization"), "named_metrics."

_BITS = 32
_ROUND = 1 << _BITS
_STEP = 2654435769  # _ROUND / golden ratio

_LEAST_PERIOD = 0.1
_PER_NODE = 0.0005  # seconds to add to the period for each node: deriving weights must stay a small part of the time

_Circle = tuple["array[int]", "array[int]", int]
"""Where each node ends on a circle of length `_ROUND`; who is the first to end beyond the beginning of each cell of the
circle; and the bits that tell places in a cell apart."""


class LoadWeighted:
    """Weighted round robin by reported load.

    Args:
        rng: decides whose turn is first.
        blackout_period: seconds for which reports must have come before a weight counts.
        weight_expiration_period: seconds without a report after which it does not count any more.
        weight_update_period: seconds between two derivations of the weights, at least 0.1.
        error_utilization_penalty: what a rate of errors of 1 adds to the utilization; 0: errors do not count.
        metric_names_for_computing_utilization: what to take as utilization, before the node's own
            ``application_utilization`` and then its ``cpu_utilization``: names of metrics, such as
            ``"named_metrics.queue"`` or ``"mem_utilization"``; the highest of them counts.

    Raises:
        OptionError: an option makes no sense.
    """

    reports = True

    def __init__(
        self,
        *,
        rng: Random,
        blackout_period: float = 10.0,
        weight_expiration_period: float = 180.0,
        weight_update_period: float = 1.0,
        error_utilization_penalty: float = 1.0,
        metric_names_for_computing_utilization: Sequence[str] = (),
    ) -> None:
        self._turn = count(rng.randrange(1 << 30))
        self._period = max(_LEAST_PERIOD, number("weight_update_period", weight_update_period, 0.0, above=True))
        self._weights = _Weights(
            number("blackout_period", blackout_period, 0.0),
            number("weight_expiration_period", weight_expiration_period, 0.0, above=True),
            number("error_utilization_penalty", error_utilization_penalty, 0.0),
            _metrics(metric_names_for_computing_utilization),
        )

    def picker(self, available: Sequence[Load], everyone: Sequence[Load]) -> Picker:
        turn, size, weights = self._turn, len(available), self._weights
        period, due = max(self._period, _PER_NODE * size), -inf
        circle: _Circle | None = None

        def pick(now: float, key: str | None) -> Load:  # noqa: ARG001
            nonlocal circle, due
            if now >= due:
                due = now + period
                circle = _circle(weights.of(available, everyone, now))
            place, drawn = next(turn), circle
            if drawn is None:
                return available[place % size]
            ends, guide, width = drawn
            place = place * _STEP % _ROUND
            who = guide[place >> width]
            while ends[who] <= place:
                who += 1
            return available[who]

        return pick


def _circle(weights: Sequence[float]) -> _Circle | None:
    """The circle of nodes with these weights; None if all are equal: then it is round robin."""
    if min(weights) == max(weights):
        return None
    scale = _ROUND / sum(weights)
    ends = array("Q", (int(end * scale) for end in accumulate(weights)))
    ends[-1] = _ROUND  # whatever was lost by rounding
    width = _BITS - 1 - len(weights).bit_length()
    guide, who = array("I"), 0
    for begin in range(0, _ROUND, 1 << width):
        while ends[who] <= begin:
            who += 1
        guide.append(who)
    return ends, guide, width


class _Known(NamedTuple):
    """A node's last report that said anything, the weight it makes, when it came, and since when such have come."""

    report: LoadReport
    weight: float
    at: float
    since: float


class _Weights:
    """Derives weights from reports. What it keeps of a node must outlast the pickers."""

    def __init__(self, blackout: float, expiration: float, penalty: float, metrics: Sequence[str]) -> None:
        self._blackout = blackout
        self._expiration = expiration
        self._penalty = penalty
        self._metrics = metrics
        self._known: dict[Load, _Known] = {}
        self._everyone: Sequence[Load] = ()

    def of(self, available: Sequence[Load], everyone: Sequence[Load], now: float) -> list[float]:
        """The weights of `available`; those that have left `everyone` are forgotten."""
        if everyone is not self._everyone:
            known, self._everyone = self._known, everyone
            self._known = {peer: known[peer] for peer in everyone if peer in known}
        measured = [self._measured(peer, now) for peer in available]
        rated = [weight for weight in measured if weight]
        if len(rated) < 2:
            return [peer.weight for peer in available]
        mean = sum(rated) / len(rated)
        guessed = sum(peer.node.weight for peer, weight in zip(available, measured, strict=True) if weight) / len(rated)
        least, most, unit = mean / _SPREAD, mean * _SPREAD, mean / guessed
        return [
            (min(max(weight, least), most) if weight else unit * peer.node.weight) * (peer.weight / peer.node.weight)
            for peer, weight in zip(available, measured, strict=True)
        ]

    def _measured(self, peer: Load, now: float) -> float:
        """The node's weight by its reports; 0.0: none that counts."""
        known, report, at = self._known.get(peer), peer.report, peer.reported_at
        if known is not None and (report is None or known.at < peer.reports_since):  # it is not what it was then
            self._known.pop(peer, None)  # another thread may be at it too
            known = None
        if report is not None and (known is None or known.at != at or known.report is not report):
            weight = self._rating(report)
            if weight:
                since = known.since if known is not None and at - known.at < self._expiration else at
                known = self._known[peer] = _Known(report, weight, at, since)
        if known is None or now - known.at >= self._expiration or now - known.since < self._blackout:
            return 0.0
        return known.weight

    def _rating(self, report: LoadReport) -> float:
        """The formula; 0.0 where the report says nothing."""
        rate, utilization = report.rps_fractional, self._utilization(report)
        if not (rate > 0.0 and utilization > 0.0):
            return 0.0
        weight = rate / (utilization + report.eps / rate * self._penalty)
        return weight if 0.0 < weight < inf else 0.0

    def _utilization(self, report: LoadReport) -> float:
        named = max((_metric(report, name) for name in self._metrics), default=0.0)
        return named if named > 0.0 else report.application_utilization or report.cpu_utilization


def _metric(report: LoadReport, name: str) -> float:
    value: float = report.named_metrics.get(name.removeprefix(_NAMED), 0.0) if _NAMED in name else getattr(report, name)
    return value


def _metrics(names: object) -> tuple[str, ...]:
    option = "metric_names_for_computing_utilization"
    if not isinstance(names, list | tuple):
        raise OptionError(option, f"expected a list of names, got {names!r}")
    for name in names:
        if not isinstance(name, str) or not (name in _FIELDS or (name.startswith(_NAMED) and name != _NAMED)):
            known = ", ".join(_FIELDS)
            raise OptionError(option, f"expected {known} or named_metrics.<name>, got {name!r}")
    return tuple(names)
