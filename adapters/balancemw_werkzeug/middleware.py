"""The middleware: each request gets a context of its own, our two errors get their answers, all else passes through."""

import os
from collections.abc import Iterable, Mapping
from contextvars import copy_context
from typing import TYPE_CHECKING
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from balancemw import Balancer, Settings, SettingsError
from balancemw.admin import admin_of
from balancemw.balancer import install
from balancemw.context import enter_request
from balancemw.farewell import watch_sigterm
from balancemw.inbound import Door, wsgi_key
from balancemw.presence import Presence, Report
from balancemw_werkzeug.answer import Answer, Body, is_whole
from balancemw_werkzeug.surface import admin_path, serve_admin

if TYPE_CHECKING:
    from balancemw_werkzeug.forwarding import Forwarding


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
        presence = self.balancer.presence
        if not presence.watched:
            watch_sigterm(self.balancer, server="SERVER_SOFTWARE" in environ)
        if presence.path is not None and (report := _report(presence, environ)) is not None:
            start_response(f"{int(report.status)} {report.status.phrase}", [*report.headers, *presence.headers()])
            return [report.body]
        if self._admin is not None and (below := admin_path(self._admin, environ)) is not None:
            return serve_admin(self._admin, below, environ, start_response)
        environ["balancemw.balancer"] = self.balancer
        answer = Answer(presence, environ, start_response)
        request = self._door.open(environ.get)
        # Of its own, so that the body, which is iterated when this has returned, sees the request, and nothing leaks
        # into the thread when the server never closes it.
        context = copy_context()
        context.run(enter_request, request)
        try:
            body = None
            if self._forwarding is not None:
                body = context.run(self._forwarding.answer, environ, answer.tell)
            if body is None:
                body = context.run(self._app, environ, answer.start)
            else:
                answer.settle()
        except BaseException as error:
            instead = answer.replace(error)
            if instead is None:
                answer.end()
                raise
            body = instead
        if not is_whole(body, environ):
            return Body(body, context, answer, request)
        answer.release()
        answer.end()  # what is left is the server's to do
        return body


def _report(presence: Presence, environ: WSGIEnvironment) -> Report | None:
    """The health document, if that is what is asked for."""
    return presence.report(environ["REQUEST_METHOD"], environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""))


def _forwarding(balancer: Balancer) -> "Forwarding | None":
    if not balancer.settings.routes:
        return None
    try:
        from balancemw_werkzeug.forwarding import Forwarding  # noqa: PLC0415  urllib3 is wanted for routes alone
    except ImportError as error:
        missing = f"routes: to forward for a WSGI app needs {error.name}; pip install 'balancemw[werkzeug]'"
        raise SettingsError([missing]) from error
    return Forwarding(balancer)
