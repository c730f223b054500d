"""A replica that does as it is told, byte for byte, and records what it received."""

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

STEP = 65536


@dataclass
class Request:
    """One request as it came over the wire.

    Attributes:
        connection: on which of the replica's connections, counted from 1.
        head: as sent, without the empty line that ends it.
        body: what was read of it, chunks joined.
        complete: it was read to its end.
    """

    connection: int
    head: bytes
    body: bytes = b""
    complete: bool = False

    @property
    def method(self) -> str:
        return self.head.split(b" ", 1)[0].decode()

    @property
    def target(self) -> str:
        return self.head.split(b"\r\n", 1)[0].split(b" ")[1].decode("latin-1")

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def fields(self) -> list[tuple[str, str]]:
        """Header fields in their order and case."""
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]

    def all(self, name: str) -> list[str]:
        return [value for each, value in self.fields if each.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        return ", ".join(self.all(name)) if self.all(name) else None


class Gone(Exception):
    """The client has closed or reset the connection."""


class Peer:
    """The replica's end of one connection.

    Attributes:
        open: whether another request may follow.
        over: set when the connection has ended, whoever ended it.
    """

    def __init__(self, connection: socket.socket, number: int) -> None:
        self.socket, self.number, self.open = connection, number, True
        self.over = threading.Event()
        self._buffer = b""

    def hear(self) -> Request | None:
        """The head of the next request; None when the client closes instead."""
        while b"\r\n\r\n" not in self._buffer:
            if not self._more():
                return None
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        return Request(self.number, head)

    def listen(self, request: Request) -> None:
        """Read the whole body of the request, unless that is done."""
        if request.complete:
            return
        if (request.get("Transfer-Encoding") or "").lower() == "chunked":
            while chunk := self.chunk():
                request.body += chunk
        else:
            self.hear_part(request, int(request.get("Content-Length") or 0))
        request.complete = True

    def hear_part(self, request: Request, size: int) -> None:
        """Read the body up to `size` bytes."""
        while len(request.body) < size:
            request.body += self._take(min(size - len(request.body), STEP), least=1)

    def chunk(self) -> bytes:
        """The next chunk of a chunked body; empty: it was the last."""
        size = int(self._line(), 16)
        chunk = self._take(size)
        self._line()
        return chunk

    def say(self, data: bytes) -> None:
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise Gone from error

    def finish(self) -> None:
        """Close in the way that lets the client read what was said: after it has closed too."""
        self.open = False
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
        self.drain()

    def drain(self) -> None:
        """Read on until the client closes."""
        self._buffer = b""
        while self._more():
            self._buffer = b""

    def reset(self) -> None:
        """Break the connection off without a word."""
        self.open = False
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def _more(self) -> bool:
        try:
            data = self.socket.recv(STEP)
        except OSError:
            return False
        self._buffer += data
        return bool(data)

    def _take(self, size: int, least: int | None = None) -> bytes:
        """`size` bytes, or as many as there are once there are `least`."""
        while len(self._buffer) < (size if least is None else least):
            if not self._more():
                raise Gone
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            if not self._more():
                raise Gone
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line


# What a replica does with a request whose head it has read.
Conduct = Callable[[Peer, Request], object]


@dataclass
class Replica:
    """A server of one thread per connection.

    Attributes:
        host, port: where it listens.
        requests: all whose head was read, in the order of their coming.
        plan: what to do, by path: one conduct after the other, the last for ever; ``*`` for all other paths.
    """

    listener: socket.socket
    tls: ssl.SSLContext | None = None
    requests: list[Request] = field(default_factory=list)
    plan: dict[str, list[Conduct]] = field(default_factory=dict)
    peers: list[Peer] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def port(self) -> int:
        return self.listener.getsockname()[1]

    @property
    def scheme(self) -> str:
        return "https" if self.tls else "http"

    @property
    def url(self) -> str:
        host = self.listener.getsockname()[0]
        return f"{self.scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def last(self) -> Request:
        return self.requests[-1]

    def on(self, path: str, *conducts: Conduct) -> None:
        self.plan[path] = list(conducts)

    def asked(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]

    def start(self) -> None:
        self._spawn(self._accept)

    def stop(self) -> None:
        self.closing.set()
        for end in (self.listener, *(peer.socket for peer in self.peers)):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self.listener.close()

    def _spawn(self, target: Callable[..., object], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self.closing.is_set():
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            peer = Peer(connection, len(self.peers) + 1)
            self.peers.append(peer)
            self._spawn(self._serve, peer)

    def _serve(self, peer: Peer) -> None:
        try:
            if self.tls:
                peer.socket = self.tls.wrap_socket(peer.socket, server_side=True)
            while peer.open and (request := peer.hear()):
                conduct = self._conduct(request)
                conduct(peer, request)
        except (Gone, OSError):
            pass
        finally:
            peer.socket.close()
            peer.over.set()

    def _conduct(self, request: Request) -> Conduct:
        with self._lock:
            self.requests.append(request)
            conducts = self.plan.get(request.path) or self.plan["*"]
            return conducts.pop(0) if len(conducts) > 1 else conducts[0]


@contextmanager
def serving(default: Conduct, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> Iterator[Replica]:
    """A replica that does `default` with every request until it is told otherwise."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    replica = Replica(socket.create_server((host, 0), family=family, backlog=128), tls)
    replica.on("*", default)
    replica.start()
    try:
        yield replica
    finally:
        replica.stop()
