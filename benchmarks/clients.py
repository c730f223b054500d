"""What the client adapters add to a request: each client without and with its adapter, to the same replica.

First in the client's process alone, at a replica that costs next to nothing and answers a few bytes; then in all
processes that the request needs, with an app for a replica, which is what whoever pays for the machines pays.
"""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import ModuleType

from balancemw import Balancer
from benchmarks.arena.processes import processor_time
from benchmarks.report import Report, micros
from benchmarks.timing import Effort, Run, awaits, calls, race

Spent = Callable[[], float]

TARGET = 1.03
ALONE = "processor time of the client's process for a GET of a few bytes over a kept connection, its body read"
IN_ALL = (
    "processor time of the client's process and the replica's, a Starlette app in uvicorn that answers 1 KB of JSON"
)
LEFT_OUT = "processor time of the replica's process cannot be had on this system: left out"

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


_APP = """
import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
STOCK = [{"sku": f"sku-{i}", "warehouse": "north", "left": i} for i in range(19)]
async def stock(request): return JSONResponse({"of": request.path_params["of"], "stock": STOCK})
class Server(uvicorn.Server):
    async def startup(self, sockets=None):  # with sockets made beforehand the second part of an answer waits 40 ms
        await super().startup(sockets)
        print(self.servers[0].sockets[0].getsockname()[1], flush=True)
app = Starlette(routes=[Route("/stock/{of}", stock)])
Server(uvicorn.Config(app, port=0, log_level="warning", access_log=False)).run()
"""


def run(effort: Effort) -> list[Report]:
    """Measure every client that is installed."""
    with _replica(_REPLICA) as (url, _):
        alone = _table("A request of a client, µs", url, effort, [ALONE])
    with _replica(_APP) as (url, pid):
        try:
            processor_time(pid)
        except (AttributeError, OSError):
            return [alone, Report("A request in all processes, µs", (), (), [LEFT_OUT])]
        return [alone, _table("A request in all processes, µs", url, effort, [IN_ALL], partial(processor_time, pid))]


def _table(title: str, url: str, effort: Effort, notes: list[str], others: Spent | None = None) -> Report:
    """`others`: the processor time so far of the processes that count beside this one."""
    rows: list[tuple[str, ...]] = []
    with asyncio.Runner() as runner:
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
                    without, balanced = (_and(run, others) for run in pair(url, balancer, stack))
                    rows.append((name, *_compare(without, balanced, effort)))
            except ImportError as error:
                notes.append(f"{name}: left out, as {error.name} is not installed")
    missed = [f"{row[0]} ({row[-1]})" for row in rows if float(row[-1]) > TARGET]
    verdict = f"missed by {', '.join(missed)}" if missed else "met"
    notes.append(f"target for the ratio: at most {TARGET} ({verdict})")
    return Report(title, ("", "without", "with", "added", "ratio"), rows, notes)


def _and(run: Run, others: Spent | None) -> Run:
    if others is None:
        return run

    def both(times: int) -> float:
        began = others()
        return run(times) + others() - began

    return both


def _compare(without: Run, balanced: Run, effort: Effort) -> tuple[str, ...]:
    times = race({"without": without, "with": balanced}, effort)
    return (
        micros(times.median("without")),
        micros(times.median("with")),
        micros(times.difference("with", "without")),
        f"{times.ratio('with', 'without'):.3f}",
    )


@contextmanager
def _replica(program: str) -> Generator[tuple[str, int]]:
    """The url and the process id of a replica."""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}", process.pid
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
