"""The load, as a program of its own: ``python -m benchmarks.arena.generator CLIENT URL …``.

The rate does not depend on how quick the answers are (open loop), and a latency counts from when its request was due,
not from when it could be sent: who stalls is charged for all who had to wait meanwhile.

It says ``ready``. Each line on its standard input is a load: when it begins to count, on the monotonic clock, which all
processes of a machine share; requests a second; seconds; and seconds of load before that do not count. For each it
prints a line of JSON: what came of the requests.
"""

import asyncio
import gc
import json
import sys
import time
from collections import Counter

from benchmarks.arena.clients import CLIENTS, Call

POSTS = 10
"""Of so many requests one is a POST, which may not be sent twice."""


class Load:
    """Sends requests and notes what came of them.

    Args:
        call: sends one.

    Attributes:
        calls: (number, due, seconds, status) of each, by their ends; a status of 0: there was no whole answer.
        errors: how often each kind of failure was seen.
    """

    def __init__(self, call: Call) -> None:
        self.calls: list[tuple[int, float, float, int]] = []
        self.errors: Counter[str] = Counter()
        self._call = call

    async def run(self, begin: float, rate: float, seconds: float) -> None:
        """So many requests a second, from `begin` on."""
        async with asyncio.TaskGroup() as group:
            for number in range(int(rate * seconds)):
                due = begin + number / rate
                if (early := due - time.monotonic()) > 0.0:
                    await asyncio.sleep(early)
                group.create_task(self._one(number, due))

    async def _one(self, number: int, due: float) -> None:
        method, path = ("POST", "orders") if number % POSTS == 0 else ("GET", "stock")
        try:
            status = await self._call(method, f"/api/inventory/{path}/{number}")
        except Exception as error:
            status = 0
            self.errors[f"{method} {type(error).__name__}"] += 1
        else:
            if status != 200:
                self.errors[f"{method} {status}"] += 1
        self.calls.append((number, due, time.monotonic() - due, status))


async def main(client: str, urls: list[str]) -> None:
    """Put on one load after the other, until standard input ends."""
    async with CLIENTS[client](urls) as call:
        gc.collect()
        gc.freeze()  # what has been imported by now is no call's doing, and takes a tenth of a second to look through
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            begin, rate, seconds, warm = map(float, line.split())
            load = Load(call)
            await load.run(begin - warm, rate, warm + seconds)
            calls = [(number, round(due, 6), round(took, 6), status) for number, due, took, status in load.calls]
            told = [each for each in calls if each[1] >= begin - 1e-6]
            print(json.dumps({"calls": told, "errors": load.errors}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
