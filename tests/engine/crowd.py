"""Many calls at once on simulated time, to replicas that fall sick and recover."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from balancemw import Node
from tests.engine.clock import virtual_run
from tests.engine.stage import Answer, Stage

Behaviour = Callable[[], Coroutine[Any, Any, object]]
"""What a replica does with a call, and how long that takes."""


async def is_well() -> object:
    await asyncio.sleep(0.01)
    return Answer()


async def is_slow() -> object:
    await asyncio.sleep(0.1)
    return Answer()


async def hangs() -> object:
    await asyncio.sleep(3600)
    raise AssertionError("nobody waits that long")


async def fails_at_once() -> object:
    await asyncio.sleep(0.001)
    return Answer(503)


async def is_dead() -> object:
    raise ConnectionRefusedError(111, "Connection refused")


async def breaks_off() -> object:
    await asyncio.sleep(0.005)
    raise ConnectionResetError(104, "Connection reset by peer")


@dataclass
class Seen:
    """One call: when it was made, the tries that reached a replica, and what came of it. Times from the start."""

    at: float
    tries: list[tuple[str, float, float]] = field(default_factory=list)  # host, begin, end
    error: BaseException | None = None
    status: int | None = None

    @property
    def failed(self) -> bool:
        return self.error is not None or self.status != 200


class Crowd:
    """Steady calls on simulated time.

    Args:
        stage: what is called.
        rate: calls per second.
        wishes: as for `Balancer.call`.

    Attributes:
        script: (second, host, what it does from then on).
        calls: every call that was made.
    """

    def __init__(self, stage: Stage, *, rate: float = 200, **wishes: Any) -> None:
        self.stage = stage
        self.script: list[tuple[float, str, Behaviour]] = []
        self.calls: list[Seen] = []
        self._rate = rate
        self._start = stage.clock()
        self._call = stage.balancer.call("s", **wishes)(self._replica)

    def _now(self) -> float:
        return self.stage.clock() - self._start

    async def _replica(self, node: Node, seen: Seen) -> object:
        begin = self._now()
        doing = [does for since, host, does in self.script if host == node.host and since <= begin]
        try:
            return await (doing[-1] if doing else is_well)()
        finally:
            seen.tries.append((node.host, begin, self._now()))

    async def _one(self, seen: Seen) -> None:
        try:
            answer: Any = await self._call(seen)
            seen.status = answer.status_code
        except Exception as error:
            seen.error = error

    async def _run(self, seconds: float) -> None:
        tasks = []
        for _ in range(int(seconds * self._rate)):
            self.calls.append(Seen(self._now()))
            tasks.append(asyncio.create_task(self._one(self.calls[-1])))
            await asyncio.sleep(1 / self._rate)
        await asyncio.gather(*tasks)

    def run(self, seconds: float) -> "Crowd":
        """Make calls for so long, and wait until all of them are over."""
        virtual_run(self._run(seconds), self.stage.clock)
        assert self.stage.in_flight() == 0
        return self

    def share(self, host: str, since: float, until: float) -> float:
        """The share of the tries begun within that time that went to `host`."""
        seen = Counter(each for call in self.calls for each, begin, _ in call.tries if since <= begin < until)
        return seen[host] / seen.total()

    def failed(self, since: float = 0, until: float = float("inf")) -> int:
        """How many of the calls made within that time failed for their caller."""
        return sum(call.failed for call in self.calls if since <= call.at < until)
