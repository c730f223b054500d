"""Workers that share a store, as real processes, with real replicas, over a real file and a real Redis."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.adapters.redis_server import RedisServer, redis_server
from tests.adapters.replicas import Replica, running
from tests.adapters.watching import FAST, eventually
from tests.adapters.workers import Worker, crew, leader, settings_for

PROBE = {"kind": "http", "path": "/probe", **FAST, "fall": 2, "rise": 1}


@pytest.fixture(params=["sqlite", "redis"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'state.db'}"
    else:
        with redis_server() as server:
            yield server.url


@pytest.fixture(scope="module")
def pool() -> Iterator[list[Replica]]:
    with running(3) as replicas:
        yield replicas


@pytest.fixture
def replicas(pool: list[Replica]) -> Iterator[list[Replica]]:
    yield pool
    for replica in pool:
        if replica.dead:
            replica.restart()
        replica.recover()


def name(replica: Replica) -> str:
    return f"127.0.0.1:{replica.port}"


def urls(replicas: list[Replica]) -> list[str]:
    return [replica.url for replica in replicas]


def all_say(workers: list[Worker], replica: Replica, *states: str) -> None:
    for worker in workers:
        eventually(lambda worker=worker: worker.ask("states")[name(replica)] in states, f"{states}")


def test_what_one_says_all_obey_and_it_outlives_them(state: str, replicas: list[Replica]):
    settings = settings_for(urls(replicas), state)
    one, two, three = replicas
    with crew(3, settings) as workers:
        workers[0].ask("mark", name(one), "drain", reason="new disk", ttl=600)
        all_say(workers, one, "draining")
        workers[1].ask("mark", name(two), "weight", weight=0.5, reason="small")
        for worker in workers:
            eventually(lambda worker=worker: [each["weight"] for each in worker.ask("nodes")] == [1, 0.5, 1])
        workers[2].quit()
        eventually(lambda: workers[0].ask("workers") == 2)
    with crew(1, settings) as (worker,):
        all_say([worker], one, "draining")
        worker.ask("clear", name(one))
        eventually(lambda: [each[1] for each in worker.ask("events")] == ["drain", "weight", "cleared"])
        assert [each[0] for each in worker.ask("events")] == [1, 2, 3]


def test_one_finds_a_dead_replica_for_all_and_one_call_finds_it_back(state: str, replicas: list[Replica]):
    with crew(4, settings_for(urls(replicas), state)) as workers:
        victim = replicas[0]
        victim.kill()
        while workers[0].ask("states")[name(victim)] == "up":
            assert workers[0].ask("call") == [None]
        all_say(workers, victim, "ejected", "trial")
        for worker in workers[1:]:
            assert worker.ask("call", 10) == [None] * 10
            assert name(victim) not in worker.ask("result")[2]
        victim.restart()
        before = victim.received
        while workers[3].ask("states")[name(victim)] != "up":
            assert all(worker.ask("call") == [None] for worker in workers)
        all_say(workers, victim, "up")
        assert victim.received > before
        entries = workers[1].ask("events")
        assert [each[1] for each in entries if each[1] == "readmitted"] == ["readmitted"]
        assert entries == workers[2].ask("events")


@pytest.mark.parametrize("how", ["kill", "status"])
def test_all_together_hardly_ask_a_replica_that_has_failed(state: str, replicas: list[Replica], how: str):
    victim = replicas[0]
    with crew(4, settings_for(urls(replicas), state, ejection={"base": 60, "max": 60})) as workers:
        for worker in workers:
            worker.ask("begin", 0.02)
        eventually(lambda: all(len(worker.ask("result")[1]) > 20 for worker in workers))
        victim.kill() if how == "kill" else victim.status(503)
        all_say(workers, victim, "ejected")
        for worker in workers:
            worker.ask("end")
        results = [worker.ask("result") for worker in workers]
        assert [errors for errors, _, _ in results] == [[]] * 4
        sent = sum(sent.count(name(victim)) for _, _, sent in results)
        for worker in workers:  # each shows what all have seen
            eventually(lambda worker=worker: node_of(worker, victim)["calls"] == sent)
            failures = node_of(worker, victim)["failures"]
            print(how, failures)
            assert 0 < failures < 12


def node_of(worker: Worker, replica: Replica) -> Any:
    return next(each for each in worker.ask("nodes") if each["name"] == name(replica))
