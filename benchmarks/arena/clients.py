"""How contenders send a request, in the load generator's process: aiohttp, alone or under a library.

Whoever makes tries of its own has the same terms as the proxies: `TRIES` in all, `TRY` seconds for one, and nothing is
sent again that may have started work unless it is a GET.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count, cycle

import aiohttp

TRIES = 3
TRY = 1.0  # seconds for one try
CALL = 5.0  # seconds for the whole call: then its caller gives up

Call = Callable[[str, str], Awaitable[int]]
"""Sends a request, by method and path, reads the answer and returns its status; raises what its client raises."""


class Unavailable(Exception):
    """An answer of 502, 503 or 504, for the libraries that go by exceptions."""


@asynccontextmanager
async def session(**options: object) -> AsyncGenerator[aiohttp.ClientSession]:
    """aiohttp's client, with as many connections as it takes."""
    timeout = aiohttp.ClientTimeout(total=CALL)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, **options) as client:  # type: ignore[arg-type]
        yield client


async def ask(client: aiohttp.ClientSession, method: str, url: str, **options: object) -> int:
    """One request, its answer read to the end."""
    data = b'{"order": 1}' if method == "POST" else None
    async with client.request(method, url, data=data, **options) as response:  # type: ignore[arg-type]
        await response.read()
        return response.status


@asynccontextmanager
async def plain(urls: Sequence[str]) -> AsyncGenerator[Call]:
    """aiohttp, to a proxy's address or to those of replicas in turn."""
    turn = cycle(urls)
    async with session() as client:
        yield lambda method, path: ask(client, method, next(turn) + path)


@asynccontextmanager
async def balanced(urls: Sequence[str], **settings: object) -> AsyncGenerator[Call]:
    """aiohttp with our middleware: default settings, and how long a call to this service may take."""
    from balancemw import Balancer
    from balancemw_aiohttp import balance

    service = {"nodes": list(urls), "timeout": CALL, "attempt_timeout": TRY, **settings}
    balancer = Balancer({"services": {"inventory": service}})
    async with balancer, session(middlewares=[balance(balancer)]) as client:
        yield lambda method, path: ask(client, method, "http://inventory" + path)


def hedged(urls: Sequence[str]) -> AbstractAsyncContextManager[Call]:
    """The same, with hedging as it is by default where it is on."""
    return balanced(urls, hedge=True)


@asynccontextmanager
async def decorated(urls: Sequence[str]) -> AsyncGenerator[Call]:
    """Our decorator around a function that reads the answer itself, so that one broken off is a try that failed."""
    from balancemw import Balancer, Node

    balancer = Balancer({"services": {"inventory": {"nodes": list(urls), "timeout": CALL, "attempt_timeout": TRY}}})
    async with balancer, session() as client:

        class Answer:
            def __init__(self, status: int) -> None:
                self.status = status

        async def send(node: Node, method: str, path: str) -> Answer:
            return Answer(await ask(client, method, node.url + path))

        get = balancer.call("inventory", idempotent=True)(send)
        post = balancer.call("inventory")(send)

        async def call(method: str, path: str) -> int:
            return (await (get if method == "GET" else post)(method, path)).status

        yield call


@asynccontextmanager
async def tenacity(urls: Sequence[str]) -> AsyncGenerator[Call]:
    """tenacity around aiohttp, the addresses in turn: what is written where there is no balancer."""
    from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

    turn = count()
    broken = (aiohttp.ClientError, TimeoutError, Unavailable)
    async with session() as client:

        async def call(method: str, path: str) -> int:
            retriable = broken if method == "GET" else (aiohttp.ClientConnectorError,)
            retrying = AsyncRetrying(
                stop=stop_after_attempt(TRIES),
                wait=wait_random_exponential(multiplier=0.025, max=0.25),
                retry=retry_if_exception_type(retriable),
                reraise=True,
            )
            return await retrying(send, method, path)

        async def send(method: str, path: str) -> int:
            return await _try(client, method, urls[next(turn) % len(urls)] + path)

        yield call


@asynccontextmanager
async def pyresilience(urls: Sequence[str]) -> AsyncGenerator[Call]:
    """pyresilience around aiohttp: retries over the addresses in turn, each behind a circuit breaker of its own."""
    from pyresilience import CircuitBreakerConfig, CircuitOpenError, RetryConfig, resilient

    turn = count()
    broken = (aiohttp.ClientError, TimeoutError, Unavailable)
    async with session() as client:

        async def send(url: str, method: str, path: str) -> int:
            return await _try(client, method, url + path)

        breaker = CircuitBreakerConfig(failure_threshold=5, recovery_timeout=5.0, error_types=broken)
        sends = [resilient(circuit_breaker=breaker)(send) for _ in urls]

        async def closed(method: str, path: str) -> int:
            """To the next address whose breaker lets it through."""
            for _ in urls:
                place = next(turn) % len(urls)
                try:
                    return int(await sends[place](urls[place], method, path))
                except CircuitOpenError as error:
                    refused = error
            raise refused

        def retrying(*retriable: type[Exception]) -> Call:
            retry = RetryConfig(max_attempts=TRIES, delay=0.025, max_delay=0.25, retry_on=retriable)
            return resilient(retry=retry)(closed)

        get, post = retrying(*broken), retrying(aiohttp.ClientConnectorError)
        yield lambda method, path: (get if method == "GET" else post)(method, path)


async def _try(client: aiohttp.ClientSession, method: str, url: str) -> int:
    status = await ask(client, method, url, timeout=aiohttp.ClientTimeout(total=TRY))
    if status in (502, 503, 504):
        raise Unavailable(status)
    return status


CLIENTS = {each.__name__: each for each in (plain, balanced, hedged, decorated, tenacity, pyresilience)}
