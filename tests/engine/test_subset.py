"""A worker calls a subset of many nodes, of its own choice, which changes no more than it has to."""

import os
from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancemw.health import Mark
from balancemw.node import Node
from balancemw.peer import Peer
from balancemw.preference import Wishes, in_order
from tests.engine.chance import fits
from tests.engine.stage import Stage, refused, reset
from tests.engine.town import zoned

STRATEGIES = ["random", "round_robin", "weighted_random", "weighted_round_robin", "least_requests", "peak_ewma"]


def stage(nodes: Any = 20, subset: int = 4, **settings: Any) -> Stage:
    there = Stage(nodes, subset=subset, **{"slow_start": {"window": 0}, **settings})
    there.takes = 1e-6
    return there


def members(workers: int, nodes: int, size: int, seed: int = 1) -> list[list[str]]:
    """The subsets of so many workers."""
    peers, rng = [Peer(Node(f"http://n{i}:80"), 10.0) for i in range(nodes)], Random(seed)
    identities = [Wishes(subset=size, rng=rng).worker for _ in range(workers)]
    return [[peer.node.host for peer in in_order(peers, worker)[:size]] for worker in identities]


# -- which nodes


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_calls_go_to_so_many_nodes_and_to_each_of_them(strategy: str):
    there = stage(strategy=strategy)
    assert len(there.calls(400)) == 4
    assert there.calls(400).keys() == there.available()


def test_the_others_are_known_and_well():
    there = stage()
    assert len(there.service.nodes) == 20
    assert set(there.states().values()) == {"up"}


def test_a_service_with_fewer_nodes_is_called_as_ever():
    plain, there = stage(3, strategy="round_robin"), Stage(3, strategy="round_robin")
    assert there.calls(30) == plain.calls(30) == {"n0": 10, "n1": 10, "n2": 10}


@pytest.mark.parametrize("size", [2, 10, 30])
def test_a_thousand_workers_spread_evenly_over_a_hundred_nodes(size: int):
    called = Counter(host for each in members(1000, 100, size) for host in each)
    assert fits(called, {f"n{i}": 1.0 for i in range(100)})


def test_pairs_of_nodes_are_not_called_together_more_than_by_chance():
    """Else a node's load would go to a few others when it is out."""
    after = Counter(each[2] for each in members(20_000, 10, 3) if "n0" in each[:2])
    assert fits(after, {f"n{i}": 1.0 for i in range(1, 10)})


def test_the_same_identity_makes_the_same_choice():
    assert members(5, 50, 8) == members(5, 50, 8)
    assert members(1, 50, 8, seed=1) != members(1, 50, 8, seed=2)


@given(seed=st.integers(0, 99), gone=st.integers(0, 19), size=st.integers(1, 21))
def test_a_node_that_leaves_moves_its_own_place_and_no_other(seed: int, gone: int, size: int):
    there = stage(20, size, seed=seed)
    nodes, before = there.service.nodes, there.available()
    there.service.replace([node for node in nodes if node.host != f"n{gone}"])
    after = there.available()
    if f"n{gone}" in before:
        assert before - after == {f"n{gone}"}
        assert len(after - before) == (1 if size < 20 else 0)
    else:
        assert after == before
    there.service.replace(nodes)
    assert there.available() == before


def test_weights_do_not_enter_but_count_within():
    plain = stage(20, strategy="weighted_round_robin")
    weighted = stage([{"url": f"http://n{i}:80", "weight": i + 1} for i in range(20)], strategy="weighted_round_robin")
    assert weighted.available() == plain.available()
    called = weighted.calls(1000)
    total = sum(int(host[1:]) + 1 for host in called)
    assert called == {host: pytest.approx(1000 * (int(host[1:]) + 1) / total, abs=1) for host in called}


def test_a_subset_counts_within_a_priority():
    there = stage([{"url": f"http://n{i}:80", "priority": i % 2} for i in range(20)], 3)
    assert len(there.available()) == 6
    assert len(there.calls(100)) == 3


def test_a_subset_counts_for_the_own_zone_and_for_the_others():
    there = stage(zoned(a=6, b=6, c=6), 3, zone="a")
    assert Counter(host[0] == "a" for host in there.available()) == {True: 3, False: 3}
    assert {host[0] for host in there.calls(100)} == {"a"}
    for host in zoned(a=6):
        there.service.mark(str(host["url"]), "down", reason="?")
    assert len(there.calls(300)) == 3


# -- who is out


@given(
    nodes=st.integers(1, 8),
    size=st.integers(1, 9),
    keep=st.sampled_from([0.0, 0.5, 1.0]),
    marks=st.lists(
        st.tuples(st.integers(0, 7), st.sampled_from(["down", "up", "probe", "mend", "drain"])), max_size=30
    ),
    seed=st.integers(0, 20),
)
def test_it_is_full_as_long_as_there_are_good_nodes(
    nodes: int, size: int, keep: float, marks: list[tuple[int, str]], seed: int
):
    there = stage(nodes, size, seed=seed, ejection={"keep": keep})
    out, accused = set[str](), set[str]()
    for number, what in marks:
        host = f"n{number % nodes}"
        if what in ("down", "drain"):
            there.service.mark(f"{host}:80", what, reason="?")
            out.add(host)
        elif what == "up":
            there.service.clear(f"{host}:80")
            out.discard(host)
        elif what == "probe":
            there.service.mark(f"{host}:80", "down", source="probe", reason="?")
            accused.add(host)
        else:
            there.service.clear(f"{host}:80", source="probe")
            accused.discard(host)
        there.clock.advance(1)
        everyone = {f"n{i}" for i in range(nodes)} - out
        available, good = there.available(), everyone - accused
        assert available <= everyone
        assert bool(available) == bool(everyone)
        assert len(available & good) == min(size, len(good))
        assert len(available) <= size if good else available == everyone
        if available:
            assert there.service.pick().host in available


def test_the_next_in_order_fills_in_and_goes_when_the_first_is_back():
    there = stage()
    before = there.available()
    out = sorted(before)[0]
    there.put_out(out)
    (stand_in,) = there.available() - before
    assert before - there.available() == {out}
    assert stand_in in there.calls(400)
    there.clock.advance(6)
    there.calls(8)
    there.clock.advance(1)
    assert there.available() == before


def test_when_all_of_it_is_down_others_take_over_and_no_caller_notices():
    there = stage(20, 2)
    before = there.available()
    there.does = dict.fromkeys(before, refused)
    for _ in range(20):
        assert there.call().status_code == 200  # type: ignore[attr-defined]
    assert not before & there.available()
    assert len(there.available()) == 2


def test_a_retry_that_has_tried_them_all_goes_beyond():
    there = stage(20, 2)
    there.does = dict.fromkeys(there.available(), reset)
    assert there.call(idempotent=True, attempts=3).status_code == 200  # type: ignore[attr-defined]
    assert len(set(there.sent)) == 3


def test_with_no_good_node_left_the_first_to_return_may_be_any():
    there = stage(6, 2)
    there.all(refused)
    for _ in range(40):
        there.clock.advance(0.01)
        there.calls(3)
    assert len(there.available()) == 6
    outside = sorted(set(there.states()) - stage(6, 2).available())[0]
    del there.does[outside]
    there.calls(20)
    assert there.calls(100)[outside] == 100


def test_nobody_outside_is_given_a_trial():
    there = stage(20, 2)
    for host in sorted(set(there.states()) - there.available())[:5]:
        peer = there.service.pool.roster.find(f"{host}:80")
        there.service.pool.mark(peer, _ejected(there), there.clock())
    there.clock.advance(60)
    assert len(there.calls(50)) == 2


def _ejected(there: Stage) -> Mark:
    return Mark("traffic", "ejected", "?", there.clock(), there.clock() + 5)


# -- processes


def test_a_forked_worker_makes_a_choice_of_its_own(monkeypatch: pytest.MonkeyPatch):
    there = stage(200, 5)
    before = there.available()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    there.clock.advance(1)
    there.call()
    assert there.available() != before
    assert len(there.available()) == 5


def test_without_a_subset_nothing_is_drawn_by_lot():
    """So that seeded simulations of services without one stay what they were."""
    rng = Random(1)
    assert Wishes("a", None, rng=rng).worker == b""
    assert rng.random() == Random(1).random()
