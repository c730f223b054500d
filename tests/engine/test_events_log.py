"""Events in the ``balancemw`` log: which, how loud, and with which fields."""

import logging
from collections.abc import Iterator

import pytest

from balancemw import Event
from balancemw.events import LOG, Events, News


class Heard(logging.Handler):
    """Keeps log records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def log() -> Iterator[Heard]:
    handler, level = Heard(), LOG.level
    LOG.addHandler(handler)
    LOG.propagate = False
    LOG.setLevel(logging.CRITICAL)
    yield handler
    LOG.removeHandler(handler)
    LOG.propagate = True
    LOG.setLevel(level)


@pytest.fixture
def events(log: Heard) -> Events:
    return Events(lambda: 1_700_000_000.0)


def tell(events: Events, *names: str) -> None:
    news = News(events, "inventory")
    for name in names:
        news.note("a:1", name, "traffic")
    news.tell()


class TestLog:
    FREQUENT = ("failed",)
    GOOD = ("trial", "readmitted", "cleared", "expired", "fail_open_ended", "probe_proven", "added", "removed", "up")
    BAD = ("ejected", "resting", "down", "drain", "weight", "fail_open", "budget_exhausted", "probe_unproven")

    @pytest.mark.parametrize(
        ("name", "level"),
        [
            *((name, logging.DEBUG) for name in FREQUENT),
            *((name, logging.INFO) for name in GOOD),
            *((name, logging.WARNING) for name in BAD),
        ],
    )
    def test_levels(self, events: Events, log: Heard, name: str, level: int):
        LOG.setLevel(level + 1)
        tell(events, name)
        assert log.records == []
        LOG.setLevel(level)
        tell(events, name)
        assert [record.levelno for record in log.records] == [level]

    def test_fields_and_words(self, events: Events, log: Heard):
        LOG.setLevel(logging.WARNING)
        news = News(events, "inventory")
        news.note("a:1", "ejected", "traffic", "100 % of 5 calls failed", fault="timeout", calls=5)
        news.note(None, "fail_open", "pool", "all accused")
        news.tell()
        node, pool = log.records
        assert node.name == "balancemw"
        assert node.getMessage() == "inventory a:1: ejected by traffic: 100 % of 5 calls failed"
        assert {
            key: vars(node)[key] for key in ("event", "service", "node", "source", "fault", "reason", "evidence")
        } == {
            "event": "ejected",
            "service": "inventory",
            "node": "a:1",
            "source": "traffic",
            "fault": "timeout",
            "reason": "100 % of 5 calls failed",
            "evidence": {"calls": 5},
        }
        assert pool.getMessage() == "inventory: fail_open by pool: all accused"
        assert vars(pool)["node"] is None

    def test_listeners_hear_what_the_log_is_too_coarse_for(self, events: Events, log: Heard):
        heard: list[Event] = []
        events.subscribe(heard.append)
        tell(events, "failed", "ejected")
        assert len(heard) == 2
        assert log.records == []


class TestWants:
    def test_what_nobody_would_see_is_not_even_noted(self, events: Events, log: Heard):
        LOG.setLevel(logging.INFO)
        assert (events.wants("failed"), events.wants("trial"), events.wants("ejected")) == (False, True, True)
        news = News(events, "inventory")
        news.note("a:1", "failed", "traffic")
        assert not news.pending
        news.note("a:1", "trial", "traffic")
        assert len(news.pending) == 1

    def test_a_listener_wants_everything(self, events: Events):
        assert not events.wants("failed")
        end = events.subscribe(lambda event: None)
        assert events.wants("failed")
        end()
        assert not events.wants("failed")
