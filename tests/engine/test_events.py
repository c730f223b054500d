"""Events: who hears of what, in which order, and what the log says."""

import logging
import pickle
import random
import threading
from collections.abc import Callable, Iterator

import pytest

from balancemw import Balancer, Event
from balancemw.events import LOG, Events, News
from tests.engine.clock import FakeClock

EPOCH = 1_700_000_000.0


@pytest.fixture
def events() -> Iterator[Events]:
    """Events that nobody but listeners wants."""
    level = LOG.level
    LOG.setLevel(logging.CRITICAL)
    yield Events(lambda: EPOCH)
    LOG.setLevel(level)


def tell(events: Events, *names: str, service: str = "inventory") -> None:
    news = News(events, service)
    for name in names:
        news.note("a:1", name, "traffic")
    news.tell()


class TestListeners:
    def test_an_event_says_what_happened(self, events: Events):
        heard: list[Event] = []
        events.subscribe(heard.append)
        news = News(events, "inventory")
        news.note("a:1", "ejected", "traffic", "5 failures in a row", fault="timeout", calls=7, failures=5)
        news.note(None, "fail_open", "pool")
        assert heard == []  # noted under a lock, told outside of it
        news.tell()
        assert heard == [
            Event(
                id=1,
                time=EPOCH,
                service="inventory",
                node="a:1",
                event="ejected",
                source="traffic",
                fault="timeout",
                reason="5 failures in a row",
                evidence={"calls": 7, "failures": 5},
            ),
            Event(2, EPOCH, "inventory", None, "fail_open", "pool"),
        ]

    def test_each_event_is_told_once_in_the_order_it_was_noted(self, events: Events):
        heard: list[Event] = []
        events.subscribe(heard.append)
        one, other = News(events, "one"), News(events, "other")
        for i in range(10):
            (one, other)[i % 2].note(str(i), "down", "operator")
        one.tell()
        other.tell()
        assert [event.node for event in heard] == [str(i) for i in range(10)]
        assert [event.id for event in heard] == list(range(1, 11))
        assert {event.node for event in heard if event.service == "other"} == set("13579")

    def test_every_listener_hears_it_in_the_order_they_came(self, events: Events):
        heard: list[str] = []
        for name in "abc":
            events.subscribe(lambda _, name=name: heard.append(name))
        tell(events, "down", "up")
        assert heard == list("abcabc")

    def test_unsubscribed(self, events: Events):
        heard: list[str] = []
        end = events.subscribe(lambda event: heard.append(event.event))
        tell(events, "down")
        end()
        tell(events, "up")
        end()  # again: harmless
        assert heard == ["down"]

    def test_one_listener_twice_is_two_subscriptions(self, events: Events):
        heard: list[Event] = []
        end_one, end_other = events.subscribe(heard.append), events.subscribe(heard.append)
        tell(events, "down")
        assert len(heard) == 2
        end_one()
        end_one()
        tell(events, "down")
        assert len(heard) == 3
        end_other()
        tell(events, "down")
        assert len(heard) == 3

    def test_a_listener_that_fails_is_logged_and_hurts_nobody(self, events: Events, caplog: pytest.LogCaptureFixture):
        heard: list[Event] = []

        def fails(event: Event) -> None:
            raise LookupError("the pager is gone")

        events.subscribe(fails)
        events.subscribe(heard.append)
        with caplog.at_level(logging.ERROR, "balancemw"):
            tell(events, "ejected", "down")
        assert [event.event for event in heard] == ["ejected", "down"]
        assert caplog.messages == [
            "a listener of balancemw failed on ejected of inventory",
            "a listener of balancemw failed on down of inventory",
        ]
        assert all(record.levelno == logging.ERROR and record.exc_info for record in caplog.records)
        assert caplog.records[0].exc_info is not None
        assert str(caplog.records[0].exc_info[1]) == "the pager is gone"

    def test_an_interrupt_goes_up_and_the_rest_is_told_later(self, events: Events):
        heard: list[str] = []

        def interrupted(event: Event) -> None:
            heard.append(event.event)
            if event.event == "down":
                raise KeyboardInterrupt

        events.subscribe(interrupted)
        with pytest.raises(KeyboardInterrupt):
            tell(events, "down", "up")
        tell(events, "drain")
        assert heard == ["down", "up", "drain"]

    def test_a_listener_may_leave_and_bring_others_while_it_is_told(self, events: Events):
        heard: list[str] = []
        end: Callable[[], None]

        def once(event: Event) -> None:
            heard.append(f"once {event.event}")
            end()
            events.subscribe(lambda later: heard.append(f"new {later.event}"))

        end = events.subscribe(once)
        tell(events, "down", "up")
        assert heard == ["once down", "new up"]

    def test_all_hear_of_causes_before_effects(self, events: Events):
        heard: list[tuple[str, int, str]] = []

        def calls_back(event: Event) -> None:
            if event.event == "ejected":
                tell(events, "drain", service="another")
            heard.append(("first", event.id, event.event))

        events.subscribe(calls_back)
        events.subscribe(lambda event: heard.append(("second", event.id, event.event)))
        tell(events, "ejected", "down")
        assert heard == [
            (who, number, name)
            for number, name in [(1, "ejected"), (2, "down"), (3, "drain")]
            for who in ("first", "second")
        ]

    def test_threads_share_the_work_and_nothing_is_told_twice_or_lost(self, events: Events):
        heard: list[Event] = []
        events.subscribe(heard.append)

        def work(name: str) -> None:
            news = News(events, name)
            for i in range(500):
                news.note(str(i), "down", "operator")
                news.tell()

        threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sorted(event.id for event in heard) == list(range(1, 2001))
        for name in "abcd":
            mine = sorted((event.id, event.node) for event in heard if event.service == name)
            assert {node for _, node in mine} == {str(i) for i in range(500)}

    def test_while_one_thread_tells_another_can(self, events: Events):
        inside, done, heard = threading.Event(), threading.Event(), []

        def slow(event: Event) -> None:
            if event.event == "down":
                inside.set()
                done.wait(30)
            heard.append(event.event)

        events.subscribe(slow)
        thread = threading.Thread(target=tell, args=(events, "down"))
        thread.start()
        assert inside.wait(30)
        tell(events, "up")
        assert heard == ["up"]
        done.set()
        thread.join(30)
        assert heard == ["up", "down"]


class TestEvent:
    def test_frozen_hashable_and_made_for_travel(self):
        event = Event(1, EPOCH, "inventory", "a:1", "ejected", "traffic", evidence={"calls": 5})
        with pytest.raises(AttributeError):
            event.reason = "x"  # type: ignore[misc]
        assert {event: 1}[Event(1, EPOCH, "inventory", "a:1", "ejected", "traffic", evidence={"calls": 5})] == 1
        assert pickle.loads(pickle.dumps(event)) == event

    def test_no_fault_no_reason_no_evidence_unless_told(self):
        event = Event(1, EPOCH, "inventory", None, "fail_open", "pool")
        assert (event.fault, event.reason, dict(event.evidence)) == (None, "", {})


class TestCallingBack:
    def test_a_listener_may_use_the_balancer_it_listens_to(self):
        settings = {"services": {"inventory": {"nodes": ["http://a:1", "http://b:1"]}}}
        balancer = Balancer(settings, clock=FakeClock(), rng=random.Random(1))
        balancer.close()  # nothing in the background
        inventory = balancer["inventory"]
        heard: list[tuple[str, str | None]] = []

        def moves_on(event: Event) -> None:
            heard.append((event.event, event.node))
            balancer.status()
            inventory.pick()
            if (event.event, event.node) == ("drain", "a:1"):
                inventory.mark("b:1", "drain", reason="both")
                inventory.clear("a:1")

        balancer.subscribe(moves_on)
        inventory.mark("a:1", "drain", reason="one")
        assert heard == [("drain", "a:1"), ("drain", "b:1"), ("cleared", "a:1")]
        assert [node.name for node in inventory.available] == ["a:1"]


class TestJournal:
    def test_it_keeps_what_was_told_but_for_single_failures(self, events: Events):
        tell(events, "ejected", "failed", "trial", "readmitted")
        assert [(event.id, event.event) for event in events.journal.after()] == [
            (1, "ejected"),
            (2, "trial"),
            (3, "readmitted"),
        ]

    def test_one_reads_on_from_where_one_was(self, events: Events):
        tell(events, *["trial"] * 5)
        assert [event.id for event in events.journal.after(2)] == [3, 4, 5]
        assert [event.id for event in events.journal.after(2, 2)] == [3, 4]
        assert events.journal.after(5) == []

    def test_of_too_many_the_oldest_go(self, events: Events):
        tell(events, *["trial"] * 1005)
        kept = events.journal.after(0, 2000)
        assert (kept[0].id, kept[-1].id, len(kept)) == (6, 1005, 1000)
