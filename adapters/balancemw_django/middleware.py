"""The middleware: a request's deadline and balancer for all that runs on its behalf, and answers to our two errors."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.apps import apps
from django.core.signals import got_request_exception
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

from balancemw.admin import Admin, admin_of
from balancemw.balancer import Balancer, install_lazily
from balancemw.errors import BalanceError
from balancemw.inbound import Door, conclude, problem_of, wsgi_key
from balancemw_django.attendance import Visit, attend
from balancemw_django.own import balancer, forwarding
from balancemw_django.serving import Serving, serve_body
from balancemw_django.surface import serve_admin

if TYPE_CHECKING:
    from balancemw_django.forwarding import Forwarding

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
        own = balancer()
        door, admin, routes = _ways(own)
        report = attend(own, request)
        if report is not None:
            return report
        if admin is not None and (below := admin.below(request.path_info)) is not None:
            return serve_admin(admin, below, request)
        visit = Visit(own.presence, request)
        try:
            serving = _open(own, door, request)
            with serving:
                response = (routes.answer(request) if routes else None) or self._get_response(request)
            return visit.answer(_finish(request, response, serving))
        except BaseException as error:
            visit.fail(error)
            raise

    async def _answer_async(self, request: HttpRequest) -> HttpResponseBase:
        own = balancer()
        door, admin, routes = _ways(own)
        report = attend(own, request)
        if report is not None:
            return report
        if admin is not None and (below := admin.below(request.path_info)) is not None:
            return await asyncio.to_thread(serve_admin, admin, below, request)
        visit = Visit(own.presence, request)
        try:
            serving = _open(own, door, request)
            with serving:
                forwarded = await routes.answer_async(request) if routes else None
                response = forwarded or await self._get_response(request)
            return visit.answer(_finish(request, response, serving))
        except BaseException as error:
            visit.fail(error)
            raise

    def process_exception(self, _request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """The answer to an error of ours out of a view or a template, unless middleware nearer to it had one."""
        return _answer_to(exception)


@lru_cache(maxsize=1)  # there is but one balancer, unless a test changes the settings
def _ways(own: Balancer) -> "tuple[Door, Admin | None, Forwarding | None]":
    """Where a request may go: to the project, or to the admin surface, or to a replica."""
    return Door(own, wsgi_key, joined=True), admin_of(own), forwarding()


def _open(own: Balancer, door: Door, request: HttpRequest) -> Serving:
    request.balancer = own  # type: ignore[attr-defined]
    return Serving(door.open(request.META.get))


def _finish(request: HttpRequest, response: HttpResponseBase, serving: Serving) -> HttpResponseBase:
    if response.status_code == 500:
        response = _answer_to(getattr(request, _NOTE, None)) or response
    if isinstance(response, StreamingHttpResponse):
        serve_body(response, serving)
    else:
        conclude(serving.request)
    return response


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
