"""One worker receives an alert, all obey it, and any of them can be the one that hears of its end."""

import json

import pytest

from balancemw.alerts import entry_of, ledger
from balancemw.sharing.alerts import SharedAlerts
from tests.alerts.notices import Watched, alert


def pair(**settings: object) -> tuple[Watched, Watched]:
    """Two workers, each of which is told at once what the other learns."""
    one, other = Watched(4, **settings), Watched(4, **settings)
    one.balancer.alerts.ledger.changed = lambda entry: texts.append((other, entry.text()))
    other.balancer.alerts.ledger.changed = lambda entry: texts.append((one, entry.text()))
    texts: list[tuple[Watched, str]] = []
    one.texts = other.texts = texts  # type: ignore[attr-defined]
    return one, other


def spread(worker: Watched) -> None:
    texts = worker.texts  # type: ignore[attr-defined]
    while texts:
        to, text = texts.pop(0)
        to.balancer.alerts.absorb([entry_of(text)], to.clock())


def test_the_others_obey_and_any_may_hear_of_the_end():
    one, other = pair()
    one.fire("n0")
    spread(one)
    assert (one.out(), other.out()) == ({"n0"}, {"n0"})
    other.resolve("n0")
    spread(one)
    assert (one.out(), other.out()) == (set(), set())
    assert one.fire("n0")["stale"] == 1  # a replay, through the worker that did not hear of the end itself


def test_all_keep_the_same_nodes_of_those_that_are_accused():
    one, other = pair()
    one.fire("n0", "n1")
    other.fire("n2", starts=-1)
    spread(one)
    assert one.out() == other.out() == {"n0", "n2"} or one.out() == other.out() == {"n1", "n2"}


def test_an_operators_up_holds_for_all():
    one, other = pair()
    one.fire("n0")
    spread(one)
    other.service.mark("n0:80", "up", reason="it is well")
    spread(one)
    for worker in (one, other):
        worker.later()
        assert worker.out() == set()


def test_what_is_known_can_be_told_anew():
    one, other = Watched(4), Watched(4)
    one.fire("n0", "n1")
    one.resolve("n1")
    other.balancer.alerts.absorb(one.balancer.alerts.entries(), other.clock())
    assert other.out() == {"n0"}
    assert other.fire("n1")["stale"] == 1


def test_a_mark_that_another_worker_has_set_is_taken_over():
    one = Watched(4)
    one.service.mark("n0:80", "down", source="alert", reason="shared by another worker")
    one.fire("n0")
    assert one.told("n0")["marks"][0]["reason"].startswith("Broken")
    one.resolve("n0")
    assert one.out() == set()


def test_what_was_overwritten_is_told_again():
    one, other = pair()
    one.fire("n0")
    other.resolve("n0")
    one.texts.pop()  # type: ignore[attr-defined]  its end, written before the beginning that comes late
    spread(one)
    assert (one.out(), other.out()) == (set(), set())


def test_what_is_over_is_not_taken_in():
    one, other = Watched(4, alerts={"lease": 60}), Watched(4)
    one.fire("n0")
    other.clock.advance(61)
    other.balancer.alerts.absorb(one.balancer.alerts.entries(), other.clock())
    assert other.out() == set()


def test_only_the_labels_that_matter_are_remembered():
    stage = Watched()
    stage.tell(alert(labels={"job": "x" * 5000, "service": "s"}))
    (entry,) = stage.balancer.alerts.entries()
    assert entry.labels == {"alertname": "Broken", "instance": "n0:80", "severity": "critical", "service": "s"}
    assert entry_of(entry.text()) == entry


GOOD = {"fingerprint": "x", "starts_at": 1.0, "firing": True, "until": 2.0, "labels": {}}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "5",
        "[" * 100_000,
        '{"a": 1}',
        *(json.dumps({**GOOD, **odd}) for odd in ({"labels": 5}, {"labels": {"a": 1}}, {"until": "x"}, {"x": 1})),
        *(json.dumps({**GOOD, **odd}) for odd in ({"fingerprint": 5}, {"until": float("nan")}, {"overruled": [1]})),
    ],
)
def test_what_is_no_entry_is_refused(text: str):
    with pytest.raises(ValueError):  # noqa: PT011  json's own, or ours
        entry_of(text)


def test_a_store_that_has_forgotten_all_is_told_again_what_is_known():
    one, told = Watched(4), list[int]()
    shared = SharedAlerts(one.balancer.alerts, lambda: told.append(1))
    shared.retell()
    assert shared.take("w") == []
    one.fire("n0", "n1")
    first = shared.take("w")
    assert (len(first), len(told)) == (2, 2)
    shared.retell()
    assert sorted(shared.take("w"), key=str) == sorted(first, key=str)


def test_where_there_is_no_room_for_anothers_alert_it_is_left(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ledger, "MOST", 1)
    one, other = pair()
    one.fire("n0")
    other.fire("n1")
    spread(one)
    assert (one.out(), other.out()) == ({"n0"}, {"n1"})
