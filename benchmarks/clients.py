"""What the client adapters add to a request: each client without and with its adapter, to the same replica.

First in the client's process alone, at a replica that costs next to nothing and answers a few bytes; then in all
processes that the request needs, with an app for a replica, which is what whoever pays for the machines pays; and then
the same with several requests under way at once, as in most processes.

All of it on one processor. On two a request costs half as much again, for one that sleeps has to be woken each time;
and the scheduler moves processes to and fro, so that for a while one contender pays for that and the other does not.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from itertools import repeat
from types import ModuleType
from typing import Any

from balancemw import Balancer
from balancemw.exchange import TIMEOUT_MS
from balancemw.inbound import ATTEMPT_COUNT
from benchmarks.arena.processes import processor_time
from benchmarks.report import Report, micros
from benchmarks.timing import Effort, Run, awaits, calls, clock, race

Spent = Callable[[], float]
Runs = Callable[[Callable[[], Any]], Run]

TARGET = 1.03
AT_ONCE = 8
BARE = "aiohttp, a bare middleware"
LEAST = f"{BARE}: sets the address and the two headers that a replica is sent, and does nothing else"
ALONE = "processor time of the client's process for a GET of a few bytes over a kept connection, its body read"
IN_ALL = (
    "processor time of the client's process and the replica's, a Starlette app in uvicorn that answers 1 KB of JSON"
)
TOGETHER = f"the same with {AT_ONCE} requests under way at once, in as many tasks or threads"
LEFT_OUT = "processor time of the replica's process cannot be had on this system: left out"
ONE = "all processes on one processor, where the system can be told so"

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
    short = replace(effort, rounds=max(1, effort.rounds * 2 // 3))
    longer = replace(effort, rounds=max(1, effort.rounds * 2 // 9), turn=3 * effort.turn)  # for tasks to settle
    with _one_processor():
        with _replica(_REPLICA) as (url, _):
            alone = _table("A request of a client, µs", url, short, [ALONE, ONE])
        with _replica(_APP) as (url, pid):
            title = "A request in all processes, µs"
            try:
                processor_time(pid)
            except (AttributeError, OSError):
                return [alone, Report(title, (), (), [LEFT_OUT])]
            spent = partial(processor_time, pid)
            return [
                alone,
                _table(title, url, short, [IN_ALL, ONE], spent),
                _table(f"A request of {AT_ONCE} at once in all processes, µs", url, longer, [TOGETHER], spent, AT_ONCE),
            ]


def _table(
    title: str, url: str, effort: Effort, notes: list[str], others: Spent | None = None, at_once: int = 1
) -> Report:
    """`others`: the processor time so far of the processes that count beside this one."""
    rows: list[tuple[str, ...]] = []
    with asyncio.Runner() as runner, ThreadPoolExecutor(at_once) as threads:
        tasks, threaded = partial(_in_tasks, runner, at_once), partial(_in_threads, threads, at_once)
        balancer = Balancer({"services": {"inventory": {"nodes": [url]}}})
        for name, pair in (
            ("aiohttp", partial(_aiohttp, runner=runner, run=tasks)),
            (BARE, partial(_aiohttp, runner=runner, run=tasks, bare=True)),
            ("httpx, sync", partial(_httpx_sync, "httpx", run=threaded)),
            ("httpx, async", partial(_httpx_async, "httpx", runner=runner, run=tasks)),
            ("httpx2, sync", partial(_httpx_sync, "httpx2", run=threaded)),
            ("httpx2, async", partial(_httpx_async, "httpx2", runner=runner, run=tasks)),
            ("requests", partial(_requests, run=threaded)),
        ):
            try:
                with ExitStack() as stack:
                    without, balanced = (_and(run, others) for run in pair(url, balancer, stack))
                    rows.append((name, *_compare(without, balanced, effort)))
            except ImportError as error:
                notes.append(f"{name}: left out, as {error.name} is not installed")
    missed = [f"{row[0]} ({row[-1]})" for row in rows if float(row[-1]) > TARGET and row[0] != BARE]
    verdict = f"missed by {', '.join(missed)}" if missed else "met"
    notes.append(LEAST)
    notes.append(f"target for the ratio: at most {TARGET} ({verdict})")
    return Report(title, ("", "without", "with", "added", "ratio"), rows, notes)


def _in_tasks(runner: asyncio.Runner, at_once: int, function: Callable[[], Awaitable[object]]) -> Run:
    """Awaits what `function` returns, so many times at once, but at least once in each task."""
    if at_once == 1:
        return awaits(function, runner)

    async def some(times: int) -> None:
        for _ in repeat(None, times):
            await function()

    async def run(times: int) -> float:
        began, each = clock(), -(-times // at_once)
        await asyncio.gather(*(some(each) for _ in range(at_once)))
        return (clock() - began) * times / (each * at_once)

    return lambda times: runner.run(run(times))


def _in_threads(threads: ThreadPoolExecutor, at_once: int, function: Callable[[], object]) -> Run:
    """As `_in_tasks`, with calls in threads."""
    if at_once == 1:
        return calls(function)

    def some(times: int) -> None:
        for _ in repeat(None, times):
            function()

    def run(times: int) -> float:
        began, each = clock(), -(-times // at_once)
        list(threads.map(some, repeat(each, at_once)))
        return (clock() - began) * times / (each * at_once)

    return run


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
def _one_processor() -> Generator[None]:
    """Keep this thread, and what it starts, to one processor."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    all_of_them = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(all_of_them)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, all_of_them)


@contextmanager
def _replica(program: str) -> Generator[tuple[str, int]]:
    """The url and the process id of a replica. It is called by name: to take an address apart costs clients more."""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://localhost:{int(process.stdout.readline())}", process.pid
    finally:
        process.kill()
        process.communicate()


def _aiohttp(
    url: str, balancer: Balancer, stack: ExitStack, *, runner: asyncio.Runner, run: Runs, bare: bool = False
) -> tuple[Run, Run]:
    import aiohttp
    from yarl import URL

    from balancemw_aiohttp import balance

    target = URL(url + "/stock/1")

    async def send(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        request.url = target
        request.headers[ATTEMPT_COUNT] = "1"
        request.headers[TIMEOUT_MS] = "10000"
        return await handler(request)

    async def session(**options: object) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(**options)  # type: ignore[arg-type]

    async def get(session: aiohttp.ClientSession, url: str) -> None:
        async with session.get(url) as response:
            await response.read()

    middleware = send if bare else balance(balancer)
    plain, balanced = runner.run(session()), runner.run(session(middlewares=[middleware]))
    for each in (plain, balanced):
        stack.callback(_close, runner, each.close)
    return run(partial(get, plain, url + "/stock/1")), run(partial(get, balanced, "http://inventory/stock/1"))


def _httpx_sync(name: str, url: str, balancer: Balancer, stack: ExitStack, *, run: Runs) -> tuple[Run, Run]:
    module = _module(name)
    from balancemw_httpx import BalancedTransport

    plain = stack.enter_context(module.Client())
    balanced = stack.enter_context(module.Client(transport=BalancedTransport(balancer)))
    return run(partial(plain.get, url + "/stock/1")), run(partial(balanced.get, "http://inventory/stock/1"))


def _httpx_async(
    name: str, url: str, balancer: Balancer, stack: ExitStack, *, runner: asyncio.Runner, run: Runs
) -> tuple[Run, Run]:
    module = _module(name)
    from balancemw_httpx import AsyncBalancedTransport

    plain, balanced = module.AsyncClient(), module.AsyncClient(transport=AsyncBalancedTransport(balancer))
    for each in (plain, balanced):
        stack.callback(_close, runner, each.aclose)
    return run(partial(plain.get, url + "/stock/1")), run(partial(balanced.get, "http://inventory/stock/1"))


def _requests(url: str, balancer: Balancer, stack: ExitStack, *, run: Runs) -> tuple[Run, Run]:
    import requests

    from balancemw_requests import mount

    plain, balanced = stack.enter_context(requests.Session()), stack.enter_context(requests.Session())
    mount(balanced, balancer)
    return run(partial(plain.get, url + "/stock/1")), run(partial(balanced.get, "http://inventory/stock/1"))


def _close(runner: asyncio.Runner, close: Callable[[], Coroutine[Any, Any, None]]) -> None:
    runner.run(close())


def _module(name: str) -> ModuleType:
    from importlib import import_module

    return import_module(name)
