"""A replica that speaks websocket, as a program of its own: what it does with a connection is in the request's path.

``python websocket_program.py PORT``; it says "ready" when it listens, and ends when its standard input is closed.
"""

import asyncio
import json
import os
import sys
import threading
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

ENDS: list[list[object]] = []


def before(connection: ServerConnection, request: Request) -> Response | None:
    path = request.path.partition("?")[0]
    if path == "/denied":
        headers = Headers([("WWW-Authenticate", "Bearer"), ("Content-Type", "text/x"), ("Content-Length", "7")])
        return Response(401, "Unauthorized", headers, b"who are")
    if path == "/moved":
        return Response(302, "Found", Headers([("Location", "/echo"), ("Content-Length", "0")]), b"")
    if path == "/reset":
        connection.transport.abort()
    if path == "/ends":
        body = json.dumps(ENDS).encode()
        return Response(200, "OK", Headers([("Content-Length", str(len(body))), ("Connection", "close")]), body)
    if path == "/busy":
        return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "busy")
    return None


def after(connection: ServerConnection, request: Request, response: Response) -> Response | None:
    response.headers["Set-Cookie"] = "seen=1"
    return None


async def talk(connection: ServerConnection) -> None:
    assert connection.request is not None
    url = urlsplit(connection.request.path)
    query = {name: values[0] for name, values in parse_qs(url.query).items()}
    if url.path == "/headers":
        told = [[name.lower(), value] for name, value in connection.request.headers.raw_items()]
        await connection.send(json.dumps({"target": connection.request.path, "headers": told}))
    if url.path == "/close":
        await connection.close(int(query["code"]), query.get("reason", ""))
    if url.path == "/abort":
        await connection.send("last words")
        connection.transport.abort()
    if url.path == "/ping":
        await (await connection.ping())
        await connection.send("answered")
    if url.path == "/flood":
        for _ in range(int(query["count"])):
            await connection.send(b"x" * 65536)
    try:
        while True:
            await connection.send(await connection.recv())
    except ConnectionClosed:
        ENDS.append([url.path, connection.close_code, connection.close_reason])


async def main(port: int) -> None:
    options = {"process_request": before, "process_response": after, "max_size": 2**24, "compression": None}
    async with serve(talk, "127.0.0.1", port, subprotocols=["chat", "superchat"], select_subprotocol=chosen, **options):
        threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
        print("ready", flush=True)
        await asyncio.Event().wait()


def chosen(connection: ServerConnection, offered: object) -> str | None:
    return "superchat" if "superchat" in list(offered) else None  # type: ignore[call-overload]


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
