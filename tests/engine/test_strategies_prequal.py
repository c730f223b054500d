"""``prequal``: hot or cold by requests in flight, then the quickest; by reports, and without them."""

from collections import Counter
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancemw import Node
from balancemw.load import DECAY, FAILURE, UNKNOWN, Load
from balancemw.orca import LoadReport
from balancemw.strategies import OptionError, Picker
from balancemw.strategies.prequal import _draw
from tests.engine.chance import NOW, counted, equally, fits, loads, strategy

LEARN = 64


def begin(peer: Load, calls: int, now: float = NOW) -> None:
    peer.in_flight += calls
    peer.started += calls * now


def reports(peer: Load, in_flight: float, latency: float, now: float = NOW) -> None:
    peer.hear(LoadReport(named_metrics={"in_flight": in_flight, "latency": latency}), now)


def picker(peers: Sequence[Load], seed: int = 1, **options: object) -> Picker:
    return strategy("prequal", seed, **options).picker(peers, peers)


def winner(pick: Picker, now: float = NOW) -> str:
    """The one that is chosen every time."""
    chosen = {pick(now, None).node.host for _ in range(LEARN)}
    assert len(chosen) == 1
    return chosen.pop()


class TestRule:
    def busy(self, latencies: Sequence[float]) -> tuple[Load, ...]:
        """Ten nodes, the first with no request in flight, the last with nine."""
        peers = loads(10)
        for rank, (peer, latency) in enumerate(zip(peers, latencies, strict=True)):
            reports(peer, rank, latency)
        return peers

    def test_of_the_cold_ones_the_quickest_and_never_a_hot_one(self):
        peers = self.busy([0.1] * 7 + [0.001, 0.1, 0.00001])
        pick = picker(peers, choices=10)
        pick(NOW, None)  # who has more than others have is not known before
        for _ in range(LEARN):
            pick(NOW, None)
        assert winner(pick) == "n7"

    def test_the_quantile_says_who_is_hot(self):
        peers = self.busy([0.1] * 7 + [0.001, 0.1, 0.00001])
        for quantile, chosen in ((1.0, "n9"), (0.84, "n7"), (0.3, "n0"), (0.0, "n0")):
            pick = picker(peers, choices=10, quantile=quantile)
            for _ in range(LEARN):
                pick(NOW, None)
            assert winner(pick) == chosen

    def test_when_all_are_hot_the_fewest_requests_in_flight(self):
        peers = self.busy([0.1] * 10)
        pick = picker(peers, choices=10)
        for _ in range(LEARN):
            pick(NOW, None)
        for rank, peer in enumerate(peers):
            reports(peer, 50 + (rank + 5) % 10, 1.0 / (rank + 1))
        assert pick(NOW, None) is peers[5]

    def test_what_is_usual_changes(self):
        peers = self.busy([0.1] * 9 + [0.0001])
        pick = picker(peers, choices=10)
        for _ in range(LEARN):
            pick(NOW, None)
        assert winner(pick) == "n0"
        for peer in peers[:9]:
            reports(peer, 20, 0.1)
        for _ in range(LEARN):
            pick(NOW, None)
        assert winner(pick) == "n9"

    def test_the_latency_is_that_of_the_requests_in_flight_now(self):
        peers = loads(2)
        reports(peers[0], 0, 0.010)
        reports(peers[1], 0, 0.015)
        pick = picker(peers, quantile=1.0)
        assert winner(pick) == "n0"
        begin(peers[0], 1)
        assert winner(pick) == "n1"

    def test_weight_is_how_much_a_node_can_carry(self):
        peers = loads([4.0, 1.0])
        for peer, calls in zip(peers, (5, 2), strict=True):
            reports(peer, calls, 0.01)
        assert winner(picker(peers)) == "n0"


class TestReports:
    def test_the_callers_own_calls_since_count(self):
        peers = loads(2)
        for peer in peers:
            begin(peer, 2)
            reports(peer, 6, 0.01)
        pick = picker(peers)
        assert {pick(NOW, None) for _ in range(LEARN)} == set(peers)
        begin(peers[0], 1)
        assert winner(pick) == "n1"
        for _ in range(2):
            peers[0].end(NOW)
        assert winner(pick) == "n0"

    def test_calls_of_others_are_seen(self):
        peers = loads(2)
        reports(peers[0], 30, 0.01)
        reports(peers[1], 3, 0.01)
        begin(peers[1], 3)
        assert winner(picker(peers)) == "n1"

    def test_an_old_report_counts_no_more(self):
        peers = loads(2)
        reports(peers[0], 30, 0.01)
        reports(peers[1], 3, 0.01)
        pick = picker(peers)
        assert winner(pick, NOW + 0.99) == "n1"
        begin(peers[1], 1, NOW + 1.0)
        assert winner(pick, NOW + 1.01) == "n0"

    def test_how_old_is_an_option(self):
        peers = loads(2)
        reports(peers[0], 30, 0.01)
        reports(peers[1], 3, 0.01)
        assert winner(picker(peers, max_age=60.0), NOW + 59.0) == "n1"

    @pytest.mark.parametrize("old", [True, False])
    def test_a_node_not_heard_of_is_taken_to_be_like_the_others_and_not_idle(self, old: bool):
        peers = loads(3)
        for peer in peers:
            peer.observe(0.01, NOW)
        if old:
            reports(peers[0], 1, 0.01, NOW - 5.0)
        reports(peers[1], 10, 0.01)
        reports(peers[2], 30, 0.01)
        pick = picker(peers)
        for _ in range(1000):
            pick(NOW, None)
        assert winner(pick) == "n1"

    def test_a_report_that_does_not_say_how_long_leaves_the_callers_own_view(self):
        peers = loads(2)
        for peer, took in zip(peers, (0.02, 0.01), strict=True):
            peer.observe(took, NOW)
            peer.hear(LoadReport(named_metrics={"in_flight": 4.0}), NOW)
        assert winner(picker(peers)) == "n1"


class TestOwnView:
    """Without any report."""

    def test_latency_and_calls_in_flight(self):
        peers = loads(3)
        for peer, calls, took in zip(peers, (0, 3, 1), (0.09, 0.01, 0.01), strict=True):
            peer.observe(took, NOW)
            begin(peer, calls)
        assert winner(picker(peers)) == "n2"

    def test_a_node_that_nothing_is_known_of_is_tried_but_not_by_everyone_at_once(self):
        peers = loads(2)
        peers[0].observe(0.1, NOW)
        pick = picker(peers)
        assert winner(pick) == "n1"
        begin(peers[1], 1)
        assert winner(pick, NOW + 0.01) == "n0"
        assert UNKNOWN > 0.1

    def test_the_age_of_open_calls_counts_whatever_the_node_said(self):
        peers = loads(2)
        for peer in peers:
            begin(peer, 1)
            reports(peer, 1, 0.01 if peer is peers[0] else 0.05, NOW + 0.5)
        peers[1].end(NOW)
        begin(peers[1], 1, NOW + 0.5)
        assert winner(picker(peers), NOW + 0.5) == "n1"

    def test_the_latency_of_an_idle_node_fades(self):
        peers = loads(2)
        peers[0].observe(4.0, NOW)
        later = NOW + 10 * DECAY
        peers[1].observe(0.5, later)
        assert winner(picker(peers), later) == "n0"


class TestFailures:
    def test_count_as_requests_in_flight(self):
        peers = loads(2)
        for peer in peers:
            reports(peer, 1, 0.01)
        begin(peers[1], int(FAILURE) - 2)
        peers[0].penalize(0.001, NOW)
        assert winner(picker(peers)) == "n1"

    def test_fade(self):
        peers = loads(2)
        peers[0].penalize(0.001, NOW)
        later = NOW + 10 * DECAY
        reports(peers[0], 0, 0.01, later)
        reports(peers[1], 1, 0.01, later)
        assert winner(picker(peers), later) == "n0"

    def test_a_node_that_fails_fast_and_says_that_it_is_quick_is_not_believed(self):
        peers = loads(2)
        for peer in peers:
            peer.observe(0.1, NOW)
            reports(peer, 1, 0.1)
        peers[0].penalize(0.0001, NOW)
        reports(peers[0], 1, 0.0001)
        assert winner(picker(peers)) == "n1"


class TestChance:
    @pytest.mark.parametrize("number", [2, 3, 6, 10, 30])
    @pytest.mark.parametrize("reported", [True, False])
    def test_equals_are_not_favoured_by_order(self, number: int, reported: bool):
        peers = loads(number)
        for peer in peers if reported else ():
            reports(peer, 3, 0.01)
        assert fits(counted(picker(peers), 30_000), equally(peers))

    def test_the_only_one(self):
        peers = loads(1)
        begin(peers[0], 1000)
        assert picker(peers)(NOW, None) is peers[0]

    @given(st.integers(1, 300), st.integers(2, 64), st.floats(0.0, 1.0, exclude_max=True))
    def test_candidates_are_distinct(self, number: int, choices: int, chance: float):
        drawn = _draw(loads(number), choices)(chance)
        assert len(set(drawn)) == len(drawn) == min(number, choices)

    @pytest.mark.parametrize("number", [2, 7, 12, 30, 97])
    def test_every_node_is_as_often_a_candidate(self, number: int):
        draw, rng = _draw(loads(number), 5), Random(1)
        drawn = Counter(peer.node.host for _ in range(5000) for peer in draw(rng.random()))
        mean = sum(drawn.values()) / number
        assert len(drawn) == number
        assert all(abs(times - mean) < 6 * mean**0.5 for times in drawn.values())

    def test_a_choice_looks_at_as_many_nodes_of_ten_thousand_as_of_ten(self):
        looked = 0

        class Watched(Load):
            @property
            def weight(self) -> float:  # type: ignore[override]
                nonlocal looked
                looked += 1
                return 1.0

            @weight.setter
            def weight(self, value: float) -> None:
                pass

        for number in (10, 10_000):
            peers = tuple(Watched(Node(f"http://n{i}")) for i in range(number))
            pick, looked = picker(peers), 0
            pick(NOW, None)
            assert looked == 8

    @given(
        st.lists(
            st.tuples(
                st.floats(0.01, 100.0),
                st.integers(0, 100),
                st.none() | st.tuples(st.floats(0.0, 1e6), st.floats(0.0, 1e3), st.floats(0.0, 10.0)),
                st.floats(0.0, 10.0),
            ),
            min_size=1,
            max_size=20,
        ),
        st.integers(0, 1000),
    )
    def test_whatever_the_loads_one_of_those_available_is_chosen(
        self, nodes: list[tuple[float, int, tuple[float, float, float] | None, float]], seed: int
    ):
        peers = loads([weight for weight, *_ in nodes])
        for peer, (_, calls, said, took) in zip(peers, nodes, strict=True):
            begin(peer, calls)
            peer.observe(took, NOW)
            if said:
                reports(peer, said[0], said[1], NOW + said[2])
        pick = picker(peers, seed)
        assert all(pick(NOW + 10.0, None) in peers for _ in range(40))


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("quantile", 1.1, "must be at most 1, got 1.1"),
        ("quantile", -0.1, "must be at least 0, got -0.1"),
        ("quantile", True, "expected a number, got True"),
        ("choices", 1, "must be at least 2, got 1"),
        ("choices", 65, "must be at most 64, got 65"),
        ("choices", 2.0, "expected a whole number, got 2.0"),
        ("max_age", 0, "must be above 0, got 0"),
        ("max_age", float("nan"), "must be a finite number, got nan"),
        ("max_age", "1", "expected a number, got '1'"),
    ],
)
def test_options_that_make_no_sense(option: str, value: object, told: str):
    with pytest.raises(OptionError) as caught:
        strategy("prequal", **{option: value})
    assert (caught.value.option, str(caught.value)) == (option, told)
