"""The load: requests sent at their time, whether or not earlier ones have been answered, as callers do."""

import asyncio
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp

READS, ORDERS = 100, 10
"""Requests per second: of stock, which may be asked twice, and orders, which may not."""

PATIENCE = 10.0
"""Seconds that a caller waits for an answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one request.

    Attributes:
        order: its id, or None for a read.
        sent: when, in seconds since the epoch.
        seconds: how long it took.
        status: of the answer; 0: there was none.
        replica: who answered it, as the answer says.
        error: what went wrong, as the answer says.
    """

    order: str | None
    sent: float
    seconds: float
    status: int
    replica: str | None = None
    error: str = ""

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300


class Load:
    """Sends requests to an app and remembers every answer.

    Args:
        url: the app's.

    Attributes:
        answers: in the order of their ends.
        sent: how many requests have been sent.
    """

    def __init__(self, url: str) -> None:
        self.answers: list[Answer] = []
        self.sent = 0
        self._url = url
        self._stopped = False

    def stop(self) -> None:
        """Send nothing more; `run` returns when the last answer is there."""
        self._stopped = True

    async def run(self) -> None:
        """Send requests until `stop`."""
        loop = asyncio.get_running_loop()
        rate, every = READS + ORDERS, (READS + ORDERS) // ORDERS
        begin = loop.time()
        # A connection per request: a server may close one that was kept at the very moment it is used again.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as client, asyncio.TaskGroup() as tasks:
            while not self._stopped:
                number = self.sent
                await asyncio.sleep(begin + number / rate - loop.time())
                order = f"order-{number // every}" if number % every == 0 else None
                tasks.create_task(self._request(client, order, number))
                self.sent += 1

    async def _request(self, client: aiohttp.ClientSession, order: str | None, number: int) -> None:
        method, path = ("GET", f"/stock/sku-{number}") if order is None else ("POST", f"/orders/{order}")
        sent, begin = time.time(), time.perf_counter()
        status, said = 0, dict[str, Any]()
        try:
            async with client.request(method, self._url + path) as response:
                status = response.status
                said = await _read(response)
        except (aiohttp.ClientError, TimeoutError) as error:
            said = {"error": f"the app itself: {error!r}"}
        seconds = time.perf_counter() - begin
        self.answers.append(Answer(order, sent, seconds, status, said.get("replica"), str(said.get("error", ""))))

    def since(self, time: float) -> Iterator[Answer]:
        """Those answered since `time`, in seconds since the epoch; latest first."""
        for answer in reversed(self.answers):
            if answer.sent + answer.seconds < time:
                return
            yield answer


async def _read(response: aiohttp.ClientResponse) -> dict[str, Any]:
    if response.content_type in ("application/json", "application/problem+json"):
        said = await response.json(content_type=None)
        if isinstance(said, dict):
            return {"error": said.get("detail", ""), **said} if response.status >= 400 else said
    return {"error": (await response.text())[:200]}


def shares(answers: Iterable[Answer], replicas: Iterable[str]) -> dict[str, float]:
    """The share of the answers that each replica gave, 0..1."""
    counts = dict.fromkeys(replicas, 0)
    for answer in answers:
        if answer.replica in counts:
            counts[answer.replica] += 1
    total = sum(counts.values())
    return {name: count / total if total else 0.0 for name, count in counts.items()}


def quantile(values: Iterable[float], share: float) -> float | None:
    """The value that `share` of the values do not exceed (nearest rank); None when there are none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


async def answering(url: str) -> None:
    """Wait until `url` is answered with 200."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=1.0)) as client:
        while True:
            try:
                async with client.get(url) as response:
                    if response.status == 200:
                        return
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(0.05)
