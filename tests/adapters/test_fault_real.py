"""What real clients raise when real servers misbehave, and what is said of it. Nothing here is simulated."""

import asyncio
import http.client
import io
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp
import httpx
import httpx2
import pytest
import requests
import urllib3

from balancemw.fault import Kind, classify
from tests.adapters.failing_server import CA, Script, dies, serving, steps

# -- the clients: each reads a whole answer and returns something with a status


class Trust(NamedTuple):
    context: ssl.SSLContext
    bundle: str | bool
    timeout: float = 5.0  # of each operation; short only where it is to pass


Get = Callable[[str, Trust, str, bytes | None], object]


def with_urllib(url: str, trust: Trust, method: str, body: bytes | None) -> object:
    request = urllib.request.Request(url, method=method, data=body)
    with urllib.request.urlopen(request, timeout=trust.timeout, context=trust.context) as answer:
        answer.read()
        return answer


def with_http_client(url: str, trust: Trust, method: str, body: bytes | None) -> object:
    parts = urlsplit(url)
    secure: Any = (http.client.HTTPSConnection, {"context": trust.context})
    kind, more = secure if parts.scheme == "https" else (http.client.HTTPConnection, {})
    with closing(kind(parts.hostname, parts.port, timeout=trust.timeout, **more)) as connection:
        connection.request(method, parts.path or "/", body)
        with connection.getresponse() as answer:
            answer.read()
            return answer


def with_requests(url: str, trust: Trust, method: str, body: bytes | None) -> object:
    with requests.Session() as session:
        return session.request(method, url, data=body, timeout=trust.timeout, verify=trust.bundle)


def with_urllib3(retries: Any) -> Get:
    def get(url: str, trust: Trust, method: str, body: bytes | None) -> object:
        with urllib3.PoolManager(ssl_context=trust.context, timeout=trust.timeout, retries=retries) as pool:
            return pool.request(method, url, body=body)

    return get


async def goodbyes() -> None:
    """Until the loop watches nothing but itself: closing a session does not wait for TLS to end."""
    loop: Any = asyncio.get_running_loop()
    async with asyncio.timeout(5):
        while len(loop._selector.get_map()) > 1:
            await asyncio.sleep(0.001)
    await asyncio.sleep(0)


def with_aiohttp(url: str, trust: Trust, method: str, body: bytes | None) -> object:
    async def get() -> object:
        timeout = aiohttp.ClientTimeout(sock_connect=trust.timeout, sock_read=trust.timeout)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.request(method, url, data=body and io.BytesIO(body), ssl=trust.context) as answer,
            ):
                await answer.read()
                return answer
        finally:
            await goodbyes()

    return asyncio.run(get())


def with_httpx(module: Any) -> Get:
    def get(url: str, trust: Trust, method: str, body: bytes | None) -> object:
        with module.Client(timeout=trust.timeout, verify=trust.context, follow_redirects=True) as client:
            return client.request(method, url, content=body)

    return get


def with_httpx_async(module: Any) -> Get:
    def get(url: str, trust: Trust, method: str, body: bytes | None) -> object:
        async def get() -> object:
            async with module.AsyncClient(timeout=trust.timeout, verify=trust.context, follow_redirects=True) as client:
                return await client.request(method, url, content=body)

        return asyncio.run(get())

    return get


CLIENTS: dict[str, Get] = {
    "urllib": with_urllib,
    "http.client": with_http_client,
    "requests": with_requests,
    "urllib3": with_urllib3(False),
    "urllib3 with retries": with_urllib3(urllib3.Retry(2)),
    "aiohttp": with_aiohttp,
    "httpx": with_httpx(httpx),
    "httpx async": with_httpx_async(httpx),
    "httpx2": with_httpx(httpx2),
    "httpx2 async": with_httpx_async(httpx2),
}


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    bundle = tmp_path_factory.mktemp("ca") / "ca.pem"
    CA.cert_pem.write_to_path(str(bundle))
    return Trust(ssl.create_default_context(cafile=bundle), str(bundle))


# -- what the servers do


HALF = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"
CHUNKED = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ZIPPED = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope"
OVERLOADED = "HTTP/1.1 503 Slow Down\r\nRetry-After: 7\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

PLAIN: dict[str, tuple[Script, set[Kind]]] = {
    "closes at once": (steps(), {Kind.RESET}),
    "resets at once": (steps("abort"), {Kind.RESET, Kind.REFUSED, Kind.CONNECT_TIMEOUT}),  # as connect() sees it
    "closes after the request": (steps("hear"), {Kind.RESET}),
    "resets after the request": (steps("hear", "abort"), {Kind.RESET}),
    "hangs": (steps("hear", "hold"), {Kind.TIMEOUT}),
    "sends nonsense": (steps("hear", "\0\xff nonsense\r\n\r\n"), {Kind.PROTOCOL}),
    "closes after half the body": (steps("hear", HALF), {Kind.RESET}),
    "resets after half the body": (steps("hear", HALF, "abort"), {Kind.RESET}),
    "hangs after half the body": (steps("hear", HALF, "hold"), {Kind.TIMEOUT}),
    "breaks off a chunk": (steps("hear", CHUNKED + "5\r\nhe"), {Kind.RESET}),
    "sends a nonsense chunk": (steps("hear", CHUNKED + "zz\r\nhe\r\n"), {Kind.RESET, Kind.PROTOCOL}),
    "dies": (dies, {Kind.RESET}),
}
SECURE: dict[str, tuple[Script, set[Kind]]] = {
    "speaks no TLS": (steps("hear", "HTTP/1.1 400 Bad Request\r\n\r\n"), {Kind.TLS}),
    "closes in the handshake": (steps("hear"), {Kind.TLS}),
    "resets in the handshake": (steps("hear", "abort"), {Kind.TLS}),
    "hangs in the handshake": (steps("hear", "hold"), {Kind.CONNECT_TIMEOUT}),
    "closes after the request": (steps("secure", "hear", "strip"), {Kind.RESET}),
    "resets after the request": (steps("secure", "hear", "strip", "abort"), {Kind.RESET}),
    "goes on in plain text": (steps("secure", "hear", "strip", HALF), {Kind.PROTOCOL, Kind.RESET}),
    "hangs": (steps("secure", "hear", "hold"), {Kind.TIMEOUT}),
}


def outcome(client: str, url: str, trust: Trust, method: str = "GET", body: bytes | None = None) -> Any:
    """The fault of a call, if any."""
    try:
        result = CLIENTS[client](url, trust, method, body)
    except Exception as error:
        with closing(error) if isinstance(error, urllib.error.HTTPError) else nullcontext():
            return classify(None, error)
    return classify(result, None)


def patient(trust: Trust, case: str) -> Trust:
    return trust._replace(timeout=0.2) if case.startswith("hangs") else trust


@pytest.mark.parametrize("case", PLAIN)
def test_a_server_that_fails(client: str, case: str, trusted: Trust):
    script, kinds = PLAIN[case]
    with serving(script) as (address, seen):
        user = "" if client in ("urllib", "http.client") else "user:secret@"  # these two know no such urls
        fault = outcome(client, f"http://{user}{address}/a?token=secret", patient(trusted, case))
    assert fault.kind in kinds
    assert not (fault.unsent and seen)
    assert "secret" not in fault.reason


@pytest.mark.parametrize("case", SECURE)
def test_a_server_that_fails_in_or_after_the_handshake(client: str, case: str, trusted: Trust):
    script, kinds = SECURE[case]
    with serving(script) as (address, _):
        fault = outcome(client, f"https://{address}/", patient(trusted, case))
    assert fault.kind in kinds


def test_a_certificate_that_nobody_vouches_for(client: str):
    with serving(steps("secure", "hear")) as (address, seen):
        fault = outcome(client, f"https://{address}/", Trust(ssl.create_default_context(), True))
    assert (fault.kind, seen) == (Kind.TLS, [])


def test_an_upload_that_breaks(client: str, trusted: Trust):
    with serving(lambda peer: (peer.hear(1000), peer.abort())) as (address, _):
        fault = outcome(client, f"http://{address}/", trusted, "POST", bytes(8_000_000))
    assert fault.kind is Kind.RESET


def test_a_body_that_is_not_what_its_header_says(client: str, trusted: Trust):
    with serving(steps("hear", ZIPPED)) as (address, _):
        fault = outcome(client, f"http://{address}/", trusted)
    if client in ("urllib", "http.client"):  # they hand it out as it is
        assert fault is None
    else:
        assert fault.kind is Kind.PROTOCOL


@pytest.fixture
def closed() -> Iterator[str]:
    with socket.socket() as bound:  # bound but not listening: nobody else gets the port, and nobody answers
        bound.bind(("127.0.0.1", 0))
        yield "{}:{}".format(*bound.getsockname())


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nobody_listens(client: str, scheme: str, closed: str, trusted: Trust):
    fault = outcome(client, f"{scheme}://{closed}/", trusted, "POST", b"work")
    assert fault.kind is Kind.REFUSED
    assert fault.may_retry(idempotent=False)
    assert fault.reason.startswith("ConnectionRefusedError: [Errno ")


def test_a_name_that_does_not_resolve(client: str, trusted: Trust):
    fault = outcome(client, "http://nonexistent.invalid/", trusted)
    assert fault.kind is Kind.DNS


def test_a_connection_that_is_not_accepted(client: str, trusted: Trust):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        try:
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(listener.getsockname())
            with pytest.raises(TimeoutError):
                socket.create_connection(listener.getsockname(), timeout=0.2).close()
        except pytest.fail.Exception:
            pytest.skip("this system takes connections beyond the backlog")
        else:
            fault = outcome(client, "http://{}:{}/".format(*listener.getsockname()), trusted._replace(timeout=0.2))
            assert fault.kind is Kind.CONNECT_TIMEOUT
        finally:
            for one in waiting:
                one.close()


@pytest.mark.parametrize("status", [303, 307])
def test_refused_after_a_redirect_is_not_unsent(client: str, status: int, closed: str, trusted: Trust):
    moved = f"HTTP/1.1 {status} -\r\nLocation: http://{closed}/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with serving(steps("hear", moved)) as (address, seen):
        fault = outcome(client, f"http://{address}/", trusted, "POST", b"work")
    assert seen
    if client in ("http.client", "urllib3") or (client == "urllib" and status == 307):  # these do not follow
        assert fault is None or fault.kind is Kind.APPLICATION
    else:
        assert fault.kind is Kind.RESET
        assert fault.reason.startswith("after an earlier request: ConnectionRefusedError")


def test_an_answer_that_asks_for_rest(client: str, trusted: Trust):
    with serving(steps("hear", OVERLOADED)) as (address, _):
        fault = outcome(client, f"http://{address}/", trusted, "POST")
    assert (fault.kind, fault.status, fault.retry_after, fault.answered) == (Kind.OVERLOAD, 503, 7.0, True)


async def test_bare_sockets_and_streams(closed: str):
    host, port = closed.split(":")
    with pytest.raises(OSError, match=r"refused|failed") as refused:
        await asyncio.open_connection(host, int(port))
    assert classify(None, refused.value).kind is Kind.REFUSED
    with serving(steps("hear", HALF)) as (address, _):
        reader, writer = await asyncio.open_connection(*address.split(":"))
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(asyncio.IncompleteReadError) as lost:
            await reader.readexactly(1000)
        writer.close()
        await writer.wait_closed()
    assert classify(None, lost.value).kind is Kind.RESET
