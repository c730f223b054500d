"""The process's own balancer, out of Django's settings: made when first needed, and again when a test changes them."""

import os
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.signals import setting_changed

from balancemw.balancer import Balancer
from balancemw.errors import SettingsError
from balancemw.settings import Settings
from balancemw.settings.source import VARIABLE

if TYPE_CHECKING:
    from balancemw_django.forwarding import Forwarding

SETTING = "BALANCEMW"

_MISSING = (
    f'{SETTING}: missing; write {SETTING} = {{"services": {{"name": {{"nodes": ["http://host:port"]}}}}}}, '
    f"or name a TOML file in the environment variable {VARIABLE}"
)

_made: dict[str, Balancer] = {}
_forwarding: dict[str, tuple[Balancer, "Forwarding"]] = {}


def balancer() -> Balancer:
    """The balancer of this process, the same for all threads and event loops.

    Raises:
        SettingsError: the settings are wrong or missing, with every problem.
    """
    return _made.get(SETTING) or _make()


def _make() -> Balancer:
    # No lock: a process forked while another thread holds it would wait for ever. Of two made at once one is dropped,
    # which is free, as a balancer opens nothing before its first call.
    return _made.setdefault(SETTING, Balancer(loaded()))


def forwarding() -> "Forwarding | None":
    """What forwards the requests of the routes in the settings; None: there are none.

    Raises:
        SettingsError: there are, and urllib3 is not installed.
    """
    own = balancer()
    if not own.settings.routes:
        return None
    known, made = _forwarding.get(SETTING, (None, None))
    if known is not own or made is None:
        try:
            from balancemw_django.forwarding import Forwarding  # noqa: PLC0415  urllib3 is wanted for routes alone
        except ImportError as error:
            missing = f"{origin()}: routes: to forward needs {error.name}; pip install 'balancemw[django]'"
            raise SettingsError([missing]) from error
        made = Forwarding(own)
        _forwarding[SETTING] = (own, made)
    return made


def origin() -> str:
    """The name of what holds the settings: ``BALANCEMW``, or else ``BALANCEMW_SETTINGS`` if the environment has it."""
    written = getattr(settings, SETTING, None) is not None
    return SETTING if written or not os.environ.get(VARIABLE) else VARIABLE


def loaded() -> Settings:
    """The settings, checked; each problem begins with what holds them: ``BALANCEMW: services.inventory.…``.

    Raises:
        SettingsError: they are wrong or missing, with every problem.
    """
    name = origin()
    source = getattr(settings, SETTING, None) if name == SETTING else os.environ[VARIABLE]
    if source is None:
        raise SettingsError([_MISSING])
    try:
        return Settings.load(source)
    except SettingsError as error:
        raise SettingsError(f"{name}: {problem}" for problem in error.problems) from None


def _drop(*, setting: str, **_: object) -> None:
    if setting == SETTING:
        former = _made.pop(SETTING, None)
        if former is not None:
            former.close()


setting_changed.connect(_drop, dispatch_uid="balancemw_django")
