"""Apps that say of themselves when they go: for WSGI and ASGI servers, and on Django. They write down what they did.

Every request is answered with the process id. ``X-Id`` goes to the journal when the work is done, and ``/slow`` takes a
second for it.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import balancemw
from balancemw_starlette import BalanceMiddleware as ASGIMiddleware
from balancemw_werkzeug import BalanceMiddleware as WSGIMiddleware

SETTINGS = {
    "services": {},
    "inbound": {"health_path": "/healthz", "drain_seconds": float(os.environ.get("DRAIN_SECONDS", "1"))},
}


def note(marker: str) -> None:
    """Write down that a request has been carried out."""
    if "JOURNAL" in os.environ:
        journal = os.open(os.environ["JOURNAL"], os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        os.write(journal, f"{marker}\n".encode())
        os.close(journal)


def _wsgi(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/drain":
        balancemw.drain("asked by the test")
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    time.sleep(1.0 if environ["PATH_INFO"] == "/slow" else 0.01)
    note(environ.get("HTTP_X_ID", "-"))
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return (chunk for chunk in [body]) if environ["PATH_INFO"] == "/stream" else [body]


async def _asgi(scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/drain":
        balancemw.drain("asked by the test")
    while (await receive()).get("more_body"):
        pass
    await asyncio.sleep(1.0 if scope["path"] == "/slow" else 0.01)
    note(dict(scope["headers"]).get(b"x-id", b"-").decode())
    body = str(os.getpid()).encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


wsgi = WSGIMiddleware(_wsgi, settings=SETTINGS)
asgi = ASGIMiddleware(_asgi, settings=SETTINGS)


if __name__ == "__main__":  # werkzeug's own server
    import sys

    from werkzeug.serving import run_simple

    run_simple("127.0.0.1", int(sys.argv[1]), wsgi, threaded=True)
