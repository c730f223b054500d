"""Requests below a route's prefix: WSGI's are forwarded as our WSGI middleware does it, ASGI's as our ASGI one does."""

from collections.abc import AsyncIterator, Callable, Iterable
from io import BytesIO
from typing import Any
from urllib.parse import unquote_to_bytes

from asgiref.sync import async_to_sync, sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.encoding import repercent_broken_unicode

from balancemw.balancer import Balancer
from balancemw_django.bridge import Bridge
from balancemw_starlette.asgi import ASGIApp, Scope
from balancemw_starlette.forwarding import Forwarding as AsgiForwarding
from balancemw_werkzeug.forwarding import Forwarding as WsgiForwarding
from balancemw_werkzeug.request_line import raw_paths


class Forwarding:
    """The routes of a project.

    Args:
        balancer: whose settings name them.
    """

    def __init__(self, balancer: Balancer) -> None:
        self._wsgi = WsgiForwarding(balancer)
        self._asgi = AsgiForwarding(balancer)

    def answer(self, request: HttpRequest) -> HttpResponseBase | None:
        """The answer to a request below a prefix; None: the request is the project's."""
        if not isinstance(request, ASGIRequest):
            return self._over_wsgi(request)
        scope = _scope(request)
        app = self._asgi.app_for(scope)
        # There is middleware that is not async. The server's loop runs in another thread, where this is served.
        return None if app is None else async_to_sync(_over_asgi)(app, scope, request)

    async def answer_async(self, request: HttpRequest) -> HttpResponseBase | None:
        """As `answer`, for middleware that is async."""
        if not isinstance(request, ASGIRequest):
            return await sync_to_async(self._over_wsgi, thread_sensitive=False)(request)
        scope = _scope(request)
        app = self._asgi.app_for(scope)
        return None if app is None else await _over_asgi(app, scope, request)

    def _over_wsgi(self, request: HttpRequest) -> HttpResponseBase | None:
        began: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], *_: object) -> Callable[[bytes], object]:
            began.append((status, headers))
            return lambda _: None

        body = self._wsgi.answer(_environ(request), start_response)
        if body is None:
            return None
        status, headers = began[0]
        code, _, reason = status.partition(" ")
        return Forwarded(int(code), reason, headers, body)


async def _over_asgi(app: ASGIApp, scope: Scope, request: ASGIRequest) -> HttpResponseBase:
    bridge = Bridge(request)
    bridge.run(app(scope, bridge.receive, bridge.send))
    status, headers = await bridge.head()
    return Forwarded(status, None, headers, bridge)


def _scope(request: ASGIRequest) -> Scope:
    """The scope as ASGI has it: that of Django's own test client has its query as text."""
    query = request.scope.get("query_string", b"")
    return {**request.scope, "query_string": query.encode() if isinstance(query, str) else query}


class Forwarded(StreamingHttpResponse):
    """The answer of a replica. Its headers are those that it sent: some may stand several times, in their order."""

    def __init__(
        self,
        status: int,
        reason: str | None,
        headers: list[tuple[str, str]],
        body: Iterable[bytes] | AsyncIterator[bytes],
    ) -> None:
        super().__init__(body, status=status, reason=reason)
        del self["Content-Type"]
        self._cookies = [value for name, value in headers if name.lower() == "set-cookie"]
        for name, value in headers:
            if name.lower() == "set-cookie":
                continue
            self[name] = f"{self[name]}, {value}" if self.has_header(name) else value

    def items(self) -> Any:
        """The headers, the replica's cookies among them: Django's own can say less than a replica may have said."""
        return [*super().items(), *(("Set-Cookie", cookie) for cookie in self._cookies)]


def _environ(request: HttpRequest) -> dict[str, Any]:
    """The environ as the server made it, which Django has changed, less a body that middleware has read already."""
    environ = {**request.META}
    for name in ("SCRIPT_NAME", "PATH_INFO"):
        environ[name] = environ.get(name, "").encode().decode("latin-1")
    for raw in raw_paths(environ):
        whole, root = unquote_to_bytes(raw), environ["SCRIPT_NAME"].encode("latin-1")
        # What is not UTF-8 Django keeps percent-encoded.
        if repercent_broken_unicode(whole) == root + environ["PATH_INFO"].encode("latin-1"):
            environ["PATH_INFO"] = whole[len(root) :].decode("latin-1")
    if hasattr(request, "_body"):
        environ |= {"wsgi.input": BytesIO(request.body), "CONTENT_LENGTH": str(len(request.body))}
        environ.pop("HTTP_TRANSFER_ENCODING", None)
    return environ
