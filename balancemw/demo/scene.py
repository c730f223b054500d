"""What is on the stage at any moment: the replicas as the app's balancer sees them, the load, and what has happened."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiohttp

from balancemw.demo.admin import Admin
from balancemw.demo.load import Load, shares
from balancemw.demo.processes import NAMES, Stage
from balancemw.demo.words import Line, fault_name, standing, telling

RECENT = 2.0
"""Seconds that shares and latencies are taken over."""

_TICK = 0.15
"""Seconds between looks at what the balancer tells."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A replica as the balancer sees it.

    Attributes:
        state: as in ``balancer.status()``.
        until: when its time out of the pool is over, in seconds since the epoch; None: it is not out, or nobody knows.
        by: who has taken it out: the sources of its marks.
        weight: the share of its full weight in force, 0..1.
        calls: tries that went there and are over.
    """

    state: str = "up"
    until: float | None = None
    weight: float = 1.0
    calls: int = 0
    by: str = ""


@dataclass(frozen=True, slots=True)
class Act:
    """Something that was done to a replica, and when, in seconds since the epoch."""

    time: float
    replica: str
    what: str


class Scene:
    """Gathers it all. Times are seconds since the epoch.

    Args:
        stage: the processes.
        load: what is sent to the app.
        admin: the app's admin surface.

    Attributes:
        began: when the load began.
        acts: what was done to replicas, in order.
        doing: what each replica is doing, as a mode of the replica's or ``kill``.
        journal: the balancer's, as ``GET /events`` of the admin surface gives it.
        failures: every failed try, as `balancemw.Event` is written.
        faults: them by replica and kind.
        lines: the timeline.
        names: what the demo calls each node.
        seen: each replica as the balancer sees it.
        budget: the retry budget, as one worker tells it.
    """

    def __init__(self, stage: Stage, load: Load, admin: Admin) -> None:
        self.stage = stage
        self.load = load
        self.admin = admin
        self.began = time.time()
        self.acts: list[Act] = []
        self.doing: dict[str, str] = dict.fromkeys(NAMES, "ok")
        self.journal: list[Mapping[str, Any]] = []
        self.failures: list[Mapping[str, Any]] = []
        self.faults: dict[str, Counter[str]] = {name: Counter() for name in NAMES}
        self.lines: list[Line] = []
        self.seen = {name: Seen() for name in NAMES}
        self.budget: Mapping[str, Any] = {}
        self._told: set[tuple[str, str]] = set()  # replicas and faults that lines tell of since the last act
        self.names = {replica.node: name for name, replica in stage.replicas.items()}

    # -- what happens

    def say(self, tone: str, text: str, at: float | None = None) -> None:
        """Add a line to the timeline."""
        self.lines.append(Line((at or time.time()) - self.began, tone, text))

    def act(self, replica: str, what: str) -> Act:
        """Note what was done to a replica just now."""
        act = Act(time.time(), replica, what)
        self._told.clear()
        self.acts.append(act)
        return act

    async def watch(self) -> None:
        """Follow what the app's balancer tells, until cancelled."""
        with self.stage.failures.open() as file:
            while True:
                self.read(file)
                with suppress(aiohttp.ClientError, TimeoutError):  # callers notice too, and they are counted
                    await self.catch_up()
                    self._see(await self.admin.status())
                await asyncio.sleep(_TICK)

    async def catch_up(self) -> None:
        """Read the journal on; may raise `aiohttp.ClientError` or `TimeoutError`."""
        last = self.journal[-1]["id"] if self.journal else 0
        for event in await self.admin.events(last):
            self.journal.append(event)
            if event["event"] != "failed":  # those have been told of one by one
                self._tell(event)

    def read(self, file: Any) -> None:
        """Take in the failed tries that were written since."""
        while line := file.readline():
            if not line.endswith("\n"):  # half of it is still to come
                file.seek(file.tell() - len(line))
                return
            self._count(json.loads(line))

    def _count(self, failure: Mapping[str, Any]) -> None:
        self.failures.append(failure)
        name, fault = self.names[failure["node"]], failure["fault"]
        self.faults[name][fault_name(fault, failure["reason"])] += 1
        if (name, fault) not in self._told:
            self._tell(failure)

    def _tell(self, event: Mapping[str, Any]) -> None:
        name = self.names.get(event["node"] or "")
        if name is not None and event["fault"] is not None:
            self._told.add((name, event["fault"]))
        self.say(*telling(event, name), at=event["time"])

    def _see(self, service: Mapping[str, Any]) -> None:
        self.budget = service["budget"]
        for node in service["nodes"]:
            name = self.names[node["name"]]
            former = self.seen[name].state
            ends = [mark["until"] for mark in node["marks"] if mark["source"] == "traffic"]
            until = ends[0] if ends else None
            by = ", ".join(mark["source"] for mark in node["marks"])
            self.seen[name] = Seen(node["state"], until, node["weight"], node["calls"], by)
            if (former, node["state"]) == ("slow_start", "up"):
                self.say("good", f"{name} is at its full weight again")

    # -- what can be asked of it

    def told(self, replica: str, event: str, since: float = 0.0) -> Iterator[Mapping[str, Any]]:
        """The journal's events of that name about a replica, from a time on."""
        return (each for each in self._about(replica, self.journal, since) if each["event"] == event)

    def failed_tries(self, replica: str, since: float) -> Iterator[Mapping[str, Any]]:
        """Every failed try of a replica, from a time on."""
        return self._about(replica, self.failures, since)

    def _about(self, replica: str, events: list[Mapping[str, Any]], since: float) -> Iterator[Mapping[str, Any]]:
        node = self.stage.replicas[replica].node
        return (each for each in events if each["node"] == node and each["time"] >= since)

    def failed(self) -> tuple[int, int]:
        """How many reads and how many orders have failed so far, as callers see it."""
        failed = [answer.order is None for answer in self.load.answers if not answer.good]
        return sum(failed), len(failed) - sum(failed)

    def standing(self, replica: str, share: float) -> tuple[str, str]:
        """Tone and words for how a replica stands that gets such a share of the calls."""
        seen = self.seen[replica]
        left = None if seen.until is None else seen.until - time.time()
        return standing(seen.state, left, seen.weight, share, seen.by)

    def shares(self, seconds: float = RECENT) -> dict[str, float]:
        """The share of the latest answers that each replica gave, 0..1."""
        return shares(self.load.since(time.time() - seconds), NAMES)
