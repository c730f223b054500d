"""What a pool makes of the answers of its source, whatever they are and in whatever order."""

import asyncio
import gc
import random
import weakref
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancemw import Balancer, Node, NoNodeAvailable
from balancemw.checks import NotMade
from balancemw.discovery.directory import Directory
from balancemw.discovery.finder import Finder, _asked
from balancemw.discovery.found import Answer, Found, SourceError
from balancemw.settings import ServiceSettings
from tests.discovery.finding import settings_of
from tests.engine.stage import Stage


def found(host: str, kind: str = "", reason: str = "?", weight: float | None = None, node: Any = None) -> Found:
    return Found(Node(f"http://{host}:80", **(node or {})), kind, reason if kind else "", weight)


class Source:
    """A directory over a stage's pool, with the stage's clock."""

    def __init__(self, nodes: int = 0, **settings: Any) -> None:
        self.stage = Stage(nodes, **settings)
        self.directory = Directory(self.stage.service.pool, "the test")

    def says(self, *hosts: str) -> None:
        self.names(*(found(host) for host in hosts))

    def names(self, *each: Found) -> None:
        self.directory.hear(each, self.stage.clock())


def test_a_source_that_never_answered_is_told_to_the_caller():
    source = Source()
    with pytest.raises(NoNodeAvailable, match="'s' has no node: the test has not answered yet") as caught:
        source.stage.call()
    assert caught.value.retry_after == 1.0
    source.directory.miss("it is away")
    with pytest.raises(NoNodeAvailable, match="'s' has no node: the test: it is away"):
        source.stage.call()
    assert (
        source.stage.happened("discovery_failed")[0].reason == "the test: it is away; no node is known, and calls fail"
    )


def test_what_it_names_is_there_and_what_it_names_no_longer_is_gone():
    source = Source()
    source.says("a", "b")
    assert source.stage.available() == {"a", "b"}
    assert set(source.stage.states().values()) == {"up"}
    source.says("b", "c")
    assert source.stage.available() == {"b", "c"}
    assert source.stage.states() == {"b": "up", "c": "slow_start"}
    assert [(each.event, each.node, each.source) for each in source.stage.events] == [
        ("added", "a:80", "discovery"),
        ("added", "b:80", "discovery"),
        ("added", "c:80", "discovery"),
        ("removed", "a:80", "discovery"),
    ]


def test_calls_in_flight_to_a_node_that_leaves_end_well_and_are_given_back_to_it():
    source = Source()
    source.says("a")
    call = source.stage.open()
    source.says("b")
    assert set(source.stage.calls(10)) == {"b"}
    source.says("a", "b")  # it flaps: the call is still its own
    assert source.stage.told("a")["in_flight"] == 1
    call.end()
    assert source.stage.in_flight() == 0
    assert source.stage.told("a")["calls"] == 1


def test_a_stream_from_a_node_that_leaves_is_given_back_to_it():
    source = Source()
    source.says("a")
    pool, now = source.stage.service.pool, source.stage.clock()
    peer = pool.begin(now)
    pool.answered(peer, now, now)
    source.says("b")
    assert peer.in_flight == 1
    pool.hang_up(peer)
    assert peer.in_flight == 0
    source.says("a", "b")
    assert source.stage.told("a")["in_flight"] == 0


def test_a_node_that_flaps_keeps_what_is_known_of_it_for_a_while():
    source = Source()
    source.says("n0", "n1", "n2")
    source.stage.put_out("n0")
    source.stage.service.mark("n1:80", "drain", reason="kernel update")
    before = source.stage.told("n0")["marks"], source.stage.told("n1")["marks"]
    source.says("n2")
    source.stage.clock.advance(1.0)
    source.says("n0", "n1", "n2")
    assert (source.stage.told("n0")["marks"], source.stage.told("n1")["marks"]) == before
    source.says("n2")
    source.stage.clock.advance(301.0)
    source.says("n1", "n2")
    assert source.stage.told("n1")["marks"] == []


def test_claims_are_marks_of_discovery_and_change_with_its_word():
    source = Source(strategy="weighted_round_robin")
    source.names(found("a"), found("b", "drain", "closing"), found("c", "weight", "warm", 0.5))
    assert source.stage.states() == {"a": "up", "b": "draining", "c": "up"}
    assert source.stage.told("c")["weight"] == 0.5
    since = source.stage.told("b")["marks"]
    source.stage.clock.advance(5)
    source.names(found("a"), found("b", "drain", "closing"), found("c", "weight", "warm", 0.25))
    assert source.stage.told("b")["marks"] == since  # the same claim: no news
    assert source.stage.told("c")["weight"] == 0.25
    source.stage.service.mark("b:80", "down", reason="mine")
    source.says("a", "b", "c")
    assert [mark["source"] for mark in source.stage.told("b")["marks"]] == ["operator"]
    assert source.stage.told("c")["weight"] == 1.0
    assert [
        (each.event, each.node) for each in source.stage.events if each.event in ("drain", "weight", "cleared")
    ] == [
        ("drain", "b:80"),
        ("weight", "c:80"),
        ("weight", "c:80"),
        ("cleared", "b:80"),
        ("cleared", "c:80"),
    ]


def test_every_node_marked_down_by_its_source_is_obeyed():
    source = Source()
    source.names(found("a", "down", "deregistered"))
    with pytest.raises(NoNodeAvailable, match="a:80 is down"):
        source.stage.call()


def test_the_same_failure_is_told_once_and_another_again():
    source = Source(2)
    for reason in ("timeout", "timeout", "refused", "timeout"):
        source.directory.miss(reason)
    assert [each.reason.split(";")[0] for each in source.stage.happened("discovery_failed")] == [
        "the test: timeout",
        "the test: refused",
        "the test: timeout",
    ]
    source.directory.hear(None, 0.0)
    source.directory.hear(None, 0.0)
    assert [each.reason for each in source.stage.happened("discovery_recovered")] == ["the test names 2 nodes"]


def test_nothing_new_after_nothing_at_all_is_still_nothing():
    source = Source(2)
    source.names()
    source.directory.hear(None, 0.0)
    assert [each.event for each in source.stage.events] == ["discovery_failed"]
    assert source.stage.available() == {"n0", "n1"}


def test_a_node_that_is_named_twice_is_there_once():
    source = Source()
    source.names(found("a"), found("a", "down"))
    assert source.stage.states() == {"a": "up"}


HOSTS = st.sampled_from("abcdef")
ENTRIES = st.builds(
    lambda host, kind, weight, priority: found(
        host, kind, weight=0.5 if kind == "weight" else None, node={"weight": weight, "priority": priority}
    ),
    HOSTS,
    st.sampled_from(["", "", "", "down", "drain", "weight"]),
    st.sampled_from([1.0, 2.0]),
    st.integers(0, 1),
)
STEPS = st.lists(
    st.one_of(
        st.lists(ENTRIES, max_size=6),
        st.sampled_from(["timeout", "refused"]),
        st.none(),
        st.tuples(HOSTS, st.sampled_from(["operator", "alert", "self"])),
    ),
    max_size=30,
)


@given(STEPS)
def test_no_sequence_of_answers_and_failures_empties_a_pool_or_forgets_who_stays(steps: list[Any]):
    source = Source()
    pool = source.stage.service.pool
    marks: dict[str, set[str]] = {}
    for step in steps:
        source.stage.clock.advance(1.0)
        before = dict(pool.roster.peers)
        if isinstance(step, list):
            source.names(*step)
            wanted = {}
            for each in step:
                wanted.setdefault(each.node.url, each)
            if wanted:
                assert {peer.node for peer in pool.roster.peers.values()} == {each.node for each in wanted.values()}
                for url, each in wanted.items():
                    mark = pool.roster.peers[url].marks.get("discovery")
                    assert (mark.kind if mark else "") == each.kind
            else:
                assert pool.roster.peers == before
        elif isinstance(step, tuple):
            url = f"http://{step[0]}:80"
            if url in before:
                source.stage.service.mark(url, "drain", source=step[1], reason="?")
                marks.setdefault(url, set()).add(step[1])
        else:
            source.directory.hear(None, 0.0) if step is None else source.directory.miss(step)
            assert pool.roster.peers == before
        assert pool.roster.peers or not before
        for url, peer in pool.roster.peers.items():
            assert peer is before.get(url, peer)
            assert marks.get(url, set()) == set(peer.marks) - {"discovery"}
        source.stage.available()


# -- when a source is asked again


def finder(stage: Stage, kind: str = "tests.discovery.callables:sync") -> Finder:
    return Finder(stage.service.pool, settings_of(kind=kind), stage.clock, random.Random(1))


def test_failures_in_a_row_are_followed_by_longer_and_longer_pauses():
    stage = Stage(1)
    asked: Any = finder(stage)
    turn = asked._turn = object()
    pauses = [asked.take(SourceError("timeout"), turn) for _ in range(12)]
    for index, pause in enumerate(pauses):
        longest = min(30.0, 0.5 * 2**index)
        assert longest / 2 <= pause <= longest
    assert asked.take(Answer((found("a"),), 7.0), turn) == 7.0
    assert asked.take(SourceError("timeout"), turn) <= 0.5
    assert asked.take(SourceError("timeout", pause=3.0), turn) == 3.0


def test_where_no_node_is_known_they_stay_short():
    stage = Stage(0)
    asked: Any = finder(stage)
    turn = asked._turn = object()
    assert max(asked.take(SourceError("timeout"), turn) for _ in range(12)) <= 5.0


def test_who_has_lost_the_turn_is_not_heard():
    stage = Stage(1)
    asked: Any = finder(stage)
    asked._turn = object()
    assert asked.take(Answer((found("a"),), 7.0), object()) is None
    assert stage.available() == {"n0"}


@pytest.mark.parametrize("error", [RuntimeError, SystemExit])
def test_a_listener_that_fails_ends_nothing(error: type[BaseException]):
    stage = Stage(1)
    asked: Any = finder(stage)
    turn = asked._turn = object()

    def listener(_: object) -> None:
        raise error

    end = stage.balancer.subscribe(listener)
    assert asked.take(Answer((found("a"),), 7.0), turn) in (5.0, 7.0)
    end()
    assert stage.available() == {"a"}


@pytest.mark.parametrize(
    ("error", "why", "logged"),
    [
        (NotMade("can't start new thread"), "can't start new thread", 0),
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused", 0),
        (ZeroDivisionError("0"), "it went wrong: ZeroDivisionError", 1),
    ],
)
def test_whatever_a_source_raises_is_a_failure(
    error: Exception, why: str, logged: int, caplog: pytest.LogCaptureFixture
):
    class Broken:
        async def ask(self, _session: Any) -> Answer:
            raise error

        def close(self) -> None:
            pass

    session: Any = None
    answer = asyncio.run(_asked(Broken(), session))
    assert isinstance(answer, SourceError)
    assert why in str(answer)
    assert len(caplog.records) == logged


def test_settings_of_discovery_do_not_keep_a_balancer_alive():
    balancer = Balancer({"services": {"s": {"discovery": "tests.discovery.callables:sync"}}})
    ref = weakref.ref(balancer)
    assert isinstance(balancer.settings.services["s"], ServiceSettings)
    del balancer
    gc.collect()
    assert ref() is None
