"""Who makes the checks: one worker for all, and another one when it is no more."""

import signal
import time

from tests.adapters.replicas import Replica
from tests.adapters.watching import eventually
from tests.adapters.workers import all_say, crew, leader, settings_for, urls

INTERVAL = 0.2
PROBE = {
    "kind": "http",
    "path": "/probe",
    "interval": INTERVAL,
    "fast_interval": INTERVAL,
    "down_interval": INTERVAL,
    "timeout": 1.0,
    "jitter": 0,
    "fall": 2,
    "rise": 1,
}


def check_one_prober(replica: Replica, checks: int = 8) -> None:
    """The replica is checked as often as one worker does it, and not as often as two would."""
    begin = time.monotonic()  # first: what is checked while this process waits for its turn must count in its time
    before = replica.received
    eventually(lambda: replica.received >= before + checks)
    assert checks * INTERVAL < 1.2 * (time.monotonic() - begin) + INTERVAL


def test_one_of_four_checks(state: str, three: list[Replica]):
    with crew(4, settings_for(urls(three), state, probe=PROBE)) as workers:
        leader(workers)
        check_one_prober(three[0])
        three[1].kill()
        all_say(workers, three[1], "down")
        three[1].restart()
        all_say(workers, three[1], "up")
        eventually(lambda: [each[3] for each in workers[0].ask("events") if each[1] == "readmitted"] == ["probe"])


def test_when_it_is_killed_another_takes_over(state: str, three: list[Replica]):
    with crew(3, settings_for(urls(three), state, probe=PROBE)) as workers:
        first = leader(workers)
        three[1].kill()
        all_say(workers, three[1], "down")
        first.kill()
        rest = [worker for worker in workers if worker is not first]
        leader(rest)
        three[1].restart()
        all_say(rest, three[1], "up")
        three[2].kill()
        all_say(rest, three[2], "down")


def test_when_it_is_stopped_another_takes_over_for_good(state: str, three: list[Replica]):
    with crew(3, settings_for(urls(three), state, probe=PROBE)) as workers:
        first = leader(workers)
        first.signal(signal.SIGSTOP)
        try:
            rest = [worker for worker in workers if worker is not first]
            second = leader(rest)
            three[1].kill()
            all_say(rest, three[1], "down")
        finally:
            first.signal(signal.SIGCONT)
        assert not first.ask("leads")
        assert second.ask("leads")
        all_say([first], three[1], "down")
        check_one_prober(three[0])


def test_one_that_ends_leaves_it_to_another_at_once(state: str, three: list[Replica]):
    with crew(2, settings_for(urls(three), state, probe=PROBE)) as workers:
        first = leader(workers)
        (second,) = [worker for worker in workers if worker is not first]
        first.ask("close")
        eventually(lambda: second.ask("leads"))
        eventually(lambda: second.ask("workers") == 1)


def test_an_ejected_node_waits_for_the_probe_of_whoever_makes_it(state: str, three: list[Replica]):
    """No worker sends it a call before its probe has passed, also those that do not make the checks."""
    victim = three[0]
    with crew(3, settings_for(urls(three), state, probe=PROBE)) as workers:
        leader(workers)
        check_one_prober(victim, 2)
        victim.kill()
        for worker in workers:
            assert worker.ask("call", 6) == [None] * 6
        all_say(workers, victim, "ejected", "down")
        before = [len(worker.ask("result")[2]) for worker in workers]
        while "down" not in {worker.ask("states")[f"127.0.0.1:{victim.port}"] for worker in workers}:
            for worker in workers:
                assert worker.ask("call") == [None]
        for worker, sent in zip(workers, before, strict=True):
            assert f"127.0.0.1:{victim.port}" not in worker.ask("result")[2][sent:]
        victim.restart()
        all_say(workers, victim, "up")
