"""``weighted_round_robin``: the smooth sequence that nginx gives, for any weights and any number of threads."""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import islice

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from balancemw.load import Load
from tests.engine.chance import NOW, loads, picker, strategy


def nginx(weights: Sequence[Fraction]) -> Iterator[int]:
    """ngx_http_upstream_get_peer(): add to each its weight, take the first of the highest, subtract the total."""
    current = [Fraction(0)] * len(weights)
    total = sum(weights)
    while True:
        current = [have + weight for have, weight in zip(current, weights, strict=True)]
        best = current.index(max(current))
        current[best] -= total
        yield best


def sequence(weights: Sequence[float], length: int) -> list[str]:
    pick = picker("weighted_round_robin", loads(weights))
    return [pick(NOW, None).node.host for _ in range(length)]


def reference(weights: Sequence[float], length: int) -> list[str]:
    written = [Fraction(repr(weight)) for weight in weights]
    return [f"n{i}" for i in islice(nginx(written), length)]


WEIGHT = (
    st.integers(1, 20).map(float)
    | st.sampled_from([0.1, 0.2, 0.3, 0.5, 0.7, 1.1, 1.5, 2.5, 3.3, 0.001, 1e-7, 100.0, 1e6])
    | st.decimals("0.01", "50", places=2).map(float)
)


class TestSequence:
    @pytest.mark.parametrize(
        ("weights", "picks"),
        [
            ([5, 1, 1], "0 0 1 0 2 0 0"),  # the example of the commit that brought it to nginx
            ([1, 1, 1], "0 1 2 0 1 2"),
            ([1, 2], "1 0 1 1 0 1"),
            ([0.1, 0.2, 0.3], "2 1 0 2 1 2"),
            ([2.5, 0.5], "0 0 0 1 0 0"),
        ],
    )
    def test_known_ones(self, weights: list[float], picks: str):
        assert sequence(weights, len(picks.split())) == [f"n{i}" for i in picks.split()]

    @given(st.lists(WEIGHT, min_size=1, max_size=10), st.integers(1, 200))
    @example([0.1, 0.3], 100)
    @example([1.0, 1.0, 1.0, 1.0], 50)
    @example([3.0, 1.0, 3.0, 1.0, 3.0], 100)
    @example([1e-7, 1e6, 0.1], 100)
    def test_is_that_of_nginx(self, weights: list[float], length: int):
        assert sequence(weights, length) == reference(weights, length)

    @given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
    def test_a_period_gives_each_exactly_its_share_and_then_begins_anew(self, weights: list[int]):
        period = sum(weights)
        picks = sequence([float(weight) for weight in weights], 2 * period)
        assert Counter(picks[:period]) == {f"n{i}": weight for i, weight in enumerate(weights)}
        assert picks[:period] == picks[period:]

    @given(st.lists(WEIGHT, min_size=2, max_size=8), st.integers(1, 300))
    def test_never_far_from_the_share(self, weights: list[float], length: int):
        counts = Counter(sequence(weights, length))
        for i, weight in enumerate(weights):
            assert abs(counts[f"n{i}"] - length * weight / sum(weights)) < len(weights)

    def test_the_weight_in_force_counts_and_not_the_configured_one(self):
        peers = loads([1.0, 1.0])
        peers[0].weight = 3.0
        pick = picker("weighted_round_robin", peers)
        assert Counter(pick(NOW, None).node.host for _ in range(400)) == {"n0": 300, "n1": 100}


class TestThreads:
    @pytest.mark.parametrize("name", ["weighted_round_robin", "round_robin"])
    def test_together_they_give_each_exactly_its_share(self, name: str):
        weights = [0.5, 1.5, 1.0, 0.5, 1.5] if name == "weighted_round_robin" else [1.0] * 5
        peers, threads, each = loads(weights), 4, 2500
        pick, counts, lock = picker(name, peers), Counter[str](), threading.Lock()
        together = threading.Barrier(threads, timeout=30)

        def work() -> None:
            together.wait()
            mine = Counter(pick(NOW, None).node.host for _ in range(each))
            with lock:
                counts.update(mine)

        running = [threading.Thread(target=work) for _ in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join(60)
        assert counts == {f"n{i}": threads * each * weight / sum(weights) for i, weight in enumerate(weights)}


class TestRebuilding:
    """What changes in the pool makes a new picker; a storm of changes must not send all calls to one node."""

    @pytest.mark.parametrize("every", [1, 2, 3, 7, 20])
    @pytest.mark.parametrize(
        "weights", [[1, 1, 1], [2, 1, 1], [5, 1], [1, 1, 1, 10], [0.1, 0.3, 1.5], [7, 5, 3, 2, 1.5]], ids=str
    )
    def test_a_new_picker_goes_on_where_the_last_one_was(self, weights: list[float], every: int):
        peers, made, picks = loads(weights), strategy("weighted_round_robin"), []
        while len(picks) < 200:
            pick = made.picker(peers, peers)
            picks += [pick(NOW, None).node.host for _ in range(every)]
        assert picks == reference([float(weight) for weight in weights], len(picks))

    @given(st.lists(WEIGHT, min_size=1, max_size=10), st.lists(st.integers(0, 30), min_size=1, max_size=20))
    def test_no_rebuilding_moves_a_share_far(self, weights: list[float], lives: list[int]):
        peers, made, counts = loads(weights), strategy("weighted_round_robin"), Counter[str]()
        for picks in lives:
            pick = made.picker(peers, peers)
            counts.update(pick(NOW, None).node.host for _ in range(picks))
        for peer in peers:
            assert abs(counts[peer.node.host] - sum(lives) * peer.weight / sum(weights)) < len(weights) + 1

    def test_many_nodes_of_many_weights(self):
        peers, made = loads([float(weight) for weight in range(1, 61)]), strategy("weighted_round_robin")
        heavy = 0
        for _ in range(200):
            pick = made.picker(peers, peers)
            heavy += sum(pick(NOW, None).weight > 30 for _ in range(5))
        assert heavy == pytest.approx(1000 * sum(range(31, 61)) / sum(range(1, 61)), abs=30)

    def test_round_robin_goes_on_too(self):
        peers, made = loads(3), strategy("round_robin")
        counts = Counter(made.picker(peers, peers)(NOW, None).node.host for _ in range(300))
        assert set(counts.values()) == {100}

    def test_a_node_that_is_out_now_and_then_does_not_shift_the_rest(self):
        peers, made = loads([2.0, 2.0, 2.0, 1.0]), strategy("weighted_round_robin")
        counts: Counter[Load] = Counter()
        for turn in range(200):
            there = peers if turn % 2 else peers[:3]
            pick = made.picker(there, peers)
            counts.update(pick(NOW, None) for _ in range(14))
        heavy = [counts[peer] for peer in peers[:3]]
        assert max(heavy) - min(heavy) <= 0.02 * max(heavy)
        assert counts[peers[3]] == 200
