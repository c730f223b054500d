"""The handshake of a websocket with a replica: its answer as it is, whether it agrees or not."""

from contextvars import ContextVar

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

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
