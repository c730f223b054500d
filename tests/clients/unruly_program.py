"""Replicas as a program of its own, whose every answer is left to chance, from a seed.

Three of them, on ports of their own, in one process. Each line on standard input is an order: ``behave``, or
``report``, which prints as JSON how often every request was received, received whole, and answered whole. It ends when
its standard input is closed.
"""

import asyncio
import gzip
import json
import os
import random
import socket
import struct
import sys
import threading
from collections import defaultdict

WAYS = {  # of a thousand
    "answer": 700,
    "in chunks": 80,
    "packed": 60,
    "closing": 30,
    "busy": 25,
    "reset early": 15,
    "reset": 15,
    "close": 15,
    "nonsense": 15,
    "half": 15,
    "half a chunk": 10,
    "reset in the body": 10,
    "hang": 5,
    "hang in the body": 5,
}


class Unruly:
    """What all three share: chance, and the record of what they received."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.record: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        self.behaves = False

    def way(self) -> str:
        return "answer" if self.behaves else self.random.choices([*WAYS], [*WAYS.values()])[0]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self.serve_one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):  # the client has gone
            pass
        finally:
            writer.close()

    async def serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request; returns whether the connection stays open."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        name = head.split(" ")[1].strip("/")
        record, way = self.record[name], self.way()
        record[0] += 1
        if way == "reset early":
            reset(writer)
            return False
        await body_of(reader, head.lower())
        record[1] += 1
        said, keep = SPEAK[way](name.encode()) if way in SPEAK else (b"", False)
        writer.write(said)
        await writer.drain()
        if way in ("answer", "in chunks", "packed", "closing"):
            record[2] += 1
        if way in ("reset", "reset in the body"):
            reset(writer)
        elif way in ("hang", "hang in the body"):
            await reader.read()  # until the client gives up
        return keep


async def body_of(reader: asyncio.StreamReader, head: str) -> None:
    fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
    if fields.get("transfer-encoding") != "chunked":
        await reader.readexactly(int(fields.get("content-length", 0)))
        return
    while size := int(await reader.readline(), 16):
        await reader.readexactly(size + 2)
    await reader.readline()


def reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def sized(body: bytes, *fields: str, status: str = "200 OK") -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SPEAK = {
    "answer": lambda name: (sized(name), True),
    "in chunks": lambda name: (CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(name), name), True),
    "packed": lambda name: (sized(gzip.compress(name), "Content-Encoding: gzip"), True),
    "closing": lambda name: (sized(name, "Connection: close"), False),
    "busy": lambda _: (sized(b"busy", status="503 Busy"), True),
    "nonsense": lambda _: (b"\0\xff nonsense\r\n\r\n", False),
    "half": lambda name: (sized(name)[: -len(name) // 2], False),
    "half a chunk": lambda name: (CHUNKED + b"%x\r\n%s" % (len(name) + 9, name), False),
    "reset in the body": lambda name: (sized(name + b"more")[:-4], False),
    "hang in the body": lambda name: (sized(name + b"more")[:-4], False),
}


def obey(unruly: Unruly) -> None:
    for line in sys.stdin:
        if line == "behave\n":
            unruly.behaves = True
        print(json.dumps(unruly.record if line == "report\n" else {}), flush=True)
    os._exit(0)


async def main(seed: int) -> None:
    unruly = Unruly(seed)
    servers = [await asyncio.start_server(unruly.serve, "127.0.0.1", 0, backlog=1024) for _ in range(3)]
    print(json.dumps([server.sockets[0].getsockname()[1] for server in servers]), flush=True)
    threading.Thread(target=obey, args=(unruly,), daemon=True).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
