"""One transport in many hands: clients of both libraries, mounts, threads, event loops; and either library alone."""

import asyncio
import gc
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import httpx2
import pytest

from balancemw import Balancer
from balancemw_httpx import AsyncBalancedTransport, BalancedTransport, NoNode, TooLate
from tests.adapters.httpx_callers import FLAVOURS, Caller, Counts, Flavour, balanced, connections, counts, transport_of
from tests.adapters.scripted import scripted

each = pytest.mark.parametrize("flavour", FLAVOURS, ids=str)
LIBRARIES: list[Any] = [httpx, httpx2]


def test_it_is_what_both_libraries_take() -> None:
    balancer = balanced([])
    for module in LIBRARIES:
        assert isinstance(BalancedTransport(balancer), module.BaseTransport)
        assert isinstance(AsyncBalancedTransport(balancer), module.AsyncBaseTransport)
        assert issubclass(NoNode, module.ConnectError)
        assert issubclass(TooLate, module.ReadTimeout)


def test_one_transport_serves_clients_of_both_libraries() -> None:
    with scripted() as [replica]:
        balancer = balanced([replica])
        transport = BalancedTransport(balancer)
        with httpx.Client(transport=transport) as one, httpx2.Client(transport=transport) as two:
            assert isinstance(one.get("http://inventory/"), httpx.Response)
            assert isinstance(two.get("http://inventory/"), httpx2.Response)
        assert replica.connections == 2
        assert counts(balancer) == Counts(2, 0, 0)


async def test_one_async_transport_serves_clients_of_both_libraries() -> None:
    with scripted() as [replica]:
        balancer = balanced([replica])
        transport = AsyncBalancedTransport(balancer)
        async with httpx.AsyncClient(transport=transport) as one, httpx2.AsyncClient(transport=transport) as two:
            assert isinstance(await one.get("http://inventory/"), httpx.Response)
            assert isinstance(await two.get("http://inventory/"), httpx2.Response)
        assert counts(balancer) == Counts(2, 0, 0)


@each
@pytest.mark.parametrize("pattern", ["all://inventory", "http://inventory"])
def test_it_can_be_mounted(flavour: Flavour, pattern: str) -> None:
    with scripted() as [replica]:
        balancer = balanced([replica])
        transport = transport_of(flavour, balancer)
        client = Caller(flavour, None, mounts={pattern: transport, "all://other": transport})
        assert client.get("http://inventory/").status_code == 200
        assert client.get(replica.url).status_code == 200
        client.end()
        assert counts(balancer) == Counts(1, 0, 0)


@each
def test_subclasses_of_a_request_are_known(flavour: Flavour) -> None:
    class Mine(flavour.module.Request):  # type: ignore[misc, name-defined]
        pass

    with scripted() as [replica]:
        client = Caller(flavour, transport_of(flavour, balanced([replica])))
        for _ in range(2):
            assert client.run(client.client.send(Mine("GET", "http://inventory/"))).status_code == 200
        client.end()


def test_what_is_no_request_is_refused() -> None:
    with pytest.raises(TypeError, match="expected a request of httpx or httpx2, not 'str'"):
        BalancedTransport(balanced([])).handle_request("http://inventory/")


# -- options


def test_options_go_to_the_inner_transports() -> None:
    transport = BalancedTransport(balanced([]), limits=httpx2.Limits(max_connections=3), http2=False)
    for module in LIBRARIES:
        with module.Client(transport=transport) as client, pytest.raises(module.ConnectError):
            client.get("http://127.0.0.1:9/")
    with pytest.raises(httpx2.ConnectError):
        transport.handle_request(httpx2.Request("GET", "http://127.0.0.1:9/"))
    assert [each._pool._max_connections for each in transport._inner.take()] == [3]


def test_an_unknown_option_is_an_error() -> None:
    with pytest.raises(TypeError, match=r"no option 'verfy'; did you mean 'verify'\? \(known: cert, http1"):
        BalancedTransport(balanced([]), verfy=False)


def test_retries_of_the_connection_are_refused() -> None:
    with pytest.raises(ValueError, match=r"see retry\.attempts"):
        AsyncBalancedTransport(balanced([]), retries=2)
    AsyncBalancedTransport(balanced([]), retries=0)


# -- closing


@each
def test_closed_it_has_no_connections_and_may_begin_anew(flavour: Flavour) -> None:
    with scripted() as [replica]:
        transport = transport_of(flavour, balanced([replica]))
        client = Caller(flavour, transport)
        client.get("http://inventory/")
        client.get(replica.url)
        assert len(connections(client)) == 2
        client.run(transport.aclose() if flavour.is_async else transport.close())
        assert connections(client) == []
        client.get("http://inventory/")
        client.end()
        assert connections(client) == []
        with pytest.raises(RuntimeError, match="closed"):
            client.client.get("http://inventory/") if not flavour.is_async else asyncio.run(client.client.get("/"))


def test_it_is_a_context_manager() -> None:
    with BalancedTransport(balanced([])) as transport:
        assert isinstance(transport, BalancedTransport)


async def test_it_is_an_async_context_manager() -> None:
    async with AsyncBalancedTransport(balanced([])) as transport:
        assert isinstance(transport, AsyncBalancedTransport)


# -- threads and loops


@pytest.mark.parametrize("module", LIBRARIES)
def test_a_client_serves_many_threads(module: Any) -> None:
    with scripted(2) as replicas:
        balancer = balanced(replicas)
        with module.Client(transport=BalancedTransport(balancer)) as client, ThreadPoolExecutor(8) as threads:
            statuses = set(threads.map(lambda _: client.get("http://inventory/").status_code, range(200)))
        assert statuses == {200}
        assert counts(balancer) == Counts(200, 0, 0)


@pytest.mark.parametrize("module", LIBRARIES)
def test_a_client_serves_many_loops(module: Any) -> None:
    with scripted() as [replica]:
        balancer = balanced([replica])
        transport = AsyncBalancedTransport(balancer)
        client = module.AsyncClient(transport=transport)
        with ExitStack() as stack:
            runners = [stack.enter_context(asyncio.Runner()) for _ in range(3)]
            for runner in [*runners, *runners]:
                assert runner.run(client.get("http://inventory/")).status_code == 200
            for runner in runners:
                runner.run(transport.aclose())
        assert counts(balancer) == Counts(6, 0, 0)
        assert replica.connections == 3


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # nobody closed it while its loop was there
def test_loops_that_are_closed_are_forgotten() -> None:
    with scripted() as [replica]:
        transport = AsyncBalancedTransport(balanced([replica]))
        client = httpx2.AsyncClient(transport=transport)
        for _ in range(5):
            asyncio.run(_get(client))
        assert len(transport._inner._of) <= 2  # the last, and where no loop is asyncio's
        del client, transport  # or the last loop's connection is told of in whatever test runs then
        gc.collect()


async def _get(client: Any) -> int:
    return int((await client.get("http://inventory/")).status_code)


async def test_another_loop_that_runs_closes_its_own() -> None:
    with scripted() as [replica]:
        transport = AsyncBalancedTransport(balanced([replica]))
        client = httpx2.AsyncClient(transport=transport)
        other = asyncio.new_event_loop()
        running = asyncio.create_task(asyncio.to_thread(other.run_forever))
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_get(client), other))
        await _get(client)
        inners = transport._inner._of
        assert [len(inner._transports) for inner in inners.values()] == [0, 1, 1]
        await transport.aclose()
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(asyncio.sleep(0), other))
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_settled(), other))
        assert [len(inner._transports) for inner in inners.values()] == [0, 0, 0]
        other.call_soon_threadsafe(other.stop)
        await running
        other.close()


async def _settled() -> None:
    """All other tasks of this loop are done."""
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()})


# -- with one library only

ALONE = """
import sys
sys.modules[sys.argv[2]] = None
from importlib import import_module
module = import_module(sys.argv[1])
import balancemw, balancemw_httpx as adapter
balancer = balancemw.Balancer({"services": {"inventory": {"nodes": [sys.argv[3]]}}})
with module.Client(transport=adapter.BalancedTransport(balancer)) as client:
    print(client.get("http://inventory/").text)
    balancer["inventory"].mark(balancer["inventory"].nodes[0], "down", reason="x")
    try:
        client.get("http://inventory/")
    except module.ConnectError as error:
        print(type(error).__name__)
"""


@pytest.mark.parametrize(("here", "missing"), [("httpx", "httpx2"), ("httpx2", "httpx")])
def test_one_library_is_enough(here: str, missing: str) -> None:
    with scripted() as [replica]:
        said = run(ALONE, here, missing, replica.url)
    assert said.stdout == "ok\nNoNode\n"


def test_without_either_it_says_what_to_install() -> None:
    said = run("import sys; sys.modules['httpx'] = sys.modules['httpx2'] = None; import balancemw_httpx", check=False)
    assert said.stderr.endswith(
        "ModuleNotFoundError: balancemw_httpx needs httpx2 or httpx: pip install 'balancemw[httpx]'\n"
    )


@pytest.mark.skipif(not hasattr(httpx2, "alias_httpx"), reason="this httpx2 cannot stand for httpx")
def test_httpx_may_be_an_alias() -> None:
    said = run(
        "import httpx2; httpx2.alias_httpx(); import httpx, balancemw_httpx;"
        "from balancemw_httpx.libraries import LIBRARIES; print(len(LIBRARIES), httpx is httpx2)"
    )
    assert said.stdout == "1 True\n"


def run(program: str, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-W", "error", "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=check)


def test_the_balancer_may_have_names_of_any_kind() -> None:
    with scripted() as [replica]:
        names = ["Inventory", "stock_room", "a.b-c", "xn--mnchen-3ya"]
        balancer = Balancer({"services": {name: {"nodes": [replica.url]} for name in names}})
        for module in LIBRARIES:
            with module.Client(transport=BalancedTransport(balancer)) as client:
                assert [client.get(f"http://{name}/").status_code for name in names] == [200] * 4
