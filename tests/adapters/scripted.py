"""Replicas in threads of this process, that remember what they receive and answer by a plan, request by request."""

import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Seen(NamedTuple):
    """A request as it arrived; `headers` by names in lower case, `body` None if it did not come to its end."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes | None


class Request(BaseHTTPRequestHandler):
    """One connection of a replica's, and what a plan can do with the request that has been read."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    replica: "Scripted"

    def setup(self) -> None:
        self.replica.connections += 1
        super().setup()

    def handle(self) -> None:
        with suppress(OSError):
            super().handle()

    def finish(self) -> None:
        with suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None: ...

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _serve(self) -> None:
        replica = self.replica
        act = replica.plan.popleft() if replica.plan else replica.act
        body = None if getattr(act, "unread", False) else self._body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        replica.seen.append(Seen(self.command, self.path, headers, body))
        act(self)

    def _body(self) -> bytes | None:
        if self.headers.get("Transfer-Encoding") != "chunked":
            size = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(size)
            return body if len(body) == size else None
        parts = []
        while size := int(self.rfile.readline() or b"0", 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def say(self, text: str | bytes) -> None:
        self.wfile.write(text.encode("latin-1") if isinstance(text, str) else text)
        self.wfile.flush()

    def answer(self, status: int = 200, body: bytes = b"ok", *headers: str) -> None:
        head = "".join(f"{line}\r\n" for line in headers)
        self.say(f"HTTP/1.1 {status} As told\r\n{head}Content-Length: {len(body)}\r\n\r\n")
        if self.command != "HEAD":
            self.say(body)


Act = Callable[[Request], object]


def answering(status: int = 200, body: bytes = b"ok", *headers: str) -> Act:
    return lambda request: request.answer(status, body, *headers)


def reset(request: Request) -> None:
    """Reset the connection."""
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.connection.close()
    request.close_connection = True


def refuse_unread(request: Request) -> None:
    """Answer 503 without reading the body, and close."""
    request.answer(503, b"busy", "Connection: close")
    request.close_connection = True


refuse_unread.unread = True  # type: ignore[attr-defined]


def half(request: Request) -> None:
    """Break off in the middle of the body."""
    request.say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of")
    request.connection.shutdown(socket.SHUT_RDWR)
    request.close_connection = True


def hang(request: Request) -> None:
    """Never answer."""
    request.replica.released.wait()
    request.close_connection = True


class Scripted:
    """A replica.

    Attributes:
        url: where it listens.
        seen: the requests it has received.
        plan: what to do with the next ones; then, with all others, `act`.
        connections: how many were opened.
        names: TLS names that were asked for.
        released: set when what hangs is to end.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.seen: list[Seen] = []
        self.plan: deque[Act] = deque()
        self.act: Act = answering()
        self.connections = 0
        self.names: list[str | None] = []
        self.released = threading.Event()
        handler = type("Handler", (Request,), {"replica": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self.port = int(self._server.server_address[1])
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"
        if tls:
            tls.sni_callback = lambda _socket, name, _context: self.names.append(name)  # type: ignore[assignment]
            self._server.tls = tls
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def stop(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    tls: ssl.SSLContext | None = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.tls:
            try:
                request = self.tls.wrap_socket(request, server_side=True)
            except (ssl.SSLError, OSError):  # the client did not like the certificate
                return
        with request:
            super().finish_request(request, client_address)


@contextmanager
def scripted(count: int = 1, tls: ssl.SSLContext | None = None) -> Iterator[list[Scripted]]:
    """`count` replicas, until the end of the block."""
    with ExitStack() as stack:
        replicas = []
        for _ in range(count):
            replicas.append(Scripted(tls))
            stack.callback(replicas[-1].stop)
        yield replicas
