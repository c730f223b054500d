"""Workers that share a store, as real processes, with real replicas, over a real file and a real Redis."""

import pytest

from tests.adapters.replicas import Replica
from tests.adapters.watching import eventually
from tests.adapters.workers import all_say, crew, name, node_of, settings_for, urls


def test_what_one_says_all_obey_and_it_outlives_them(state: str, three: list[Replica]):
    settings = settings_for(urls(three), state)
    one, two, _ = three
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


def test_one_finds_a_dead_replica_for_all_and_one_call_finds_it_back(state: str, three: list[Replica]):
    with crew(4, settings_for(urls(three), state)) as workers:
        victim = three[0]
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
        eventually(lambda: [each[1] for each in workers[1].ask("events")].count("readmitted") == 1)
        eventually(lambda: workers[1].ask("events") == workers[2].ask("events"))


@pytest.mark.parametrize("how", ["kill", "status"])
def test_all_together_hardly_ask_a_replica_that_has_failed(state: str, three: list[Replica], how: str):
    victim = three[0]
    with crew(4, settings_for(urls(three), state, ejection={"base": 60, "max": 60})) as workers:
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
            assert 0 < failures < 12
