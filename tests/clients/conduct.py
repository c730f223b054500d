"""What a replica does with a request: the usual answers, and the ways to fail."""

import gzip
import threading
import zlib
from collections.abc import Callable, Iterable

from tests.clients.replica import Conduct, Peer, Request

PHRASES = {200: "OK", 204: "No Content", 304: "Not Modified"}
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it"


def head_of(status: int, fields: Iterable[str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {PHRASES.get(status, 'As Told')}", *fields]
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1") + b"\r\n"


def answer(status: int = 200, body: bytes = b"", *fields: str) -> Conduct:
    """Read the request, answer it; ``Content-Length`` goes without saying."""
    told = any(field.lower().startswith(("content-length:", "transfer-encoding:")) for field in fields)
    length = () if told or status in (204, 304) else (f"Content-Length: {len(body)}",)

    def conduct(peer: Peer, request: Request) -> None:
        peer.listen(request)
        peer.say(head_of(status, (*fields, *length)) + (b"" if request.method == "HEAD" else body))
        if "Connection: close" in fields:
            peer.finish()

    return conduct


def redirect(location: str, status: int = 302, *fields: str) -> Conduct:
    return answer(status, b"", f"Location: {location}", *fields)


def chunked(*chunks: bytes, fields: Iterable[str] = ()) -> Conduct:
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))
    return answer(200, body, "Transfer-Encoding: chunked", *fields)


def gzipped(body: bytes, *fields: str) -> Conduct:
    return answer(200, gzip.compress(body), "Content-Encoding: gzip", *fields)


def deflated(body: bytes, *fields: str) -> Conduct:
    return answer(200, zlib.compress(body), "Content-Encoding: deflate", *fields)


def says(*parts: bytes) -> Conduct:
    """Read the request, say exactly this, close."""

    def conduct(peer: Peer, request: Request) -> None:
        peer.listen(request)
        for part in parts:
            peer.say(part)
        peer.finish()

    return conduct


def informs(first: bytes, then: Conduct) -> Conduct:
    """Say something before the body is read, then answer."""

    def conduct(peer: Peer, request: Request) -> None:
        peer.say(first)
        then(peer, request)

    return conduct


def drips(gate: threading.Event, first: bytes, second: bytes) -> Conduct:
    """Send the second half of the body only when the gate opens."""

    def conduct(peer: Peer, request: Request) -> None:
        peer.listen(request)
        peer.say(head_of(200, [f"Content-Length: {len(first) + len(second)}"]) + first)
        if gate.wait(30):
            peer.say(second)

    return conduct


def waits(gate: threading.Event, then: Conduct) -> Conduct:
    """Answer when the gate opens."""

    def conduct(peer: Peer, request: Request) -> None:
        peer.listen(request)
        if gate.wait(30):
            then(peer, request)

    return conduct


def depending(choose: Callable[[Request], Conduct]) -> Conduct:
    """Answer by what was asked."""

    def conduct(peer: Peer, request: Request) -> None:
        peer.listen(request)
        choose(request)(peer, request)

    return conduct


# -- failures


def resets_at_once(peer: Peer, request: Request) -> None:
    """Before reading a byte of the body."""
    peer.reset()


def resets_after(peer: Peer, request: Request) -> None:
    """After reading the whole request."""
    peer.listen(request)
    peer.reset()


def resets_halfway(peer: Peer, request: Request) -> None:
    """In the middle of a body that is larger than what the system keeps for it."""
    peer.hear_part(request, 100_000)
    peer.reset()


def closes(peer: Peer, request: Request) -> None:
    """After reading the whole request, without an answer."""
    peer.listen(request)
    peer.finish()


def hangs(peer: Peer, request: Request) -> None:
    """Read everything, and answer nothing until the client gives up."""
    peer.listen(request)
    peer.open = False
    peer.drain()


def refuses_early(peer: Peer, request: Request) -> None:
    """503 before reading the body, which is thrown away."""
    peer.say(head_of(503, ["Content-Length: 0", "Connection: close"]))
    peer.finish()


breaks_off = says(HALF)
talks_nonsense = says(b"\0\xff nonsense\r\n\r\n")
