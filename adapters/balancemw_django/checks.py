"""System checks: ``manage.py check`` tells what is wrong with the settings, and what cannot work together."""

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.middleware.common import CommonMiddleware
from django.urls import is_valid_path
from django.utils.module_loading import import_string

from balancemw.errors import SettingsError
from balancemw.settings import advice
from balancemw_django.middleware import BalanceMiddleware
from balancemw_django.own import loaded, origin

_PATH = "balancemw_django.middleware.BalanceMiddleware"


def check_settings(**_: object) -> list[CheckMessage]:
    """``balancemw.E001`` for every problem; if there is none, ``balancemw.W001`` for what is of no use as it stands."""
    try:
        found = loaded()
    except SettingsError as error:
        return [Error(problem, id="balancemw.E001") for problem in error.problems]
    return [Warning(f"{origin()}: {line}", id="balancemw.W001") for line in advice(found)]


def check_middleware(**_: object) -> list[CheckMessage]:
    """``balancemw.W002`` if the app is installed without its middleware."""
    if any(_is(path, BalanceMiddleware) for path in settings.MIDDLEWARE):
        return []
    text = "the middleware is not in MIDDLEWARE: requests have no deadline, and errors of the balancer become a 500"
    return [Warning(text, hint=f"Add {_PATH!r} to MIDDLEWARE.", id="balancemw.W002")]


def check_slashes(**_: object) -> list[CheckMessage]:
    """``balancemw.W003`` if ``APPEND_SLASH`` redirects requests to the admin surface before we see them."""
    try:
        admin = loaded().admin
    except SettingsError:
        return []
    first = next((path for path in settings.MIDDLEWARE if _is(path, (CommonMiddleware, BalanceMiddleware))), "")
    if admin.token is None or not settings.APPEND_SLASH or not _is(first, CommonMiddleware):
        return []
    path = f"{admin.path}/status"
    if is_valid_path(path) or not is_valid_path(path + "/"):
        return []
    text = f"APPEND_SLASH redirects requests to the admin surface: a URL pattern matches '{path}/'"
    return [Warning(text, hint=f"Put {_PATH!r} above CommonMiddleware in MIDDLEWARE.", id="balancemw.W003")]


def _is(path: str, classes: type | tuple[type, ...]) -> bool:
    try:
        found = import_string(path)
    except ImportError:  # Django tells of it when it loads the middleware
        return False
    return isinstance(found, type) and issubclass(found, classes)
