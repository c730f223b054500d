"""One request on its way to a replica: what is sent on, and how the client sees who answers."""

from urllib.parse import quote, unquote

import aiohttp
from yarl import URL

from balancemw.forward import Field, Head, Match, Outside, Refused, Visit, query_of, request_head
from balancemw_starlette.asgi import Scope

_SCHEMES = {"ws": "http", "wss": "https"}


class Passage:
    """One request on its way to a replica.

    Args:
        match: the route that it takes.
        scope: as the server made it, of an http request or a websocket.

    Raises:
        Refused: it is not passed on.
    """

    def __init__(self, match: Match, scope: Scope) -> None:
        websocket = scope["type"] == "websocket"
        client, scheme = scope.get("client"), str(scope.get("scheme", "http"))
        self.match = match
        self.scope = scope
        self.method: str = scope.get("method", "GET")
        self.visit = Visit(
            client[0] if client else None,
            _SCHEMES.get(scheme, scheme),
            scope.get("http_version", "1.1"),
            match.prefix,
        )
        self.head: Head = request_head(self.method, scope["headers"], self.visit, websocket=websocket)
        self.headers = _as_text(self.head.fields)
        if self.head.length is not None:
            self.headers.append(("Content-Length", str(self.head.length)))
        self.url = URL.build(
            scheme="http",
            host=match.route.service.lower(),
            path=match.path or "/",
            query_string=query_of(scope.get("query_string", b"")),
            encoded=True,
        )

    def outside(self, response: aiohttp.ClientResponse) -> Outside:
        """How the client sees the replica that gave `response`."""
        url = response.request_info.url
        base = url.raw_path.removesuffix(self.url.raw_path)
        host = None if self.head.host is None else self.head.host.decode("ascii")
        return Outside(self.visit.scheme, host, self.match.prefix, self.match.route.service, str(url.origin()) + base)


def _as_text(fields: list[Field]) -> list[tuple[str, str]]:
    """`fields` as aiohttp takes them: it writes text as UTF-8, and can write nothing else."""
    try:
        return [(name.decode("ascii"), value.decode("utf-8")) for name, value in fields]
    except UnicodeDecodeError:
        raise Refused("A header of the request is neither ASCII nor UTF-8.") from None


def raw_path(scope: Scope, root: str) -> bytes:
    """The path as the client wrote it, unless the server does not tell it, or an outer app has put another in place."""
    path: str = scope["path"]
    raw: bytes | None = scope.get("raw_path")
    if raw is not None:
        raw = raw.partition(b"?")[0]
        decoded = unquote(raw.decode("latin-1"))
        if decoded in (path, root + path) or root + decoded == path:
            return raw
    return quote(path, safe="/!$&'()*+,;=:@~", errors="surrogateescape").encode("ascii")
