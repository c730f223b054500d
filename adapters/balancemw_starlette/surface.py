"""The admin surface for an ASGI app."""

import asyncio
from http import HTTPStatus

from balancemw.admin import LONGEST_BODY, Admin, Asked
from balancemw_starlette.asgi import Receive, Scope, Send, give

_LINGER = 1.0  # seconds, and
_LEFT_OVER = 4 * LONGEST_BODY  # bytes, for which a client that sends too much may go on until it hears the answer


def path_below_mount(scope: Scope) -> str:
    """The path of a request below where the app is mounted."""
    path, root = str(scope["path"]), str(scope.get("root_path", ""))
    return path[len(root) :] if root and (path + "/").startswith(root + "/") else path


async def serve_admin(admin: Admin, below: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request to the admin surface; `below`: the path below ``admin.path``."""
    query = bytes(scope.get("query_string", b"")).decode("latin-1")
    asked = Asked(scope["method"], below, query, _headers(scope).get)
    reply = admin.gate(asked)
    if reply is None:
        body = await _read(receive) if asked.has_body else b""
        if body is None:
            return
        reply = await asyncio.to_thread(admin.answer, asked, body)  # it takes milliseconds where there are many nodes
    linger = reply.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    await give(reply, scope, receive, send, more=linger)
    if linger:
        await _let_finish(receive)
        await send({"type": "http.response.body", "body": b""})


def _headers(scope: Scope) -> dict[str, str]:
    told: dict[str, str] = {}
    for name, value in scope["headers"]:
        told.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return told


async def _read(receive: Receive) -> bytes | None:
    """The body, or what has come of it when it is too long; None when the client has gone."""
    body = b""
    while len(body) <= LONGEST_BODY:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return body


async def _let_finish(receive: Receive) -> None:
    """Throw away what still comes, for a while: a client whose connection breaks while it sends hears no answer."""
    left = _LEFT_OVER
    try:
        async with asyncio.timeout(_LINGER):
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body"):
                    return
    except TimeoutError:
        pass
