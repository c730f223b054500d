"""Processes end silently and at once while checks are under way."""

import pytest

from tests.adapters.scripts import run_script
from tests.adapters.watching import Replicas, urls


def test_a_script_that_just_ends_ends_silently(replicas: Replicas):
    nodes = replicas(2)
    nodes[1].hang()
    ended = run_script(
        f"""
for kind in ("http", "tcp", "tests.adapters.callables:sync", "tests.adapters.callables:later"):
    probe = {{"kind": kind, **FAST, "timeout": 20}}
    other = Balancer({{"services": {{"s": {{"nodes": {urls(nodes)!r}, "probe": probe}}}}}})
    eventually(lambda: other["s"].pick() and other["s"].pool.must_wait.__self__.proven)
    globals()[kind] = other
"""
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.parametrize("kind", ["sync", "later", "undecided"])
def test_a_callable_that_hangs_keeps_no_script_from_ending(kind: str):
    ended = run_script(
        f"""
stuck = threading.Event()
async def wait():
    stuck.set()
    await callables.asyncio.Event().wait()
def hang(node):
    if {kind!r} != "sync":
        return wait()
    stuck.set()
    time.sleep(1000)
callables.ANSWERS["http://one:1"] = hang
watched = balancer(kind="tests.adapters.callables:{kind}")
watched["s"].pick()
assert stuck.wait(30)
"""
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_a_lookup_that_hangs_keeps_no_script_from_ending():
    ended = run_script(
        """
import socket
stuck = threading.Event()
def lookup(*args, **how):
    stuck.set()
    time.sleep(1000)
socket.getaddrinfo = lookup
watched = balancer(kind="http")
watched["s"].pick()
assert stuck.wait(30)
"""
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_an_async_callable_that_blocks_everything_keeps_no_script_from_ending():
    ended = run_script(
        """
stuck = threading.Event()
def block(node):
    stuck.set()
    time.sleep(1000)
callables.ANSWERS["http://one:1"] = block
watched = balancer(kind="tests.adapters.callables:later")
watched["s"].pick()
assert stuck.wait(30)
"""
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
