"""The middleware: each request gets its context, our two errors get their answers, and all else passes through."""

import os
from collections.abc import Awaitable, Mapping, Sequence
from functools import partial

from balancemw import Balancer, Settings
from balancemw.admin import admin_of
from balancemw.balancer import install
from balancemw.context import BOUND, REQUEST, Request
from balancemw.events import LOG
from balancemw.farewell import watch_sigterm
from balancemw.inbound import ATTEMPT_COUNT, Door, conclude, problem_of
from balancemw.orca import FORMAT
from balancemw_starlette.asgi import ASGIApp, Message, Receive, Scope, Send, give
from balancemw_starlette.attendance import Told, attend, attend_and_count
from balancemw_starlette.forwarding import Forwarding
from balancemw_starlette.surface import path_below_mount, serve_admin

_ENDS = ("lifespan.shutdown.complete", "lifespan.shutdown.failed", "lifespan.startup.failed")
_BODIES = ("http.response.body", "http.response.pathsend", "http.response.zerocopysend")


class BalanceMiddleware:
    """Balanced calls for an ASGI app: ``app.add_middleware(BalanceMiddleware, settings=…)`` or around any app.

    Inside, ``request.state.balancer`` is the balancer and `balancemw.balanced` finds it. `NoNodeAvailable` that the app
    lets through is answered with 503 and `DeadlineExceeded` with 504, unless an answer is under way. A balancer made
    here is closed when the app shuts down.

    Args:
        app: the ASGI app.
        settings: a mapping, `Settings`, or the path of a TOML file; None: what ``BALANCEMW_SETTINGS`` names.
        balancer: one that was made already, instead of `settings`; closing it is left to its maker.

    Raises:
        SettingsError: the settings are wrong, with every problem. Starlette makes its middleware as the server starts;
            to be told at import, make a `Balancer` there and pass it on.
        TypeError: both `settings` and `balancer` are given.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings | Mapping[str, object] | str | os.PathLike[str] | None = None,
        *,
        balancer: Balancer | None = None,
    ) -> None:
        if settings is not None and balancer is not None:
            raise TypeError("settings= and balancer= say the same thing: give one of them")
        self.balancer = install(Balancer(settings) if balancer is None else balancer)
        self._app = app
        self._admin = admin_of(self.balancer)
        self._owned = balancer is None
        self._closed = False
        self._forwarding = Forwarding(self.balancer) if self.balancer.settings.routes else None
        self._door = Door(self.balancer)
        names = (*self.balancer.settings.inbound.deadline_headers, ATTEMPT_COUNT, FORMAT)
        self._headers = {name.encode("latin-1"): name for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._converse(scope, receive, send)
            return
        below = None if self._admin is None else self._admin.below(path_below_mount(scope))
        if self._admin is not None and below is not None:  # first, as a route may be all of the app
            await attend(self.balancer, partial(serve_admin, self._admin, below), scope, receive, send)
            return
        await attend_and_count(self.balancer, self._answer, self._told(scope), scope, receive, send)

    async def _answer(self, told: Told, scope: Scope, receive: Receive, send: Send) -> None:
        request = self._door.open(told.get)
        forwarded = None if self._forwarding is None else self._forwarding.app_for(scope)
        if forwarded is not None:
            await self._run(forwarded, request, scope, receive, send)
            return
        scope.setdefault("state", {})["balancer"] = self.balancer
        answer = _Answer(send, request)
        try:
            await self._run(self._app, request, scope, receive, answer.send)
        except Exception as error:
            problem = None if answer.started else problem_of(error)
            if problem is None:
                await answer.release()
                raise
            await give(problem, scope, receive, send)
        else:
            await answer.release()

    async def _converse(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What is not a request with an answer."""
        kind = scope["type"]
        forwarded = None if self._forwarding is None else self._forwarding.app_for(scope)
        if forwarded is not None:
            await self._run(forwarded, Request(self.balancer), scope, receive, send)
        elif kind == "websocket":  # a conversation, which is not due at any time
            scope.setdefault("state", {})["balancer"] = self.balancer
            await self._run(self._app, Request(self.balancer), scope, receive, send)
        elif kind == "lifespan":
            await self._live(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _run(self, app: ASGIApp, request: Request, scope: Scope, receive: Receive, send: Send) -> None:
        """Run `app` in the context of `request`; whoever called us, a test or an outer app, keeps its own."""
        request_token, bound_token = REQUEST.set(request), BOUND.set(request.deadline)
        try:
            await app(scope, receive, send)
        finally:
            try:
                BOUND.reset(bound_token)
                REQUEST.reset(request_token)
            except ValueError:  # abandoned, and closed from another context: ours ended with its task
                pass

    def _told(self, scope: Scope) -> Told:
        """The headers that matter here; of repeated ones the first."""
        wanted = self._headers
        told: Told = {}
        for name, value in scope["headers"]:
            if name in wanted:
                told.setdefault(wanted[name], value.decode("latin-1"))
        return told

    # -- lifespan

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the lifespan on and close the balancer at its end, also for an app that takes no part in it."""
        asked = False

        async def receive_and_open() -> Message:
            nonlocal asked
            message = await receive()
            asked = True
            watch_sigterm(self.balancer, server=False)
            self._open()
            return message

        async def send_and_close(message: Message) -> None:
            if message["type"] in _ENDS:
                await self._close()
            await send(message)

        try:
            await self._run(self._app, Request(self.balancer), scope, receive_and_open, send_and_close)
        except Exception as error:
            if asked:
                raise
            LOG.info("the app takes no part in the lifespan protocol: %r", error)
        if not asked:
            await receive_and_open()
            await send_and_close({"type": "lifespan.startup.complete"})
            await receive()
            await send_and_close({"type": "lifespan.shutdown.complete"})

    def _open(self) -> None:
        if self._closed:  # by an earlier lifespan: without one, background work begins with the first call
            self._closed = False
            self.balancer.start()

    async def _close(self) -> None:
        if self._forwarding is not None:
            await self._forwarding.sessions.close()
        if self._owned:
            self._closed = True
            self.balancer.close()


class _Answer:
    """What the app answers, passed on at once, but for a whole answer of status 500: that is held back.

    Starlette answers an unhandled error with 500 and then raises it. Around such an app, or one that has another
    mounted, the error comes too late for an answer of ours unless the 500 waits until the app is done.
    """

    __slots__ = ("_held", "_request", "_send", "started")

    def __init__(self, send: Send, request: Request) -> None:
        self.started = False
        self._send = send
        self._request = request
        self._held: Sequence[Message] = ()

    def send(self, message: Message) -> Awaitable[None]:
        """Pass `message` on, or hold it back."""
        kind = message["type"]
        if self._held or (kind == "http.response.start" and message["status"] == 500):
            return self._hold(message)
        if kind == "http.response.start":
            self.started = True
        elif kind in _BODIES and not message.get("more_body"):
            conclude(self._request)
        return self._send(message)

    async def _hold(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start" and message["status"] == 500:
            self._held = (*self._held, message)
            return
        if kind in _BODIES and not message.get("more_body"):
            conclude(self._request)
            self._held = (*self._held, message)
            return
        await self.release()
        await self._send(message)

    async def release(self) -> None:
        """Pass on what was held back."""
        if self._held:
            held, self._held = self._held, ()
            self.started = True
            for message in held:
                await self._send(message)
