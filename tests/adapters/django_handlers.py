"""Requests to Django's own WSGI and ASGI handlers, made anew for each, in this thread."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import IO, Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler

from balancemw.context import REQUEST, current_bound

NONE: Mapping[str, str] = MappingProxyType({})


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: str


class FileWrapper:
    """What a server puts in the place of a body that is a file."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.file = file

    def __iter__(self) -> Iterator[bytes]:
        return iter([b"sent by the server: ", self.file.read()])

    def close(self) -> None:
        self.file.close()


def under_wsgi(
    path: str, headers: Mapping[str, str] = NONE, chunks: int | None = None, *, server_sends_files: bool = False
) -> Answer:
    """Get `path`, reading so many chunks of the body, or all. The handler must keep to WSGI and leave no trace."""
    environ: dict[str, Any] = {"PATH_INFO": path, "SCRIPT_NAME": "", "QUERY_STRING": ""}
    environ |= {"HTTP_" + name.upper().replace("-", "_"): value for name, value in headers.items()}
    setup_testing_defaults(environ)
    if server_sends_files:
        environ["wsgi.file_wrapper"] = FileWrapper
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], Any]:
        started[:] = status, headers
        return lambda _: None

    body = validator(WSGIHandler())(environ, start_response)
    try:
        iterator = iter(body)
        read = list(iterator) if chunks is None else [next(iterator) for _ in range(chunks)]
    finally:
        body.close()
    assert (REQUEST.get(), current_bound()) == (None, None)
    return Answer(int(started[0].split()[0]), lower(started[1]), b"".join(read).decode())


def under_asgi(path: str, headers: Mapping[str, str] = NONE, chunks: int | None = None) -> Answer:
    """Get `path`, going away after so many chunks of the body, or reading all."""
    return asyncio.run(_under_asgi(path, headers, chunks))


async def _under_asgi(path: str, headers: Mapping[str, str], chunks: int | None) -> Answer:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": raw}
    gone = asyncio.Event()
    requests = iter([{"type": "http.request", "body": b""}])
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        for message in requests:
            return message
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        if len(sent) - 1 == chunks:
            gone.set()
            await asyncio.sleep(0.01)

    await ASGIHandler()(scope, receive, send)
    assert (REQUEST.get(), current_bound()) == (None, None)
    head, *body = sent
    read = b"".join(message.get("body", b"") for message in body)
    told = [(name.decode(), value.decode()) for name, value in head["headers"]]
    return Answer(head["status"], lower(told), read.decode())


def lower(headers: list[tuple[str, str]]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers}
