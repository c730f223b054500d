"""Requests at or below a route's prefix, passed on to a replica, and its answer passed back as it comes."""

from functools import partial

import aiohttp

from balancemw import Balancer
from balancemw.forward import Match, Refused, Routes, Tee, bodiless, response_head, trouble
from balancemw_starlette import sockets
from balancemw_starlette.asgi import ASGIApp, Receive, Scope, Send, give
from balancemw_starlette.inflow import Flow, Gone, Inflow
from balancemw_starlette.passage import Passage, raw_path
from balancemw_starlette.sessions import Sessions

_PART = 65536  # bytes that are passed on at once: as much as servers take before they wait for their client


class BrokenOff(Exception):
    """An answer that was under way has broken off. Raised so that the server breaks off too: it must not look whole."""


class Forwarding:
    """The routes of an app, and what serves them.

    Args:
        balancer: whose settings and services they are.
    """

    def __init__(self, balancer: Balancer) -> None:
        self._balancer = balancer
        self._routes = Routes(balancer.settings.routes)
        self.sessions = Sessions(balancer)

    def app_for(self, scope: Scope) -> ASGIApp | None:
        """What serves a request in the app's place; None: it is the app's."""
        kind: str = scope["type"]
        if kind not in ("http", "websocket"):
            return None
        root: str = scope.get("root_path", "")
        try:
            match = self._routes.match(raw_path(scope, root), root)
        except Refused as refused:
            return partial(give if kind == "http" else sockets.refuse, refused.problem)
        if match is None:
            return None
        return partial(self._serve, match) if kind == "http" else partial(sockets.serve, self.sessions, match)

    async def _serve(self, match: Match, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            passage = Passage(match, scope)
        except Refused as refused:
            await give(refused.problem, scope, receive, send)
            return
        inflow = Inflow(receive)
        with inflow:
            body = await self._body(passage, inflow)
            await self._exchange(passage, body, inflow, send)
        if isinstance(inflow.over, Refused) and not inflow.answered:
            await give(inflow.over.problem, scope, receive, send)
        elif inflow.over is not None and not isinstance(inflow.over, Gone):
            raise inflow.over

    async def _body(self, passage: Passage, inflow: Inflow) -> Flow | None:
        head, route = passage.head, passage.match.route
        if not head.length and not head.chunked:
            untold = head.length is None and passage.visit.version >= "2"
            if not untold or not await inflow.peek():
                return None
        patience = self._balancer.settings.services[route.service].attempt_timeout
        return Flow(inflow, Tee(route.body_limit, head.length), None if patience is None else patience / 4)

    async def _exchange(self, passage: Passage, body: Flow | None, inflow: Inflow, send: Send) -> None:
        response: aiohttp.ClientResponse | None = None
        try:
            response = await (await self.sessions.here()).request(
                passage.method, passage.url, headers=passage.headers, data=body, allow_redirects=False
            )
            fields = response_head(response.status, response.raw_headers, passage.outside(response))
        except Exception as error:
            if response is not None:
                response.close()
            problem = trouble(error)
            if problem is None:
                raise
            inflow.answered = True
            await give(problem, passage.scope, inflow.receive, send)
            return
        try:
            inflow.answered = True
            await send({"type": "http.response.start", "status": response.status, "headers": fields})
            if bodiless(passage.method, response.status):
                await send({"type": "http.response.body", "body": b""})
            else:
                await _stream(response, send)
        finally:
            response.close()


async def _stream(response: aiohttp.ClientResponse, send: Send) -> None:
    content, more = response.content, True
    while more:
        try:
            part = await content.read(_PART)
        except (aiohttp.ClientError, OSError) as error:
            raise BrokenOff("the answer of a replica broke off") from error
        more = not content.at_eof()
        if part or not more:
            await send({"type": "http.response.body", "body": part, "more_body": more})
