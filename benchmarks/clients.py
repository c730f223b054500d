"""What the client adapters add to a request: each client without and with its adapter, to the same replica."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import ModuleType

from balancemw import Balancer
from benchmarks.report import Report, micros
from benchmarks.timing import Effort, Run, awaits, calls, race

TARGETS = {"aiohttp": 1.05, "httpx, sync": 1.05, "httpx, async": 1.05, "requests": 1.05}
READ = "processor time of the client's process for a GET of a few bytes over a kept connection, its body read"

_REPLICA = """
import asyncio, sys
ANSWER = b"HTTP/1.1 200 OK\\r\\nContent-Type: text/plain\\r\\nContent-Length: 2\\r\\n\\r\\nok"
class Replica(asyncio.Protocol):
    def connection_made(self, transport): self.transport = transport
    def data_received(self, data): self.transport.write(ANSWER * data.count(b"\\r\\n\\r\\n"))
async def main():
    server = await asyncio.get_running_loop().create_server(Replica, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


def run(effort: Effort) -> list[Report]:
    """Measure every client that is installed."""
    rows: list[tuple[str, ...]] = []
    notes = [READ]
    with _replica() as url, asyncio.Runner() as runner:
        balancer = Balancer({"services": {"inventory": {"nodes": [url]}}})
        for name, pair in (
            ("aiohttp", partial(_aiohttp, runner=runner)),
            ("httpx, sync", partial(_httpx_sync, "httpx")),
            ("httpx, async", partial(_httpx_async, "httpx", runner=runner)),
            ("httpx2, sync", partial(_httpx_sync, "httpx2")),
            ("httpx2, async", partial(_httpx_async, "httpx2", runner=runner)),
            ("requests", _requests),
        ):
            try:
                with ExitStack() as stack:
                    without, balanced = pair(url, balancer, stack)
                    rows.append((name, *_compare(without, balanced, effort)))
            except ImportError as error:
                notes.append(f"{name}: left out, as {error.name} is not installed")
    return [Report("A request of a client, µs", ("", "without", "with", "added", "ratio"), rows, notes)]


def _compare(without: Run, balanced: Run, effort: Effort) -> tuple[str, ...]:
    times = race({"without": without, "with": balanced}, effort)
    return (
        micros(times.median("without")),
        micros(times.median("with")),
        micros(times.difference("with", "without")),
        f"{times.ratio('with', 'without'):.3f}",
    )


@contextmanager
def _replica() -> Generator[str]:
    process = subprocess.Popen([sys.executable, "-c", _REPLICA], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.communicate()


def _aiohttp(url: str, balancer: Balancer, stack: ExitStack, *, runner: asyncio.Runner) -> tuple[Run, Run]:
    import aiohttp

    from balancemw_aiohttp import balance

    async def session(**options: object) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(**options)  # type: ignore[arg-type]

    async def get(session: aiohttp.ClientSession, url: str) -> None:
        async with session.get(url) as response:
            await response.read()

    plain, balanced = runner.run(session()), runner.run(session(middlewares=[balance(balancer)]))
    for each in (plain, balanced):
        stack.callback(lambda each=each: runner.run(each.close()))
    return (
        awaits(partial(get, plain, url + "/stock/1"), runner),
        awaits(partial(get, balanced, "http://inventory/stock/1"), runner),
    )


def _httpx_sync(name: str, url: str, balancer: Balancer, stack: ExitStack) -> tuple[Run, Run]:
    module = _module(name)
    from balancemw_httpx import BalancedTransport

    plain = stack.enter_context(module.Client())
    balanced = stack.enter_context(module.Client(transport=BalancedTransport(balancer)))
    return (
        calls(partial(plain.get, url + "/stock/1")),
        calls(partial(balanced.get, "http://inventory/stock/1")),
    )


def _httpx_async(
    name: str, url: str, balancer: Balancer, stack: ExitStack, *, runner: asyncio.Runner
) -> tuple[Run, Run]:
    module = _module(name)
    from balancemw_httpx import AsyncBalancedTransport

    plain, balanced = module.AsyncClient(), module.AsyncClient(transport=AsyncBalancedTransport(balancer))
    for each in (plain, balanced):
        stack.callback(lambda each=each: runner.run(each.aclose()))
    return (
        awaits(partial(_get(plain), url + "/stock/1"), runner),
        awaits(partial(_get(balanced), "http://inventory/stock/1"), runner),
    )


def _get(client: object) -> Callable[[str], Awaitable[object]]:
    return client.get  # type: ignore[attr-defined, no-any-return]


def _requests(url: str, balancer: Balancer, stack: ExitStack) -> tuple[Run, Run]:
    import requests

    from balancemw_requests import mount

    plain, balanced = stack.enter_context(requests.Session()), stack.enter_context(requests.Session())
    mount(balanced, balancer)
    return calls(partial(plain.get, url + "/stock/1")), calls(partial(balanced.get, "http://inventory/stock/1"))


def _module(name: str) -> ModuleType:
    from importlib import import_module

    return import_module(name)
