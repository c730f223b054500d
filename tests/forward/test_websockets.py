"""Websockets forwarded over a real server to a real replica."""

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.forward.stage import PATIENCE, Replica, Server, serving, until
from tests.forward.test_http import ask

PROGRAM = Path(__file__).with_name("websocket_program.py")


class Front(Server):
    """A server: behind ``/ws`` a replica that speaks websocket, ``/two`` a dead one as well, ``/none`` only that."""

    replica: Replica


@pytest.fixture(scope="module", params=["websockets", "websockets-sansio"])
def front(request: pytest.FixtureRequest) -> Iterator[Front]:
    replica, dead = Replica(program=PROGRAM), Replica()
    dead.kill()
    try:
        services = {
            "chat": {"nodes": [replica.url]},
            "two": {"nodes": [dead.url, replica.url]},
            "none": {"nodes": [dead.url]},
        }
        settings: dict[str, Any] = {
            "services": services,
            "routes": {"/ws": "chat", "/two": "two", "/none": "none"},
            "defaults": {"ejection": {"consecutive": 0, "success_rate": 0}},
        }
        with serving(settings, "h11", "--ws", request.param) as server:
            front = Front(server.port)
            front.replica = replica
            yield front
    finally:
        replica.kill()


def talk(front: Front, path: str, **options: Any) -> ClientConnection:
    url = f"ws://127.0.0.1:{front.port}{path}"
    return connect(url, open_timeout=PATIENCE, close_timeout=PATIENCE, proxy=None, max_size=None, **options)


def ends(front: Front) -> list[list[Any]]:
    """How the replica saw its connections end: path, code and reason."""
    connection = http.client.HTTPConnection("127.0.0.1", front.replica.port, timeout=PATIENCE)
    connection.request("GET", "/ends", headers={"Connection": "Upgrade", "Upgrade": "websocket"} | HANDSHAKE)
    found: list[list[Any]] = json.loads(connection.getresponse().read())
    connection.close()
    return found


HANDSHAKE = {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13"}


def test_messages_go_both_ways(front: Front):
    with talk(front, "/ws/echo") as client:
        for message in ["text", "", "d\u00e9j\u00e0 vu", b"bytes", b"", bytes(range(256)) * 16384]:
            client.send(message)
            assert client.recv(timeout=PATIENCE) == message


def test_what_the_replica_is_told(front: Front):
    headers = [("Origin", "http://shop.example"), ("Cookie", "a=1"), ("X-Own", "1"), ("Authorization", "Bearer x")]
    with talk(front, "/ws/headers?a=b%20c", additional_headers=headers, subprotocols=["chat", "superchat"]) as client:
        told = json.loads(client.recv(timeout=PATIENCE))
        assert client.subprotocol == "superchat"
        assert client.response is not None
        assert client.response.headers["set-cookie"] == "seen=1"
    seen: dict[str, str] = dict(told["headers"])
    assert len(seen) == len(told["headers"])
    assert told["target"] == "/headers?a=b%20c"
    assert {name: seen.get(name.lower()) for name, _ in headers} == dict(headers)
    assert seen["host"] == "chat"
    assert seen["x-forwarded-for"] == "127.0.0.1"
    assert seen["x-forwarded-proto"] == "http"
    assert seen["x-forwarded-prefix"] == "/ws"
    assert seen["via"] == "1.1 balancemw"
    assert seen["sec-websocket-protocol"].replace(" ", "") == "chat,superchat"
    assert "sec-websocket-extensions" not in seen


def test_no_subprotocol_in_common(front: Front):
    with talk(front, "/ws/echo", subprotocols=["odd"]) as client:
        assert client.subprotocol is None


def test_pings_are_answered_on_both_sides(front: Front):
    with talk(front, "/ws/ping") as client:
        assert client.recv(timeout=PATIENCE) == "answered"
        assert client.ping().wait(PATIENCE)


@pytest.mark.parametrize(("code", "reason"), [(1000, "bye"), (1001, ""), (1011, "oops"), (4321, "d\u00e9j\u00e0")])
def test_the_replicas_end(front: Front, code: int, reason: str):
    with talk(front, f"/ws/close?code={code}&reason={reason}") as client, pytest.raises(ConnectionClosed):
        client.recv(timeout=PATIENCE)
    assert (client.close_code, client.close_reason) == (code, reason)


@pytest.mark.parametrize(("code", "reason"), [(1000, "bye"), (1001, ""), (4321, "d\u00e9j\u00e0")])
def test_the_clients_end(front: Front, code: int, reason: str):
    path = f"/echo-{code}-{front.port}"
    with talk(front, f"/ws{path}") as client:
        client.send("x")
        assert client.recv(timeout=PATIENCE) == "x"
        client.close(code, reason)
    until(lambda: [path, code, reason] in ends(front))


def test_a_client_that_vanishes(front: Front):
    path = f"/vanish-{front.port}"
    with talk(front, f"/ws{path}") as client:
        client.send("x")
        assert client.recv(timeout=PATIENCE) == "x"
        client.socket.shutdown(socket.SHUT_RDWR)
    until(lambda: path in [end[0] for end in ends(front)])


def test_a_replica_that_vanishes(front: Front):
    with talk(front, "/ws/abort") as client:
        assert client.recv(timeout=PATIENCE) == "last words"
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=PATIENCE)
    assert client.close_code == 1011


def test_a_reader_that_is_slow_holds_up_its_own_writer(front: Front):
    before = front.about()["rss"]
    with talk(front, "/ws/flood?count=2000", max_queue=1) as client:
        until(lambda: front.node(front.replica, "chat")["in_flight"] == 1)
        assert front.about()["rss"] - before < 32 * 2**20
        for _ in range(2000):
            assert len(client.recv(timeout=PATIENCE)) == 65536
        assert front.about()["rss"] - before < 32 * 2**20


@pytest.mark.parametrize(
    ("path", "status", "header", "body"),
    [
        ("/ws/denied", 401, ("www-authenticate", "Bearer"), b"who are"),
        ("/ws/busy", 503, ("via", "1.1 balancemw"), b"busy"),
        ("/none/x", 502, ("content-type", "application/problem+json"), None),
        ("/ws/reset", 502, ("content-type", "application/problem+json"), None),
        ("/ws/%2e%2e/x", 400, ("content-type", "application/problem+json"), None),
    ],
)
def test_a_refusal_is_passed_on(front: Front, path: str, status: int, header: tuple[str, str], body: bytes | None):
    with pytest.raises(InvalidStatus) as caught, talk(front, path):
        pass
    response = caught.value.response
    assert response.status_code == status
    assert response.headers[header[0]] == header[1]
    assert body is None or (response.body or b"").startswith(body)


def test_a_redirect_is_the_clients_to_follow(front: Front):
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"} | HANDSHAKE
    answer = ask(front, "/ws/moved", headers=upgrade)
    assert (answer.status, answer.headers["location"]) == (302, "/ws/echo")


def test_a_dead_replica_is_passed_over(front: Front):
    for _ in range(6):
        with talk(front, "/two/echo") as client:
            client.send("x")
            assert client.recv(timeout=PATIENCE) == "x"


def test_an_upgrade_that_is_no_websocket_is_an_ordinary_request(front: Front):
    answer = ask(front, "/none/x", headers={"Connection": "Upgrade", "Upgrade": "h2c", "HTTP2-Settings": "AAA"})
    assert answer.status == 502


def test_nothing_is_left_in_flight(front: Front):
    until(lambda: front.node(front.replica, "chat")["in_flight"] == 0)
