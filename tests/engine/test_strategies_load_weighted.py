"""``load_weighted``: weights that follow from load reports, with all the guards of gRPC A58, and turns by weight."""

import threading
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancemw.load import Load
from balancemw.orca import LoadReport
from balancemw.strategies import OptionError, Picker, Strategy
from balancemw.strategies.load_weighted import _circle
from tests.engine.chance import NOW, loads, strategy

BLACKOUT, EXPIRATION = 10.0, 180.0
PICKS = 4000


def says(peer: Load, now: float, rate: float = 100.0, utilization: float = 0.5, errors: float = 0.0) -> None:
    peer.hear(LoadReport(cpu_utilization=utilization, rps_fractional=rate, eps=errors), now)


class Nodes:
    """Nodes and their reports; `now` is the time that has come."""

    def __init__(self, weights: int | Sequence[float] = 3, **options: object) -> None:
        self.peers = loads(weights)
        self.now = NOW
        self.made: Strategy = strategy("load_weighted", **options)
        self.pick: Picker = self.made.picker(self.peers, self.peers)

    def wait(self, seconds: float) -> "Nodes":
        self.now += seconds
        return self

    def report(self, *reports: LoadReport | None) -> "Nodes":
        for peer, report in zip(self.peers, reports, strict=True):
            if report is not None:
                peer.hear(report, self.now)
        self.pick(self.now, None)
        return self

    def settle(self, *reports: LoadReport | None) -> "Nodes":
        """The same reports until they are believed."""
        return self.report(*reports).wait(BLACKOUT).report(*reports).wait(1.0)

    def shares(self) -> list[float]:
        counts = Counter(self.pick(self.now, None) for _ in range(PICKS))
        return [counts[peer] / PICKS for peer in self.peers]

    def are(self, *weights: float) -> bool:
        expected = [weight / sum(weights) for weight in weights]
        return self.shares() == pytest.approx(expected, abs=0.002)


def rated(weight: float) -> LoadReport:
    return LoadReport(cpu_utilization=0.5, rps_fractional=weight / 2.0)


class TestFormula:
    def test_the_rate_by_the_utilization(self):
        nodes = Nodes().settle(
            LoadReport(cpu_utilization=0.25, rps_fractional=100.0),
            LoadReport(cpu_utilization=0.5, rps_fractional=100.0),
            LoadReport(cpu_utilization=0.5, rps_fractional=50.0),
        )
        assert nodes.are(400, 200, 100)

    @pytest.mark.parametrize(("penalty", "weight"), [(None, 100 / 0.75), (0.0, 200), (2.0, 100)])
    def test_errors_count_as_utilization(self, penalty: float | None, weight: float):
        options = {} if penalty is None else {"error_utilization_penalty": penalty}
        failing = LoadReport(cpu_utilization=0.5, rps_fractional=100.0, eps=25.0)
        assert Nodes(2, **options).settle(failing, rated(200)).are(weight, 200)

    def test_what_the_application_says_goes_before_its_processor(self):
        both = LoadReport(application_utilization=0.2, cpu_utilization=0.8, rps_fractional=80.0)
        assert Nodes(2).settle(both, rated(100)).are(400, 100)

    def test_a_metric_of_ones_own_goes_before_both_and_the_highest_counts(self):
        metrics = ["named_metrics.queue", "mem_utilization"]
        own = LoadReport(
            application_utilization=0.9,
            cpu_utilization=0.9,
            mem_utilization=0.2,
            rps_fractional=80.0,
            named_metrics={"queue": 0.4, "other": 0.9},
        )
        silent = LoadReport(application_utilization=0.8, rps_fractional=80.0)
        nodes = Nodes(2, metric_names_for_computing_utilization=metrics).settle(own, silent)
        assert nodes.are(200, 100)

    def test_a_weight_stays_within_ten_times_the_mean_and_a_tenth_of_it(self):
        nodes = Nodes([1.0] * 21).settle(rated(10_000), *[rated(10)] * 20)
        mean = (10_000 + 20 * 10) / 21
        assert nodes.are(10 * mean, *[mean / 10] * 20)


class TestGuards:
    def test_no_report_at_all_is_round_robin(self):
        nodes = Nodes(3)
        hosts = [nodes.pick(NOW, None).node.host for _ in range(9)]
        assert hosts[:3] == hosts[3:6] == hosts[6:]
        assert len(set(hosts)) == 3

    def test_one_weight_alone_is_round_robin(self):
        nodes = Nodes(3).settle(rated(500), None, None)
        hosts = [nodes.pick(nodes.now, None).node.host for _ in range(6)]
        assert len(set(hosts[:3])) == 3
        assert hosts[:3] == hosts[3:]

    def test_who_has_no_weight_gets_the_mean(self):
        assert Nodes(3).settle(rated(300), rated(100), None).are(300, 100, 200)

    @pytest.mark.parametrize(
        "empty", [LoadReport(), LoadReport(cpu_utilization=0.5), LoadReport(rps_fractional=9.0), LoadReport(eps=1.0)]
    )
    def test_a_report_that_says_nothing_is_none(self, empty: LoadReport):
        assert Nodes(3).settle(rated(300), rated(100), empty).are(300, 100, 200)

    def test_and_does_not_undo_what_was_said_before(self):
        nodes = Nodes(2).settle(rated(300), rated(100))
        assert nodes.report(LoadReport(), None).wait(1.0).are(300, 100)

    def test_not_before_reports_have_come_for_the_blackout_period(self):
        nodes = Nodes(2).report(rated(300), rated(100)).wait(BLACKOUT - 0.1).report(rated(300), rated(100))
        assert nodes.are(1, 1)
        assert nodes.wait(1.0).report(rated(300), rated(100)).are(300, 100)

    def test_without_a_blackout_period_at_once(self):
        assert Nodes(2, blackout_period=0).report(rated(300), rated(100)).wait(1.0).are(300, 100)

    def test_not_when_no_report_has_come_for_the_expiration_period(self):
        nodes = Nodes(2).settle(rated(300), rated(100))
        assert nodes.wait(EXPIRATION - 1.5).are(300, 100)
        assert nodes.wait(1.0).are(1, 1)

    def test_after_that_the_blackout_begins_anew(self):
        nodes = Nodes(2).settle(rated(300), rated(100)).wait(EXPIRATION).report(rated(300), rated(100)).wait(5.0)
        assert nodes.are(1, 1)
        assert nodes.wait(BLACKOUT - 4.0).report(rated(300), rated(100)).are(300, 100)

    def test_even_if_nobody_chose_in_between(self):
        nodes = Nodes(2).settle(rated(300), rated(100))
        nodes.wait(EXPIRATION)
        for peer in nodes.peers:
            says(peer, nodes.now, 100.0 if peer is nodes.peers[0] else 10.0)
        assert nodes.wait(1.0).are(1, 1)

    def test_a_node_that_came_back_is_not_what_it_was(self):
        nodes = Nodes(3).settle(rated(300), rated(100), rated(200))
        nodes.peers[0].forget()
        assert nodes.report(rated(900), None, None).wait(1.0).are(150, 100, 200)
        assert nodes.wait(BLACKOUT).report(rated(900), None, None).are(900, 100, 200)

    def test_even_if_it_reports_at_once(self):
        nodes = Nodes(3).settle(rated(300), rated(100), rated(200))
        nodes.peers[0].forget()
        nodes.now += 1.0
        nodes.peers[0].hear(rated(900), nodes.now)
        assert nodes.are(150, 100, 200)

    def test_weights_are_derived_anew_after_the_update_period_only(self):
        nodes = Nodes(2, weight_update_period=5).settle(rated(300), rated(100))
        nodes.wait(5.0).report(rated(300), rated(100))
        for peer in nodes.peers:
            peer.hear(rated(100), nodes.now)
        assert nodes.wait(4.9).are(300, 100)
        assert nodes.wait(0.2).are(1, 1)

    def test_and_never_more_than_ten_times_a_second(self):
        nodes = Nodes(2, weight_update_period=0.001, blackout_period=0).report(rated(300), rated(100))
        assert nodes.wait(0.2).are(300, 100)
        for peer in nodes.peers:
            peer.hear(rated(100), nodes.now)
        assert nodes.wait(0.05).are(300, 100)
        assert nodes.wait(0.06).are(1, 1)


class TestConfiguredWeights:
    def test_count_while_nobody_reports(self):
        assert Nodes([1.0, 2.0, 4.0]).are(1, 2, 4)

    def test_are_a_guess_at_what_reports_measure(self):
        assert Nodes([4.0, 1.0]).settle(rated(100), rated(100)).are(1, 1)

    def test_stand_for_a_report_among_those_that_report(self):
        assert Nodes([1.0, 1.0, 2.0]).settle(rated(300), rated(100), None).are(300, 100, 400)

    def test_an_operators_weight_counts_always(self):
        nodes = Nodes([2.0, 1.0, 1.0])
        nodes.peers[0].weight = 1.0  # half
        assert nodes.settle(rated(400), rated(100), None).are(200, 100, 250 / 1.5)


class TestPickers:
    def test_what_was_reported_outlasts_a_picker(self):
        nodes = Nodes(3).settle(rated(300), rated(100), rated(200))
        nodes.made.picker(nodes.peers[1:], nodes.peers)(nodes.now, None)
        nodes.pick = nodes.made.picker(nodes.peers, nodes.peers)
        assert nodes.are(300, 100, 200)

    def test_those_that_are_out_take_no_turns(self):
        nodes = Nodes(3).settle(rated(300), rated(100), rated(200))
        nodes.pick = nodes.made.picker(nodes.peers[:2], nodes.peers)
        assert nodes.are(300, 100, 0)

    def test_those_that_have_left_are_forgotten(self):
        nodes = Nodes(3).settle(rated(300), rated(100), rated(200))
        rest = nodes.peers[1:]
        nodes.made.picker(rest, rest)(nodes.now, None)
        assert set(nodes.made._weights._known) == set(rest)  # type: ignore[attr-defined]

    @given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=40))
    def test_a_circle_is_divided_by_weight(self, weights: list[float]):
        circle = _circle(weights)
        if circle is None:
            assert len(set(weights)) == 1
            return
        ends, guide, width = circle
        assert len(guide) == (1 << 32 - width) >= 2 * len(weights)
        assert list(guide) == [bisect_right(ends, cell << width) for cell in range(len(guide))]
        assert list(ends) == sorted(ends)
        assert ends[-1] == 1 << 32
        lengths = [end - begin for begin, end in pairwise([0, *ends])]
        assert lengths == pytest.approx([weight / sum(weights) * (1 << 32) for weight in weights], abs=2)

    @given(st.lists(st.floats(10.0, 100.0), min_size=2, max_size=12), st.integers(1, 400))
    def test_never_far_from_the_share(self, weights: list[float], length: int):
        nodes = Nodes(len(weights)).settle(*map(rated, weights))
        counts = Counter(nodes.pick(nodes.now, None) for _ in range(length))
        for peer, weight in zip(nodes.peers, weights, strict=True):
            assert abs(counts[peer] - length * weight / sum(weights)) < 4

    @given(st.lists(st.floats(10.0, 100.0), min_size=2, max_size=8, unique=True))
    def test_the_turns_of_a_node_are_apart_by_three_lengths_at_most(self, weights: list[float]):
        nodes = Nodes(len(weights)).settle(*map(rated, weights))
        picks = [nodes.pick(nodes.now, None) for _ in range(1000)]
        for peer in nodes.peers:
            turns = [i for i, each in enumerate(picks) if each is peer]
            assert len({b - a for a, b in pairwise(turns)}) <= 3

    def test_threads_together_give_each_its_share(self):
        nodes = Nodes(3).settle(rated(300), rated(100), rated(200))
        counts, lock, together = Counter[Load](), threading.Lock(), threading.Barrier(4, timeout=30)

        def work() -> None:
            together.wait()
            mine = Counter(nodes.pick(nodes.now, None) for _ in range(1500))
            with lock:
                counts.update(mine)

        running = [threading.Thread(target=work) for _ in range(4)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join(60)
        assert [counts[peer] for peer in nodes.peers] == pytest.approx([3000, 1000, 2000], abs=10)


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("blackout_period", -1, "must be at least 0, got -1"),
        ("weight_expiration_period", 0, "must be above 0, got 0"),
        ("weight_update_period", 0, "must be above 0, got 0"),
        ("weight_update_period", "1s", "expected a number, got '1s'"),
        ("error_utilization_penalty", -0.5, "must be at least 0, got -0.5"),
        ("metric_names_for_computing_utilization", "cpu_utilization", "expected a list of names"),
        ("metric_names_for_computing_utilization", ["cpu"], "expected application_utilization, cpu_utilization"),
        ("metric_names_for_computing_utilization", ["named_metrics."], "expected application_utilization"),
    ],
)
def test_options_that_make_no_sense(option: str, value: object, told: str):
    with pytest.raises(OptionError) as caught:
        strategy("load_weighted", **{option: value})
    assert caught.value.option == option
    assert str(caught.value).startswith(told)
