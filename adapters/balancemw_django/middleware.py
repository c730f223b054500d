"""The middleware: a request's deadline and balancer for all that runs on its behalf, and answers to our two errors."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from functools import lru_cache
from math import inf
from typing import TYPE_CHECKING, Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.apps import apps
from django.core.signals import got_request_exception, setting_changed
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from balancemw.admin import Admin, admin_of
from balancemw.balancer import Balancer, install_lazily
from balancemw.context import BOUND, REQUEST
from balancemw.errors import BalanceError
from balancemw.inbound import Door, problem_of, wsgi_key
from balancemw_django.attendance import Visit, attend
from balancemw_django.own import SETTING, balancer, forwarding
from balancemw_django.serving import leave
from balancemw_django.surface import serve_admin

if TYPE_CHECKING:
    from balancemw_django.forwarding import Forwarding

_set_request, _set_bound = REQUEST.set, BOUND.set

GetResponse = Callable[[HttpRequest], HttpResponseBase] | Callable[[HttpRequest], Awaitable[HttpResponseBase]]

# Where an error is noted that another middleware let through: Django has made a 500 of it when we see its answer.
_NOTE = "_balancemw_error"


class BalanceMiddleware:
    """For sync and async views, under WSGI and ASGI. Views find the balancer as ``request.balancer``.

    `NoNodeAvailable` that the app lets through becomes 503 with ``Retry-After``, `DeadlineExceeded` 504, both as
    ``application/problem+json``. Middleware above this one in ``MIDDLEWARE`` is outside of the request's deadline.
    Requests at or below a prefix of the ``routes`` settings go to a replica: neither a view nor middleware below this
    one sees them.

    Raises:
        SettingsError: the settings are wrong or missing, with every problem.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        forwarding()  # wrong settings are told when the server starts, not by each of its requests
        if not apps.is_installed("balancemw_django"):  # else that has been done, and the project may have its own since
            install_lazily(balancer)
        self._get_response: Callable[[HttpRequest], Any] = get_response
        self._async = iscoroutinefunction(get_response)  # pyright: ignore[reportDeprecated]  knows what asgiref marked
        if self._async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Answer `request`, or return what will when it is awaited."""
        if self._async:
            return self._answer_async(request)
        own, door, admin, routes, detours = _ways()
        if detours or not own.presence.watched:
            report = attend(own, request)
            if report is not None:
                return report
            if admin is not None and (below := admin.below(request.path_info)) is not None:
                return serve_admin(admin, below, request)
        request.balancer = own  # type: ignore[attr-defined]
        visit = Visit()
        door.open(visit, request.META.get)
        try:
            former, outer = _set_request(visit), _set_bound(visit if visit.until < inf else None)
            try:
                forwarded = None if routes is None else routes.answer(request)
                response: HttpResponseBase = self._get_response(request) if forwarded is None else forwarded
            finally:
                bound = leave(former, outer)
            if response.status_code == 500:
                response = _answer_to(getattr(request, _NOTE, None)) or response
            return visit.answer(response, bound)
        except BaseException as error:
            visit.fail(error)
            raise

    async def _answer_async(self, request: HttpRequest) -> HttpResponseBase:
        own, door, admin, routes, detours = _ways()
        if detours or not own.presence.watched:
            report = attend(own, request)
            if report is not None:
                return report
            if admin is not None and (below := admin.below(request.path_info)) is not None:
                return await asyncio.to_thread(serve_admin, admin, below, request)
        request.balancer = own  # type: ignore[attr-defined]
        visit = Visit()
        door.open(visit, request.META.get)
        try:
            former, outer = _set_request(visit), _set_bound(visit if visit.until < inf else None)
            try:
                forwarded = None if routes is None else await routes.answer_async(request)
                response: HttpResponseBase = await self._get_response(request) if forwarded is None else forwarded
            finally:
                bound = leave(former, outer)
            if response.status_code == 500:
                response = _answer_to(getattr(request, _NOTE, None)) or response
            return visit.answer(response, bound)
        except BaseException as error:
            visit.fail(error)
            raise

    def process_exception(self, _request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """The answer to an error of ours out of a view or a template, unless middleware nearer to it had one."""
        return _answer_to(exception)


@lru_cache(maxsize=1)
def _ways() -> "tuple[Balancer, Door, Admin | None, Forwarding | None, bool]":
    """The balancer, and where a request may go: to the project, or to the admin surface, or to a replica.

    The last tells whether it may be for the middleware itself, and not for the project.
    """
    own = balancer()
    admin = admin_of(own)
    detours = admin is not None or own.presence.path is not None
    return own, Door(own, wsgi_key, joined=True), admin, forwarding(), detours


def _forget(*, setting: str, **_: object) -> None:
    if setting == SETTING:
        _ways.cache_clear()


def _answer_to(error: BaseException | None) -> HttpResponse | None:
    problem = None if error is None else problem_of(error)
    if problem is None:
        return None
    return HttpResponse(problem.body, status=problem.status, headers=dict(problem.headers))


def _note(*, request: HttpRequest | None = None, **_: object) -> None:
    # The signal carries no error. It is sent where the error is being handled, in whichever thread that is.
    error = sys.exc_info()[1]
    if request is not None and isinstance(error, BalanceError):
        setattr(request, _NOTE, error)


got_request_exception.connect(_note, dispatch_uid="balancemw_django")
setting_changed.connect(_forget, dispatch_uid="balancemw_django.ways")
