"""Much data, and many slow clients: bounded memory, and nobody waits for anybody else."""

import hashlib
import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache

import pytest

from tests.forward.stage import PATIENCE, Replica, Server, can, replicas, serving, until
from tests.forward.test_http import ask

GIB = 2**30
MIB = 2**20
BLOCK = bytes(range(256)) * 4096  # 1 MiB, as a replica's downloads have it


class Front(Server):
    """A server with one replica behind ``/api``, and one that never reads behind ``/deaf``."""

    replica: Replica
    kind: str
    size: int  # of what is large enough


SIZES = {"httptools": GIB, "wsgi": GIB, "django": GIB // 4, "django-asgi": GIB // 4}


@pytest.fixture(scope="module", params=SIZES)
def front(request: pytest.FixtureRequest) -> Iterator[Front]:
    with replicas("") as (replica,):
        services = {"inventory": {"nodes": [replica.url]}, "brief": {"nodes": [replica.url], "attempt_timeout": 2.0}}
        settings = {"services": services, "routes": {"/api": "inventory", "/brief": "brief"}}
        with serving(settings, request.param) as server:
            front = Front(server.port)
            front.replica, front.kind, front.size = replica, request.param, SIZES[request.param]
            ask(front, "/api/warm", "POST", b"x")
            yield front


@cache
def expected(size: int) -> str:
    digest = hashlib.sha256()
    for _ in range(size // len(BLOCK)):
        digest.update(BLOCK)
    return digest.hexdigest()


def test_a_download_of_a_gigabyte(front: Front):
    before = front.about()["rss"]
    connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=PATIENCE)
    connection.request("GET", f"/api/download?size={front.size}")
    answer, found, buffer = connection.getresponse(), hashlib.sha256(), memoryview(bytearray(MIB))
    while size := answer.readinto(buffer):
        found.update(buffer[:size])
    connection.close()
    assert found.hexdigest() == expected(front.size)
    assert front.about()["peak"] - before < 32 * MIB


@pytest.mark.parametrize("chunked", [False, True])
def test_an_upload_of_a_gigabyte(front: Front, chunked: bool):
    """It takes longer than a try may take, which counts only while nothing moves."""
    size = 64 * MIB if chunked else front.size
    before = front.about()["rss"]
    connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=PATIENCE)
    headers = {} if chunked else {"Content-Length": str(size)}
    connection.request("POST", "/brief/up", (BLOCK for _ in range(size // MIB)), headers, encode_chunked=chunked)
    seen = json.loads(connection.getresponse().read())
    connection.close()
    assert (seen["size"], seen["digest"]) == (size, expected(size))
    assert front.about()["peak"] - before < 32 * MIB
    assert front.node(front.replica, "brief")["failures"] == 0


def test_slow_clients_do_not_stop_others(front: Front):
    """Sixty-four that do not read what they asked for, and sixty-four that do not send what they announced."""
    before = front.about()["rss"]
    with ExitStack() as stack:
        for number in range(128):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", front.port), timeout=PATIENCE))
            if number % 2:
                client.sendall(f"GET /api/download?size={GIB} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            else:
                client.sendall(b"POST /api/up HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nx")
        busy = 128 if can(front.kind, "stream a request") else 64
        until(lambda: front.node(front.replica)["in_flight"] == busy)
        for _ in range(20):
            assert ask(front, "/api/x").status == 200
        assert front.about()["rss"] - before < 64 * MIB
    until(lambda: front.node(front.replica)["in_flight"] == 0)
    assert front.node(front.replica)["failures"] == 0


def test_a_client_that_sends_slowly_is_no_fault_of_the_replicas(front: Front):
    """It pauses for longer than a try may take; the replica has the beginning of the request already."""
    if not can(front.kind, "stream a request"):
        pytest.skip("the replica hears of a request that has come as a whole")
    failures, received = front.node(front.replica, "brief")["failures"], front.replica.received("POST /slowly")
    with socket.create_connection(("127.0.0.1", front.port), timeout=PATIENCE) as client:
        client.sendall(
            b"POST /brief/slowly HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nConnection: close\r\n\r\nhello"
        )
        until(lambda: front.replica.received("POST /slowly") > received)
        client.settimeout(2.6)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(PATIENCE)
        client.sendall(b"world")
        answer = b""
        while part := client.recv(65536):
            answer += part
    seen = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (seen["size"], seen["digest"]) == (10, hashlib.sha256(b"helloworld").hexdigest())
    assert front.replica.received("POST /slowly") == received + 1
    assert front.node(front.replica, "brief")["failures"] == failures


def test_connections_are_reused_and_given_back(front: Front):
    for path in ["x", "download?size=100000", "status/404", "status/204", "events-not", "hop"]:
        ask(front, f"/api/{path}")
    until(lambda: front.node(front.replica)["in_flight"] == 0)
    files = front.about()["files"]
    for _ in range(30):
        for path in ["x", "half", "reset", "status/500", "trailers", "early"]:
            front.raw(f"GET /api/{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    until(lambda: front.node(front.replica)["in_flight"] == 0)
    assert front.about()["files"] <= files + 4
    assert front.replica.journal()["connections"] <= 132
