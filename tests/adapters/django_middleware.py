"""Other middleware, to stand around ours."""

from collections.abc import Awaitable, Callable

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import async_only_middleware, sync_only_middleware

from balancemw import NoNodeAvailable
from tests.adapters.django_site import nothing, nothing_async

Answer = Callable[[HttpRequest], HttpResponseBase]
AsyncAnswer = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


@sync_only_middleware
def sync_only(get_response: Answer) -> Answer:
    def middleware(request: HttpRequest) -> HttpResponseBase:
        return get_response(request)

    return middleware


@async_only_middleware
def async_only(get_response: AsyncAnswer) -> AsyncAnswer:
    async def middleware(request: HttpRequest) -> HttpResponseBase:
        return await get_response(request)

    return middleware


def calling(get_response: Answer) -> Answer:
    """Calls a service that has no node, as middleware that asks who the user is may do."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        nothing()
        return get_response(request)

    return middleware


@async_only_middleware
def calling_async(get_response: AsyncAnswer) -> AsyncAnswer:
    async def middleware(request: HttpRequest) -> HttpResponseBase:
        await nothing_async()
        return await get_response(request)

    return middleware


def failing(get_response: Answer) -> Answer:
    def middleware(request: HttpRequest) -> HttpResponseBase:
        raise ValueError("of the middleware's own")

    return middleware


class Teapot:
    """Has an answer of its own to our errors."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        return HttpResponse(status=418) if isinstance(exception, NoNodeAvailable) else None


class Telling:
    """Tells what an error was: the page that Django gives does not."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse:
        return HttpResponse("\n".join([repr(exception), *getattr(exception, "__notes__", [])]), status=500)
