"""A Django project with the middleware that ``startproject`` writes down, and ours at the end of it."""

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

from balancemw import Node, balanced

settings.configure(
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["balancemw_django"],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
        "balancemw_django.middleware.BalanceMiddleware",
    ],
    APPEND_SLASH=True,
    ROOT_URLCONF=__name__,
    SECRET_KEY="of tests",
)


@balanced("inventory", idempotent=True)
def stock(node: Node) -> str:
    return node.name


def view(request: HttpRequest, rest: str = "") -> HttpResponse:
    return HttpResponse(stock())


urlpatterns = [path("", view), path("<path:rest>/", view)]  # the second asks APPEND_SLASH for trouble
wsgi = get_wsgi_application()
asgi = get_asgi_application()
