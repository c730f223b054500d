"""What an app does, in figures, on a clock of the test's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import floor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancemw import meter
from balancemw.meter import WINDOW, Meter, Note
from tests.engine.clock import FakeClock


class Bench:
    """A meter, its clock, and the CPU seconds that it sees."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.cpu = 0.0
        self.meter = Meter(self.clock, lambda: self.cpu)

    def enter(self) -> Note | None:
        return self.meter.enter(self.clock())

    def serve(self, takes: float = 0.0, *, failed: bool = False) -> None:
        note = self.enter()
        self.clock.advance(takes)
        self.meter.answered(note, failed)
        self.meter.leave()

    @contextmanager
    def serving(self, count: int = 1) -> Iterator[None]:
        """Requests that are being served."""
        for _ in range(count):
            self.enter()
        yield
        for _ in range(count):
            self.meter.leave()

    def named(self, name: str) -> float | None:
        """A named metric, as a request that is answered now sees it."""
        with self.serving():
            return self.meter.load().named_metrics.get(name)


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture(autouse=True)
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter, "cores", lambda: 1.0)


# -- requests in flight


def test_the_one_that_is_being_answered_does_not_count(bench: Bench):
    assert bench.named("in_flight") == 0.0
    with bench.serving(3):
        assert bench.named("in_flight") == 3.0
    assert bench.named("in_flight") == 0.0
    assert bench.meter.load().named_metrics["in_flight"] == 0.0  # asked by nobody who is served


# -- rates


def test_rates_are_those_of_the_window(bench: Bench):
    for number in range(100):
        bench.serve(0.1, failed=number % 4 == 0)
    report = bench.meter.load()
    assert report.rps_fractional == pytest.approx(10.0, rel=0.12)
    assert report.eps == pytest.approx(2.5, rel=0.12)
    assert (bench.meter.served, bench.meter.errors) == (100, 25)


def test_a_young_process_divides_by_its_age_and_at_least_by_a_second(bench: Bench):
    bench.serve()
    assert bench.meter.load().rps_fractional == 1.0
    bench.clock.advance(3.0)
    bench.serve()
    assert bench.meter.load().rps_fractional == pytest.approx(2 / 3, abs=0.001)


def test_what_is_past_the_window_does_not_count(bench: Bench):
    for _ in range(50):
        bench.serve(failed=True)
    bench.clock.advance(WINDOW + 1.0)
    bench.serve()
    report = bench.meter.load()
    assert report.rps_fractional == pytest.approx(0.1, rel=0.12)
    assert report.eps == 0.0
    bench.clock.advance(WINDOW + 1.0)
    assert bench.meter.load().rps_fractional == 0.0


@given(st.lists(st.floats(0.0, 15.0), max_size=60))
def test_every_request_of_the_window_counts_once(gaps: list[float]):
    bench = Bench()
    born, times = bench.clock(), []
    for gap in gaps:
        bench.clock.advance(gap)
        times.append(bench.clock())
        bench.serve()
    now = bench.clock()
    start = floor(now) - WINDOW + 1
    seconds = max(1.0, now - max(start, born))
    within = sum(time >= start for time in times)
    assert bench.meter.load().rps_fractional == pytest.approx(within / seconds, abs=0.001)


def test_what_is_kept_is_bounded(bench: Bench):
    bench.meter.load()
    for _ in range(500):
        bench.clock.advance(0.6)
        bench.serve(0.1)
        bench.meter.load()
    assert len(bench.meter._past) <= WINDOW + 1
    assert all(len(each) <= 16 for each in bench.meter._latencies)


# -- latency


def test_it_is_noted_only_while_somebody_asks(bench: Bench):
    bench.serve(0.2)
    assert bench.named("latency") is None
    bench.serve(0.2)
    assert bench.named("latency") == pytest.approx(0.2)
    bench.clock.advance(61.0)
    bench.serve(0.3)
    assert bench.named("latency") is None


def test_it_is_the_median_of_the_last(bench: Bench):
    bench.meter.load()
    for takes in (0.1, 9.0, 0.2):
        bench.serve(takes)
    assert bench.named("latency") == pytest.approx(0.2)
    for _ in range(20):
        bench.serve(0.05)
    assert bench.named("latency") == pytest.approx(0.05)


def test_it_is_that_of_about_as_many_in_flight(bench: Bench):
    bench.meter.load()
    for _ in range(9):
        bench.serve(0.1)
    with bench.serving(8):
        for _ in range(9):
            bench.serve(0.5)
        assert bench.named("latency") == pytest.approx(0.5)
    assert bench.named("latency") == pytest.approx(0.1)
    with bench.serving(40):  # at which none has come so far: the nearest
        assert bench.named("latency") == pytest.approx(0.5)


def test_how_many_there_were_when_it_came_counts_and_not_when_it_went(bench: Bench):
    bench.meter.load()
    crowd = [bench.enter() for _ in range(16)]
    for number, note in enumerate(crowd):
        bench.clock.advance(0.1)
        bench.meter.answered(note, False)
        bench.meter.leave()
        assert number < 16
    assert bench.named("latency") == pytest.approx(0.1)  # of the first, which came alone


def test_an_error_is_no_measure(bench: Bench):
    bench.meter.load()
    bench.serve(0.001, failed=True)
    assert bench.named("latency") is None


def test_an_old_one_says_nothing(bench: Bench):
    bench.meter.load()
    bench.serve(0.2)
    bench.clock.advance(WINDOW + 0.5)
    assert bench.named("latency") is None


def test_more_in_flight_than_anybody_has_is_no_harm(bench: Bench):
    bench.meter.load()
    bench.meter.answered(Note(None, bench.clock(), 1 << 40), False)
    assert bench.named("latency") == 0.0


# -- CPU


def test_cpu_time_over_the_window_by_the_cores_there_are(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(meter, "cores", lambda: 2.0)
    for _ in range(100):
        bench.cpu += 0.06
        bench.serve(0.2)
    assert bench.meter.load().cpu_utilization == pytest.approx(0.15, rel=0.05)


def test_a_moment_says_nothing_of_it(bench: Bench):
    bench.cpu += 5.0
    bench.serve(0.05)
    assert bench.meter.load().cpu_utilization == 0.0


def test_after_a_pause_it_is_that_since_the_last_request(bench: Bench):
    bench.serve()
    bench.clock.advance(100.0)
    bench.cpu += 10.0
    bench.serve()
    assert bench.meter.load().cpu_utilization == pytest.approx(0.1)


def test_above_one_is_told_as_it_is(bench: Bench):
    bench.cpu += 3.0
    bench.serve(1.0)
    assert bench.meter.load().cpu_utilization == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("said", "expected"),
    [("max 100000\n", 4.0), ("50000 100000\n", 0.5), ("900000 100000\n", 4.0), ("nonsense", 4.0), (None, 4.0)],
)
def test_a_container_may_have_less_than_the_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str | None, expected: float
):
    monkeypatch.undo()
    limits = tmp_path / "cpu.max"
    if said is not None:
        limits.write_text(said)
    monkeypatch.setattr(meter, "LIMITS", limits)
    monkeypatch.setattr(meter.os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    assert meter.cores() == expected


# -- a fork


def test_a_child_begins_anew(bench: Bench):
    bench.meter.load()
    with bench.serving(3):
        bench.serve(0.5, failed=True)
        bench.meter.reset()
        report = bench.meter.load()
        assert (report.rps_fractional, report.eps, report.named_metrics) == (0.0, 0.0, {"in_flight": 0.0})
        for _ in range(3):
            bench.enter()


def test_the_app_may_say_how_busy_it_is(bench: Bench):
    assert bench.meter.load().application_utilization == 0.0
    assert bench.meter.load(0.7).application_utilization == 0.7
