"""A replica as a program of its own, on bare sockets: what it does with a request is in the request's path.

``python replica_program.py PORT [CONDUCT]``: with a conduct, it does that with every request but those of the journal.
It says "ready" when it listens, and ends when its standard input is closed.
"""

import asyncio
import hashlib
import json
import os
import socket
import struct
import sys
import threading
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

BLOCK = bytes(range(256)) * 256  # 64 KiB
JOURNAL = {"requests": [], "cut": 0, "connections": 0}
GATE = asyncio.Event()


class Request:
    def __init__(self, head: bytes, reader: asyncio.StreamReader) -> None:
        self.head = head.decode("latin-1")
        self.method, self.target, _ = self.head.partition("\r\n")[0].split(" ")
        lines = [line.partition(": ") for line in self.head.split("\r\n")[1:] if line]
        self.headers = {name.lower(): value for name, _, value in lines}
        url = urlsplit(self.target)
        self.path = url.path
        self.query = {name: values[0] for name, values in parse_qs(url.query).items()}
        self._reader = reader

    async def body(self) -> AsyncIterator[bytes]:
        """The parts of the body; one that is cut off is told in the journal."""
        try:
            async for part in self._parts():
                yield part
        except (asyncio.IncompleteReadError, ConnectionError):
            JOURNAL["cut"] += 1
            raise

    async def closed(self) -> None:
        """Wait until the other end has gone."""
        while await self._reader.read(65536):
            pass
        raise ConnectionError

    async def _parts(self) -> AsyncIterator[bytes]:
        left = int(self.headers.get("content-length", 0))
        while left:
            part = await self._reader.read(min(left, 262144))
            if not part:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(part)
            yield part
        chunked = self.headers.get("transfer-encoding") == "chunked"
        while chunked:
            size = int((await self._reader.readuntil(b"\r\n"))[:-2], 16)
            part = await self._reader.readexactly(size + 2)
            if not size:
                return
            yield part[:-2]


class Answer:
    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def raw(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def whole(self, body: bytes, status: str = "200 OK", *headers: str) -> None:
        lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""]
        await self.raw("\r\n".join(lines).encode("latin-1") + body)

    def end(self) -> None:
        """Send no more."""
        self._writer.write_eof()

    def reset(self) -> None:
        connection: socket.socket = self._writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


async def echo(request: Request, answer: Answer) -> None:
    digest, size = hashlib.sha256(), 0
    async for part in request.body():
        digest.update(part)
        size += len(part)
    told = {
        "head": request.head,
        "target": request.target,
        "size": size,
        "digest": digest.hexdigest(),
        "pid": os.getpid(),
    }
    odd = ["Content-Type: text/x-own", *(["X-B: caf\xe9"] if "odd" in request.query else [])]
    await answer.whole(json.dumps(told).encode(), "200 OK", "Set-Cookie: a=1", "Set-Cookie: b=2; Path=/", *odd)


async def download(request: Request, answer: Answer) -> None:
    size, chunked = int(request.query["size"]), "chunked" in request.query
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
    await answer.raw(f"HTTP/1.1 200 OK\r\nContent-Type: application/x-own\r\n{framing}\r\n\r\n".encode())
    for at in range(0, size, len(BLOCK)):
        part = BLOCK[: size - at]
        await answer.raw(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
    if chunked:
        await answer.raw(b"0\r\nX-Sum: 1\r\n\r\n")


async def events(request: Request, answer: Answer) -> None:
    """An event at once, and the next when ``/go`` is asked for."""
    GATE.clear()
    close = b"Connection: close\r\n" if "close" in request.query else b""
    kind = b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
    await answer.raw(b"HTTP/1.1 200 OK\r\n" + kind + close + b"\r\n")
    await answer.raw(b"9\r\ndata: 1\n\n\r\n")
    await GATE.wait()
    await answer.raw(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")


async def go(request: Request, answer: Answer) -> None:
    GATE.set()
    await answer.whole(b"gone")


async def hang(request: Request, answer: Answer) -> None:
    await request.closed()


async def reset(request: Request, answer: Answer) -> None:
    answer.reset()


async def late_reset(request: Request, answer: Answer) -> None:
    async for _ in request.body():
        pass
    answer.reset()


async def half(request: Request, answer: Answer) -> None:
    chunked = "chunked" in request.query
    framing = "Transfer-Encoding: chunked" if chunked else "Content-Length: 1000"
    await answer.raw(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n".encode() + (b"4\r\nhalf\r\n" if chunked else b"half"))
    raise ConnectionError


async def stall(request: Request, answer: Answer) -> None:
    """The beginning of a body, and no end of it as long as the other side waits."""
    await answer.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
    await request.closed()


async def nothing(request: Request, answer: Answer) -> None:
    """A head, and nothing of the body that it announces."""
    await answer.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    raise ConnectionError


async def busy(request: Request, answer: Answer) -> None:
    async for _ in request.body():
        pass
    await answer.whole(b"busy", "503 Service Unavailable")


async def early(request: Request, answer: Answer) -> None:
    """An answer before the body was read; what is still sent is read, as else a reset would take the answer away."""
    await answer.whole(b"too large", "413 Content Too Large", "Connection: close")
    answer.end()
    await request.closed()


async def status(request: Request, answer: Answer) -> None:
    code = request.path.rpartition("/")[2]
    if code in ("204", "304"):
        await answer.raw(f"HTTP/1.1 {code} Told\r\nETag: x\r\n\r\n".encode())
    else:
        await answer.whole(b"" if request.method == "HEAD" else b"body", f"{code} Told")


async def head(request: Request, answer: Answer) -> None:
    await answer.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n")


async def redirect(request: Request, answer: Answer) -> None:
    await answer.whole(b"", "302 Found", f"Location: {request.query['to']}")


RAW = {
    "/garbage": b"\x00\x01 this is no http\r\n\r\n",
    "/bad-header": b"HTTP/1.1 200 OK\r\nX-A: a\x00b\r\nContent-Length: 0\r\n\r\n",
    "/bad-name": b"HTTP/1.1 200 OK\r\nX A: 1\r\nContent-Length: 0\r\n\r\n",
    "/two-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "/odd-status": b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
    "/upgrade": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: odd\r\nConnection: Upgrade\r\n\r\n",
    "/hints": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "/busy-events": b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/event-stream\r\n"
    b"Content-Length: 9\r\n\r\ndata: 1\n\n",
    "/repeated": b"HTTP/1.1 200 OK\r\nX-A: a\r\nX-A: b\r\nContent-Length: 0\r\n\r\n",
    "/trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
    b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
    "/hop": b"HTTP/1.1 200 OK\r\nConnection: X-Own, close\r\nX-Own: 1\r\nKeep-Alive: timeout=5\r\n"
    b"Proxy-Authenticate: Basic\r\nX-Kept: 1\r\nContent-Length: 0\r\n\r\n",
}
PATHS = {
    "/download": download,
    "/events": events,
    "/go": go,
    "/hang": hang,
    "/reset": reset,
    "/late-reset": late_reset,
    "/half": half,
    "/stall": stall,
    "/busy": busy,
    "/nothing": nothing,
    "/early": early,
    "/head": head,
    "/redirect": redirect,
}


async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conduct: str) -> None:
    request, answer = Request(await reader.readuntil(b"\r\n\r\n"), reader), Answer(writer)
    if request.path == "/journal":
        await answer.whole(json.dumps(JOURNAL).encode())
        return
    JOURNAL["requests"].append(f"{request.method} {request.target}")
    path = conduct or request.path
    if path in RAW:
        async for _ in request.body():
            pass
        await answer.raw(RAW[path])
    elif path.startswith("/status/"):
        await status(request, answer)
    else:
        await PATHS.get(path, echo)(request, answer)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, conduct: str) -> None:
    JOURNAL["connections"] += 1
    try:
        while True:
            await serve_one(reader, writer, conduct)
    except (asyncio.IncompleteReadError, ConnectionError, ValueError):
        pass
    finally:
        JOURNAL["connections"] -= 1
        writer.close()


async def main(port: int, conduct: str) -> None:
    server = await asyncio.start_server(lambda r, w: serve(r, w, conduct), "127.0.0.1", port, limit=2**20)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""))
