"""A replica as a program of its own: answers its name, or fails in the way it was told on standard input.

It appends a line ``ID METHOD TARGET`` to its journal, unbuffered, as soon as it has read a request's head, so that what
it received is known even when it is killed the moment after. It ends when its standard input is closed.
"""

import asyncio
import os
import socket
import struct
import sys
import threading
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit


@dataclass
class Conduct:
    """What the replica does with a request that it has read."""

    kind: str = "answer"
    value: float = 0.0


class Replica:
    def __init__(self, name: str, journal: int) -> None:
        self.name = name.encode()
        self.journal = journal
        self.conduct = Conduct()

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
        method, target, _ = head.partition("\r\n")[0].split(" ")
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
        marker = headers.get("x-id") or parse_qs(urlsplit(target).query).get("id", ["-"])[0]
        os.write(self.journal, f"{marker} {method} {target}\n".encode())
        await reader.readexactly(int(headers.get("content-length", 0)))
        return await self.conclude(reader, writer, keep=headers.get("connection") != "close")

    async def conclude(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, keep: bool) -> bool:
        conduct = self.conduct
        if conduct.kind == "hang":
            await reader.read()  # until the client gives up
            return False
        if conduct.kind == "reset":
            connection: socket.socket = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return False
        if conduct.kind == "slow":
            await asyncio.sleep(conduct.value)
        status = int(conduct.value) if conduct.kind == "status" else 200
        head = f"HTTP/1.1 {status} As told\r\nContent-Type: text/plain\r\nContent-Length: {len(self.name)}\r\n"
        body = self.name[: len(self.name) // 2] if conduct.kind == "half" else self.name
        writer.write(head.encode() + (b"\r\n" if keep else b"Connection: close\r\n\r\n") + body)
        await writer.drain()
        return keep and conduct.kind != "half"


def obey(replica: Replica) -> None:
    """Take orders, one line each: a kind of conduct and a number."""
    for line in sys.stdin:
        kind, value = line.split()
        replica.conduct = Conduct(kind, float(value))
        print("done", flush=True)
    os._exit(0)


async def main(name: str, port: int, journal: str) -> None:
    replica = Replica(name, os.open(journal, os.O_CREAT | os.O_APPEND | os.O_WRONLY))
    server = await asyncio.start_server(replica.serve, "127.0.0.1", port, backlog=1024)
    threading.Thread(target=obey, args=(replica,), daemon=True).start()
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
