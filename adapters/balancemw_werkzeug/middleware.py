"""The middleware: each request gets a context of its own, our two errors get their answers, all else passes through."""

import os
from collections.abc import Iterable, Mapping
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from balancemw import Balancer, Settings, SettingsError
from balancemw.admin import admin_of
from balancemw.balancer import install
from balancemw.context import enter_request
from balancemw.inbound import ATTEMPT_COUNT, open_request, problem_of
from balancemw_werkzeug.answer import Answer, Body
from balancemw_werkzeug.attendance import attend
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
        names = (*self.balancer.settings.inbound.deadline_headers, ATTEMPT_COUNT)
        self._keys = {name: "HTTP_" + name.upper().replace("-", "_") for name in names}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self._admin is not None and (below := admin_path(self._admin, environ)) is not None:
            return attend(self.balancer, partial(serve_admin, self._admin, below), False, environ, start_response)
        return attend(self.balancer, self._answer, True, environ, start_response)

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def header(name: str) -> str | None:
            value: str | None = environ.get(self._keys[name])
            return None if value is None else value.partition(",")[0]  # servers join repeated headers

        environ["balancemw.balancer"] = self.balancer
        request = open_request(self.balancer, header)
        # Of its own, so that the body, which is iterated when this has returned, sees the request, and nothing leaks
        # into the thread when the server never closes it.
        context = copy_context()
        context.run(enter_request, request)
        if self._forwarding is not None:
            forwarded = context.run(self._forwarding.answer, environ, start_response)
            if forwarded is not None:
                return forwarded
        answer = Answer(start_response)
        try:
            body = context.run(self._app, environ, answer.start)
        except Exception as error:
            problem = None if answer.started else problem_of(error)
            if problem is None:
                raise
            return answer.give(problem, environ)
        if _needs_no_context(body, environ):
            answer.release()
            return body
        return Body(body, context, answer, environ, request)


def _forwarding(balancer: Balancer) -> "Forwarding | None":
    if not balancer.settings.routes:
        return None
    try:
        from balancemw_werkzeug.forwarding import Forwarding  # noqa: PLC0415  urllib3 is wanted for routes alone
    except ImportError as error:
        missing = f"routes: to forward for a WSGI app needs {error.name}; pip install 'balancemw[werkzeug]'"
        raise SettingsError([missing]) from error
    return Forwarding(balancer)


def _needs_no_context(body: Iterable[bytes], environ: WSGIEnvironment) -> bool:
    """Whether the server had better get the body as it is: it knows the length of a list, and how to send a file."""
    if type(body) in (list, tuple):
        return True
    wrapper = environ.get("wsgi.file_wrapper")
    return isinstance(wrapper, type) and isinstance(body, wrapper)
