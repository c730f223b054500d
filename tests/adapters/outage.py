"""The scenario that every framework has to survive: of three replicas one is killed, then another hangs, then both return.

The app under test answers `path` with what a replica answered: the replica's name.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from tests.adapters.replicas import Replica, running

RATE = 200.0
"""Requests per second, sent whether or not earlier ones have been answered."""

KILLED, HUNG, BACK, END = 2.0, 5.0, 8.0, 12.0
"""Seconds after the beginning when each phase begins, and the end."""

SETTINGS = """
[services.inventory]
nodes = {nodes}
attempt_timeout = 1.0
"""


@dataclass
class Outcome:
    """What came of an outage.

    Attributes:
        requests: how many were sent.
        errors: one line for each that was not answered with 200 and the name of a replica.
        answers: how many answers came of each replica, by its name, in all and in each phase.
        swallowed: how many requests the hanging replica read and did not answer.
    """

    requests: int = 0
    errors: list[str] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    while_killed: Counter[str] = field(default_factory=Counter)
    while_hung: Counter[str] = field(default_factory=Counter)
    swallowed: int = 0

    def check(self) -> None:
        """The promise: no caller saw an error, although the replicas really failed, and really came back."""
        assert not self.errors, f"{len(self.errors)} of {self.requests}:\n" + "\n".join(self.errors[:10])
        assert self.requests == RATE * END
        assert self.answers.total() == self.requests
        assert self.swallowed > 0
        assert self.answers["replica-0"] > self.while_killed["replica-0"]


def settings_file(directory: Path, urls: list[str]) -> str:
    """The path of a settings file for service ``inventory`` at `urls`."""
    path = directory / "balancemw.toml"
    path.write_text(SETTINGS.format(nodes=urls))
    return str(path)


def run_outage(start_server: Callable[[list[str]], AbstractContextManager[str]], path: str) -> Outcome:
    """Run the scenario against the server that `start_server` starts for the urls of three replicas.

    Args:
        start_server: gives the base url of the app while its context lasts.
        path: of the view under test, beginning with a slash.
    """
    with running(3) as replicas, start_server([replica.url for replica in replicas]) as base:
        return asyncio.run(_run(base + path, replicas))
