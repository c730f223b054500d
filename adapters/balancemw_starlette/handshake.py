"""What is expected of a replica's answers: sense, and to the handshake of a websocket an upgrade or a refusal."""

from contextvars import ContextVar

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
from aiohttp.http import HttpProcessingError

from balancemw.forward import Nonsense, check_head

_ANSWER: ContextVar["Handshake | None"] = ContextVar("balancemw_handshake", default=None)
_REASON = 65536  # bytes of the body of a refusal that are passed on


class Declined(Exception):
    """The replica answered, but not with an upgrade.

    Attributes:
        response: what it answered.
        body: of the answer; empty where it is too long to be passed on.
    """

    def __init__(self, response: ClientResponse, body: bytes) -> None:
        super().__init__(response.status)
        self.response = response
        self.body = body


class Handshake:
    """Gets hold of what a replica answers to an upgrade, which aiohttp keeps to itself: ``with Handshake() as it: …``.

    Attributes:
        response: the answer, once there is one.
    """

    def __init__(self) -> None:
        self.response: ClientResponse | None = None

    def __enter__(self) -> "Handshake":
        self._token = _ANSWER.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _ANSWER.reset(self._token)


async def expect_sense(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """A client middleware: an answer that cannot be passed on is no answer of the replica's, as one cut off is none.

    Raises:
        HttpProcessingError: as aiohttp does for what it cannot read itself.
    """
    response = await handler(request)
    try:
        upgraded = response.status == 101 and _ANSWER.get() is not None
        check_head(200 if upgraded else response.status, response.raw_headers)
    except Nonsense as nonsense:
        response.close()
        raise HttpProcessingError(message=str(nonsense)) from nonsense
    return response


async def expect_upgrade(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    """A client middleware: an upgrade that is not granted ends here, and above all follows no redirect."""
    response = await handler(request)
    handshake = _ANSWER.get()
    if handshake is None:
        return response
    handshake.response = response
    if response.status == 101:
        return response
    try:
        body = b""
        while part := await response.content.readany():
            body = body + part
            if len(body) > _REASON:
                body = b""
                break
    except (aiohttp.ClientError, OSError):
        body = b""
    finally:
        response.close()
    raise Declined(response, body)
