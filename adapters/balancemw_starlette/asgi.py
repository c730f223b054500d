"""The words of ASGI, and the answer that is given in the app's place."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from balancemw.reply import Reply

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


async def give(reply: Reply, scope: Scope, _: Receive, send: Send, *, prefix: str = "http", more: bool = False) -> None:
    """An app, but for its first argument, that answers with `reply`.

    Args:
        reply: the answer.
        prefix: that of the messages' types.
        more: whether its end is still to be sent.
    """
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers]
    await send({"type": f"{prefix}.response.start", "status": int(reply.status), "headers": headers})
    body = b"" if scope.get("method") == "HEAD" else reply.body
    await send({"type": f"{prefix}.response.body", "body": body, "more_body": more})
