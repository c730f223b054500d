"""The outage that every framework has to survive: of three replicas one is killed, another hangs, then both return.

The app under test calls service ``inventory`` and answers what the replica answered, which is the replica's name.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from tests.adapters.replicas import Replica, running

RATE = 100
"""Requests per second, sent at their time whether or not earlier ones have been answered."""

MOST = 100
"""Requests under way at a time, beyond which the next waits: more of them than a busy machine can serve would time out
on a replica that is well. Those that the hanging one keeps are fewer."""

KILLED, HUNG, BACK, END = 2.0, 5.0, 8.0, 12.0
"""Seconds from the beginning at which the first replica is killed, the second hangs, both return, and the load ends."""

PATIENCE = 20.0
"""Seconds that a caller waits for an answer."""

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


@dataclass
class Outcome:
    """What came of an outage.

    Attributes:
        requests: how many were sent.
        errors: one line for each that was not answered with 200.
        answers: of the others, when each was sent and which replica answered it, by name.
        swallowed: how many requests the hanging replica read and never answered.
    """

    requests: int = 0
    errors: list[str] = field(default_factory=list)
    answers: list[tuple[float, str]] = field(default_factory=list)
    swallowed: int = 0

    def between(self, begin: float, end: float) -> Counter[str]:
        """How many of the requests sent in this time each replica answered."""
        return Counter(replica for sent, replica in self.answers if begin <= sent < end)

    def check(self) -> None:
        """No caller saw an error, although the replicas really failed and really came back.

        Raises:
            AssertionError: it was otherwise.
        """
        assert not self.errors, f"{len(self.errors)} of {self.requests}:\n" + "\n".join(self.errors[:10])
        assert len(self.answers) == self.requests == RATE * END
        everyone = {"replica-0", "replica-1", "replica-2"}
        assert set(self.between(0, KILLED)) == everyone
        # Not from HUNG on: the order to hang takes its time, and so do requests that are under way.
        assert set(self.between(HUNG + 1, BACK - 1)) == everyone - {"replica-0", "replica-1"}
        assert self.swallowed > 0
        # The one that hung may not be back: it was never ejected, but is remembered as slow for longer than this lasts.
        assert set(self.between(BACK, END)) >= everyone - {"replica-1"}


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
    loop = asyncio.get_running_loop()
    begin = loop.time()
    # A connection per request: one kept open may be closed by the server the moment it is used again.
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    turns = asyncio.Semaphore(MOST)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session, asyncio.TaskGroup() as tasks:
        tasks.create_task(_break_and_mend(replicas, begin, outcome))
        for number in range(int(RATE * END)):
            due = begin + number / RATE
            await asyncio.sleep(max(0.0, due - loop.time()))
            await turns.acquire()
            request = tasks.create_task(_request(session, url, loop.time() - begin, outcome))
            request.add_done_callback(lambda _: turns.release())
    return outcome


async def _request(session: aiohttp.ClientSession, url: str, sent: float, outcome: Outcome) -> None:
    outcome.requests += 1
    try:
        async with session.get(url) as response:
            body = await response.text()
    except (aiohttp.ClientError, TimeoutError) as error:
        outcome.errors.append(f"sent at {sent:.2f} s: {error!r}")
        return
    if response.status == 200:
        outcome.answers.append((sent, body))
    else:
        outcome.errors.append(f"sent at {sent:.2f} s: {response.status} {body[:300]}")


async def _break_and_mend(replicas: list[Replica], begin: float, outcome: Outcome) -> None:
    async def wait_until(time: float) -> None:
        await asyncio.sleep(begin + time - asyncio.get_running_loop().time())

    killed, hanging, _ = replicas
    await wait_until(KILLED)
    killed.kill()
    await wait_until(HUNG)
    hanging.hang()
    received = hanging.received
    await wait_until(BACK)
    outcome.swallowed = hanging.received - received
    hanging.recover()
    await asyncio.to_thread(killed.restart)
