"""As `app`, with Django: ``wsgi`` and ``asgi``. With ``MIXED`` in the environment not all middleware is async."""

import os
from collections.abc import Callable

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.urls import path, re_path

from balancemw_django import balancer
from tests.forward.about import about


def sync_only(get_response: Callable[[HttpRequest], HttpResponseBase]) -> Callable[[HttpRequest], HttpResponseBase]:
    def middleware(request: HttpRequest) -> HttpResponseBase:
        return get_response(request)

    return middleware


def itself(request: HttpRequest) -> HttpResponse:
    return JsonResponse(about(balancer()))


def own(request: HttpRequest) -> HttpResponse:
    return HttpResponse("the app's own " + request.path)


urlpatterns = [path("self", itself), re_path("", own)]

if not settings.configured:
    settings.configure(
        ALLOWED_HOSTS=["*"],
        INSTALLED_APPS=["balancemw_django"],
        MIDDLEWARE=[
            "django.middleware.common.CommonMiddleware",
            "balancemw_django.middleware.BalanceMiddleware",
            *(["tests.forward.django_project.sync_only"] if "MIXED" in os.environ else []),
            "django.middleware.csrf.CsrfViewMiddleware",
        ],
        ROOT_URLCONF=__name__,
        SECRET_KEY="of tests",
    )
    wsgi = get_wsgi_application()
    asgi = get_asgi_application()
