"""A forked process goes on with a copy of what its parent knew, and with calls and chance of its own."""

import json
import os
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest

from balancemw import balancer
from tests.engine.stage import Stage

ROOT = Path(__file__).parents[2]

PRELUDE = """
import ctypes, json, os, random, sys
from balancemw import Balancer

def python_fork():
    return os.fork()

def c_fork():  # as servers written in C do: Python's hooks do not run
    return ctypes.CDLL(None).fork()

def in_child(fork, function):
    readable, writable = os.pipe()
    if fork() == 0:
        try:
            os.write(writable, json.dumps(function()).encode())
        finally:
            os._exit(0)
    os.close(writable)
    with open(readable) as answer:
        found = answer.read()
    os.wait()
    return json.loads(found)

def balancer(nodes=3, **more):
    listed = [f"http://n{i}:80" for i in range(nodes)]
    return Balancer({"services": {"s": {"nodes": listed, "strategy": "round_robin", **more}}})

def told(balancer):
    return balancer.status()["services"]["s"]["nodes"]
"""

FORKS = ["python_fork", "c_fork"]


# -- in this process, as if it were another


def test_another_process_id_is_noticed_without_hooks(monkeypatch: pytest.MonkeyPatch):
    stage, twin = Stage(3, strategy="random"), Stage(3, strategy="random")
    open_calls = [stage.open() for _ in range(5)]
    assert [twin.open().node for _ in range(5)] == [call.node for call in open_calls]
    monkeypatch.setattr(os, "getpid", lambda: -1)
    stage.clock.advance(1)
    stage.call()
    assert stage.in_flight() == 0
    assert [stage.service.pick() for _ in range(60)] != [twin.service.pick() for _ in range(60)]
    for call in open_calls:
        call.end()
    assert stage.in_flight() == 0
    own = stage.open()
    stage.clock.advance(1)
    stage.call()
    assert stage.in_flight() == 1  # the fork is over and done with
    own.end()


def test_hooks_reach_every_balancer_that_is_alive(monkeypatch: pytest.MonkeyPatch):
    stages = [Stage(2), Stage(2)]
    monkeypatch.setattr(balancer, "_alive", weakref.WeakSet(stage.balancer for stage in stages))
    heard = list[str]()
    for stage in stages:
        for method in ("after_fork", "stop"):
            monkeypatch.setattr(stage.balancer._monitor, method, lambda method=method: heard.append(method))
    calls = [stage.open() for stage in stages]
    balancer._in_child()
    assert [stage.in_flight() for stage in stages] == [0, 0]
    assert heard == ["after_fork"] * 2
    balancer._at_exit()
    assert heard == ["after_fork"] * 2 + ["stop"] * 2
    for call in calls:
        call.end()
    assert [stage.call().status_code for stage in stages] == [200, 200]


# -- in real children


def run(program: str) -> Any:
    """What `program` prints, as JSON. A process that hangs fails the test."""
    source = PRELUDE + program
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("fork", FORKS)
def test_a_parents_open_calls_are_not_its_childs(fork: str):
    parent_before, child, parent_after = run(f"""
made = balancer()
attempts = [next(iter(made["s"].attempts())) for _ in range(6)]
for attempt in attempts:
    attempt.__enter__()

def child():
    import time
    time.sleep(0.6)  # without hooks the fork is noticed by the first call that does housekeeping
    made.call("s")(lambda node: None)()
    before = [each["in_flight"] for each in told(made)]
    for attempt in attempts:  # a request that was being served goes on in the child, too
        attempt.__exit__(None, None, None)
    return before, [each["in_flight"] for each in told(made)]

before = [each["in_flight"] for each in told(made)]
print(json.dumps([before, in_child({fork}, child), [each["in_flight"] for each in told(made)]]))
""")
    assert parent_before == parent_after == [2, 2, 2]
    assert child == [[0, 0, 0], [0, 0, 0]]


def test_a_child_works_although_its_parent_held_the_lock():
    assert run("""
made = balancer()
made.call("s")(lambda node: None)()
with made["s"].pool.lock:
    found = in_child(python_fork, lambda: [made.call("s")(lambda node: node.host)() for _ in range(3)])
print(json.dumps(sorted(found)))
""") == ["n0", "n1", "n2"]


def test_a_child_works_although_its_parent_was_choosing_in_turn_by_weight():
    assert (
        run("""
import threading
made = balancer(strategy="weighted_round_robin")
call = made.call("s")(lambda node: node.host)
call()
stop = False
def choose():
    while not stop:
        call()
thread = threading.Thread(target=choose)
thread.start()
import warnings
warnings.simplefilter("ignore")  # that forking beside threads is dangerous is what is tested here
found = [in_child(python_fork, lambda: sorted({call() for _ in range(9)})) for _ in range(30)]
stop = True
thread.join()
print(json.dumps(found))
""")
        == [["n0", "n1", "n2"]] * 30
    )


@pytest.mark.parametrize("fork", FORKS)
@pytest.mark.parametrize("used", [True, False])
def test_every_child_has_random_numbers_of_its_own(fork: str, used: bool):
    sequences = run(f"""
import time
made = balancer(strategy="random")
call = made.call("s")(lambda node: node.host)
if {used}:
    call()
    time.sleep(0.6)
def child():
    return [call() for _ in range(60)]
print(json.dumps([in_child({fork}, child) for _ in range(5)] + [child()]))
""")
    assert len({tuple(sequence) for sequence in sequences}) == 6


@pytest.mark.parametrize("used", [True, False])
def test_children_do_not_take_turns_in_step(used: bool):
    first = run(f"""
made = balancer(nodes=50)
call = made.call("s")(lambda node: node.host)
if {used}:
    call()
print(json.dumps([in_child(python_fork, call) for _ in range(8)]))
""")
    assert len(set(first)) > 3


@pytest.mark.parametrize("fork", FORKS)
def test_a_child_knows_what_its_parent_knew_and_keeps_its_own_counsel(fork: str):
    child, parent = run(f"""
made = balancer()
made["s"].mark("n0:80", "drain", reason="maintenance")
def child():
    known = [each["state"] for each in told(made)]
    made["s"].mark("n1:80", "down", reason="the child's own")
    hosts = {{made.call("s")(lambda node: node.host)() for _ in range(9)}}
    return known, sorted(hosts)
print(json.dumps([in_child({fork}, child), [each["state"] for each in told(made)]]))
""")
    assert child == [["draining", "up", "up"], ["n2"]]
    assert parent == ["draining", "up", "up"]


def test_every_child_calls_a_subset_of_its_own():
    subsets = run("""
made = balancer(nodes=200, subset=5)
def child():
    made.call("s")(lambda node: None)()
    return sorted(node.host for node in made["s"].available)
print(json.dumps([in_child(fork, child) for fork in (python_fork, c_fork) * 3] + [child()]))
""")
    assert {len(subset) for subset in subsets} == {5}
    assert len({tuple(subset) for subset in subsets}) == 7


def test_a_grandchild_is_a_process_of_its_own_too():
    sequences = run("""
made = balancer(strategy="random")
call = made.call("s")(lambda node: node.host)
def picks():
    return [call() for _ in range(60)]
def child():
    return [picks(), in_child(python_fork, picks), in_child(python_fork, picks)]
print(json.dumps(in_child(python_fork, child)))
""")
    assert len({tuple(sequence) for sequence in sequences}) == 3


def test_a_trial_under_way_in_the_parent_is_none_in_the_child():
    hosts = run("""
now = 1000.0
made = Balancer({"services": {"s": {"nodes": [f"http://n{i}:80" for i in range(3)]}}}, clock=lambda: now)
def refuse(node):
    raise ConnectionRefusedError(111, "Connection refused") if node.host == "n0" else KeyError(node.host)
for _ in range(20):
    try:
        made.call("s", attempts=1)(refuse)()
    except (ConnectionRefusedError, KeyError):
        pass
now += 6
trial = next(iter(made["s"].attempts()))
assert trial.__enter__().host == "n0"
print(json.dumps(in_child(python_fork, lambda: made.call("s")(lambda node: node.host)())))
""")
    assert hosts == "n0"


def test_a_child_of_a_running_loop_has_loops_of_its_own():
    assert run("""
import asyncio

made = balancer(attempt_timeout=0.05)

@made.call("s", attempts=1)
async def hang(node):
    await asyncio.sleep(30)

async def call():
    try:
        await hang()
    except TimeoutError:
        return "timed out"

def child():
    asyncio._set_running_loop(None)  # as multiprocessing's children find it
    return asyncio.run(call())

async def main():
    return [await call(), in_child(python_fork, child), await call()]

print(json.dumps(asyncio.run(main())))
""") == ["timed out", "timed out", "timed out"]
