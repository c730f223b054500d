"""When calls are hedged: after how long, by what was seen of late, and how often."""

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancemw.budget import Budget
from balancemw.hedging import LEAST_DELAY, Hedging
from balancemw.latencies import Latencies
from balancemw.settings import HedgeSettings, Settings


def latencies(share: float, seen: list[float], now: float = 0.0) -> Latencies:
    found = Latencies(share)
    for seconds in seen:
        found.record(seconds, now)
    return found


class TestLatencies:
    @pytest.mark.parametrize(("share", "enough"), [(0.5, 10), (0.9, 10), (0.95, 20), (0.99, 100), (0.999, 1000)])
    def test_nothing_is_known_before_one_call_beyond_the_percentile_is_to_be_expected(self, share: float, enough: int):
        assert latencies(share, [0.1] * (enough - 1)).percentile is None
        assert latencies(share, [0.1] * enough).percentile == pytest.approx(0.1, rel=0.05)

    @given(
        st.sampled_from([(0.5, 10), (0.8, 10), (0.9, 10), (0.95, 20)]).flatmap(
            lambda pair: st.tuples(
                st.just(pair[0]), st.lists(st.floats(1e-5, 100.0), min_size=pair[1], max_size=pair[1])
            )
        )
    )
    def test_it_is_the_percentile_of_what_was_seen_within_four_per_cent(self, case: tuple[float, list[float]]):
        share, seen = case
        exact = sorted(seen)[ceil(len(seen) * share - 1e-9) - 1]
        found = latencies(share, seen).percentile
        assert found is not None
        assert exact * (1 - 1e-9) <= found <= exact * 1.045

    def test_one_in_twenty_may_be_as_slow_as_it_likes(self):
        assert latencies(0.95, [0.01] * 19 + [9.0]).percentile == pytest.approx(0.01, rel=0.05)
        assert latencies(0.95, [0.01] * 18 + [9.0] * 2).percentile == pytest.approx(9.0, rel=0.05)

    def test_it_is_read_anew_every_three_seconds_while_calls_come(self):
        found = latencies(0.9, [0.01] * 10)
        for now in (0.0, 1.0, 2.9):
            for _ in range(10):
                found.record(1.0, now)
            assert found.percentile == pytest.approx(0.01, rel=0.05)
        found.record(1.0, 3.0)
        assert found.percentile == pytest.approx(1.0, rel=0.05)

    def test_what_was_seen_six_slices_ago_is_forgotten(self):
        found = latencies(0.9, [9.0] * 10)
        for now in range(1, 100):
            for _ in range(10):
                found.record(0.01, float(now))
        assert found.percentile == pytest.approx(0.01, rel=0.05)

    def test_a_service_that_is_called_seldom_gets_known_all_the_same(self):
        found = Latencies(0.95)
        for minute in range(20):
            assert found.percentile is None
            found.record(0.2, minute * 60.0)
        assert found.percentile == pytest.approx(0.2, rel=0.05)

    def test_no_time_at_all_is_a_time(self):
        found = latencies(0.5, [0.0] * 10).percentile
        assert found is not None
        assert 0.0 < found < 1e-5


def plenty() -> Budget:
    return Budget(1.0, 1000.0)


class TestHedging:
    def test_a_fixed_delay_holds_from_the_first_call(self):
        assert HedgeSettings(delay=0.05).begin().enter() == 0.05

    def test_a_percentile_has_to_be_seen_first_and_is_at_least_a_millisecond(self):
        hedging = HedgeSettings(delay="p90").begin()
        for _ in range(10):
            assert hedging.enter() is None
            hedging.record(1e-5, 0.0)
        assert hedging.enter() == LEAST_DELAY == 0.001

    def test_a_percentile_is_the_delay(self):
        hedging = HedgeSettings().begin()
        for hundredth in range(1, 21):
            hedging.record(hundredth / 100.0, 0.0)
        assert hedging.enter() == pytest.approx(0.19, rel=0.05)

    def test_the_first_hedge_has_to_be_earned(self):
        hedging, budget = Hedging(0.05, None, 0.05), plenty()
        for _ in range(19):
            budget.calls += 1
            hedging.enter()
            assert not hedging.afford(budget, 0.0)
        hedging.enter()
        assert hedging.afford(budget, 0.0)
        assert not hedging.afford(budget, 0.0)

    @given(
        st.sampled_from([0.01, 0.05, 0.3, 1.0]),
        st.lists(st.tuples(st.integers(0, 60), st.integers(0, 8), st.sampled_from([0.0, 0.1, 1.0, 20.0])), max_size=60),
    )
    def test_hedges_are_never_more_than_their_share_of_all_calls(
        self, share: float, steps: list[tuple[int, int, float]]
    ):
        hedging, budget = Hedging(0.05, None, share), plenty()
        now, calls, sent = 0.0, 0, 0
        for more, wanted, seconds in steps:
            now += seconds
            budget.roll(now) if now >= budget.edge else None
            budget.calls += more
            calls += more
            for _ in range(more):
                hedging.enter()
            sent += sum(hedging.afford(budget, now) for _ in range(wanted))
            assert sent == hedging.hedges <= share * calls + 1e-6
            assert budget.retries <= sent

    def test_what_is_saved_up_is_no_more_than_ten_seconds_of_calls_earn(self):
        hedging, budget = Hedging(0.05, None, 0.05), plenty()
        for second in range(100):
            budget.roll(float(second))
            for _ in range(40):
                budget.calls += 1
                hedging.enter()
        saved = 0
        while hedging.afford(budget, 99.0):
            saved += 1
        assert saved == 20  # a twentieth of the calls of ten seconds, and not of a hundred

    def test_a_service_that_is_called_seldom_may_hedge_one_call_all_the_same(self):
        hedging, budget = Hedging(0.05, None, 0.05), plenty()
        for minute in range(40):
            hedging.enter()
            budget.roll(minute * 60.0)
            budget.calls += 1
        assert hedging.afford(budget, 40 * 60.0)
        assert not hedging.afford(budget, 40 * 60.0)

    def test_each_takes_one_out_of_the_retry_budget_and_none_is_sent_without(self):
        hedging, budget = Hedging(0.05, None, 1.0), Budget(0.5, 0.0)
        budget.roll(0.0)
        for _ in range(10):
            budget.calls += 1
            hedging.enter()
        assert [hedging.afford(budget, 0.0) for _ in range(8)] == [True] * 5 + [False] * 3
        assert budget.spent() == hedging.hedges == 5


class TestSettings:
    @staticmethod
    def hedge(own: object, defaults: object = None) -> HedgeSettings | None:
        service = {"nodes": ["http://a:1"], **({} if own is ... else {"hedge": own})}
        below = {} if defaults is None else {"defaults": {"hedge": defaults}}
        return Settings.load({"services": {"s": service}, **below}).services["s"].hedge

    def test_there_is_none_unless_it_is_asked_for(self):
        assert self.hedge(...) is self.hedge(None) is self.hedge(False) is None

    def test_it_can_be_asked_for_shortly(self):
        assert self.hedge(True) == self.hedge({}) == HedgeSettings(delay="p95", max_extra=0.05)

    @pytest.mark.parametrize(
        ("delay", "share"), [("p50", 0.5), ("p95", 0.95), ("p99.9", 0.999), (1, None), (0.2, None)]
    )
    def test_a_percentile_or_seconds(self, delay: object, share: float | None):
        found = self.hedge({"delay": delay})
        assert found is not None
        assert found.delay == delay
        assert found.percentile == (None if share is None else pytest.approx(share))

    def test_defaults_lie_below_it_key_by_key(self):
        assert self.hedge({"delay": 0.1}, {"max_extra": 0.02}) == HedgeSettings(delay=0.1, max_extra=0.02)
        assert self.hedge({"delay": 0.1}, True) == HedgeSettings(delay=0.1)
        assert self.hedge(..., {"delay": "p99"}) == HedgeSettings(delay="p99")
        assert self.hedge(None, {"delay": "p99"}) is None
