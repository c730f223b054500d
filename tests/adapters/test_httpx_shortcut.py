"""Plain requests go straight to the pool of a library's transport: what they meet there, and when they may not."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from importlib import import_module
from typing import Any

import httpx
import httpx2
import pytest

from balancemw_httpx.libraries import Library, library_of
from balancemw_httpx.shortcut import AsyncParts, Parts, shortcut
from tests.adapters.httpx_callers import FLAVOURS, Caller, Counts, Flavour, balanced, caller, connections, counts
from tests.adapters.scripted import answering, half, scripted


@pytest.fixture(params=FLAVOURS, ids=str)
def flavour(request: pytest.FixtureRequest) -> Flavour:
    return request.param  # type: ignore[no-any-return]


def kind_of(flavour: Flavour) -> str:
    return "AsyncHTTPTransport" if flavour.is_async else "HTTPTransport"


def method_of(flavour: Flavour) -> str:
    return "handle_async_request" if flavour.is_async else "handle_request"


def core_of(flavour: Flavour) -> Any:
    return import_module("httpcore2" if flavour.module is httpx2 else "httpcore")


def library(flavour: Flavour) -> Library:
    return library_of(flavour.module.Request("GET", "http://inventory/"))


@pytest.fixture
def sent(flavour: Flavour, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The requests that reach pools."""
    requests: list[Any] = []
    pool = getattr(core_of(flavour), "AsyncConnectionPool" if flavour.is_async else "ConnectionPool")
    wrapped = getattr(pool, method_of(flavour))

    def seeing(self: Any, request: Any) -> Any:
        requests.append(request)
        return wrapped(self, request)

    monkeypatch.setattr(pool, method_of(flavour), seeing)
    return requests


def test_a_plain_request_goes_straight_to_the_pool(flavour: Flavour, sent: list[Any]) -> None:
    core = core_of(flavour)
    with scripted() as [replica], caller(flavour, balanced([replica], "/v1")) as client:
        assert client.get("http://inventory/stock/%C3%A4?a=b%20c", headers={"X-Own": "yes"}).status_code == 200
        [request] = sent
        assert type(request) is not core.Request
        assert isinstance(request, core.Request)
        assert request.url == core.URL(f"{replica.url}/v1/stock/%C3%A4?a=b%20c")
        assert bytes(request.url).decode() == f"{replica.url}/v1/stock/%C3%A4?a=b%20c"
        assert request.url.origin == core.URL(replica.url).origin
        assert request.method == b"GET"
        assert dict(request.headers)[b"X-Own"] == b"yes"
        assert replica.seen[0].target == "/v1/stock/%C3%A4?a=b%20c"


def test_one_that_needs_more_goes_by_the_transport_over_the_same_connection(flavour: Flavour, sent: list[Any]) -> None:
    core = core_of(flavour)
    with scripted() as [replica], caller(flavour, balanced([replica])) as client:
        client.get("http://inventory/1")
        client.request("GET", "http://inventory/2", extensions={"target": b"/3"})
        assert [type(request) is core.Request for request in sent] == [False, True]
        assert [seen.target for seen in replica.seen] == ["/1", "/3"]
        assert replica.connections == len(connections(client)) == 1


def test_it_is_left_while_the_transport_is_instrumented(
    flavour: Flavour, sent: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Any] = []
    kind = getattr(flavour.module, kind_of(flavour))
    wrapped = getattr(kind, method_of(flavour))

    def instrumented(transport: Any, request: Any) -> Any:
        found.append(request)
        return wrapped(transport, request)

    with scripted() as [replica], caller(flavour, balanced([replica])) as client:
        for path, asked in (("1", False), ("2", True), ("3", False)):
            with monkeypatch.context() as patch:
                if asked:
                    patch.setattr(kind, method_of(flavour), instrumented)
                client.get(f"http://inventory/{path}")
        assert [str(request.url) for request in found] == [f"{replica.url}/2"]
        assert len(sent) == 3


def test_it_is_not_taken_where_the_transport_was_instrumented_before(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = getattr(flavour.module, kind_of(flavour))
    own = getattr(kind, method_of(flavour))
    assert Library(flavour.module).methods[kind_of(flavour)] == (kind, method_of(flavour), own)
    monkeypatch.setattr(kind, method_of(flavour), lambda *_: None)
    assert Library(flavour.module).methods[kind_of(flavour)] == (kind, method_of(flavour), None)


def test_a_transport_without_a_plain_pool_has_none(flavour: Flavour) -> None:
    known, kind = library(flavour), kind_of(flavour)
    make = getattr(flavour.module, kind)
    assert shortcut(known, kind, make(verify=False)) is not None
    assert shortcut(known, kind, make(verify=False, proxy="http://127.0.0.1:9")) is None
    assert shortcut(known, kind, object()) is None


def test_its_errors_are_those_of_the_transport(flavour: Flavour) -> None:
    core, kind = core_of(flavour), kind_of(flavour)
    transport = getattr(flavour.module, kind)(verify=False)
    short = shortcut(library(flavour), kind, transport)
    assert short is not None
    transport._pool = pool = Failing()
    errors = [kind for kind in vars(core).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(errors) > 10
    request = flavour.module.Request("GET", "http://127.0.0.1/")
    for error in (*errors, OSError, asyncio.CancelledError):
        pool.error = error("why")
        raised = raised_by(transport, request)
        told = short.told(pool.error)
        assert (type(told), str(told), told.__cause__) == (type(raised), str(raised), raised.__cause__)


def raised_by(transport: Any, request: Any) -> BaseException:
    try:
        if hasattr(transport, "handle_request"):
            transport.handle_request(request)
        else:
            asyncio.run(transport.handle_async_request(request))
    except BaseException as error:
        return error
    pytest.fail("nothing was raised")


class Failing:
    """In the place of a pool."""

    error: BaseException

    def handle_request(self, request: Any) -> Any:
        raise self.error

    async def handle_async_request(self, request: Any) -> Any:
        raise self.error


def test_an_answer_that_is_no_good_is_read_by_its_caller(flavour: Flavour) -> None:
    with scripted() as [replica]:
        balancer = balanced([replica], retry={"attempts": 1})
        with caller(flavour, balancer) as client:
            replica.act = answering(503, b"come later")
            response = client.get("http://inventory/")
            assert (response.status_code, response.content) == (503, b"come later")
            assert connections(client)[0].is_idle()
        assert counts(balancer) == Counts(1, 1, 0)


def test_an_answer_that_is_no_good_and_breaks_off_raises_the_library_s_error(flavour: Flavour) -> None:
    def broken(request: Any) -> None:
        request.send_response(500)
        request.send_header("Content-Length", "100")
        request.end_headers()
        request.wfile.write(b"half")
        request.close_connection = True

    with scripted() as [replica]:
        balancer = balanced([replica])
        with caller(flavour, balancer) as client:
            replica.act = broken
            with pytest.raises(flavour.module.RemoteProtocolError) as caught:
                client.get("http://inventory/")
            assert isinstance(caught.value.__cause__, core_of(flavour).RemoteProtocolError)
        assert counts(balancer).in_flight == 0


def test_a_body_that_breaks_off_says_why(flavour: Flavour) -> None:
    with scripted() as [replica], caller(flavour, balanced([replica])) as client:
        replica.act = half
        with pytest.raises(flavour.module.RemoteProtocolError) as caught:
            client.get("http://inventory/")
        assert isinstance(caught.value.__cause__, core_of(flavour).RemoteProtocolError)


@pytest.mark.parametrize("method", ["PROPFIND", "GÉT"])
def test_methods_are_what_they_are_without_us(flavour: Flavour, method: str) -> None:
    def outcome(client: Caller, url: str) -> Any:
        try:
            return client.request(method, url).status_code
        except Exception as error:
            return type(error), str(error)

    with scripted() as [replica], caller(flavour, balanced([replica])) as client:
        plain = Caller(flavour, getattr(flavour.module, kind_of(flavour))(verify=False))
        assert outcome(client, "http://inventory/") == outcome(plain, replica.url + "/")
        plain.end()


def test_a_mock_of_the_pool_need_not_have_bodies_that_can_be_closed(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = core_of(flavour)

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            yield b"mocked"

        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"mocked"

    statuses = [200, 500]

    def handle(pool: Any, request: Any) -> Any:
        return core.Response(statuses.pop(0), content=Body())

    async def handle_async(pool: Any, request: Any) -> Any:
        return handle(pool, request)

    pool = getattr(core, "AsyncConnectionPool" if flavour.is_async else "ConnectionPool")
    monkeypatch.setattr(pool, method_of(flavour), handle_async if flavour.is_async else handle)
    balancer = balanced(["http://127.0.0.1:9"])
    with caller(flavour, balancer) as client:
        assert [client.get("http://inventory/").content for _ in range(2)] == [b"mocked", b"mocked"]
    assert counts(balancer).in_flight == 0


def test_closed_it_begins_anew(flavour: Flavour) -> None:
    with scripted() as [replica], caller(flavour, balanced([replica])) as client:
        for connection in (1, 2):
            assert client.get("http://inventory/").status_code == 200
            assert len(connections(client)) == 1
            client.run(client.transport.aclose() if flavour.is_async else client.transport.close())
            assert (connections(client), replica.connections) == ([], connection)


def test_the_parts_are_what_their_clients_take() -> None:
    for module in (httpx, httpx2):
        assert issubclass(Parts, module.SyncByteStream)
        assert issubclass(AsyncParts, module.AsyncByteStream)
