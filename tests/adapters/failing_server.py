"""A server that fails in a way of its own: what it does on each connection is a script."""

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import trustme

CA = trustme.CA()
SERVER_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
CA.issue_cert("127.0.0.1").configure_cert(SERVER_TLS)


class Peer:
    """The server's end of a connection; `seen` gets the beginning of every request."""

    def __init__(self, connection: socket.socket, seen: list[bytes], listener: socket.socket) -> None:
        self.connection, self.seen, self.listener = connection, seen, listener

    def hear(self, size: int = 65536) -> None:
        data = self.connection.recv(size)
        if data:
            self.seen.append(data)

    def say(self, text: str) -> None:
        self.connection.sendall(text.encode("latin-1"))

    def hold(self) -> None:
        while self.connection.recv(65536):
            pass

    def abort(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def secure(self) -> None:
        self.connection = SERVER_TLS.wrap_socket(self.connection, server_side=True)

    def strip(self) -> None:
        """Goes on without TLS, and without telling the client."""
        self.connection = socket.socket(fileno=self.connection.detach())


Script = Callable[[Peer], object]


@contextmanager
def serving(script: Script) -> Iterator[tuple[str, list[bytes]]]:
    """``host:port`` of a server that plays `script` on every connection, and the requests it has seen."""
    listener, seen, done = socket.create_server(("127.0.0.1", 0)), list[bytes](), threading.Event()
    host, port = listener.getsockname()

    def serve() -> None:
        while True:
            try:
                peer = Peer(listener.accept()[0], seen, listener)
            except OSError:  # the script closed the listener
                return
            with suppress(OSError):
                if not done.is_set():
                    script(peer)
            peer.connection.close()
            if done.is_set():
                return

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"{host}:{port}", seen
    finally:
        done.set()
        with suppress(OSError):
            socket.create_connection((host, port)).close()  # wakes the server up
        thread.join()
        listener.close()


def steps(*names: str) -> Script:
    """A script out of methods of `Peer` and texts to say."""

    def script(peer: Peer) -> None:
        for name in names:
            getattr(peer, name)() if hasattr(peer, name) else peer.say(name)

    return script


def dies(peer: Peer) -> None:
    """Takes one request and is gone."""
    peer.hear()
    peer.listener.close()
    peer.connection.close()
