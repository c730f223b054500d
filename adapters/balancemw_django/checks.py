"""System checks: ``manage.py check`` tells what is wrong with the settings, and what cannot work together."""

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
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
    if any(_is_ours(path) for path in settings.MIDDLEWARE):
        return []
    text = "the middleware is not in MIDDLEWARE: requests have no deadline, and errors of the balancer become a 500"
    return [Warning(text, hint=f"Add {_PATH!r} to MIDDLEWARE.", id="balancemw.W002")]


def _is_ours(path: str) -> bool:
    try:
        found = import_string(path)
    except ImportError:  # Django tells of it when it loads the middleware
        return False
    return isinstance(found, type) and issubclass(found, BalanceMiddleware)
