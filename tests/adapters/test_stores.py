"""What every store promises, asked of a real file and a real Redis."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Event as Wake
from typing import Any

import pytest
import redis

from balancemw import Event
from balancemw.health import Mark
from balancemw.settings.state import parse_state
from balancemw.stores import KEPT, Claim, Cursor, Store, StoreError, file, open_store
from balancemw.stores.claim import read_claim
from tests.adapters.watching import eventually

Open = Callable[[], Store]
DRAIN = Mark("operator", "drain", "why", 5.0)


@pytest.fixture
def another(state: str) -> Iterator[Open]:
    """Opens the store once more, as another worker does."""
    parsed = parse_state(state)
    with ExitStack() as stack:

        def opened() -> Store:
            store = open_store(parsed.kind, parsed.place, "here")
            stack.callback(store.close)
            return store

        yield opened


@pytest.fixture
def store(another: Open) -> Store:
    return another()


def claim(host: str = "a", at: float = 10.0, mark: Mark | None = DRAIN, **more: Any) -> Claim:
    return Claim(("s", f"http://{host}:1", "operator"), at, "w", mark, **more)


def begin(store: Store) -> Cursor:
    page = store.exchange((), Cursor())
    assert page.anew
    return page.cursor


def event(name: str = "drain", **evidence: object) -> Event:
    return Event(0, 12.5, "s", "a:1", name, "operator", None, "why", evidence)


class TestClaims:
    def test_what_is_written_is_read_by_others_once(self, store: Store, another: Open):
        mine, other = begin(store), another()
        theirs = begin(other)
        mark = Mark("traffic", "ejected", "dead \N{SKULL}", 1.25, 1e10 + 0.1, None)
        written = Claim(("s", "http://a:1", "traffic"), 10.5, "w", mark, level=3)
        store.exchange([written], mine)
        page = other.exchange((), theirs)
        assert (page.claims, page.anew) == ([written], False)
        assert other.exchange((), page.cursor).claims in ((), [])

    def test_all_of_it_is_read_at_first_and_nothing_written(self, store: Store, another: Open):
        store.exchange([claim("a"), claim("b", mark=None)], begin(store))
        page = another().exchange([claim("c")], Cursor())
        assert (page.anew, page.claims) == (True, [claim("a"), claim("b", mark=None)])

    def test_the_last_writer_wins_whatever_its_time(self, store: Store, another: Open):
        cursor = begin(store)
        store.exchange([claim(at=10.0)], cursor)
        store.exchange([claim(at=5.0, mark=None)], cursor)
        assert another().exchange((), Cursor()).claims == [claim(at=5.0, mark=None)]

    def test_one_that_was_overtaken_on_its_way_yields_and_reads_the_newer_one(self, store: Store):
        cursor = store.exchange([claim(at=10.2, mark=None)], begin(store)).cursor
        page = store.exchange([claim(at=10.0)], cursor)
        assert page.claims == [claim(at=10.2, mark=None)]
        assert store.exchange((), Cursor()).claims == [claim(at=10.2, mark=None)]

    def test_a_late_one_yields_to_a_newer_one_and_reads_it(self, store: Store):
        cursor = begin(store)
        newer = claim(at=10.0)
        cursor = store.exchange([newer], cursor).cursor
        page = store.exchange([claim(at=5.0, mark=None, late=True), claim("b", late=True)], cursor)
        assert sorted(page.claims, key=lambda each: each.key) == [newer, claim("b")]
        page = store.exchange([claim(at=10.0, mark=None, late=True)], page.cursor)
        assert page.claims == [claim(at=10.0, mark=None)]

    def test_many_writers_at_once(self, store: Store, another: Open):
        def write(name: str) -> None:
            mine = another()
            cursor = begin(mine)
            for number in range(30):
                cursor = mine.exchange([claim(name, at=number)], cursor).cursor

        threads = [threading.Thread(target=write, args=(f"h{i}",)) for i in range(4)]
        cursor, seen = begin(store), []
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            page = store.exchange((), cursor)
            cursor = page.cursor
            seen += page.claims
        seen = [*seen, *store.exchange((), cursor).claims]
        for i in range(4):
            times = [each.at for each in seen if each.key[1] == f"http://h{i}:1"]
            assert times == sorted(times)
            assert times[-1] == 29

    def test_others_are_noticed(self, store: Store, another: Open):
        wake = Wake()
        cursor = begin(store)
        while store.wait(wake, 0.0):
            pass
        other = another()
        other.exchange([claim()], begin(other))
        eventually(lambda: store.wait(wake, 0.05))
        assert store.exchange((), cursor).claims == [claim()]


class TestLeases:
    def test_one_holder_until_it_gives_up(self, store: Store, another: Open):
        other = another()
        assert store.hold("probe:s", "a", 30.0)
        assert not other.hold("probe:s", "b", 30.0)
        assert store.hold("probe:s", "a", 30.0)
        other.release("probe:s", "b")
        assert not other.hold("probe:s", "b", 30.0)
        store.release("probe:s", "a")
        assert other.hold("probe:s", "b", 30.0)

    def test_or_until_its_time_is_over(self, store: Store):
        assert store.hold("probe:s", "a", 0.05)
        eventually(lambda: store.hold("probe:s", "b", 30.0))
        assert not store.hold("probe:s", "a", 30.0)

    def test_workers_live_as_long_as_they_say_so(self, store: Store, another: Open):
        other = another()
        assert store.beat("a", 30.0, "one") == ["one"]
        assert sorted(other.beat("b", 0.1, "two")) == ["one", "two"]
        eventually(lambda: store.beat("a", 30.0, "three") == ["three"])
        assert store.figures() == ["three"]
        store.leave("a")
        assert store.figures() == []


class TestJournal:
    def test_what_is_added_is_numbered(self, store: Store, another: Open):
        store.append("a", [(1, event("drain")), (2, event("up", calls=3, why="x"))], 0)
        another().append("b", [(1, event("down"))], 0)
        entries = store.read(0, 10)
        assert [(each.id, each.event) for each in entries] == [(1, "drain"), (2, "up"), (3, "down")]
        assert (entries[1].evidence, entries[1].time, entries[1].node) == ({"calls": 3, "why": "x"}, 12.5, "a:1")
        assert [each.id for each in store.read(1, 1)] == [3]

    def test_twice_is_once(self, store: Store):
        store.append("a", [(1, event()), (2, event())], 0)
        store.append("a", [(1, event()), (2, event()), (3, event())], 0)
        assert [each.id for each in store.read(0, 10)] == [1, 2, 3]

    def test_it_goes_on_above_what_was_seen_before(self, store: Store):
        store.append("a", [(7, event())], 41)
        store.append("a", [(8, event())], 5)
        assert [each.id for each in store.read(0, 10)] == [42, 43]

    def test_it_is_bounded(self, store: Store):
        number = 0
        while number < KEPT + 300:
            store.append("a", [(number + i, event()) for i in range(500)], 0)
            number += 500
        entries = store.read(0, 10 * KEPT)
        assert (len(entries), entries[-1].id) == (KEPT, number)


class TestTrouble:
    def test_what_makes_no_sense_is_passed_over(self, state: str, store: Store):
        cursor = store.exchange([claim("a"), claim("b"), claim("c")], begin(store)).cursor
        assert cursor.revision == 3
        if state.startswith("sqlite"):
            with sqlite3.connect(parse_state(state).place) as direct:
                direct.execute("UPDATE claims SET text = '{' WHERE url = 'http://b:1'")
            direct.close()
        else:
            with redis.Redis.from_url(state) as direct:
                direct.hset("{balancemw}:marks", '["s", "http://b:1", "operator"]', "{")
                direct.hset("{balancemw}:marks", "nonsense", "{}")
                direct.zadd("{balancemw}:revisions", {"nonsense": 4})
        page = store.exchange([claim("b", at=11.0, late=True)], Cursor(cursor.generation))
        assert {each.key[1] for each in page.claims} == {"http://a:1", "http://b:1", "http://c:1"}

    def test_one_that_is_closed_says_so(self, store: Store):
        if type(store).__name__ == "SqliteStore":
            store.close()
            with pytest.raises(StoreError):
                store.exchange((), Cursor())


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "5", "{}", '{"at": "x", "writer": "w"}', '{"at": NaN, "writer": "w"}'),
        '{"at": 1, "writer": "w", "kind": "gone", "reason": "", "since": 1, "until": null, "weight": null}',
        '{"at": 1, "writer": "w", "kind": "down", "reason": "", "since": true, "until": null, "weight": null}',
        '{"at": 1, "writer": "w", "kind": "down", "reason": "", "since": 1, "until": null, "weight": 3}',
        '{"at": 1, "writer": "w", "kind": "weight", "reason": "", "since": 1, "until": null, "weight": 1e9}',
        '{"at": 1, "writer": "w", "kind": "ejected", "reason": "", "since": 1, "until": null, "weight": null}',
        '{"at": 1, "writer": "w", "kind": "down"}',
    ],
)
def test_a_claim_that_makes_no_sense_is_none(text: str):
    assert read_claim(("s", "http://a:1", "operator"), text) is None


def test_a_source_that_nobody_knows_claims_nothing():
    assert read_claim(("s", "http://a:1", "gossip"), claim().text()) is None
    assert read_claim(claim().key, claim().text()) == claim()


def test_a_file_of_another_program_is_left_alone(tmp_path: Path):
    path = tmp_path / "theirs.db"
    with sqlite3.connect(path) as theirs:
        theirs.execute("CREATE TABLE about (something)")
    theirs.close()
    with pytest.raises(StoreError):
        open_store("sqlite", str(path), "here")
    assert path.exists()
    assert [each.name for each in tmp_path.glob("*corrupt*")] == []


def test_an_ejection_without_an_end_makes_no_sense():
    text = '{"at": 1, "writer": "w", "kind": "%s", "reason": "", "since": 1, "until": null, "weight": null}'
    key = ("s", "http://a:1", "traffic")
    assert [read_claim(key, text % kind) for kind in ("ejected", "resting")] == [None, None]
    assert read_claim(key, text % "down") is not None


class TestFile:
    def test_one_that_another_worker_opens_for_too_long(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(file, "_PATIENCE", 0.02)
        path = str(tmp_path / "state.db")
        with file.File(path).locked(), pytest.raises(StoreError):
            open_store("sqlite", path, "here")
        open_store("sqlite", path, "here").close()

    def test_it_is_set_aside_once(self, tmp_path: Path):
        path = tmp_path / "state.db"
        path.write_bytes(b"damaged")
        known = file.identity(str(path))
        found = [file.File(str(path)).set_aside(each) for each in (known, known, None)]
        assert found[0] is not None
        assert Path(found[0]).read_bytes() == b"damaged"
        assert found[1:] == [None, None]

    def test_a_lease_that_another_takes_between_look_and_writing_is_theirs(self, tmp_path: Path):
        mine, other = (open_store("sqlite", str(tmp_path / "state.db"), "here") for _ in range(2))
        writing = mine._writing  # type: ignore[attr-defined]

        def late() -> Any:
            assert other.hold("probe:s", "b", 30.0)
            return writing()

        mine._writing = late  # type: ignore[attr-defined]
        assert not mine.hold("probe:s", "a", 30.0)
        mine.close()
        other.close()

    @pytest.mark.parametrize("name", ["state.db", "state.db-wal"])
    def test_a_worker_whose_file_was_deleted_notices_it_at_its_next_heartbeat(self, tmp_path: Path, name: str):
        store = open_store("sqlite", str(tmp_path / "state.db"), "here")
        store.beat("a", 30.0, "")
        (tmp_path / name).unlink()
        with pytest.raises(StoreError, match="deleted or replaced"):
            store.beat("a", 30.0, "")
        store.close()
