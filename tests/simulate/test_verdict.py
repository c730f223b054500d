"""The recommendation: plain and sure differences are told, chance is not."""

from dataclasses import replace
from functools import partial
from random import Random
from typing import Any

import pytest

from balancemw.simulate import Outcome, recommend
from balancemw.simulate.outcome import BATCHES, quantile
from balancemw.simulate.verdict import ms, percent


def outcome(strategy: str, p99: float = 0.1, errors: float = 0.0, noise: float = 0.02, **more: Any) -> Outcome:
    """An outcome of 20,000 calls; `noise`: how far batches are from each other, as a share."""
    rng = Random(strategy)
    each = round(1000 * errors)
    values: dict[str, Any] = {
        "strategy": strategy,
        "calls": 20_000,
        "errors": each * BATCHES,
        "kinds": {},
        "tries": 20_000,
        "p50": p99 / 5,
        "p90": p99 / 2,
        "p99": p99,
        "p999": p99 * 2,
        "longest": p99 * 3,
        "mean": p99 / 4,
        "imbalance": 1.0,
        "bad_share": None,
        "longest_queue": 3,
        "events": {},
        "duration": 10.0,
        "seconds": 1.0,
        "batches": tuple((each, p99 * (1.0 + rng.uniform(-noise, noise))) for _ in range(BATCHES)),
        "tail": ((p99, 0.01),),
        "course": ((0.0, 20_000, 0, p99 / 5, p99),),
        **more,
    }
    return Outcome(**values)


def test_what_is_plainly_quicker_is_recommended():
    assert recommend([outcome("peak_ewma", 0.100), outcome("prequal", 0.060), outcome("random", 0.4)]) == (
        "Choose prequal: 99 % of the calls take less than 60 ms, against 100 ms (40 % less) with the default peak_ewma."
    )


def test_the_quickest_of_several():
    told = recommend([outcome("peak_ewma", 0.1), outcome("prequal", 0.06), outcome("least_requests", 0.05)])
    assert told.startswith("Choose least_requests: 99 % of the calls take less than 50 ms")


def test_a_small_difference_does_not_matter():
    assert recommend([outcome("peak_ewma", 0.100), outcome("prequal", 0.095)]) == (
        "No difference that matters: keep the default peak_ewma (p99 100 ms, 0 % errors)."
    )


def test_neither_does_one_that_may_be_chance():
    noisy = [outcome("peak_ewma", 0.100, noise=0.9), outcome("prequal", 0.080, noise=0.9)]
    assert recommend(noisy).startswith("No difference that is sure: keep the default peak_ewma")


def test_neither_does_one_that_shows_in_a_short_part_of_the_run():
    usual = outcome("peak_ewma", 0.06)
    struck = tuple((errors, 1.0 if place in (6, 7, 8) else p99) for place, (errors, p99) in enumerate(usual.batches))
    assert recommend([outcome("round_robin", 1.0, batches=struck), usual]) == (
        "No difference that is sure: keep the default peak_ewma (p99 60 ms, 0 % errors)."
    )


def test_the_default_is_kept_where_it_is_better():
    assert recommend([outcome("random", 0.4), outcome("peak_ewma", 0.1), outcome("least_requests", 0.101)]) == (
        "Keep the default peak_ewma: 99 % of the calls take less than 100 ms, against 400 ms (75 % less) with random, "
        "and least_requests is not surely better."
    )


def test_errors_come_first():
    quick, good = outcome("random", 0.01, errors=0.05), outcome("peak_ewma", 0.1)
    assert recommend([quick, good]) == ("Keep the default peak_ewma: 0 % of the calls fail, against 5 % with random.")
    assert recommend([outcome("peak_ewma", 0.01, errors=0.05), outcome("prequal", 0.1)]) == (
        "Choose prequal: 0 % of the calls fail, against 5 % with the default peak_ewma."
    )


def test_without_the_default_the_first_is_held_against_the_others():
    assert recommend([outcome("random", 0.1), outcome("round_robin", 0.05)]) == (
        "Choose round_robin: 99 % of the calls take less than 50 ms, against 100 ms (50 % less) with random."
    )


def test_the_strategy_in_use_is_held_against_the_others():
    others = [outcome("peak_ewma", 0.1), outcome("random", 0.1)]
    assert recommend(others, "random") == "No difference that matters: keep random (p99 100 ms, 0 % errors)."
    assert "keep the default peak_ewma" in recommend(others, "prequal")  # which was not asked for


class TestVariants:
    PLAIN = staticmethod(partial(outcome, "peak_ewma", variant="without hedging"))
    OTHER = staticmethod(partial(outcome, "peak_ewma", variant="with hedging"))

    def test_the_first_is_what_others_are_held_against(self):
        assert recommend([self.PLAIN(0.1), self.OTHER(0.06)]) == (
            'Choose "with hedging": 99 % of the calls take less than 60 ms, against 100 ms (40 % less) for '
            '"without hedging".'
        )
        assert recommend([self.OTHER(0.06), self.PLAIN(0.1)]) == (
            'Keep "with hedging": 99 % of the calls take less than 60 ms, against 100 ms (40 % less) for '
            '"without hedging".'
        )
        assert recommend([self.PLAIN(0.1), self.OTHER(0.1)]) == (
            'No difference that matters: keep "without hedging" (p99 100 ms, 0 % errors).'
        )
        assert recommend([self.PLAIN(0.1, calls=10), self.OTHER(0.1, calls=10)]) == (
            'Too few requests to tell variants apart: simulate at least 4,000, or keep "without hedging".'
        )
        assert recommend([self.PLAIN(0.1)]) == 'Nothing to compare "without hedging" with: p99 100 ms, 0 % errors.'

    def test_of_those_that_are_alike_the_one_that_takes_less_is_chosen(self):
        usual = self.PLAIN(0.1, connections=100.0, crossed=0.66)
        assert recommend([usual, self.OTHER(0.101, connections=10.0, crossed=0.66)]) == (
            'Choose "with hedging": no difference in errors and p99 that is sure, and a caller has 10 connections, '
            'against 100 for "without hedging".'
        )
        assert recommend([usual, self.OTHER(0.101, connections=100.0, crossed=0.02)]) == (
            'Choose "with hedging": no difference in errors and p99 that is sure, and 2 % of the tries go to other '
            'zones, against 66.0 % for "without hedging".'
        )

    @pytest.mark.parametrize("worse", [{"p99": 0.2, "noise": 3.0}, {"p99": 0.1, "errors": 0.002}])
    def test_but_not_for_a_price(self, worse: dict[str, float]):
        usual = self.PLAIN(0.1, connections=100.0)
        assert not recommend([usual, self.OTHER(connections=10.0, **worse)]).startswith("Choose")

    def test_strategies_are_not_chosen_for_their_connections(self):
        told = recommend([outcome("peak_ewma", 0.1, connections=100.0), outcome("random", 0.1, connections=10.0)])
        assert told.startswith("No difference that matters: keep the default peak_ewma")


def test_what_is_quicker_because_it_gives_up_is_not_better():
    """Errors of a short part of the run are not sure, but nothing to be quick by either."""
    usual = outcome("peak_ewma", 0.1)
    spells = tuple((1000 if place == 3 else 0, 0.05) for place in range(BATCHES))
    quick = outcome("random", 0.05, batches=spells)
    told = recommend([usual, replace(quick, errors=1000)])
    assert not told.startswith("Choose")


def test_too_few_requests_and_nothing_to_compare_with():
    few = [outcome("peak_ewma", 0.1, calls=3_999), outcome("prequal", 0.05, calls=3_999)]
    assert recommend(few) == (
        "Too few requests to tell strategies apart: simulate at least 4,000, or keep the default peak_ewma."
    )
    assert recommend(few[1:]) == "Nothing to compare prequal with: p99 50 ms, 0 % errors."


def test_quantiles():
    assert [quantile([1.0, 2.0, 3.0, 4.0], share) for share in (0.0, 0.25, 0.26, 0.5, 0.99, 1.0)] == [1, 1, 2, 2, 4, 4]
    assert quantile([], 0.5) == 0.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0004, "0.4 ms"), (0.0415, "41.5 ms"), (0.9996, "1 s"), (1.5, "1.5 s"), (12.34, "12.3 s"), (5e3, "5,000 s")],
)
def test_times_for_people(seconds: float, text: str):
    assert ms(seconds) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "0 %"), (0.00123, "0.12 %"), (0.05, "5 %"), (0.254, "25.4 %"), (1e-8, "< 0.0001 %")]
)
def test_shares_for_people(share: float, text: str):
    assert percent(share) == text
