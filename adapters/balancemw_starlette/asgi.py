"""The words of ASGI, and the answer that is given in the app's place."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from balancemw.inbound import Problem

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


async def give(problem: Problem, scope: Scope, _: Receive, send: Send, *, prefix: str = "http") -> None:
    """An app, but for its first argument, that answers with `problem`; `prefix` is that of the messages' types."""
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in problem.headers]
    await send({"type": f"{prefix}.response.start", "status": int(problem.status), "headers": headers})
    body = b"" if scope.get("method") == "HEAD" else problem.body
    await send({"type": f"{prefix}.response.body", "body": body})
