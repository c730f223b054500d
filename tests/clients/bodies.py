"""Every kind of body that each client takes, and how to tell that a replica received it whole."""

import io
import json
import os
import random
import threading
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlencode

import aiohttp

from tests.clients.replica import Request

TEXT = random.Random(1).randbytes(150_000).hex()  # more than the system keeps for a replica that does not read
BYTES = TEXT.encode()
PARTS = [BYTES[start : start + 50_000] for start in range(0, len(BYTES), 50_000)]
SKIPPED = 1000  # bytes of a file that were read before it was given to the client

Whole = Callable[[Request], bool]


@dataclass
class Material:
    """What bodies are made of; files and pipes are closed with `stack`."""

    directory: Path
    stack: ExitStack

    def file(self, skip: int = 0) -> IO[bytes]:
        path = self.directory / "body"
        path.write_bytes(BYTES)
        file = self.stack.enter_context(path.open("rb"))
        file.seek(skip)
        return file

    def text_file(self) -> IO[str]:
        path = self.directory / "body.txt"
        path.write_text(TEXT)
        return self.stack.enter_context(path.open())

    def pipe(self) -> IO[bytes]:
        """As the output of a process: real, and read once."""
        out, into = os.pipe()

        def fill() -> None:
            with suppress(BrokenPipeError), os.fdopen(into, "wb") as end:
                end.write(BYTES)

        thread = threading.Thread(target=fill)
        thread.start()
        self.stack.callback(thread.join)
        return self.stack.enter_context(os.fdopen(out, "rb"))


class Unseekable(io.RawIOBase):
    """A file without a place to go back to."""

    def __init__(self, data: bytes = BYTES) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._data.readinto(buffer)


def generated() -> Iterator[bytes]:
    yield from PARTS


async def generated_async() -> AsyncIterator[bytes]:
    for part in PARTS:
        yield part


class Iterated:
    """An async iterator that is no generator."""

    def __init__(self) -> None:
        self._parts = iter(PARTS)

    def __aiter__(self) -> "Iterated":
        return self

    async def __anext__(self) -> bytes:
        for part in self._parts:
            return part
        raise StopAsyncIteration


# -- whole?


def is_bytes(request: Request) -> bool:
    return request.body == BYTES


def is_rest(request: Request) -> bool:
    return request.body == BYTES[SKIPPED:]


def is_json(request: Request) -> bool:
    return bool(request.body) and json.loads(request.body) == {"text": TEXT}


def is_form(request: Request) -> bool:
    return request.body == urlencode({"name": "joe", "text": TEXT}).encode()


def is_packed(request: Request) -> bool:
    return bool(request.body) and zlib.decompress(request.body) == BYTES


def is_multipart(request: Request) -> bool:
    """All of the file, all of the other field, and the end."""
    boundary = (request.get("Content-Type") or "").partition("boundary=")[2].strip('"').encode()
    ended = request.body.rstrip().endswith(b"--" + boundary + b"--")
    return bool(boundary) and ended and BYTES in request.body and request.body.count(b"--" + boundary) == 3


@dataclass(frozen=True)
class Body:
    """A kind of body.

    Attributes:
        make: the client's options for it.
        whole: whether a replica received it so.
        resent: it must be sent again when it may be; otherwise it may.
    """

    make: Callable[[Material], dict[str, Any]]
    whole: Whole = is_bytes
    resent: bool = False


def data(make: Callable[[Material], Any], whole: Whole = is_bytes, *, resent: bool = False) -> Body:
    return Body(lambda material: {"content": make(material)}, whole, resent)


COMMON = {
    "bytes": data(lambda _: BYTES, resent=True),
    "text": data(lambda _: TEXT, resent=True),
    "json": Body(lambda _: {"json": {"text": TEXT}}, is_json, resent=True),
    "form": Body(lambda _: {"data": {"name": "joe", "text": TEXT}}, is_form, resent=True),
}


# -- aiohttp


def form_of(value: Callable[[Material], Any]) -> Callable[[Material], dict[str, Any]]:
    def make(material: Material) -> dict[str, Any]:
        form = aiohttp.FormData()
        form.add_field("name", "joe")
        form.add_field("file", value(material), filename="a.txt", content_type="text/plain")
        return {"data": form}

    return make


def writer_of(_: Material) -> dict[str, Any]:
    writer = aiohttp.MultipartWriter("mixed")
    writer.append("joe")
    writer.append(BYTES)
    return {"data": writer}


AIOHTTP = {
    **COMMON,
    "bytearray": data(lambda _: bytearray(BYTES), resent=True),
    "form of pairs": Body(lambda _: {"data": [("name", "joe"), ("text", TEXT)]}, is_form, resent=True),
    "BytesIO": data(lambda _: io.BytesIO(BYTES), resent=True),
    "StringIO": data(lambda _: io.StringIO(TEXT), resent=True),
    "file": data(lambda material: material.file(), resent=True),
    "text file": data(lambda material: material.text_file(), resent=True),
    "file from its middle": data(lambda material: material.file(SKIPPED), is_rest, resent=True),
    "unseekable file": data(lambda _: io.BufferedReader(Unseekable())),
    "pipe": data(lambda material: material.pipe()),
    "async generator": data(lambda _: generated_async()),
    "async iterator": data(lambda _: Iterated()),
    "bytes in chunks": Body(lambda _: {"content": BYTES, "chunked": True}, resent=True),
    "bytes packed": Body(lambda _: {"content": BYTES, "compress": "deflate"}, is_packed, resent=True),
    "file packed": Body(lambda material: {"content": material.file(), "compress": "deflate"}, is_packed, resent=True),
    "multipart of bytes": Body(form_of(lambda _: BYTES), is_multipart, resent=True),
    "multipart of BytesIO": Body(form_of(lambda _: io.BytesIO(BYTES)), is_multipart, resent=True),
    "multipart of a file": Body(form_of(lambda material: material.file()), is_multipart, resent=True),
    "multipart of an unseekable file": Body(form_of(lambda _: io.BufferedReader(Unseekable())), is_multipart),
    "multipart of a pipe": Body(form_of(lambda material: material.pipe()), is_multipart),
    "multipart of an async generator": Body(form_of(lambda _: generated_async()), is_multipart),
    "multipart writer": Body(writer_of, is_multipart, resent=True),
}


# -- requests and httpx


def files(value: Callable[[Material], Any], *, resent: bool = False) -> Body:
    def make(material: Material) -> dict[str, Any]:
        return {"data": {"name": "joe"}, "files": {"file": ("a.txt", value(material), "text/plain")}}

    return Body(make, is_multipart, resent)


REQUESTS = {
    **COMMON,
    "bytearray": data(lambda _: bytearray(BYTES)),
    "form of pairs": Body(lambda _: {"data": [("name", "joe"), ("text", TEXT)]}, is_form, resent=True),
    "BytesIO": data(lambda _: io.BytesIO(BYTES), resent=True),
    "StringIO": data(lambda _: io.StringIO(TEXT), resent=True),
    "file": data(lambda material: material.file(), resent=True),
    "file from its middle": data(lambda material: material.file(SKIPPED), is_rest, resent=True),
    "unseekable file": data(lambda _: io.BufferedReader(Unseekable())),
    "pipe": data(lambda material: material.pipe()),
    "generator": data(lambda _: generated()),
    "iterator": data(lambda _: iter(PARTS)),
    "multipart of bytes": files(lambda _: BYTES, resent=True),
    "multipart of text": files(lambda _: TEXT, resent=True),
    "multipart of BytesIO": files(lambda _: io.BytesIO(BYTES), resent=True),
    "multipart of a file": files(lambda material: material.file(), resent=True),
    "multipart of an unseekable file": files(lambda _: io.BufferedReader(Unseekable()), resent=True),
    "multipart of a pipe": files(lambda material: material.pipe(), resent=True),
}

HTTPX_BOTH = {
    **COMMON,
    "multipart of bytes": files(lambda _: BYTES, resent=True),
    "multipart of text": files(lambda _: TEXT, resent=True),
    "multipart of BytesIO": files(lambda _: io.BytesIO(BYTES), resent=True),
    "multipart of a file": files(lambda material: material.file(), resent=True),
    "multipart of an unseekable file": files(lambda _: io.BufferedReader(Unseekable())),
}

HTTPX_SYNC = {
    **HTTPX_BOTH,
    "BytesIO": data(lambda _: io.BytesIO(BYTES)),
    "file": data(lambda material: material.file()),
    "unseekable file": data(lambda _: io.BufferedReader(Unseekable())),
    "generator": data(lambda _: generated()),
    "iterator": data(lambda _: iter(PARTS)),
    "list of bytes": data(lambda _: PARTS),
}

HTTPX_ASYNC = {
    **HTTPX_BOTH,
    "async generator": data(lambda _: generated_async()),
    "async iterator": data(lambda _: Iterated()),
}

BODIES: dict[str, dict[str, Body]] = {
    "aiohttp": AIOHTTP,
    "requests": REQUESTS,
    "httpx": HTTPX_SYNC,
    "httpx async": HTTPX_ASYNC,
    "httpx2": HTTPX_SYNC,
    "httpx2 async": HTTPX_ASYNC,
}
