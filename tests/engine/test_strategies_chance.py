"""``random``, ``weighted_random`` and ``round_robin``: how their choices are spread."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancemw.strategies.chance import alias_table
from tests.engine.chance import NOW, PICKS, by_weight, counted, critical, equally, fits, loads, picker

WEIGHTS = [
    [1.0, 1.0],
    [1.0, 2.0, 3.0],
    [0.1, 0.3, 1.5],
    [2.5, 0.5],
    [5.0, 1.0, 1.0],
    [1.0, 100.0],
    [3.14159, 2.71828, 1.41421, 0.57722],
    [0.001, 0.002, 0.003],
    [1e9, 2e9, 5e8],
    [float(i % 7 + 1) for i in range(50)],
]


class TestTheTest:
    """That what is used here to judge strategies can tell good ones from bad ones."""

    @pytest.mark.parametrize(
        ("freedom", "value"),  # NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.4
        [(1, 10.828), (2, 13.816), (3, 16.266), (4, 18.467), (9, 27.877), (19, 43.820), (49, 85.351), (99, 148.230)],
    )
    def test_critical_values(self, freedom: int, value: float):
        assert critical(freedom) == pytest.approx(value, rel=0.02)

    def test_a_fair_die_fits_and_a_loaded_one_does_not(self):
        rng = Random(11)
        shares = dict.fromkeys(range(6), 1.0)
        assert fits(Counter(rng.randrange(6) for _ in range(PICKS)), shares)
        assert not fits(Counter(rng.choices(range(6), [1.05, 1, 1, 1, 1, 1], k=PICKS)), shares)
        assert not fits(Counter(rng.randrange(5) for _ in range(PICKS)), shares)

    def test_a_true_hypothesis_is_rejected_about_as_often_as_the_level_says(self):
        rng = Random(12)
        shares = dict.fromkeys(range(3), 1.0)
        rejected = sum(not fits(Counter(rng.choices(range(3), k=300)), shares) for _ in range(5000))
        assert 0 <= rejected <= 15


class TestRandom:
    @pytest.mark.parametrize("count", [1, 2, 3, 7, 100])
    def test_equal_shares(self, count: int):
        peers = loads(count)
        counts = counted(picker("random", peers))
        assert count == 1 or fits(counts, equally(peers))
        assert set(counts) == set(equally(peers))

    def test_weights_are_ignored(self):
        peers = loads([1.0, 10.0, 100.0])
        assert fits(counted(picker("random", peers)), equally(peers))

    def test_each_choice_is_independent_of_the_one_before(self):
        peers, pairs = loads(3), Counter()
        pick = picker("random", peers)
        before = pick(NOW, None).node.host
        for _ in range(PICKS):
            now = pick(NOW, None).node.host
            pairs[before, now] += 1
            before = now
        assert fits(pairs, {(a, b): 1.0 for a in equally(peers) for b in equally(peers)})


class TestWeightedRandom:
    @pytest.mark.parametrize("weights", WEIGHTS, ids=str)
    def test_shares_by_weight(self, weights: list[float]):
        peers = loads(weights)
        assert fits(counted(picker("weighted_random", peers, seed=2)), by_weight(peers))

    def test_a_single_node(self):
        assert counted(picker("weighted_random", loads([0.3])), 100) == {"n0": 100}

    def test_the_weight_in_force_counts_and_not_the_configured_one(self):
        peers = loads([1.0, 1.0])
        peers[0].weight = 4.0
        assert fits(counted(picker("weighted_random", peers)), {"n0": 4.0, "n1": 1.0})

    @given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=40))
    def test_the_table_holds_the_exact_shares(self, weights: list[float]):
        own, alias = alias_table(weights)
        count, total = len(weights), sum(weights)
        shares = [0.0] * count
        for column in range(count):
            assert -1e-9 <= own[column] <= 1.0 + 1e-9
            shares[column] += own[column] / count
            shares[alias[column]] += (1.0 - own[column]) / count
        for share, weight in zip(shares, weights, strict=True):
            assert share == pytest.approx(weight / total, rel=1e-6, abs=1e-9)


class TestRoundRobin:
    @pytest.mark.parametrize("count", [1, 2, 3, 7, 100])
    def test_equal_shares(self, count: int):
        peers = loads(count)
        counts = counted(picker("round_robin", peers), PICKS + 1)
        assert max(counts.values()) - min(counts.values()) <= 1
        assert len(counts) == count

    def test_in_turn_with_weights_ignored(self):
        pick = picker("round_robin", loads([1.0, 10.0, 100.0]))
        order = [pick(NOW, None).node.host for _ in range(9)]
        assert order[:3] == order[3:6] == order[6:9]
        assert "".join(order[:3]) in "n0n1n2n0n1"

    def test_starts_anywhere(self):
        peers = loads(3)
        first = Counter(picker("round_robin", peers, seed)(NOW, None).node.host for seed in range(3000))
        assert fits(first, equally(peers))


@pytest.mark.parametrize("name", ["random", "weighted_random", "round_robin", "peak_ewma", "least_requests"])
def test_the_same_seed_gives_the_same_choices(name: str):
    peers = loads([1.0, 2.0, 3.0])
    picks = [picker(name, peers, seed) for seed in (1, 1, 2, 3, 4, 5)]
    one, same, *others = ([pick(NOW, None) for _ in range(50)] for pick in picks)
    assert one == same
    assert any(one != other for other in others)
