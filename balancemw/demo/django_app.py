"""The demo's app for Django: ``gunicorn balancemw.demo.django_app:application``."""

import json
from http.client import HTTPException
from typing import Any
from urllib.request import Request, urlopen

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from balancemw import Node, balanced, remaining
from balancemw.demo.record import record
from balancemw_django import balancer

settings.configure(  # the balancer's settings are in the file that BALANCEMW_SETTINGS names
    ALLOWED_HOSTS=["127.0.0.1"],
    INSTALLED_APPS=["balancemw_django"],
    MIDDLEWARE=["balancemw_django.middleware.BalanceMiddleware"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="of a demo that keeps no secrets",
)


@balanced("inventory", idempotent=True)
def stock(node: Node, sku: str) -> Any:
    """What is left of an article: asking twice does no harm."""
    with urlopen(f"{node.url}/stock/{sku}", timeout=remaining()) as response:
        return json.load(response)


@balanced("inventory")
def place_order(node: Node, number: str) -> Any:
    """Place an order: never sent again once a replica may have received it."""
    with urlopen(Request(f"{node.url}/orders/{number}", method="POST"), timeout=remaining()) as response:
        return json.load(response)


def show_stock(_: HttpRequest, sku: str) -> JsonResponse:
    return JsonResponse(stock(sku))


@csrf_exempt
def order(_: HttpRequest, number: str) -> JsonResponse:
    try:
        return JsonResponse(place_order(number), status=201)
    except (OSError, HTTPException) as error:
        return JsonResponse({"error": f"{type(error).__name__}: {error}"}, status=502)


urlpatterns = [path("stock/<sku>", show_stock), path("orders/<number>", order)]

application = get_wsgi_application()
record(balancer())
