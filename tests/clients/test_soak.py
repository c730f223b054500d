"""Ten thousand requests of each client to replicas that reset, hang, talk nonsense and close early.

Nothing is left behind: no connection, no file descriptor, no request in flight; and none is carried out twice.
"""

import gc
import json
import os
import random
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from balancemw import Balancer
from tests.clients.drivers.common import Call, Driver, Times
from tests.clients.preserves import ALL, balanced_only, only
from tests.clients.site import SERVICE, Site

PROGRAM = Path(__file__).with_name("unruly_program.py")
REQUESTS = {"aiohttp": 10_000, "requests": 10_000}  # httpx and httpx2: half of them each way
WORKERS = 16


class Unruly:
    """The replicas' process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.ports: list[int] = self._hear()

    def _hear(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def tell(self, order: str) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()
        return self._hear()


@contextmanager
def unruly(seed: int) -> Iterator[Unruly]:
    command = [sys.executable, str(PROGRAM), str(seed)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Unruly(process)
        finally:
            process.kill()


async def parts() -> AsyncIterator[bytes]:
    for _ in range(3):
        yield b"x" * 100


def calls(driver: Driver, base: str, chance: random.Random) -> Iterator[Call]:
    for number in range(REQUESTS.get(driver.name, 5_000)):
        method = chance.choice(["GET", "GET", "GET", "PUT", "POST", "POST"])
        options: dict[str, Any] = {"times": Times(read=0.5), "headers": {"X-Number": str(number)}}
        if method == "GET":
            options["unread"] = chance.random() < 0.05
        elif chance.random() < 0.2:
            options["content"] = parts() if driver.asynchronous else iter([b"x" * 100] * 3)
        else:
            options["content"] = b"x" * 300
        yield method, f"{base}/{method}-{number}", options


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def in_flight(balancer: Balancer) -> set[int]:
    status: Any = balancer.status()
    return {node["in_flight"] for node in status["services"][SERVICE]["nodes"]}


def judge(driver: Driver, sent: list[Call], outcomes: list[Any], record: dict[str, list[int]]) -> None:
    """Each got its own answer or an error of the client's; what may not be repeated was received at most once."""
    answered = 0
    for (method, url, _), outcome in zip(sent, outcomes, strict=True):
        name = url.rpartition("/")[2]
        received, _, whole = record.get(name, (0, 0, 0))
        if isinstance(outcome, Exception):
            assert isinstance(outcome, driver.errors.root), repr(outcome)
        elif outcome == name.encode():
            assert whole >= 1
            answered += 1
        else:  # not read, or refused, or half of it
            assert outcome in (b"", b"busy") or (not driver.counts_bytes and name.startswith(outcome.decode()))
        assert received <= (1 if method == "POST" else 3), f"{name} was sent {received} times"
    assert answered > len(sent) / 2


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors as Linux tells them")
@pytest.mark.timeout(300)
@pytest.mark.no_cover  # it would take twice as long, and reaches nothing that other tests do not
@only(*ALL)
@balanced_only
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # of connections that replicas broke
def test_soak(site: Site) -> None:
    with unruly(seed=7) as replicas:
        nodes = [f"http://127.0.0.1:{port}" for port in replicas.ports]
        site.serve(SERVICE, *nodes, attempt_timeout=0.5, timeout=5)
        balancer, before = site.balancer(), descriptors()
        with site.opened(balancer, limit=WORKERS) as session:
            sent = list(calls(site.driver, site.base, random.Random(7)))
            outcomes = session.together(*sent, workers=WORKERS)
            judge(site.driver, sent, outcomes, replicas.tell("report"))
            assert in_flight(balancer) == {0}
            replicas.tell("behave")
            ready = [("GET", f"{site.base}/GET-x{number}", {}) for number in range(WORKERS)]
            assert session.together(*ready) == [f"GET-x{number}".encode() for number in range(WORKERS)]
        outcomes.clear()
        assert descriptors() <= before + 1  # the monitor's thread may have opened its own
