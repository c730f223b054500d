"""What the sources that are asked by HTTP share."""

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from balancemw.discovery.found import SourceError, reading

LARGEST = 32 * 2**20
"""Bytes of an answer that are read at most."""


@asynccontextmanager
async def within(seconds: float) -> AsyncGenerator[None]:
    """Bounds what is done inside.

    Raises:
        SourceError: it took longer.
    """
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        raise SourceError(f"no answer within {seconds:g} s") from None


async def get(
    session: aiohttp.ClientSession,
    url: str,
    params: Mapping[str, str],
    headers: Mapping[str, str],
    tls: ssl.SSLContext | bool,
) -> aiohttp.ClientResponse:
    """The response with status 200, its body not yet read.

    Raises:
        Status: another status. The body is not shown, since nobody knows what is in it.
    """
    sent = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "balancemw", **headers}
    response = await session.get(url, params=params, headers=sent, ssl=tls, allow_redirects=False)
    if response.status != 200:
        response.close()
        raise Status(response.status, f"{url} answers {response.status} {response.reason or ''}".rstrip())
    return response


class Status(SourceError):
    """The answer had another status than 200.

    Attributes:
        status: which.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


async def read_json(response: aiohttp.ClientResponse, what: str) -> Any:
    """The whole body, which is to be JSON.

    Raises:
        SourceError: it is not, or too long.
    """
    parts: list[bytes] = []
    left = LARGEST
    while chunk := await response.content.read(left):
        parts.append(chunk)
        left -= len(chunk)
        if left <= 0:
            response.close()
            raise SourceError(f"its answer is longer than {LARGEST >> 20} MiB")
    with reading(what):
        return json.loads(b"".join(parts))


def trust(ca_file: str) -> ssl.SSLContext | bool:
    """What to verify a server by: the authorities in `ca_file`, or without one the system's.

    Raises:
        SourceError: the file cannot be used.
    """
    if not ca_file:
        return True
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise SourceError(f"{ca_file} cannot be used: {error.strerror or error}") from error
