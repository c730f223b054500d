"""Ejection: the record of a node's calls, when it speaks against the node, and for how long that takes it out."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancemw.ejection import Record, clearly_worse, offence, time_out

NOW = 1000.0
WINDOW = 10.0
BUCKET = 1.0  # how much of the window's oldest end may be missing


@dataclass(frozen=True)
class Rules:
    consecutive: int = 5
    success_rate: float = 0.8
    min_calls: int = 5
    window: float = WINDOW
    base: float = 5.0
    max: float = 300.0
    slow: float = 2.0


def succeed(record: Record, now: float) -> None:
    """As the pool counts a success."""
    if now >= record.edge:
        record.roll(now)
    record.calls += 1
    record.consecutive = 0


def record_of(calls: int, failed: int, now: float = NOW, *, row: int | None = None) -> Record:
    """A record of `failed` failures among `calls`; the last of them is a success, unless `row` say otherwise."""
    record = Record(WINDOW)
    for _ in range(failed):
        record.fail(now, counts=True)
    for _ in range(calls - failed):
        succeed(record, now)
    record.consecutive = 0 if row is None else row
    return record


class TestWindow:
    @given(
        st.floats(0.01, 1000.0),
        st.lists(st.tuples(st.floats(0.0, 2.5), st.booleans()), max_size=60),
        st.floats(0.0, 2.5),
    )
    def test_counts_are_those_of_the_window_give_or_take_a_bucket(
        self, window: float, steps: list[tuple[float, bool]], then: float
    ):
        record, bucket = Record(window), window / 10
        waits = [part * window for part, _ in steps]
        times = list(accumulate(waits, initial=NOW))[1:]
        for now, (_, failed) in zip(times, steps, strict=True):
            if failed:
                record.fail(now, counts=True)
            else:
                succeed(record, now)
        now = (times[-1] if times else NOW) + then * window
        calls, failures = record.window(now)
        rounding = 1e-6 * window

        def within(span: float, only: Callable[[bool], bool] = lambda _: True) -> int:
            return sum(now - t < span for t, (_, failed) in zip(times, steps, strict=True) if only(failed))

        assert within(window - bucket - rounding) <= calls <= within(window + rounding)
        assert within(window - bucket - rounding, bool) <= failures <= within(window + rounding, bool)
        assert record.calls == len(steps)
        assert record.failed == sum(failed for _, failed in steps)
        assert failures <= calls

    def test_a_tight_burst_counts_every_call(self):
        record = record_of(1000, 900)
        assert record.window(NOW + WINDOW - BUCKET) == (1000, 900)
        assert record.window(NOW + WINDOW) == (0, 0)

    @pytest.mark.parametrize("gap", [WINDOW, WINDOW + 0.5, 1e6])
    def test_a_long_silence_leaves_nothing_and_what_follows_counts(self, gap: float):
        record = record_of(10, 5)
        record.fail(NOW + gap, counts=True)
        assert record.window(NOW + gap) == (1, 1)
        assert record.window(NOW + gap + WINDOW - 2 * BUCKET) == (1, 1)

    def test_nothing_is_known_of_a_node_that_was_not_called(self):
        record = Record(WINDOW)
        assert record.window(NOW) == (0, 0)
        assert record.success_rate(NOW) is None

    def test_success_rate(self):
        record = record_of(8, 2)
        assert record.success_rate(NOW) == 0.75
        assert record.success_rate(NOW + WINDOW) is None

    def test_a_restart_forgets_the_window_and_the_row_but_not_the_totals(self):
        record = record_of(10, 5, row=3)
        record.restart(NOW + 1.0)
        assert record.window(NOW + 1.0) == (0, 0)
        assert (record.calls, record.failed, record.consecutive) == (10, 5, 0)
        record.fail(NOW + 1.5, counts=True)
        assert record.window(NOW + 1.5) == (1, 1)


class TestRow:
    def test_failures_that_count(self):
        record = Record(WINDOW)
        for _ in range(3):
            record.fail(NOW, counts=True)
        record.fail(NOW, counts=False)
        assert (record.consecutive, record.failed) == (3, 4)
        succeed(record, NOW)
        assert record.consecutive == 0

    @pytest.mark.parametrize(("row", "out"), [(4, False), (5, True), (6, True)])
    def test_enough_of_them_are_an_offence(self, row: int, out: bool):
        reason = offence(record_of(1000, 6, row=row), [], NOW, Rules())
        assert reason == (f"{row} failures in a row" if out else None)

    def test_zero_turns_it_off(self):
        assert offence(record_of(10, 10, row=10), [], NOW, Rules(consecutive=0)) is None


class TestSuccessRate:
    GOOD = (200, 0)

    def of(self, calls: int, failed: int, *peers: tuple[int, int], **rules: float) -> str | None:
        others = [record_of(*peer) for peer in peers or (self.GOOD, self.GOOD)]
        return offence(record_of(calls, failed), others, NOW, Rules(consecutive=0, **rules))  # type: ignore[arg-type]

    def test_says_what_it_saw(self):
        assert self.of(10, 5) == "5 of 10 calls failed within 10 s, of its peers' 0 of 400"

    @pytest.mark.parametrize(("calls", "failed", "out"), [(4, 4, False), (5, 5, True), (5, 2, True), (5, 1, False)])
    def test_needs_enough_calls_and_a_low_rate(self, calls: int, failed: int, out: bool):
        assert (self.of(calls, failed) is not None) == out

    def test_at_the_rate_is_not_below_it(self):
        assert self.of(100, 20) is None
        assert self.of(100, 21) is not None

    def test_zero_turns_it_off(self):
        assert self.of(100, 100, success_rate=0.0) is None

    def test_what_all_suffer_is_no_nodes_fault(self):
        assert self.of(100, 60, (100, 50), (100, 55)) is None

    def test_without_anyone_to_compare_with_there_is_no_blame(self):
        assert offence(record_of(100, 100), [], NOW, Rules(consecutive=0)) is None
        assert self.of(100, 100, (0, 0)) is None

    def test_only_what_happened_within_the_window_counts(self):
        record, peer = record_of(100, 100), record_of(*self.GOOD)
        later = NOW + WINDOW
        succeed(peer, later)
        assert offence(record, [peer], later, Rules(consecutive=0)) is None


class TestClearlyWorse:
    @pytest.mark.parametrize(
        ("own", "theirs"),
        [
            ((5, 5), (5, 0)),
            ((5, 5), (100, 5)),
            ((5, 2), (100, 0)),
            ((20, 10), (200, 10)),
            ((100, 30), (1000, 100)),
            ((1000, 1000), (1000, 400)),
        ],
    )
    def test_an_outlier(self, own: tuple[int, int], theirs: tuple[int, int]):
        assert clearly_worse(*own, *theirs)
        assert not clearly_worse(*theirs, *own)

    @pytest.mark.parametrize(
        ("own", "theirs"),
        [
            ((0, 0), (100, 0)),  # was not called
            ((5, 5), (0, 0)),  # nobody to compare with
            ((100, 100), (100, 100)),  # all fail
            ((100, 0), (100, 0)),  # none does
            ((100, 60), (100, 40)),  # surely worse, and yet not twice as bad
            ((1000, 990), (1000, 500)),
            ((1, 1), (3, 0)),  # a single call
            ((5, 2), (5, 0)),  # two failures that chance may explain
            ((5, 4), (20, 7)),
            ((10, 3), (20, 2)),
        ],
    )
    def test_no_outlier(self, own: tuple[int, int], theirs: tuple[int, int]):
        assert not clearly_worse(*own, *theirs)

    @given(st.integers(1, 500), st.integers(1, 500), st.integers(0, 500), st.integers(0, 500))
    def test_never_blames_a_node_that_does_as_well_as_its_peers(self, calls: int, peers: int, a: int, b: int):
        failed, peer_failed = min(a, calls), min(b, peers)
        if failed * peers <= peer_failed * calls:
            assert not clearly_worse(calls, failed, peers, peer_failed)

    @given(st.integers(1, 200), st.integers(1, 200), st.integers(0, 200), st.integers(0, 200))
    def test_another_failure_never_clears_it(self, calls: int, peers: int, a: int, b: int):
        failed, peer_failed = min(a, calls), min(b, peers)
        if clearly_worse(calls, failed, peers, peer_failed) and failed < calls:
            assert clearly_worse(calls, failed + 1, peers, peer_failed)

    def test_chance_hardly_ever_convicts(self):
        rng = random.Random(3)

        def failures(calls: int) -> int:
            return sum(rng.random() < 0.3 for _ in range(calls))

        convicted = sum(clearly_worse(30, failures(30), 60, failures(60)) for _ in range(2000))
        assert convicted <= 20  # under 1 % of looks, though three in ten of everyone's calls fail


class TestTimeOut:
    @given(st.integers(0, 200), st.floats(0.01, 100.0), st.floats(1.0, 1000.0), st.integers(0, 2**32))
    def test_doubles_up_to_the_cap_and_half_of_it_is_by_lot(self, level: int, base: float, factor: float, seed: int):
        most = base * factor
        span = min(most, base * 2.0**level)
        assert span / 2 <= time_out(level, Rules(base=base, max=most), random.Random(seed)) <= span

    @pytest.mark.parametrize(
        ("level", "span"), [(0, 5.0), (1, 10.0), (2, 20.0), (5, 160.0), (6, 300.0), (7, 300.0), (99, 300.0)]
    )
    def test_spread_over_the_whole_half(self, level: int, span: float):
        rng = random.Random(5)
        spans = sorted(time_out(level, Rules(), rng) for _ in range(1000))
        assert span / 2 <= spans[0] < 0.51 * span
        assert 0.99 * span < spans[-1] <= span
        assert sum(spans) / 1000 == pytest.approx(0.75 * span, rel=0.02)


class TestLevel:
    def relapsed(self, level: int) -> Record:
        record = Record(WINDOW)
        record.level = level
        record.restart(NOW)
        return record

    def test_time_alone_forgives_nothing(self):
        record = self.relapsed(3)
        record.window(NOW + 1e6)
        assert record.level == 3

    def test_success_after_a_calm_window_forgives_one(self):
        record = self.relapsed(3)
        record.calm(NOW + WINDOW - 0.01)
        assert record.level == 3
        record.calm(NOW + WINDOW)
        assert record.level == 2

    def test_each_takes_a_calm_window_of_its_own(self):
        record = self.relapsed(3)
        levels = []
        for tenths in range(0, 400, 5):
            record.calm(NOW + tenths / 10)
            levels.append(record.level)
        assert [levels.index(level) * 0.5 for level in (2, 1, 0)] == [10.0, 20.0, 30.0]

    def test_a_failure_begins_the_wait_anew(self):
        record = self.relapsed(1)
        record.fail(NOW + 6.0, counts=False)
        record.calm(NOW + 15.0)
        assert record.level == 1
        record.calm(NOW + 16.0)
        assert record.level == 0

    def test_never_below_zero(self):
        record = self.relapsed(0)
        record.calm(NOW + 1e6)
        assert record.level == 0
