"""A shop, in Django: it asks the replicas of an inventory service what is in stock.

The lines that balancemw adds to a project are marked with (1) to (4). Run it from the directory of this file:

    python django_app.py check
    python django_app.py runserver
    gunicorn --workers 4 --threads 8 django_app:application
    uvicorn --workers 4 django_app:async_application
"""

import os
import sys

import aiohttp
import requests
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from balancemw import Node, balanced, remaining

# -- settings.py

REPLICAS = os.environ.get("INVENTORY", "http://127.0.0.1:9001 http://127.0.0.1:9002 http://127.0.0.1:9003")

settings.configure(
    ALLOWED_HOSTS=["localhost", "127.0.0.1"],
    INSTALLED_APPS=["balancemw_django"],  # (1)
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
        "balancemw_django.middleware.BalanceMiddleware",  # (2)
    ],
    BALANCEMW={  # (3)
        "services": {"inventory": {"nodes": REPLICAS.split(), "timeout": 5, "attempt_timeout": 1, "probe": True}},
    },
    ROOT_URLCONF=__name__,
    SECRET_KEY=os.environ.get("SECRET_KEY", "not one for production"),
)

# -- inventory.py: (4) the functions that call out take the chosen node first


@balanced("inventory", idempotent=True)
def stock(node: Node, sku: str) -> requests.Response:
    return requests.get(f"{node}/stock/{sku}", timeout=remaining())


@balanced("inventory", idempotent=True)
async def stock_async(node: Node, sku: str) -> str:
    async with aiohttp.ClientSession(raise_for_status=True) as session, session.get(f"{node}/stock/{sku}") as response:
        return await response.text()


@balanced("inventory")  # not idempotent: once a byte of it may have reached a replica, it is never sent again
def reserve(node: Node, sku: str) -> requests.Response:
    return requests.post(f"{node}/reservations/{sku}", timeout=remaining())


# -- views.py


@require_GET
def product(request: HttpRequest, sku: str) -> HttpResponse:
    answer = stock(sku)
    answer.raise_for_status()
    return JsonResponse({"sku": sku, "stock": answer.text})


async def product_async(request: HttpRequest, sku: str) -> HttpResponse:
    return JsonResponse({"sku": sku, "stock": await stock_async(sku)})


@csrf_exempt
@require_POST
def order(request: HttpRequest, sku: str) -> HttpResponse:
    answer = reserve(sku)
    answer.raise_for_status()
    return JsonResponse({"sku": sku, "reservation": answer.text}, status=201)


# -- urls.py

urlpatterns = [
    path("products/<slug:sku>", product),
    path("async/products/<slug:sku>", product_async),
    path("orders/<slug:sku>", order),
]

# -- wsgi.py, asgi.py and manage.py

application = get_wsgi_application()
async_application = get_asgi_application()

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
