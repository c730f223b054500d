"""One balancer, many threads and event loops: one truth, and nothing counted twice or lost."""

import asyncio
import json
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from balancemw import Balancer, Event, Node
from balancemw.context import current_bound
from tests.engine.clock import FakeClock
from tests.engine.stage import FAULTS, Answer, Stage, refused

STRATEGIES = [
    *("random", "round_robin", "weighted_random", "weighted_round_robin"),
    *("least_requests", "peak_ewma", "consistent_hash"),
]
# Everything a replica can do but interrupt the whole program; a good answer as often as all faults together.
OUTCOMES = [does for kind, does in FAULTS.items() if kind != "cancelled"]
OUTCOMES += [Answer] * len(OUTCOMES)


@pytest.fixture(autouse=True)
def restless() -> Iterator[None]:
    """Threads give way to each other a thousand times as often as usual."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(usual)


def together(*jobs: Callable[[], object]) -> list[Any]:
    """Run each job in a thread of its own, all at once; an exception in one of them is raised here."""
    barrier = threading.Barrier(len(jobs))

    def run(job: Callable[[], object]) -> object:
        barrier.wait()
        return job()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return [each.result() for each in [pool.submit(run, job) for job in jobs]]


def make(nodes: int = 4, **more: Any) -> Balancer:
    listed = [f"http://n{i}:80" for i in range(nodes)]
    retry = {"backoff": 0, "budget_floor": 1e6, "retry_after_max": 0.001}
    return Balancer({"services": {"s": {"nodes": listed, "retry": retry, **more}}}, rng=random.Random(1))


def told(balancer: Balancer) -> list[dict[str, Any]]:
    services: Any = balancer.status()["services"]
    return services["s"]["nodes"]


def caller(balancer: Balancer, calls: int, sent: list[str], seed: int) -> Callable[[], None]:
    """A job that makes so many calls, each with some end or other."""
    chance = random.Random(seed)

    @balancer.call("s", idempotent=True, key=lambda: str(chance.random()))
    def call(node: Node) -> object:
        sent.append(node.host)
        outcome = chance.choice(OUTCOMES)()
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def job() -> None:
        for _ in range(calls):
            with suppress(Exception):
                call()
        assert current_bound() is None

    return job


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_totals_add_up_whatever_becomes_of_the_calls(strategy: str):
    balancer, sent = make(strategy=strategy), list[str]()
    together(*(caller(balancer, 150, sent, seed) for seed in range(6)))
    seen = Counter(sent)
    assert {each["name"]: each["calls"] for each in told(balancer)} == {f"{host}:80": seen[host] for host in seen}
    assert [each["in_flight"] for each in told(balancer)] == [0, 0, 0, 0]
    assert all(each["failures"] <= each["calls"] for each in told(balancer))


def test_calls_marks_status_and_changes_of_nodes_at_the_same_time():
    balancer, sent = make(6), list[str]()
    service, done = balancer["s"], threading.Event()

    def operate() -> None:
        chance = random.Random(7)
        while not done.is_set():
            name = f"n{chance.randrange(1, 6)}:80"
            with suppress(LookupError):
                service.mark(
                    name, chance.choice(["down", "drain", "up"]), reason="?", source=chance.choice(["operator", "self"])
                )
                service.clear(name, source="self")

    def replace() -> None:
        chance = random.Random(8)
        while not done.is_set():
            service.replace([f"http://n{i}:80" for i in range(6) if i == 0 or chance.random() < 0.8])

    def watch() -> int:
        looks = 0
        while not done.is_set() or not looks:
            json.dumps(balancer.status())
            assert service.available  # no command ever takes n0 out
            looks += 1
        return looks

    def call() -> None:
        try:
            together(*(caller(balancer, 200, sent, seed) for seed in range(4)))
        finally:
            done.set()

    together(operate, replace, watch, call)
    service.replace([f"http://n{i}:80" for i in range(6)])
    assert sum(each["in_flight"] for each in told(balancer)) == 0
    assert len(sent) >= 800


def test_many_event_loops_with_cancelled_and_late_calls():
    balancer, sent = make(attempt_timeout=0.05), list[str]()

    async def one(chance: random.Random) -> None:
        @balancer.call("s", idempotent=True, attempts=2)
        async def call(node: Node) -> object:
            sent.append(node.host)
            await asyncio.sleep(chance.choice([0, 0, 0.001, 60]))
            outcome = chance.choice(OUTCOMES)()
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        for _ in range(4):
            with suppress(Exception):
                await asyncio.wait_for(call(), chance.choice([0.01, 60, 60]))

    async def many(seed: int) -> None:
        chance = random.Random(seed)
        await asyncio.gather(*(one(chance) for _ in range(12)))

    together(*(lambda seed=seed: asyncio.run(many(seed)) for seed in range(4)))
    assert len(sent) >= 4 * 12 * 4
    assert sum(each["calls"] for each in told(balancer)) == len(sent)
    assert [each["in_flight"] for each in told(balancer)] == [0, 0, 0, 0]


@pytest.mark.parametrize("strategy", ["round_robin", "consistent_hash"])
def test_of_many_threads_one_gets_the_trial(strategy: str):
    stage, over = Stage(3, strategy=strategy), threading.Event()
    key = next(str(i) for i in range(100) if stage.service.pick(str(i)).host == "n0")
    stage.does["n0"] = refused
    stage.calls(6, key=key)
    stage.clock.advance(6)
    seen, at_once, lock = list[str](), list[int](), threading.Lock()

    @stage.balancer.call("s", key=key)
    def call(node: Node) -> None:
        seen.append(node.host)
        if node.host == "n0":
            assert over.wait(30)

    def calls() -> None:
        for _ in range(40):
            call()
            with lock:
                if len(seen) > 100 and not over.is_set():
                    at_once.append(seen.count("n0"))
                    over.set()

    together(*[calls] * 8)
    assert len(stage.happened("trial")) == 1
    assert at_once in ([1], [0])  # none: the thread that has the trial did not get to run yet
    assert stage.in_flight() == 0


def test_every_event_is_told_once():
    balancer, events = make(3), list[Event]()
    balancer.subscribe(events.append)

    def mark(host: str) -> Callable[[], None]:
        def job() -> None:
            for i in range(200):
                balancer["s"].mark(f"{host}:80", "drain", reason=str(i))

        return job

    together(*(mark(f"n{i}") for i in range(3)))
    assert sorted(event.id for event in events) == list(range(1, 601))
    assert Counter((event.node, event.reason) for event in events).most_common(1)[0][1] == 1


def test_the_budget_is_one_for_all_threads():
    clock = FakeClock()
    nodes = [f"http://n{i}:80" for i in range(3)]
    settings = {"nodes": nodes, "retry": {"budget": 0.1, "budget_floor": 0, "backoff": 0}}
    balancer, sent = Balancer({"services": {"s": settings}}, clock=clock), list[str]()

    @balancer.call("s", idempotent=True)
    def call(node: Node) -> Answer:
        sent.append(node.host)
        return Answer(503)

    together(*[lambda: [call() for _ in range(250)]] * 4)
    assert len(sent) == 1100


def test_a_balancer_made_in_one_thread_and_called_first_in_many():
    balancer, sent = make(), list[str]()
    call = balancer.call("s")(lambda node: sent.append(node.host))
    together(*[call] * 16)
    assert len(sent) == 16
    assert sum(each["calls"] for each in told(balancer)) == 16


def test_zones_and_subsets_hold_in_many_threads():
    nodes = [{"url": f"http://n{i}:80", "zone": "ab"[i % 2]} for i in range(8)]
    settings = {"services": {"s": {"nodes": nodes, "zone": "a", "subset": 2, "retry": {"budget_floor": 1e6}}}}
    balancer, sent = Balancer(settings, rng=random.Random(1)), list[str]()
    together(*(caller(balancer, 60, sent, seed) for seed in range(4)))
    seen = Counter(sent)
    assert {each["name"]: each["calls"] for each in told(balancer)} == {f"n{i}:80": seen[f"n{i}"] for i in range(8)}
    assert all(each["in_flight"] == 0 for each in told(balancer))
