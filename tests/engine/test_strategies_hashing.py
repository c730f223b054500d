"""``consistent_hash``: whose key it is, everywhere and for as long as the node is there."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256, shake_128
from pathlib import Path
from struct import unpack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancemw.load import Load
from balancemw.strategies.hashing import Ring
from tests.engine.chance import NOW, by_weight, equally, fits, loads, strategy

KEYS = [f"customer-{i}" for i in range(5000)]
ODD_KEYS = ["", " ", "ключ", "鍵", "🔑", "e\u0301", "\u00e9", "\x00", "\ud800", "a\udfffb", "x" * 100_000]


def owners(available: Sequence[Load], everyone: Sequence[Load] | None = None, keys: Sequence[str] = KEYS) -> list[str]:
    pick = strategy("consistent_hash").picker(available, everyone or available)
    return [pick(NOW, key).node.host for key in keys]


def moved(before: Sequence[str], after: Sequence[str], left: str) -> float:
    """Which share of the keys that were not those of `left` has another owner now."""
    others = [(one, two) for one, two in zip(before, after, strict=True) if one != left]
    return sum(one != two for one, two in others) / len(others)


class TestEverywhere:
    PROGRAM = """
import json, random, sys
from balancemw import Node
from balancemw.load import Load
from balancemw.strategies import resolve
weights, keys = json.load(sys.stdin)
peers = tuple(Load(Node(f"http://n{i}:80", weight)) for i, weight in enumerate(weights))
pick = resolve("consistent_hash", {})(random.Random()).picker(peers, peers)
json.dump([pick(0.0, key).node.host for key in keys], sys.stdout)
"""

    @pytest.mark.parametrize("seed", ["0", "12345"])
    def test_another_process_comes_to_the_same_owners(self, seed: str):
        weights, keys = [1.0, 2.0, 0.5], [*KEYS[:500], *ODD_KEYS]
        ran = subprocess.run(
            [sys.executable, "-c", self.PROGRAM],
            input=json.dumps([weights, keys]),
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        assert json.loads(ran.stdout) == owners(loads(weights), keys=keys)

    @pytest.mark.parametrize(
        ("weights", "out", "first", "all_of_them"),
        [
            ([1.0] * 3, (), "n2 n1 n2 n1 n2 n2", "c67f5dd04183f5af"),
            ([1.0] * 10, (2, 3), "n8 n9 n8 n1 n7 n5", "1a6291cf9ade6515"),
            ([1.0] * 300, (), "n44 n175 n161 n283 n91 n71", "cf9ff93f8317a78f"),
            ([1.0, 2.0, 3.0, 0.5], (), "n3 n1 n2 n1 n2 n2", "79765be44653e83e"),
            ([10.0, 0.1, 1.0, 1.0, 5.0, 2.5], (0, 5), "n4 n4 n2 n4 n4 n3", "20a1b3979c7f9bae"),
            ([1.0 + i % 3 for i in range(100)], range(0, 100, 7), "n44 n32 n47 n74 n26 n71", "49617bad99503240"),
        ],
        ids=["three", "two of ten out", "many", "weights", "weights and some out", "many of all kinds"],
    )
    def test_every_version_comes_to_the_same_owners(
        self, weights: list[float], out: Sequence[int], first: str, all_of_them: str
    ):
        """Processes of two versions serve side by side while the newer one is rolled out."""
        peers = loads(weights)
        found = owners([peer for i, peer in enumerate(peers) if i not in out], peers, [*KEYS, *ODD_KEYS])
        assert " ".join(found[:6]) == first
        assert sha256(" ".join(found).encode()).hexdigest()[:16] == all_of_them

    @given(
        st.lists(st.one_of(st.just(1.0), st.floats(0.1, 10.0)), min_size=1, max_size=12),
        st.sets(st.integers(0, 11), max_size=11),
        st.lists(st.integers(0, (1 << 30) - 1), min_size=1, max_size=20),
    )
    def test_a_key_belongs_to_whom_it_reaches_first(self, weights: list[float], out: set[int], places: list[int]):
        """Looked for point by point, which takes no index and knows no special case."""
        peers = loads(weights)
        there = [i for i in range(len(peers)) if i not in out] or [0]
        points = {i: unpack("<128I", shake_128(peers[i].node.url.encode()).digest(512)) for i in there}
        ring = Ring(peers)
        flags = ring.without([peers[i] for i in there])
        for place in [*places, 0, (1 << 30) - 1, *(point % (1 << 30) for point in points[there[0]])]:
            reach = {i: min((point - place) % (1 << 30) for point in points[i]) / peers[i].weight for i in there}
            assert reach[ring.find(place, flags)] == pytest.approx(min(reach.values()), rel=1e-12)
            if not ring.uneven and len(there) == len(peers):
                assert reach[ring.next(place, flags)] == min(reach.values())

    def test_the_order_of_the_nodes_does_not_matter(self):
        peers = loads([1.0, 2.0, 3.0, 1.0])
        assert owners(peers) == owners(peers[::-1])

    @given(st.text(st.characters()), st.integers(1, 20))
    def test_every_key_has_one_owner(self, key: str, number: int):
        peers = loads(number)
        pick = strategy("consistent_hash", seed=number).picker(peers, peers)
        owner = pick(NOW, key)
        assert owner in peers
        assert pick(NOW + 1e6, key) is owner
        assert owners(peers, keys=[key]) == [owner.node.host]

    def test_odd_keys_are_told_apart(self):
        assert len(set(owners(loads(300), keys=ODD_KEYS))) >= len(ODD_KEYS) - 1  # two may share an owner by chance


class TestShares:
    @pytest.mark.parametrize("number", [2, 3, 10, 100])
    def test_balanced_within_reason(self, number: int):
        counts = Counter(owners(loads(number), keys=[f"key-{i}" for i in range(30_000)]))
        fair = 30_000 / number
        assert len(counts) == number
        assert max(counts.values()) < 1.5 * fair
        assert min(counts.values()) > 0.6 * fair

    def test_three_nodes(self):
        counts = Counter(owners(loads(3), keys=[f"key-{i}" for i in range(30_000)]))
        assert all(0.28 < count / 30_000 < 0.39 for count in counts.values())

    @pytest.mark.parametrize("weights", [[1, 2, 3], [1, 10], [0.1, 0.3, 1.5], [100, 200, 300], [1, 1, 8]], ids=str)
    def test_weights_are_roughly_honoured(self, weights: list[float]):
        peers = loads([float(weight) for weight in weights])
        counts = Counter(owners(peers, keys=[f"key-{i}" for i in range(30_000)]))
        for host, weight in by_weight(peers).items():
            assert counts[str(host)] / 30_000 == pytest.approx(weight / sum(weights), rel=0.35)

    def test_weights_far_apart_are_no_trouble(self):
        peers = loads([1e-9, 1.0, 1e9])
        assert set(owners(peers)) == {"n2"}
        assert set(owners(peers[:2], peers)) == {"n1"}
        assert set(owners(peers[:1], peers)) == {"n0"}

    def test_without_a_key_any_node_that_is_there(self):
        peers = loads(4)
        pick = strategy("consistent_hash").picker(peers[1:], peers)
        assert fits(Counter(pick(NOW, None).node.host for _ in range(30_000)), equally(peers[1:]))


class TestOut:
    """A node that is out for a while is one of `everyone` but not of `available`."""

    @pytest.mark.parametrize("weights", [[1] * 3, [1] * 20, [1, 2, 4], [5, 1, 1, 0.3]], ids=str)
    def test_moves_its_own_keys_and_no_others_and_gets_exactly_those_back(self, weights: list[float]):
        peers = loads([float(weight) for weight in weights])
        made = strategy("consistent_hash")
        before = owners(peers)
        for gone in peers:
            there = [peer for peer in peers if peer is not gone]
            pick = made.picker(there, peers)
            after = [pick(NOW, key).node.host for key in KEYS]
            assert moved(before, after, gone.node.host) == 0.0
            assert gone.node.host not in after
        pick = made.picker(peers, peers)
        assert [pick(NOW, key).node.host for key in KEYS] == before

    def test_its_keys_are_spread_over_the_rest(self):
        peers = loads(10)
        before, after = owners(peers), owners(peers[1:], peers)
        heirs = Counter(two for one, two in zip(before, after, strict=True) if one == "n0")
        assert len(heirs) == 9
        assert max(heirs.values()) < 0.35 * sum(heirs.values())

    def test_when_only_one_is_left_all_keys_are_its_own(self):
        peers = loads([1.0, 2.0, 0.5, 1.0])
        for last in peers:
            assert set(owners([last], peers)) == {last.node.host}

    @given(st.sets(st.integers(0, 7), min_size=1), st.sets(st.integers(0, 7), min_size=1))
    def test_a_key_moves_only_if_its_owner_goes_or_a_better_one_comes(self, one: set[int], other: set[int]):
        peers = loads([1.0, 1.0, 2.0, 3.0, 1.0, 0.5, 1.0, 1.0])
        both = owners([peers[i] for i in sorted(one | other)], peers, KEYS[:200])
        alone = owners([peers[i] for i in sorted(one)], peers, KEYS[:200])
        for with_all, with_some in zip(both, alone, strict=True):
            assert with_all == with_some or int(with_all[1:]) not in one


class TestGone:
    """A node that is removed from the service is not one of `everyone` any more."""

    @pytest.mark.parametrize(
        "weights",
        [
            [1] * 2,
            [1] * 3,
            [1] * 20,
            [1, 2],
            [1, 2, 3],
            [1, 1, 1, 2],
            [1, 1, 2],
            [1, 2, 4],
            [1, 2, 3, 4, 5],
            [10, 20, 30],
        ],
        ids=str,
    )
    def test_moves_its_own_keys_and_hardly_any_others(self, weights: list[float]):
        peers = loads([float(weight) for weight in weights])
        before = owners(peers)
        for gone in peers:
            after = owners([peer for peer in peers if peer is not gone])
            assert moved(before, after, gone.node.host) <= 0.01

    @given(st.lists(st.floats(0.01, 100.0), min_size=2, max_size=8), st.integers(0, 7))
    def test_whatever_the_weights(self, weights: list[float], number: int):
        peers = loads(weights)
        gone = peers[number % len(peers)]
        before = owners(peers, keys=KEYS[:300])
        after = owners([peer for peer in peers if peer is not gone], keys=KEYS[:300])
        if set(before) != {gone.node.host}:
            assert moved(before, after, gone.node.host) <= 0.01

    def test_one_that_comes_takes_only_what_is_its_own(self):
        peers = loads(11)
        before, after = owners(peers[:10]), owners(peers)
        taken = [two for one, two in zip(before, after, strict=True) if one != two]
        assert set(taken) == {"n10"}
        assert 0.04 < len(taken) / len(KEYS) < 0.16

    def test_a_changed_weight_moves_keys_to_or_from_that_node_alone(self):
        peers = loads([4.0] * 5)
        before = owners(peers)
        peers[2].weight = 5.0
        changed = [(one, two) for one, two in zip(before, owners((*peers,)), strict=True) if one != two]
        assert changed
        assert all(two == "n2" for _, two in changed)


class TestRebuilding:
    def test_a_ring_is_kept_while_nodes_and_weights_stay(self):
        """What is expensive is made once: a node that is out for a moment must not cost a new ring."""
        peers = loads(50)
        made = strategy("consistent_hash")
        built = Counter[str]()

        class Counted(Load):
            @property
            def weight(self) -> float:  # type: ignore[override]
                built["weights read"] += 1
                return 1.0

            @weight.setter
            def weight(self, value: float) -> None:
                pass

        peers = tuple(Counted(peer.node) for peer in peers)
        made.picker(peers, peers)
        after_first = built["weights read"]
        for gone in range(50):
            made.picker(peers[:gone] + peers[gone + 1 :], peers)
        assert built["weights read"] == after_first
        made.picker(peers, (*peers,))
        assert built["weights read"] == 2 * after_first

    def test_pickers_for_different_nodes_do_not_get_in_each_others_way(self):
        made, sets = strategy("consistent_hash"), [loads(number) for number in (1, 5, 2, 8)]
        picks = [made.picker(peers, peers) for peers in (*sets, *sets)]
        for key in KEYS[:200]:
            assert all(pick(NOW, key) in peers for pick, peers in zip(picks, (*sets, *sets), strict=True))
            assert all(one(NOW, key) is same(NOW, key) for one, same in zip(picks[:4], picks[4:], strict=True))
