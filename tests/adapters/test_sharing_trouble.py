"""Stores that are deleted, damaged, locked, full, slow or gone: no call fails, all go on, and all agree again after."""

import os
import sqlite3
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.redis_server import RedisServer, redis_server
from tests.adapters.replicas import Replica
from tests.adapters.watching import eventually
from tests.adapters.workers import Worker, all_say, crew, leader, name, node_of, settings_for, urls

PROBE = {"kind": "http", "path": "/probe", "interval": 0.2, "fast_interval": 0.1, "down_interval": 0.2, "fall": 1}


def heard(worker: Worker, event: str) -> list[Any]:
    return [each for each in worker.ask("events") if each[1] == event]


@contextmanager
def no_call_suffers(workers: Sequence[Worker]) -> Iterator[None]:
    """All of them call all the time, and none of their calls fails."""
    for worker in workers:
        worker.ask("begin", 0.02)
    yield
    for worker in workers:
        worker.ask("end")
        errors, seconds, _ = worker.ask("result")
        assert errors == []
        assert len(seconds) > 10


def check_all_agree(workers: Sequence[Worker], three: Sequence[Replica]) -> None:
    """What any of them says is known to all."""
    for worker in workers:
        worker.ask("mark", name(three[2]), "drain", reason="one")
        all_say(workers, three[2], "draining")
        worker.ask("clear", name(three[2]))
        all_say(workers, three[2], "up")


def _numbers(worker: Worker) -> list[int]:
    return [each[0] for each in worker.ask("events")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


class TestFile:
    def test_deleted(self, path: Path, three: list[Replica]):
        with crew(3, settings_for(urls(three), f"sqlite:///{path}")) as workers, no_call_suffers(workers):
            workers[0].ask("mark", name(three[0]), "drain", reason="one")
            all_say(workers, three[0], "draining")
            eventually(lambda: workers[1].ask("events"))
            last = workers[1].ask("events")[-1][0]
            path.unlink()
            workers[1].ask("mark", name(three[1]), "drain", reason="two")
            all_say(workers, three[1], "draining")
            eventually(path.exists)
            workers[1].ask("clear", name(three[1]))
            all_say(workers, three[1], "up")
            check_all_agree(workers, three)
            newcomer = Worker(settings_for(urls(three), f"sqlite:///{path}"))
            try:
                newcomer.ask("start")
                all_say([newcomer], three[0], "draining")  # nobody has set that anew
                eventually(lambda: newcomer.ask("events"))
                assert newcomer.ask("events")[0][0] > last  # the journal goes on counting
            finally:
                newcomer.kill()

    @pytest.mark.parametrize("garbage", [b"\xff" * 8192, b"this was a database once\n", b""])
    def test_damaged(self, path: Path, three: list[Replica], garbage: bytes):
        settings = settings_for(urls(three), f"sqlite:///{path}")
        with crew(2, settings) as workers, no_call_suffers(workers):
            workers[0].ask("mark", name(three[0]), "drain", reason="one")
            all_say(workers, three[0], "draining")
            with path.open("r+b") as file:
                file.write(garbage)
                file.truncate(len(garbage))
            check_all_agree(workers, three)
            newcomer = Worker(settings)
            try:
                newcomer.ask("start")
                all_say([newcomer], three[0], "draining")
            finally:
                newcomer.kill()

    def test_damaged_before(self, path: Path, three: list[Replica]):
        path.write_bytes(b"\x00nonsense" * 1000)
        with crew(2, settings_for(urls(three), f"sqlite:///{path}")) as workers:
            check_all_agree(workers, three)
            (told,) = heard(workers[0], "store_corrupt")
            assert "set aside as" in told[4]
            (aside,) = path.parent.glob("state.db.corrupt-*")
            assert aside.read_bytes().startswith(b"\x00nonsense")

    def test_locked(self, path: Path, three: list[Replica]):
        with crew(2, settings_for(urls(three), f"sqlite:///{path}", probe=PROBE)) as workers, no_call_suffers(workers):
            leader(workers)
            with sqlite3.connect(path, isolation_level=None) as other:
                other.execute("BEGIN EXCLUSIVE")
                for worker in workers:
                    eventually(lambda worker=worker: heard(worker, "store_lost"))
                    eventually(lambda worker=worker: worker.ask("leads"))  # each for itself
                other.execute("ROLLBACK")
            other.close()
            for worker in workers:
                eventually(lambda worker=worker: heard(worker, "store_back"))
            leader(workers)
            check_all_agree(workers, three)
            for worker in workers:  # once each
                eventually(lambda worker=worker: len(heard(worker, "store_lost")) == len(workers))

    def test_never_there(self, tmp_path: Path, three: list[Replica]):
        state = f"sqlite:///{tmp_path}/missing/state.db"
        worker = Worker(settings_for(urls(three), state))
        try:
            worker.ask("start")
            three[0].kill()
            assert worker.ask("call", 12) == [None] * 12
            all_say([worker], three[0], "ejected", "trial")
            eventually(lambda: heard(worker, "store_lost"))
            three[0].restart()
            while worker.ask("states")[name(three[0])] != "up":
                assert worker.ask("call") == [None]
            (tmp_path / "missing").mkdir()
            eventually(lambda: heard(worker, "store_back"))
            eventually(lambda: _numbers(worker) == list(range(1, len(_numbers(worker)) + 1)))
        finally:
            worker.kill()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small tmpfs here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk(small_disk: Path, three: list[Replica]):
    with crew(2, settings_for(urls(three), f"sqlite:///{small_disk}/state.db")) as workers, no_call_suffers(workers):
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as file:
            for size in (4096, 512, 1):
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError:
                    continue
        while not heard(workers[0], "store_lost"):  # there is room for some more in the file's own pages
            workers[0].ask("mark", name(three[0]), "drain", reason="while it fills")
        for worker in workers:
            eventually(lambda worker=worker: heard(worker, "store_lost"))
        workers[1].ask("mark", name(three[1]), "weight", weight=0.5, reason="while it was full")
        filler.unlink()
        for worker in workers:
            eventually(lambda worker=worker: heard(worker, "store_back"))
            eventually(lambda worker=worker: [each["weight"] for each in worker.ask("nodes")] == [1, 0.5, 1])
        all_say(workers, three[0], "draining")
        check_all_agree(workers, three)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with redis_server() as started:
        yield started


class TestRedis:
    def test_restarted_empty(self, server: RedisServer, three: list[Replica]):
        with crew(2, settings_for(urls(three), server.url)) as workers, no_call_suffers(workers):
            workers[0].ask("mark", name(three[0]), "drain", reason="one")
            all_say(workers, three[0], "draining")
            server.kill()
            server.start()
            check_all_agree(workers, three)
            newcomer = Worker(settings_for(urls(three), server.url))
            try:
                newcomer.ask("start")
                all_say([newcomer], three[0], "draining")
            finally:
                newcomer.kill()

    def test_cut(self, server: RedisServer, three: list[Replica]):
        settings = settings_for(urls(three), server.url, probe=PROBE, ejection={"base": 0.5, "max": 1, "keep": 0})
        with crew(2, settings) as workers, no_call_suffers(workers):
            workers[0].ask("mark", name(three[0]), "drain", reason="before")
            all_say(workers, three[0], "draining")
            server.cut()
            try:
                for worker in workers:
                    eventually(lambda worker=worker: heard(worker, "store_lost"))
                    eventually(lambda worker=worker: worker.ask("leads"))
                workers[1].ask("clear", name(three[0]))
                workers[0].ask("mark", name(three[1]), "weight", weight=0.5, reason="meanwhile")
                three[2].kill()
                all_say(workers, three[2], "down")  # each has found out for itself
                assert workers[0].ask("states")[name(three[0])] == "draining"
            finally:
                server.mend()
            all_say(workers, three[0], "up")
            for worker in workers:
                eventually(lambda worker=worker: node_of(worker, three[1])["weight"] == 0.5)
            leader(workers)
            three[2].restart()
            all_say(workers, three[2], "up")
            check_all_agree(workers, three)

    def test_a_password_is_never_told(self, three: list[Replica], server: RedisServer):
        url = server.url.replace("redis://", "redis://joe:hunter2@")
        worker = Worker(settings_for(urls(three), url))
        try:
            worker.ask("start")
            eventually(lambda: heard(worker, "store_lost"))
            assert "hunter2" not in str(worker.ask("events"))
            assert worker.ask("call", 3) == [None] * 3
        finally:
            worker.kill()
