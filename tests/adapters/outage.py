"""The outage that every framework has to survive: of three replicas one is killed, another hangs, then both return.

The app under test calls service ``inventory`` and answers what the replica answered, which is the replica's name.
"""

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import count
from math import inf
from pathlib import Path
from typing import NamedTuple

import aiohttp

from tests.adapters.replicas import Replica, running

RATE = 100
"""Requests per second, sent at their time whether or not earlier ones have been answered."""

MOST = 100
"""Requests under way at a time, beyond which the next waits: more of them than a busy machine can serve would time out
on a replica that is well. Those that the hanging one keeps are fewer."""

KILLED, HUNG, BACK, END = 2.0, 5.0, 8.0, 12.0
"""Seconds from the beginning before which the first replica is not killed, the second does not hang, neither returns,
and the load does not end. Each waits for what the time before has to show, as a busy machine may take longer."""

PATIENCE = 20.0
"""Seconds that a caller waits for an answer, and the outage for what it has to show."""

EVERYONE = {"replica-0", "replica-1", "replica-2"}

Clock = Callable[[], float]

SETTINGS = """
[services.inventory]
nodes = {nodes}
attempt_timeout = 2.0
ejection = {{ base = 0.5, max = 2 }}

[inbound]
drain_seconds = 0
"""


def settings_file(directory: Path, urls: list[str]) -> str:
    """The path of a settings file for service ``inventory`` at `urls`, made to see replicas return within `END`."""
    path = directory / "balancemw.toml"
    path.write_text(SETTINGS.format(nodes=json.dumps(urls)))
    return str(path)


class Answer(NamedTuple):
    """One that was 200: when it was asked for and came, in seconds from the beginning, and from which replica."""

    sent: float
    came: float
    replica: str


@dataclass
class Outcome:
    """What came of an outage.

    Attributes:
        requests: how many were sent.
        errors: one line for each that was not answered with 200.
        answers: the others.
        killed, hung, back: when the first replica was dead, the second hung, and the first began to return.
        swallowed: how many requests the hanging replica read and never answered.
    """

    requests: int = 0
    errors: list[str] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    killed: float = inf
    hung: float = inf
    back: float = inf
    swallowed: int = 0

    def within(self, begin: float, end: float) -> set[str]:
        """The replicas that answered what was both sent and answered in this time."""
        return {answer.replica for answer in self.answers if begin <= answer.sent and answer.came < end}

    def check(self) -> None:
        """No caller saw an error, although the replicas really failed and really came back.

        Raises:
            AssertionError: it was otherwise.
        """
        assert not self.errors, f"{len(self.errors)} of {self.requests}:\n" + "\n".join(self.errors[:10])
        assert len(self.answers) == self.requests > RATE * END / 2  # a busy machine may send fewer
        assert self.within(0, self.killed) == EVERYONE
        assert self.within(self.hung, self.back) == EVERYONE - {"replica-0", "replica-1"}
        assert self.swallowed > 0
        # The one that hung may not be back: it was never ejected, but is remembered as slow for longer than this lasts.
        assert self.within(self.back, inf) >= EVERYONE - {"replica-1"}


def run_outage(start_server: Callable[[list[str]], AbstractContextManager[str]], path: str) -> Outcome:
    """Run the outage against the server that `start_server` starts, and return what came of it.

    Args:
        start_server: takes the urls of three replicas and gives the server's base url for as long as it runs.
        path: of the view under test, with its leading slash.
    """
    with running(3) as replicas, start_server([replica.url for replica in replicas]) as base:
        return asyncio.run(_run(base + path, replicas))


async def _run(url: str, replicas: list[Replica]) -> Outcome:
    outcome = Outcome()
    clock = _clock()
    # A connection per request: one kept open may be closed by the server the moment it is used again.
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    turns = asyncio.Semaphore(MOST)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session, asyncio.TaskGroup() as tasks:
        breaking = tasks.create_task(_break_and_mend(replicas, outcome, clock))
        for number in count():
            if breaking.done():
                break
            await asyncio.sleep(max(0.0, number / RATE - clock()))
            await turns.acquire()
            request = tasks.create_task(_request(session, url, outcome, clock))
            request.add_done_callback(lambda _: turns.release())
    return outcome


def _clock() -> Clock:
    """Seconds from now on."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    return lambda: loop.time() - begin


async def _request(session: aiohttp.ClientSession, url: str, outcome: Outcome, clock: Clock) -> None:
    outcome.requests += 1
    sent = clock()
    try:
        async with session.get(url) as response:
            body = await response.text()
    except (aiohttp.ClientError, TimeoutError) as error:
        outcome.errors.append(f"sent at {sent:.2f} s: {error!r}")
        return
    if response.status == 200:
        outcome.answers.append(Answer(sent, clock(), body))
    else:
        outcome.errors.append(f"sent at {sent:.2f} s: {response.status} {body[:300]}")


async def _break_and_mend(replicas: list[Replica], outcome: Outcome, clock: Clock) -> None:
    async def wait_until(time: float, shown: Callable[[], bool]) -> None:
        """Until then, and until it has been shown or has been waited for long enough: `Outcome.check` tells what."""
        await asyncio.sleep(time - clock())
        while not shown() and clock() < time + PATIENCE:
            await asyncio.sleep(0.05)

    killed, hanging, _ = replicas
    await wait_until(KILLED, lambda: outcome.within(0, inf) == EVERYONE)
    killed.kill()
    outcome.killed = clock()
    await wait_until(HUNG, lambda: True)
    hanging.hang()
    outcome.hung = clock()
    received = hanging.received
    await wait_until(BACK, lambda: hanging.received > received and bool(outcome.within(outcome.hung, inf)))
    outcome.swallowed = hanging.received - received
    outcome.back = clock()
    hanging.recover()
    await asyncio.to_thread(killed.restart)
    await wait_until(END, lambda: "replica-0" in outcome.within(outcome.back, inf))
