"""A server in threads of this process, for what a replica process does not do: the answers are a function's."""

import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import trustme

Write = Callable[[bytes], object]


@dataclass
class Got:
    """A request as the server got it."""

    method: str
    path: str
    headers: Message
    body: bytes


@dataclass
class Told:
    """What the server answers; `stream` writes the body as it likes, and the connection is closed after it."""

    body: bytes = b""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    stream: Callable[[Write], object] | None = None


Answer = Callable[[Got], Told]


def tell(got: Got) -> Told:
    """Answers what it was asked, as JSON."""
    told = {"path": got.path, "headers": dict(got.headers.items()), "body": got.body.decode("latin-1")}
    return Told(json.dumps(told).encode())


@contextmanager
def answering(answer: Answer, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """The url of a server that answers every request by `answer`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle_any(self) -> None:
            told = answer(Got(self.command, self.path, self.headers, _body(self)))
            self.send_response(told.status)
            for name, value in told.headers:
                self.send_header(name, value)
            if told.stream is None:
                self.send_header("Content-Length", str(len(told.body)))
            else:
                self.close_connection = True
            self.end_headers()
            self.wfile.write(told.body)
            if told.stream is not None:
                told.stream(self.wfile.write)

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815  http.server's names

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, *_: object) -> None:
            pass  # the client has gone

    server = Server(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.socket.close()


def _body(handler: BaseHTTPRequestHandler) -> bytes:
    if handler.headers.get("Transfer-Encoding") != "chunked":
        return handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
    body = b""
    while size := int(handler.rfile.readline(), 16):
        body += handler.rfile.read(size)
        handler.rfile.readline()
    handler.rfile.readline()
    return body


def certified(ca: trustme.CA, *names: str) -> ssl.SSLContext:
    """The context of a server with a certificate for `names`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(*names).configure_cert(context)
    return context
