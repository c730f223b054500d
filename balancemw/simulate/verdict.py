"""Which strategy to choose: one sentence, with a margin, so that nobody changes theirs for a fluke.

Strategies are compared batch by batch: the same twentieth of the same calls under each. That one is better is said only
if the difference is plain (a multiple) and sure (by the spread of the batches, as in a paired t-test). Errors come
first, then the 99th percentile of the time that calls take.
"""

from collections.abc import Sequence
from math import sqrt
from statistics import mean, stdev

from balancemw.simulate.outcome import BATCHES, Outcome

DEFAULT = "peak_ewma"

MATTERS = 0.10
"""Part by which the 99th percentile must be lower, for a strategy to be worth a change."""

ERRORS_MATTER = 0.001
"""Share of the calls by which there must be fewer errors."""

CROSSING_MATTERS = 0.1
"""Share of the tries by which fewer must go to other zones, for a variant to be worth a change for that alone."""

SURE = 3.0
"""Standard errors by which either must differ."""

ENOUGH = 200
"""Calls in a batch, without which its 99th percentile says nothing."""


def recommend(outcomes: Sequence[Outcome], own: str = DEFAULT) -> str:
    """Which strategy, or which variant of the settings, to choose, and why: one sentence.

    Of variants that differ neither in errors nor in time that one is chosen which takes fewer connections, or fewer
    tries to other zones.

    Args:
        outcomes: of the same scenario and seed, at least one. The first variant is held against the others.
        own: the strategy in use, which is held against the others; without it the default one is, else the first.
    """
    varied = bool(outcomes[0].variant)
    known = {each.strategy: each for each in reversed(outcomes) if not varied}
    usual = known.get(own) or known.get(DEFAULT) or outcomes[0]
    called = f"the default {DEFAULT}" if usual.strategy == DEFAULT and not varied else _name(usual)
    others = [each for each in outcomes if each is not usual]
    if not others:
        return f"Nothing to compare {called} with: {_figures(usual)}."
    if usual.calls < ENOUGH * BATCHES:
        what = "variants" if varied else "strategies"
        return f"Too few requests to tell {what} apart: simulate at least {ENOUGH * BATCHES:,}, or keep {called}."
    return _advice(usual, others, called)


def _advice(usual: Outcome, others: Sequence[Outcome], called: str) -> str:
    better = [each for each in others if _fewer_errors(each, usual) or _quicker(each, usual)]
    if better:
        best = _best(better)
        return f"Choose {_name(best)}: {_against(best, usual)} {_link(usual)} {called}."
    worse = [each for each in others if _fewer_errors(usual, each) or _quicker(usual, each)]
    alike = [each for each in others if each not in worse]
    cheaper = [each for each in alike if usual.variant and _cheaper(each, usual)]
    if cheaper:
        best = min(cheaper, key=lambda each: (each.crossed or 0.0, each.connections or 0.0))
        return (
            f"Choose {_name(best)}: no difference in errors and p99 that is sure, and {_costs(best, usual)} {called}."
        )
    if not worse:
        kind = "is sure" if any(_plain(usual, each) for each in others) else "matters"
        return f"No difference that {kind}: keep {called} ({_figures(usual)})."
    names = [_name(each) for each in alike]
    beside = f", and {_listed(names)} {'is' if len(names) == 1 else 'are'} not surely better" if names else ""
    worst = _best(worse)
    return f"Keep {called}: {_against(usual, worst)} {_link(worst)} {_name(worst)}{beside}."


def _name(outcome: Outcome) -> str:
    return f'"{outcome.variant}"' if outcome.variant else outcome.name


def _link(outcome: Outcome) -> str:
    """The word between a figure and what it is a figure of."""
    return "for" if outcome.variant else "with"


def _best(outcomes: Sequence[Outcome]) -> Outcome:
    """The one that no other beats; of those, the quickest."""
    unbeaten = [
        each for each in outcomes if not any(_fewer_errors(other, each) for other in outcomes if other is not each)
    ]
    return min(unbeaten or outcomes, key=lambda each: (each.p99, each.error_rate))


def _fewer_errors(one: Outcome, other: Outcome) -> bool:
    if other.error_rate - one.error_rate < ERRORS_MATTER:
        return False
    return _surely(
        [float(errors) for errors, _ in other.batches], [float(errors) for errors, _ in one.batches]
    ) or other.error_rate > 2.0 * (one.error_rate + ERRORS_MATTER)


def _quicker(one: Outcome, other: Outcome) -> bool:
    """Whether calls took plainly and surely less time, and did not seem to end with errors more often."""
    if one.p99 > (1.0 - MATTERS) * other.p99 or one.error_rate - other.error_rate >= ERRORS_MATTER:
        return False
    return _surely([p99 for _, p99 in other.batches], [p99 for _, p99 in one.batches])


def _cheaper(one: Outcome, other: Outcome) -> bool:
    """Whether it plainly takes fewer connections, or fewer tries to other zones, and calls do not seem to suffer."""
    if _plain(one, other) and (one.p99 > other.p99 or one.error_rate > other.error_rate):
        return False
    return (one.connections or 0.0) < (other.connections or 0.0) / 2.0 or _stays(one, other)


def _stays(one: Outcome, other: Outcome) -> bool:
    return one.crossed is not None and other.crossed is not None and one.crossed <= other.crossed - CROSSING_MATTERS


def _costs(one: Outcome, other: Outcome) -> str:
    if _stays(one, other):
        return (
            f"{percent(one.crossed or 0.0)} of the tries go to other zones, against {percent(other.crossed or 0.0)} for"
        )
    return f"a caller has {one.connections or 0.0:.3g} connections, against {other.connections or 0.0:.3g} for"


def _plain(one: Outcome, other: Outcome) -> bool:
    """Whether the two differ by what would matter, if it were no chance."""
    low, high = sorted((one.p99, other.p99))
    return low <= (1.0 - MATTERS) * high or abs(one.error_rate - other.error_rate) >= ERRORS_MATTER


def _surely(more: Sequence[float], less: Sequence[float]) -> bool:
    """Whether `more` exceeds `less`, batch by batch, by more than chance would have it."""
    by = [a - b for a, b in zip(more, less, strict=True)]
    return mean(by) > SURE * stdev(by) / sqrt(len(by))


def _against(one: Outcome, other: Outcome) -> str:
    if _fewer_errors(one, other):
        return f"{percent(one.error_rate)} of the calls fail, against {percent(other.error_rate)}"
    less = 1.0 - one.p99 / other.p99
    return f"99 % of the calls take less than {ms(one.p99)}, against {ms(other.p99)} ({less * 100.0:.0f} % less)"


def _figures(outcome: Outcome) -> str:
    return f"p99 {ms(outcome.p99)}, {percent(outcome.error_rate)} errors"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def ms(seconds: float) -> str:
    """A time for people."""
    if seconds >= 999.5:
        return f"{seconds:,.0f} s"
    return f"{seconds:.3g} s" if seconds >= 0.9995 else f"{seconds * 1000.0:.3g} ms"


def percent(share: float) -> str:
    """A share for people."""
    if 0.0 < share < 1e-6:
        return "< 0.0001 %"
    return "0 %" if not share else f"{share * 100.0:.2g} %" if share < 0.1 else f"{share * 100.0:.1f} %"
