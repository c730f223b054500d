"""Websockets at or below a route's prefix: one to the client, one to a replica, and what passes between them."""

import asyncio

import aiohttp
from aiohttp import ClientWebSocketResponse, WSMsgType

from balancemw.forward import Field, Match, Refused, response_head, trouble
from balancemw.reply import Reply
from balancemw_starlette.asgi import Receive, Scope, Send, give
from balancemw_starlette.handshake import Declined, Handshake
from balancemw_starlette.passage import Passage
from balancemw_starlette.sessions import Sessions

_LONGEST = 16 * 1024 * 1024  # bytes of a message, as uvicorn has it
_DENIAL = "websocket.http.response"
_OVER, _GOING_AWAY, _NO_CODE, _BROKEN = 1000, 1001, 1005, 1011


async def serve(sessions: Sessions, match: Match, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve a websocket of a client with one to a replica."""
    await receive()  # ``websocket.connect``: nothing may be answered before
    try:
        passage = Passage(match, scope)
    except Refused as refused:
        await _deny(refused.problem, scope, receive, send)
        return
    handshake = Handshake()
    try:
        with handshake:
            replica = await _connect(sessions, passage)
        accepted = _accepted(passage, handshake)
    except Declined as declined:
        await _decline(declined, passage, send)
        return
    except Exception as error:
        problem = trouble(error)
        if problem is None:
            raise
        await _deny(problem, scope, receive, send)
        return
    try:
        await send({"type": "websocket.accept", "subprotocol": replica.protocol, "headers": accepted})
        await _Talk(replica, receive, send).run()
    finally:
        await replica.close(code=_GOING_AWAY)


async def _connect(sessions: Sessions, passage: Passage) -> ClientWebSocketResponse:
    return await (await sessions.here()).ws_connect(
        passage.url,
        protocols=passage.scope.get("subprotocols", ()),
        headers=passage.headers,
        max_msg_size=_LONGEST,
        compress=0,
    )


def _accepted(passage: Passage, handshake: Handshake) -> list[Field]:
    """What of the replica's answer to the handshake is for the client."""
    response = handshake.response
    if response is None:
        return []
    fields = response_head(200, response.raw_headers, passage.outside(response))
    return [(name, value) for name, value in fields if not name.startswith((b"sec-websocket-", b"content-"))]


async def refuse(problem: Reply, scope: Scope, receive: Receive, send: Send) -> None:
    """An app, but for its first argument, that accepts no websocket, because of `problem`."""
    await receive()  # ``websocket.connect``: nothing may be answered before
    await _deny(problem, scope, receive, send)


async def _deny(problem: Reply, scope: Scope, receive: Receive, send: Send) -> None:
    if _DENIAL in scope.get("extensions", {}):
        await give(problem, scope, receive, send, prefix="websocket.http")
    else:
        await send({"type": "websocket.close", "code": _BROKEN})


async def _decline(declined: Declined, passage: Passage, send: Send) -> None:
    """Give the replica's refusal to the client, where the server has a way to."""
    response = declined.response
    if _DENIAL not in passage.scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": _BROKEN})
        return
    fields = response_head(response.status, response.raw_headers, passage.outside(response))
    gone = (b"content-length",) if declined.body else (b"content-length", b"content-type", b"content-encoding")
    fields = [(name, value) for name, value in fields if name not in gone]
    length = (b"content-length", str(len(declined.body)).encode())
    await send({"type": "websocket.http.response.start", "status": response.status, "headers": [*fields, length]})
    await send({"type": "websocket.http.response.body", "body": declined.body})


class _Talk:
    """What two websockets say to each other, until one of them ends."""

    def __init__(self, replica: ClientWebSocketResponse, receive: Receive, send: Send) -> None:
        self._replica = replica
        self._receive = receive
        self._send = send
        self._left = False  # whether the client has ended it

    async def run(self) -> None:
        listener = asyncio.create_task(self._from_client())
        try:
            await self._from_replica()
            if not self._left:
                listener.cancel()
            await asyncio.wait((listener,))
        finally:
            listener.cancel()
        if not listener.cancelled():
            listener.result()

    async def _from_client(self) -> None:
        code, reason = _BROKEN, ""
        try:
            while (message := await self._receive())["type"] != "websocket.disconnect":
                text = message.get("text")
                if text is None:
                    await self._replica.send_bytes(message.get("bytes") or b"")
                else:
                    await self._replica.send_str(text)
            code, reason = message.get("code", _NO_CODE), message.get("reason") or ""
            self._left = True
        except (aiohttp.ClientError, ConnectionError):
            return  # the replica has gone: whoever listens to it tells the client
        finally:
            await self._replica.close(code=_sendable(code, _GOING_AWAY), message=reason.encode())

    async def _from_replica(self) -> None:
        while True:
            message = await self._replica.receive()
            if message.type is WSMsgType.TEXT:
                told = {"type": "websocket.send", "text": message.data}
            elif message.type is WSMsgType.BINARY:
                told = {"type": "websocket.send", "bytes": bytes(message.data)}
            elif message.type is WSMsgType.CLOSE:
                code = _sendable(int(message.data or _NO_CODE), _BROKEN)
                told = {"type": "websocket.close", "code": code, "reason": message.extra or ""}
            else:
                told = {"type": "websocket.close", "code": _BROKEN}
            if self._left:
                return
            try:
                await self._send(told)
            except OSError:  # the client has gone, which the other direction hears of
                self._left = True
            if self._left or told["type"] == "websocket.close":
                return


def _sendable(code: int, otherwise: int) -> int:
    """`code` if it may stand in a close frame (RFC 6455, 7.4), or what comes nearest."""
    if code == _NO_CODE:
        return _OVER
    return code if (code in range(1000, 1015) and code not in (1004, 1006)) or code in range(3000, 5000) else otherwise
