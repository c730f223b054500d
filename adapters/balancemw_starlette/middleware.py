"""The middleware: each request gets its context, our two errors get their answers, and all else passes through."""

import os
from collections.abc import Mapping
from contextvars import Token
from functools import partial

from balancemw import Balancer, Settings
from balancemw.admin import admin_of
from balancemw.balancer import install
from balancemw.context import BOUND, REQUEST, Bound, Request, enter_request
from balancemw.events import LOG
from balancemw.farewell import watch_sigterm
from balancemw.inbound import ATTEMPT_COUNT, Door, problem_of
from balancemw.orca import FORMAT
from balancemw_starlette.answer import Answer
from balancemw_starlette.asgi import ASGIApp, Message, Receive, Scope, Send, give
from balancemw_starlette.attendance import attend, give_report, report_for
from balancemw_starlette.forwarding import Forwarding
from balancemw_starlette.surface import path_below_mount, serve_admin

_ENDS = ("lifespan.shutdown.complete", "lifespan.shutdown.failed", "lifespan.startup.failed")


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
        self._presence = self.balancer.presence
        self._admin = admin_of(self.balancer)
        self._detours = self._admin is not None or self._presence.path is not None
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
        presence = self._presence
        if (self._detours or not presence.watched) and await self._own(scope, receive, send):
            return
        answer = Answer()
        answer.server = send
        answer.scope = scope
        answer.begun = False
        answer.held = ()
        self._door.open(answer, self._told(scope).get)
        tokens = enter_request(answer)
        try:
            await self._serve(scope, receive, answer)
        except Exception:
            answer.fail()
            raise
        finally:
            _leave(*tokens)
            presence.leave()

    async def _own(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Whether a request was for the middleware itself, and has been answered."""
        below = None if self._admin is None else self._admin.below(path_below_mount(scope))
        if self._admin is not None and below is not None:  # first, as a route may be all of the app
            await attend(self.balancer, partial(serve_admin, self._admin, below), scope, receive, send)
            return True
        report = report_for(self.balancer, scope)
        if report is None:
            return False
        await give_report(report, self._presence, scope, receive, send)
        return True

    async def _serve(self, scope: Scope, receive: Receive, answer: Answer) -> None:
        forwarded = None if self._forwarding is None else self._forwarding.app_for(scope)
        if forwarded is not None:
            await forwarded(scope, receive, answer.count)
            return
        scope.setdefault("state", {})["balancer"] = self.balancer
        try:
            await self._app(scope, receive, answer.send)
        except Exception as error:
            problem = None if answer.begun else problem_of(error)
            if problem is None:
                await answer.release()
                raise
            await give(problem, scope, receive, answer.count)
        else:
            if answer.held:
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
        tokens = enter_request(request)
        try:
            await app(scope, receive, send)
        finally:
            _leave(*tokens)

    def _told(self, scope: Scope) -> Mapping[str, str]:
        """The headers that matter here; of repeated ones the first."""
        wanted = self._headers
        told: dict[str, str] = {}
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


def _leave(request: Token[Request | None], bound: Token[Bound | None]) -> None:
    """Restore what held before a request."""
    try:
        BOUND.reset(bound)
        REQUEST.reset(request)
    except ValueError:  # abandoned, and closed from another context: ours ended with its task
        pass
