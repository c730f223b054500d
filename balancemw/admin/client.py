"""Asks a running app's admin surface what its balancer knows."""

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import aiohttp

USUAL_PATH = "/_balancer"
"""The default of ``admin.path``."""

PATIENCE = 10.0
"""Seconds to wait for the whole answer."""

_LARGEST = 64 << 20  # bytes: tens of thousands of nodes
_TOKEN = re.compile(r"[!-~]+")  # as the surface knows it


class NoAnswer(Exception):
    """There is no status to go by; the text says why, and what may be done about it."""


async def status_of(url: str, token: str, patience: float = PATIENCE) -> Mapping[str, Any]:
    """What ``GET /status`` answers, as `balancer.status()` has it: ``services`` at least, with ``nodes`` each.

    Args:
        url: of the app, or of its admin surface where ``admin.path`` is not the usual one.
        token: the app's ``admin.token``. It is sent to that url and, as redirects are not followed, to no other.
        patience: seconds to wait.

    Raises:
        NoAnswer: nobody answers there, or not with a status.
    """
    asked = surface_of(url) + "/status"
    if not _TOKEN.fullmatch(token):
        raise NoAnswer("the token is empty or has characters that no token has")
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    limit = aiohttp.ClientTimeout(total=patience)
    try:
        async with (
            aiohttp.ClientSession(timeout=limit) as session,
            session.get(asked, headers=headers, allow_redirects=False) as response,
        ):
            if response.status != HTTPStatus.OK:
                raise NoAnswer(_refused(asked, response))
            body = await _read(response)
    except TimeoutError:
        raise NoAnswer(f"{asked} did not answer within {patience:g} s") from None
    except aiohttp.InvalidURL:
        raise NoAnswer(f"{url!r} is not a url; write http://host:port") from None
    except (aiohttp.ClientError, OSError) as error:
        raise NoAnswer(f"{asked} cannot be reached: {str(error) or type(error).__name__}") from None
    return _status(asked, body)


def surface_of(url: str) -> str:
    """The url of the admin surface: `url` itself if it has a path, which may end with ``/status``.

    Raises:
        NoAnswer: it is no url, or one that carries more than that.
    """
    nonsense = NoAnswer(f"{url!r} is not a url; write http://host:port")
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port
    except ValueError:
        raise nonsense from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise nonsense
    if parts.username is not None or parts.password is not None:
        raise NoAnswer("a url with a user or password is not asked: the token is all that the surface wants")
    path = parts.path.rstrip("/").removesuffix("/status")
    return f"{parts.scheme}://{parts.netloc}{path or USUAL_PATH}"


def _refused(asked: str, response: aiohttp.ClientResponse) -> str:
    status = response.status
    if status == HTTPStatus.UNAUTHORIZED:
        return f"{asked} answers 401: the token is not the app's admin.token"
    if status == HTTPStatus.NOT_FOUND:
        return (
            f"{asked} answers 404: there is no admin surface. The app's settings need an admin.token; where its "
            f"admin.path is not {USUAL_PATH}, put that path behind the url"
        )
    if 300 <= status < 400:
        return f"{asked} answers {status}: it leads to another place, which is not given the token; name that one"
    return f"{asked} answers {status} {response.reason or ''}".rstrip()


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for part in response.content.iter_chunked(65536):
        body += part
        if len(body) > _LARGEST:
            raise NoAnswer(f"{response.url} answers with more than {_LARGEST >> 20} MiB")
    return bytes(body)


def _status(asked: str, body: bytes) -> Mapping[str, Any]:
    try:
        status = json.loads(body)
    except (ValueError, RecursionError):
        raise NoAnswer(f"{asked} does not answer with JSON: it is not the admin surface of balancemw") from None
    services = status.get("services") if isinstance(status, dict) else None
    if not isinstance(services, dict) or not all(_is_service(service) for service in services.values()):
        raise NoAnswer(f"{asked} answers with JSON that is no status of balancemw")
    return dict(status)


def _is_service(service: object) -> bool:
    nodes = service.get("nodes") if isinstance(service, dict) else None
    return isinstance(nodes, list) and all(
        isinstance(node, dict) and isinstance(node.get("name"), str) and isinstance(node.get("state"), str)
        for node in nodes
    )
