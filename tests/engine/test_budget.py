"""The retry budget: what a share of the calls and a floor allow, over every stretch of time."""

from bisect import bisect_right
from itertools import accumulate

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from balancemw.budget import BURST, WINDOW, Budget

START = 1000.0
BUCKET = 0.5  # how far the spans may be off: calls are counted over up to so much less, retries over so much more


class Used:
    """A budget, and when calls were made and retries granted."""

    def __init__(self, share: float = 0.2, floor: float = 10.0) -> None:
        self.budget = Budget(share, floor)
        self.now = START
        self.called: list[float] = []
        self.retried: list[float] = []
        self.budget.roll(self.now)

    def call(self, count: int = 1) -> None:
        if self.now >= self.budget.edge:
            self.budget.roll(self.now)
        self.budget.calls += count
        self.called += [self.now] * count

    def retry(self, count: int = 1) -> int:
        """How many of `count` retries are granted."""
        granted = sum(self.budget.withdraw(self.now) for _ in range(count))
        self.retried += [self.now] * granted
        return granted

    def within(self, span: float, end: float) -> tuple[int, int]:
        """Calls and retries in the `span` seconds up to and with `end`."""
        calls, retries = (bisect_right(t, end) - bisect_right(t, end - span) for t in (self.called, self.retried))
        return calls, retries


STEPS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.01, 0.1, 0.25, 0.4999, 0.5, 0.7, 1.0, 3.9, 4.0, 4.6, 10.0, 60.0])
        | st.floats(0.0, 12.0),
        st.integers(0, 60),
        st.integers(0, 30),
    ),
    max_size=40,
)


class TestBound:
    @given(st.sampled_from([0.0, 0.1, 0.2, 0.5, 1.0]), st.sampled_from([0.0, 0.5, 1.0, 10.0]), STEPS)
    @example(0.2, 0.0, [(0.0, 50, 30), (3.9, 0, 30), (0.2, 0, 30)])
    @example(0.2, 10.0, [(0.0, 60, 30), (4.5, 0, 30), (4.5, 60, 30), (0.9, 0, 30)])
    def test_no_stretch_holds_more_than_share_and_floor(
        self, share: float, floor: float, steps: list[tuple[float, int, int]]
    ):
        used = Used(share, floor)
        for wait, calls, retries in steps:
            used.now += wait
            used.call(calls)
            used.retry(retries)
        for span in (BURST, WINDOW):
            for end in used.retried:
                calls, retries = used.within(span, end)
                assert retries <= share * calls + floor * span + 1e-9
        spans = (used.now - START) / WINDOW + 1.0
        assert len(used.retried) <= share * len(used.called) + floor * WINDOW * spans + 1e-9

    @pytest.mark.parametrize("rate", [5, 50, 200, 900])
    def test_all_down_after_a_good_time(self, rate: int):
        used = Used()
        for tick in range(40 * rate):
            used.now = START + tick / rate
            used.call()
            if tick >= 20 * rate:
                used.retry(2)
        down = START + 20.0
        for span in (BURST, WINDOW):
            first = [t for t in used.retried if t < down + span]
            assert len(first) <= 0.2 * span * rate + 10.0 * span
        assert len(used.retried) >= 0.8 * (0.2 * rate + 10.0) * 20.0  # and what is allowed may be had


class TestAllowance:
    def test_share_and_floor_add_up(self):
        used = Used(0.2, 1.0)
        used.call(100)
        assert used.retry(50) == 20 + 4  # the floor of one burst
        used.now += BURST + BUCKET
        assert used.retry(50) == 4
        used.now += BURST + BUCKET
        assert used.retry(50) == 30 - 20 - 4 - 4  # the floor of a window, less what it spent

    def test_calls_justify_retries_while_they_are_recent(self):
        used = Used(0.2, 0.0)
        used.call(100)
        used.now += BURST - BUCKET
        assert used.retry(50) == 20

    def test_a_call_justifies_nothing_for_ever(self):
        used = Used(0.2, 0.0)
        used.call(100)
        used.now += BURST
        assert used.retry() == 0

    def test_a_call_justifies_its_share_once(self):
        used = Used(0.5, 0.0)
        granted = 0
        for _ in range(100):
            used.call()
            used.now += 0.3
            granted += used.retry(5)
        assert 35 <= granted <= 50

    @pytest.mark.parametrize(
        ("share", "floor", "granted"), [(0.0, 0.0, 0), (0.2, 0.0, 20), (0.0, 1.0, 4), (1.0, 0.0, 100)]
    )
    def test_either_may_be_off(self, share: float, floor: float, granted: int):
        used = Used(share, floor)
        used.call(100)
        assert used.retry(1000) == granted

    def test_retries_before_the_first_call_come_from_the_floor(self):
        budget = Budget(0.2, 1.0)
        assert [budget.withdraw(START) for _ in range(6)] == [True] * 4 + [False] * 2

    def test_less_than_one_is_none(self):
        used = Used(0.2, 0.0)
        used.call(4)
        assert used.retry() == 0
        used.call()
        assert used.retry(2) == 1


class TestCounts:
    def test_refused_are_counted_in_all(self):
        used = Used(0.0, 1.0)
        used.retry(10)
        assert used.budget.refused == 6
        used.now += 1000.0
        used.retry(10)
        assert used.budget.refused == 12

    def test_what_the_window_holds(self):
        used = Used(0.2, 1.0)
        for _ in range(10):
            used.call(10)
            used.retry()
            used.now += 1.0
        used.call(0)
        assert used.budget.called() == 90  # the last 9.5 s, in whole buckets, with the one that begins
        assert used.budget.spent() == 10
        assert used.budget.allowed() == pytest.approx(0.2 * 90 + 1.0 * WINDOW)
        assert (used.budget.called(BURST), used.budget.spent(BURST)) == (30, 4)

    @pytest.mark.parametrize("gap", [WINDOW + BUCKET, WINDOW + BUCKET + 0.01, 60.0, 1e6])
    def test_nothing_is_left_after_a_long_silence(self, gap: float):
        used = Used()
        used.call(1000)
        used.retry(100)
        used.now += gap
        used.call(0)
        assert (used.budget.called(), used.budget.spent()) == (0, 0)
        used.call(10)
        assert used.budget.called() == 10

    @given(st.lists(st.floats(0.001, 30.0), max_size=30))
    def test_counts_are_those_of_the_window_give_or_take_a_bucket(self, waits: list[float]):
        used = Used(1.0, 0.0)
        for now in accumulate(waits, initial=START):
            used.now = now
            used.call()
            used.retry()
            for span in (BURST, WINDOW):
                calls, retries = used.within(span, now)
                assert used.within(span - BUCKET - 1e-6, now)[0] <= used.budget.called(span) <= calls
                assert retries <= used.budget.spent(span) <= used.within(span + BUCKET + 1e-6, now)[1]


class TestOwed:
    def test_what_is_owed_is_not_refused_but_counts(self) -> None:
        used = Used(share=0.0, floor=1.0)
        assert used.retry(10) == BURST
        assert used.budget.withdraw(used.now, owed=True)
        assert used.budget.spent() == BURST + 1
        assert used.retry() == 0

    def test_where_retries_are_turned_off_nothing_is_owed(self) -> None:
        used = Used(share=0.0, floor=0.0)
        assert not used.budget.withdraw(used.now, owed=True)


class TestKeptBack:
    def test_of_many_calls_some_retries_are_kept(self) -> None:
        used = Used(share=0.2, floor=0.0)
        used.budget.calls = 1000
        assert 20 < used.budget.kept_back < 50
        assert sum(used.budget.withdraw(used.now, used.budget.kept_back) for _ in range(300)) < 180
        assert used.retry(300) == used.budget.kept_back

    def test_of_few_calls_none_are(self) -> None:
        used = Used(share=0.2, floor=0.0)
        used.budget.calls = 100
        assert used.budget.kept_back == 0
