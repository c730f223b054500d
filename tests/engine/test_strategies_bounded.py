"""``consistent_hash`` with a `balance_factor`: a key whose node is full goes on to the next, and comes back."""

from collections import Counter
from collections.abc import Sequence
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancemw.load import Load
from balancemw.strategies import OptionError, Picker
from balancemw.strategies.bound import Bound
from tests.engine.chance import NOW, equally, fits, loads, strategy

KEYS = [f"customer-{i}" for i in range(500)]


def picker(peers: Sequence[Load], factor: float | None = 1.25, everyone: Sequence[Load] | None = None) -> Picker:
    return strategy("consistent_hash", balance_factor=factor).picker(peers, everyone or peers)


def owners(pick: Picker, keys: Sequence[str] = KEYS) -> list[Load]:
    return [pick(NOW, key) for key in keys]


class TestOff:
    def test_by_default_a_key_never_leaves_its_node(self):
        peers = loads(5)
        before = owners(strategy("consistent_hash").picker(peers, peers))
        peers[0].in_flight = 10_000
        assert owners(strategy("consistent_hash").picker(peers, peers)) == before
        assert owners(picker(peers, None)) == before
        assert owners(strategy("consistent_hash", balance_factor="none").picker(peers, peers)) == before

    def test_nor_with_a_bound_while_nobody_is_full(self):
        peers = loads(5)
        for calls in (0, 7):
            for peer in peers:
                peer.in_flight = calls
            assert owners(picker(peers)) == owners(picker(peers, None))


class TestBound:
    @given(
        st.lists(st.floats(0.1, 10.0), min_size=1, max_size=8),
        st.floats(1.01, 3.0),
        st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=150),
    )
    def test_nobody_gets_more_than_the_factor_allows(
        self, weights: list[float], factor: float, calls: list[tuple[int, bool]]
    ):
        peers = loads(weights)
        pick, busy = picker(peers, factor), list[Load]()
        for number, begins in calls:
            if not begins and busy:
                busy.pop(number % len(busy)).in_flight -= 1
                continue
            peer = pick(NOW, f"key-{number}")
            allowed = factor * (len(busy) + 1) * peer.weight / sum(weights)
            assert peer.in_flight + 1 <= ceil(allowed + 1e-9)
            peer.in_flight += 1
            busy.append(peer)

    def test_one_hot_key_is_spread_no_further_than_it_must(self):
        peers = loads(8)
        pick = picker(peers, 2.0)
        for _ in range(80):
            pick(NOW, "the hot key").in_flight += 1
        used = sorted((peer.in_flight for peer in peers if peer.in_flight), reverse=True)
        assert used == [20, 20, 20, 20]

    def test_weight_is_how_much_a_node_can_carry(self):
        peers = loads([3.0, 1.0])
        pick = picker(peers, 1.1)
        for i in range(400):
            pick(NOW, f"key-{i}").in_flight += 1
        assert peers[0].in_flight <= 1.1 * 300 + 1
        assert peers[1].in_flight <= 1.1 * 100 + 1


class TestOrder:
    def test_goes_on_to_the_node_that_would_have_the_key_if_its_own_were_out(self):
        peers = loads(6)
        before = owners(picker(peers))
        peers[0].in_flight = 100
        after = owners(picker(peers))
        heirs = owners(picker(peers[1:], None, peers))
        assert after == [two if one is peers[0] else one for one, two in zip(before, heirs, strict=True)]

    def test_and_on(self):
        peers = loads(6)
        peers[0].in_flight = peers[3].in_flight = 100
        rest = [peer for peer in peers if not peer.in_flight]
        heirs = owners(picker(rest, None, peers))
        assert owners(picker(peers)) == heirs

    def test_comes_back_as_soon_as_there_is_room(self):
        peers = loads(6)
        pick = picker(peers)
        before = owners(pick)
        peers[0].in_flight = 100
        assert owners(pick) != before
        peers[0].in_flight = 0
        assert owners(pick) == before

    def test_is_the_same_for_every_caller(self):
        one, other = loads(6), loads(6)[::-1]
        for peers in (one, other):
            next(peer for peer in peers if peer.node.host == "n4").in_flight = 50
        assert [peer.node for peer in owners(picker(one))] == [peer.node for peer in owners(picker(other))]

    def test_those_that_are_out_are_neither_chosen_nor_counted(self):
        peers = loads(4)
        peers[0].in_flight = 1000
        for peer, calls in zip(peers[1:], (2, 0, 0), strict=True):
            peer.in_flight = calls
        chosen = Counter(owners(picker(peers[1:], 1.25, peers)))
        assert set(chosen) == {peers[2], peers[3]}

    def test_without_a_key_any_node(self):
        peers = loads(4)
        peers[0].in_flight = 100
        pick = picker(peers)
        assert fits(Counter(pick(NOW, None).node.host for _ in range(20_000)), equally(peers))

    def test_the_only_one(self):
        peers = loads(1)
        peers[0].in_flight = 50
        assert set(owners(picker(peers))) == {peers[0]}


class TestMany:
    """Of many nodes the calls are counted a few at a time."""

    def test_the_count_is_right_after_one_round(self):
        peers = loads(100)
        bound = Bound(peers, 1.5)
        for rank, peer in enumerate(peers):
            peer.in_flight = rank
        for _ in range(ceil(100 / 8)):
            bound.allowed()
        assert bound.allowed() == pytest.approx(1.5 * (sum(range(100)) + 1) / 100)

    def test_a_hot_key_is_spread_over_many(self):
        peers = loads(100)
        pick = picker(peers)
        for i in range(1000):
            pick(NOW, f"key-{i}" if i % 4 else "hot").in_flight += 1
        assert max(peer.in_flight for peer in peers) <= 1.25 * 10 + 1
        assert sum(peer.in_flight for peer in peers) == 1000

    def test_when_none_of_many_has_room_the_least_full_of_them(self):
        peers = loads(100)
        pick = picker(peers)
        order = [next(peer for peer in peers if peer is pick(NOW, "hot"))]
        for _ in range(40):
            order[-1].in_flight = 10**6
            order.append(pick(NOW, "hot"))
        for peer in order:
            peer.in_flight = 50
        order[7].in_flight = 40
        owners(pick, KEYS[:20])  # counts them all
        assert pick(NOW, "hot") is order[7]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (125, "is a factor, such as 1.25, and no percentage, got 125"),
        (1.0, "must be above 1, got 1.0"),
        (0, "must be above 1, got 0"),
        ("1.25", "expected a number, got '1.25'"),
        (True, "expected a number, got True"),
        (float("inf"), "is a factor, such as 1.25, and no percentage, got inf"),
    ],
)
def test_factors_that_make_no_sense(value: object, told: str):
    with pytest.raises(OptionError) as caught:
        strategy("consistent_hash", balance_factor=value)
    assert (caught.value.option, str(caught.value)) == ("balance_factor", told)
