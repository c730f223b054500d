"""A Django project in one file, for tests: every view exists twice, as ``/sync/…`` and as ``/async/…``.

Importing it configures Django, which a process can do but once.
"""

import os
from collections.abc import AsyncIterator, Iterator
from contextvars import Context, copy_context
from itertools import chain
from tempfile import TemporaryFile

import aiohttp
import requests
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, HttpRequest, HttpResponse, StreamingHttpResponse
from django.template import engines
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.translation import activate

from balancemw import Node, balanced, remaining
from balancemw.balancer import current

OURS = "balancemw_django.middleware.BalanceMiddleware"
ATTEMPT_TIMEOUT = 100.0

SERVED = "BALANCEMW_SETTINGS" in os.environ  # by a real server, and not by a handler in the tests' own process

settings.configure(
    ALLOWED_HOSTS=["*"],
    BALANCEMW=None
    if SERVED
    else {
        "services": {"inventory": {"nodes": ["http://a:1"]}, "empty": {"nodes": []}},
        "defaults": {"timeout": None, "attempt_timeout": ATTEMPT_TIMEOUT},
    },
    INSTALLED_APPS=["balancemw_django"],
    MIDDLEWARE=["tests.adapters.django_middleware.Telling", OURS] if SERVED else [OURS],
    ROOT_URLCONF=__name__,
    SECRET_KEY="of tests",
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
)

# -- calls

tries: list[str] = []
"""The nodes on which `fragile` was tried."""


@balanced("inventory", idempotent=True)
def stock(node: Node) -> str:
    return node.name


@balanced("inventory", idempotent=True)
async def stock_async(node: Node) -> str:
    return node.name


@balanced("empty", idempotent=True)
def nothing(node: Node) -> str:
    return node.name


@balanced("empty", idempotent=True)
async def nothing_async(node: Node) -> str:
    return node.name


@balanced("inventory", idempotent=True)
def fragile(node: Node) -> str:
    tries.append(node.name)
    raise ConnectionResetError(104, "reset")


@balanced("inventory", idempotent=True)
async def fragile_async(node: Node) -> str:
    tries.append(node.name)
    raise ConnectionResetError(104, "reset")


@balanced("inventory", idempotent=True)
def ask(node: Node) -> requests.Response:
    return requests.get(node.url, timeout=remaining())


@balanced("inventory", idempotent=True)
async def ask_async(node: Node) -> str:
    async with aiohttp.ClientSession(raise_for_status=True) as session, session.get(node.url) as response:
        return await response.text()


def told(node: str) -> str:
    """The node that was called, and what bounds the code that is running."""
    left = remaining()
    if left is None:
        return f"{node} unbounded;"
    return f"{node} {'attempt' if left <= ATTEMPT_TIMEOUT else 'request'};"


# -- views


def show(request: HttpRequest) -> HttpResponse:
    assert request.balancer is current()
    return HttpResponse(told(stock()))


async def show_async(request: HttpRequest) -> HttpResponse:
    assert request.balancer is current()
    return HttpResponse(told(await stock_async()))


def none(request: HttpRequest) -> HttpResponse:
    return HttpResponse(nothing())


async def none_async(request: HttpRequest) -> HttpResponse:
    return HttpResponse(await nothing_async())


def broken(request: HttpRequest) -> HttpResponse:
    return HttpResponse(fragile())


async def broken_async(request: HttpRequest) -> HttpResponse:
    return HttpResponse(await fragile_async())


def late_template(request: HttpRequest) -> TemplateResponse:
    return TemplateResponse(request, engines["django"].from_string("{{ call }}"), {"call": nothing})


async def late_template_async(request: HttpRequest) -> TemplateResponse:
    return late_template(request)


def stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(pieces())


async def stream_async(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(pieces_async())


left_running: list[Context] = []
"""The contexts of what requests left running."""

closed: list[str] = []
"""What `pieces` and `pieces_async` saw when they ended."""


def pieces() -> Iterator[str]:
    left_running.append(copy_context())
    try:
        yield told(stock())
        for attempt in current()["inventory"].attempts():
            with attempt as node:
                yield told(node.name)
                yield told(node.name)
        yield told(stock())
    finally:
        closed.append(told(stock()))


async def pieces_async() -> AsyncIterator[str]:
    left_running.append(copy_context())
    try:
        yield told(await stock_async())
        async for attempt in current()["inventory"].attempts():
            with attempt as node:
                yield told(node.name)
                yield told(node.name)
        yield told(await stock_async())
    finally:
        closed.append(told(await stock_async()))


def begun(request: HttpRequest) -> StreamingHttpResponse:
    """Learns whether there is a first piece before it answers."""
    body = pieces()
    return StreamingHttpResponse(chain([next(body), next(body)], body))


async def begun_async(request: HttpRequest) -> StreamingHttpResponse:
    body = pieces_async()
    first = [await anext(body), await anext(body)]

    async def whole() -> AsyncIterator[str]:
        for piece in first:
            yield piece
        async for piece in body:
            yield piece

    return StreamingHttpResponse(whole())


class Closing:
    """A body without pieces, that is told when it is over."""

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def close(self) -> None:
        closed.append(told("closed"))


def closing(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(Closing())


async def closing_async(request: HttpRequest) -> StreamingHttpResponse:
    return closing(request)


def later(request: HttpRequest) -> HttpResponse:
    left_running.append(copy_context())
    return HttpResponse()


async def later_async(request: HttpRequest) -> HttpResponse:
    return later(request)


def five_hundred(request: HttpRequest) -> HttpResponse:
    return HttpResponse("my own", status=500)


async def five_hundred_async(request: HttpRequest) -> HttpResponse:
    return five_hundred(request)


def german(request: HttpRequest) -> HttpResponse:
    activate("de")
    return HttpResponse()


async def german_async(request: HttpRequest) -> HttpResponse:
    return german(request)


def file(request: HttpRequest) -> FileResponse:
    left_running.append(copy_context())
    content = TemporaryFile()  # noqa: SIM115  the response closes it
    content.write(b"of a file")
    content.seek(0)
    return FileResponse(content)


async def file_async(request: HttpRequest) -> FileResponse:
    return file(request)


def own(request: HttpRequest) -> HttpResponse:
    """With a load report of its own."""
    return HttpResponse("own", headers={"Endpoint-Load-Metrics": "TEXT cpu_utilization=0.123"})


async def own_async(request: HttpRequest) -> HttpResponse:
    return own(request)


def real(request: HttpRequest) -> HttpResponse:
    answer = ask()
    return HttpResponse(answer.content, status=answer.status_code)


async def real_async(request: HttpRequest) -> HttpResponse:
    return HttpResponse(await ask_async())


urlpatterns = [
    path(route, view)
    for name, sync_view, async_view in [
        ("show", show, show_async),
        ("none", none, none_async),
        ("broken", broken, broken_async),
        ("template", late_template, late_template_async),
        ("stream", stream, stream_async),
        ("begun", begun, begun_async),
        ("closing", closing, closing_async),
        ("file", file, file_async),
        ("five-hundred", five_hundred, five_hundred_async),
        ("german", german, german_async),
        ("later", later, later_async),
        ("own", own, own_async),
        ("real", real, real_async),
    ]
    for route, view in [(f"sync/{name}", sync_view), (f"async/{name}", async_view)]
]


wsgi = get_wsgi_application()
asgi = get_asgi_application()
