"""The middleware: each request gets a context of its own, our two errors get their answers, all else passes through."""

import os
from collections.abc import Iterable, Mapping
from contextvars import Context, copy_context
from itertools import repeat, starmap
from math import inf
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from balancemw import Balancer, Settings, SettingsError
from balancemw.admin import admin_of
from balancemw.balancer import install
from balancemw.context import BOUND, REQUEST
from balancemw.farewell import watch_sigterm
from balancemw.inbound import Door, wsgi_key
from balancemw.presence import Presence
from balancemw.reply import Reply
from balancemw_werkzeug.answer import Answer, Body
from balancemw_werkzeug.surface import admin_path, serve_admin

_set_request, _set_bound = REQUEST.set, BOUND.set


class BalanceMiddleware:
    """Balanced calls for a WSGI app: ``app = BalanceMiddleware(app, settings=…)``.

    Inside, ``environ["balancemw.balancer"]`` is the balancer and `balancemw.balanced` finds it, also while the body is
    iterated. `NoNodeAvailable` that the app lets through is answered with 503 and `DeadlineExceeded` with 504, unless
    an answer is under way, as it is once the first part of its body is there: that is asked for in the call.
    Requests at or below a prefix of the ``routes`` settings go to a replica, not to the app.

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
        self._presence = self.balancer.presence
        self._door = Door(self.balancer, wsgi_key, joined=True)
        self._admin = admin_of(self.balancer)
        self._detours = self._admin is not None or self._presence.path is not None
        self._app = _routed(app, self.balancer)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        presence = self._presence
        if self._detours or not presence.watched:
            own = self._own(environ, start_response)
            if own is not None:
                return own
        # Of its own, so that the body, which is iterated when this has returned, sees the request, and nothing leaks
        # into the thread when the server never closes it.
        context = copy_context()
        return context.run(self._serve, context, environ, start_response)

    def _serve(self, context: Context, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Have the app answer, up to the first part of its body, in `context`, which is the current one."""
        environ["balancemw.balancer"] = self.balancer
        answer = Answer()
        answer.server = start_response
        answer.head = None
        self._door.open(answer, environ.get)
        _set_request(answer)
        _set_bound(answer if answer.until < inf else None)
        app, body = self._app, None
        try:
            body = app(environ, answer.start)
            if type(body) in (list, tuple, environ.get("wsgi.file_wrapper")):
                answer.release()
                self._presence.leave()
                return body  # the server knows the length of a list, and how to send a file: what is left is its to do
            parts = iter(body)
            try:
                rest = starmap(context.run, repeat((next, parts)))  # in C, and each part when it is asked for
                told = Body((next(parts),), rest)  # pyright: ignore[reportArgumentType]  takes no note of what `run` returns
            except StopIteration:
                told = Body()
            answer.release()
        except BaseException as error:
            instead = self._instead(error, body, answer, environ)
            if instead is None:
                raise
            return instead
        told.whole = body
        told.context = context
        told.request = answer
        return told

    def _instead(self, error: BaseException, body: Any, answer: Answer, environ: WSGIEnvironment) -> list[bytes] | None:
        """The answer to `error`, which has come before that of the app; None: it goes up."""
        try:
            close = getattr(body, "close", None)
            if close is not None:
                close()
            return answer.replace(error, environ)
        finally:
            self._presence.leave()

    def _own(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes] | None:
        """The answer to a request that is for the middleware itself; None: it is for the app."""
        presence = self._presence
        watch_sigterm(self.balancer, server="SERVER_SOFTWARE" in environ)
        if presence.path is not None and (report := _report(presence, environ)) is not None:
            start_response(f"{int(report.status)} {report.status.phrase}", [*report.headers, *presence.headers()])
            return [report.body]
        if self._admin is not None and (below := admin_path(self._admin, environ)) is not None:
            return serve_admin(self._admin, below, environ, start_response)
        return None


def _report(presence: Presence, environ: WSGIEnvironment) -> Reply | None:
    """The health document, if that is what is asked for."""
    return presence.report(environ["REQUEST_METHOD"], environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""))


def _routed(app: WSGIApplication, balancer: Balancer) -> WSGIApplication:
    """`app`, but for requests at or below the prefix of a route."""
    if not balancer.settings.routes:
        return app
    try:
        from balancemw_werkzeug.forwarding import Forwarding  # noqa: PLC0415  urllib3 is wanted for routes alone
    except ImportError as error:
        missing = f"routes: to forward for a WSGI app needs {error.name}; pip install 'balancemw[werkzeug]'"
        raise SettingsError([missing]) from error
    forwarding = Forwarding(balancer)

    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        forwarded = forwarding.answer(environ, start_response)
        if forwarded is None:
            return app(environ, start_response)
        answer = REQUEST.get()
        assert isinstance(answer, Answer)
        answer.settle()
        return forwarded

    return serve
