"""The bodies of requests: a replica gets one whole on the second try, or there is no second try; on the wire it is what
requests alone would send."""

import io
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from balancemw import DeadlineExceeded, deadline
from tests.adapters.failing_server import Peer, serving
from tests.adapters.http_server import Got, Told, answering
from tests.adapters.replicas import free_port
from tests.adapters.requests_client import balancer_of, in_flight, session_of, state_of

WHOLE = b"0123456789" * 20_000  # more than a kernel takes unread, and more than one part


class Unseekable(io.RawIOBase):
    """As a pipe: it can be read once."""

    def __init__(self, data: bytes = WHOLE) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._data.readinto(buffer)


class Lying(io.BytesIO):
    """Says that it can go back, and once it has been read does not."""

    begun = False

    def read(self, size: int | None = -1) -> bytes:
        self.begun = True
        return super().read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self.tell() if self.begun else super().seek(offset, whence)


class Bare:
    """All that requests needs of a file."""

    def __init__(self) -> None:
        self._data = io.BytesIO(WHOLE)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._data)

    def read(self, size: int = -1) -> bytes:
        return self._data.read(size)


def parts() -> Iterator[bytes]:
    for start in range(0, len(WHOLE), 7001):
        yield WHOLE[start : start + 7001]


def partly_read(file: Any) -> Any:
    file.seek(5)
    return file


opened: list[Any] = []


def on_disk(**text: str) -> Any:
    file: Any = tempfile.TemporaryFile("w+" if text else "w+b", **text)  # noqa: SIM115  closed by a fixture
    file.write(WHOLE.decode() if text else WHOLE)
    file.seek(0)
    opened.append(file)
    return file


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while opened:
        opened.pop().close()


REPLAYED: dict[str, Callable[[], dict[str, Any]]] = {
    "nothing": dict,
    "bytes": lambda: {"data": WHOLE},
    "few bytes": lambda: {"data": b"x"},
    "text": lambda: {"data": WHOLE.decode()},
    "bytearray": lambda: {"data": bytearray(WHOLE)},
    "memoryview": lambda: {"data": memoryview(WHOLE)},
    "form": lambda: {"data": {"a": ["1", "2"]}},
    "json": lambda: {"json": {"a": WHOLE.decode()}},
    "BytesIO": lambda: {"data": io.BytesIO(WHOLE)},
    "BytesIO, partly read": lambda: {"data": partly_read(io.BytesIO(WHOLE))},
    "StringIO": lambda: {"data": io.StringIO(WHOLE.decode())},
    "file": lambda: {"data": on_disk()},
    "file, partly read": lambda: {"data": partly_read(on_disk())},
    "multipart": lambda: {"files": {"a": ("a.txt", io.BytesIO(WHOLE))}, "data": {"b": "c"}},
    "multipart, unseekable": lambda: {"files": {"a": ("a.txt", Unseekable())}},
}
ONCE: dict[str, Callable[[], dict[str, Any]]] = {
    "generator": lambda: {"data": parts()},
    "iterator": lambda: {"data": iter([WHOLE[:9], WHOLE[9:]])},
    "unseekable": lambda: {"data": Unseekable()},
    "bare": lambda: {"data": Bare()},
    "lying": lambda: {"data": Lying(WHOLE)},
}
EVERY = REPLAYED | ONCE


def wire(data: bytes) -> bytes:
    """A request without what tells where it went and which try it was, and which boundary requests drew."""
    head, _, body = data.partition(b"\r\n\r\n")
    kept = [
        line for line in head.split(b"\r\n") if not line.lower().startswith((b"host:", b"x-", b"content-type: mul"))
    ]
    boundary = body.partition(b"\r\n")[0] if body.startswith(b"--") else b"\0"
    return b"\r\n".join(kept) + b"\r\n\r\n" + body.replace(boundary, b"--")


def recorded(send: Callable[[str], object]) -> bytes:
    """What arrives of a request that is answered when it has all arrived."""
    got: list[bytes] = []

    def script(peer: Peer) -> None:
        data = b""
        while not _whole(data):
            more = peer.connection.recv(1 << 20)
            if not more:
                return
            data += more
        got.append(data)
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with serving(script) as (server, _):
        send(server)
    return got[-1]


def _whole(data: bytes) -> bool:
    head, found, body = data.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    if b"transfer-encoding" in fields:
        return body.endswith(b"0\r\n\r\n")
    return bool(found) and len(body) >= int(fields.get(b"content-length", 0))


@pytest.mark.filterwarnings("ignore:Requests has determined the content-length")
@pytest.mark.parametrize("name", [*EVERY, "text file"])
def test_on_the_wire_it_is_what_requests_alone_sends(name: str) -> None:
    make = EVERY.get(name, lambda: {"data": on_disk(encoding="ascii")})
    alone = recorded(lambda server: requests.put(f"http://{server}/a", **make()))

    def balanced(server: str) -> None:
        with session_of(balancer_of(f"http://{server}")) as session:
            session.put("http://inventory/a", **make())

    assert wire(recorded(balanced)) == wire(alone)


@pytest.mark.parametrize("failing", ["reset", "503", "early 503"])
@pytest.mark.parametrize("name", EVERY)
def test_a_second_try_gets_the_whole_body_or_there_is_none(name: str, failing: str) -> None:
    got: list[bytes] = []

    def bad(peer: Peer) -> None:
        if failing == "early 503":
            peer.hear(1000)
        else:
            data = b""
            while not _whole(data):
                data += peer.connection.recv(1 << 20)
        if failing != "reset":
            peer.say("HTTP/1.1 503 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        peer.abort()

    def good(request: Got) -> Told:
        got.append(request.body)
        return Told(b"well")

    with serving(bad) as (first, _), answering(good) as second:
        calm = {"consecutive": 0, "success_rate": 0}
        balancer = balancer_of(f"http://{first}", second, strategy="round_robin", ejection=calm)
        ends: list[object] = []
        with session_of(balancer) as session:
            for _ in range(2):  # one of them goes to the bad one first
                try:
                    ends.append(session.put("http://inventory/", **EVERY[name]()).status_code)
                except requests.ConnectionError as error:
                    ends.append(type(error))
    assert in_flight(balancer) == 0
    assert len(set(map(len, got))) == 1
    assert len(got) == ends.count(200) == (2 if name in REPLAYED else 1)


@pytest.mark.parametrize("name", EVERY)
def test_what_was_not_begun_goes_to_another_replica_whatever_it_is(name: str) -> None:
    got: list[bytes] = []

    def good(request: Got) -> Told:
        got.append(request.body)
        return Told(b"well")

    with answering(good) as url:
        balancer = balancer_of(f"http://127.0.0.1:{free_port()}", url, strategy="round_robin")
        with session_of(balancer) as session:
            assert [session.post("http://inventory/", **EVERY[name]()).text for _ in range(2)] == ["well"] * 2
    assert len(set(map(len, got))) == 1


def test_a_pipe_is_sent_once() -> None:
    with answering(lambda got: Told(got.body)) as url, ExitStack() as stack:
        reader, writer = os.pipe()
        with os.fdopen(writer, "wb") as end:
            end.write(b"through a pipe")
        source = stack.enter_context(os.fdopen(reader, "rb"))
        session = stack.enter_context(session_of(balancer_of(url)))
        assert session.put("http://inventory/", data=source).text == "through a pipe"


def test_what_a_body_s_source_raises_is_nobody_else_s_fault() -> None:
    def source() -> Iterator[bytes]:
        yield b"x"
        raise ConnectionResetError("where it came from")

    with answering(lambda got: Told(got.body)) as url:
        balancer = balancer_of(url)
        with session_of(balancer) as session, pytest.raises(requests.ConnectionError, match="where it came from"):
            session.put("http://inventory/", data=source())
    assert state_of(balancer)[0]["failures"] == in_flight(balancer) == 0


def test_a_redirect_sends_the_body_again(tmp_path: Path) -> None:
    def answer(got: Got) -> Told:
        if got.path == "/in":
            return Told(status=307, headers=(("Location", "/out"),))
        return Told(got.body)

    path = tmp_path / "body"
    path.write_bytes(WHOLE)
    with answering(answer) as url, session_of(balancer_of(url)) as session, path.open("rb") as file:
        assert session.put("http://inventory/in", data=file).content == WHOLE


# -- time


def slowly() -> Iterator[bytes]:
    for _ in range(25):
        time.sleep(0.05)  # much less than an attempt may stand still
        yield b"x" * 1000


def test_an_upload_that_makes_progress_is_not_ended_by_the_attempt_s_time() -> None:
    with answering(lambda got: Told(str(len(got.body)).encode())) as url:
        balancer = balancer_of(url, attempt_timeout=1.0, timeout=1.1)
        with session_of(balancer) as session:
            assert session.post("http://inventory/", data=slowly()).text == "25000"
            with deadline(0.3), pytest.raises(DeadlineExceeded):
                session.post("http://inventory/", data=slowly())
    assert in_flight(balancer) == 0


@pytest.mark.parametrize("data", [b"x" * 30_000_000, "x" * 30_000_000])
def test_an_upload_that_a_replica_does_not_take_ends(data: bytes | str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # connects, and reads nothing
        balancer = balancer_of(f"http://127.0.0.1:{deaf.getsockname()[1]}", attempt_timeout=0.3)
        with session_of(balancer) as session, pytest.raises(requests.ConnectionError, match="timed out"):
            session.post("http://inventory/", data=data)
    assert in_flight(balancer) == 0
    assert state_of(balancer)[0]["failures"] == 1
