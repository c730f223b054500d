"""The middleware: each request gets a context of its own, our two errors get their answers, all else passes through."""

import os
from collections.abc import Callable, Iterable, Mapping
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from balancemw import Balancer, Settings, SettingsError
from balancemw.admin import admin_of
from balancemw.balancer import install
from balancemw.context import Request, enter_request
from balancemw.inbound import Door, problem_of, wsgi_key
from balancemw_werkzeug.answer import Answer, Body, is_whole
from balancemw_werkzeug.attendance import attend
from balancemw_werkzeug.surface import admin_path, serve_admin

if TYPE_CHECKING:
    from balancemw_werkzeug.forwarding import Forwarding

R = TypeVar("R")


class BalanceMiddleware:
    """Balanced calls for a WSGI app: ``app = BalanceMiddleware(app, settings=…)``.

    Inside, ``environ["balancemw.balancer"]`` is the balancer and `balancemw.balanced` finds it, also while the body is
    iterated. `NoNodeAvailable` that the app lets through is answered with 503 and `DeadlineExceeded` with 504, unless
    an answer is under way. Requests at or below a prefix of the ``routes`` settings go to a replica, not to the app.

    Args:
        app: the WSGI app.
        settings: a mapping, `Settings`, or the path of a TOML file; None: what ``BALANCEMW_SETTINGS`` names.
        balancer: one that was made already, instead of `settings`.

    Raises:
        SettingsError: the settings are wrong, with every problem.
        TypeError: both `settings` and `balancer` are given.
    """

    def __init__(
        self,
        app: WSGIApplication,
        settings: Settings | Mapping[str, object] | str | os.PathLike[str] | None = None,
        *,
        balancer: Balancer | None = None,
    ) -> None:
        if settings is not None and balancer is not None:
            raise TypeError("settings= and balancer= say the same thing: give one of them")
        self.balancer = install(Balancer(settings) if balancer is None else balancer)
        self._app = app
        self._forwarding = _forwarding(self.balancer)
        self._admin = admin_of(self.balancer)
        self._door = Door(self.balancer, wsgi_key, joined=True)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self._admin is not None and (below := admin_path(self._admin, environ)) is not None:
            return attend(self.balancer, partial(serve_admin, self._admin, below), False, environ, start_response)
        return attend(self.balancer, self._answer, True, environ, start_response)

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["balancemw.balancer"] = self.balancer
        request = self._door.open(environ.get)
        # Of its own, so that the body, which is iterated when this has returned, sees the request, and nothing leaks
        # into the thread when the server never closes it.
        context = copy_context()
        if self._forwarding is not None:
            forwarded = context.run(_ask, request, self._forwarding.answer, environ, start_response)
            if forwarded is not None:
                return forwarded
        answer = Answer(start_response)
        try:
            body = context.run(_ask, request, self._app, environ, answer.start)
        except Exception as error:
            problem = None if answer.started else problem_of(error)
            if problem is None:
                raise
            return answer.give(problem, environ)
        if is_whole(body, environ):
            answer.release()
            return body
        return Body(body, context, answer, environ, request)


def _ask(request: Request, app: Callable[..., R], environ: WSGIEnvironment, start_response: StartResponse) -> R:
    enter_request(request)
    return app(environ, start_response)


def _forwarding(balancer: Balancer) -> "Forwarding | None":
    if not balancer.settings.routes:
        return None
    try:
        from balancemw_werkzeug.forwarding import Forwarding  # noqa: PLC0415  urllib3 is wanted for routes alone
    except ImportError as error:
        missing = f"routes: to forward for a WSGI app needs {error.name}; pip install 'balancemw[werkzeug]'"
        raise SettingsError([missing]) from error
    return Forwarding(balancer)
