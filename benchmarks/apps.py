"""The apps that `benchmarks.adapters` drives: each framework's least, without and with the middleware."""

from collections.abc import Callable
from typing import Any

from benchmarks.replicas import urls

SETTINGS: dict[str, object] = {"services": {"service": {"nodes": urls(3)}}}
GREETING = "hello"

Pair = tuple[Any, Any]
"""The same app without and with the middleware."""


def starlette_apps() -> Pair:
    """ASGI apps."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse, Response
    from starlette.routing import Route

    from balancemw_starlette import BalanceMiddleware

    async def view(request: Request) -> Response:
        return PlainTextResponse(GREETING)

    app = Starlette(routes=[Route("/", view)])
    return app, BalanceMiddleware(app, SETTINGS)


def werkzeug_apps() -> Pair:
    """WSGI apps."""
    from werkzeug import Request, Response

    from balancemw_werkzeug import BalanceMiddleware

    @Request.application
    def app(request: Request) -> Response:
        return Response(GREETING)

    return app, BalanceMiddleware(app, SETTINGS)


def flask_apps() -> Pair:
    """WSGI apps."""
    from flask import Flask

    from balancemw_flask import Balance

    def app() -> Flask:
        app = Flask(__name__)
        app.add_url_rule("/", view_func=lambda: GREETING)
        return app

    without, balanced = app(), app()
    balanced.config["BALANCEMW"] = SETTINGS
    Balance(balanced)
    return without, balanced


def django_wsgi_apps() -> Pair:
    """WSGI apps with a sync view."""
    from django.core.handlers.wsgi import WSGIHandler
    from django.http import HttpRequest, HttpResponse

    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(GREETING)

    return _django_apps(view, WSGIHandler)


def django_asgi_apps() -> Pair:
    """ASGI apps with an async view."""
    from django.core.handlers.asgi import ASGIHandler
    from django.http import HttpRequest, HttpResponse

    async def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(GREETING)

    return _django_apps(view, ASGIHandler)


def _django_apps(view: Callable[..., Any], handler: Callable[[], Any]) -> Pair:
    import django
    from django.conf import settings
    from django.test import override_settings
    from django.urls import path

    if not settings.configured:
        settings.configure(
            ALLOWED_HOSTS=["*"], BALANCEMW=SETTINGS, INSTALLED_APPS=["balancemw_django"], SECRET_KEY="of a benchmark"
        )
        django.setup()
    settings.ROOT_URLCONF = (path("", view),)
    with override_settings(MIDDLEWARE=[]):
        without = handler()
    with override_settings(MIDDLEWARE=["balancemw_django.middleware.BalanceMiddleware"]):
        return without, handler()
