"""The Flask extension: settings from the app's own, errors by its rules, and the WSGI middleware for the rest."""

import os
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, current_app

from balancemw import Balancer, DeadlineExceeded, NoNodeAvailable, SettingsError
from balancemw.inbound import problem_of
from balancemw.settings.source import VARIABLE
from balancemw_werkzeug import BalanceMiddleware


class Balance:
    """Balanced calls for a Flask app: ``Balance(app)``, or ``balance = Balance()`` and later ``balance.init_app(app)``.

    The settings are ``app.config["BALANCEMW"]``, a mapping or the path of a TOML file; without them, the file that
    ``BALANCEMW_SETTINGS`` names. `current_app.extensions["balancemw"]` is the `Balancer`, and `balancemw.balanced`
    finds it. `NoNodeAvailable` is answered with 503 and `DeadlineExceeded` with 504, unless the app has an error
    handler for them, or for a class above them. One `Balance` serves any number of apps.

    Args:
        app: None: `init_app` will be called.

    Raises:
        SettingsError: the settings are missing, or wrong, with every problem.
        RuntimeError: the app has been given a balancer before.
    """

    def __init__(self, app: Flask | None = None) -> None:
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Make a balancer of the app's settings and put it around the app.

        Raises:
            SettingsError: the settings are missing, or wrong, with every problem.
            RuntimeError: the app has been given a balancer before.
        """
        if "balancemw" in app.extensions:
            raise RuntimeError("this app has a balancer already: Balance(app) or balance.init_app(app), once")
        settings = app.config.get("BALANCEMW")
        if settings is None and not os.environ.get(VARIABLE):
            raise SettingsError([f'no settings: set app.config["BALANCEMW"], or {VARIABLE} to the path of a TOML file'])
        balancer = Balancer(settings)
        app.wsgi_app = BalanceMiddleware(app.wsgi_app, balancer=balancer)  # type: ignore[method-assign]
        app.extensions["balancemw"] = balancer
        for error in (NoNodeAvailable, DeadlineExceeded):
            app.error_handler_spec[None][None].setdefault(error, _answer)


def _answer(error: Exception) -> Any:
    """Answer one of our errors; called where the app has no handler for that very class."""
    own = _own_handler(type(error))
    if own is not None:
        return current_app.ensure_sync(own)(error)
    problem = problem_of(error)
    if problem is None:
        raise error
    return Response(problem.body, problem.status, dict(problem.headers))


def _own_handler(error: type[Exception]) -> Callable[[Any], Any] | None:
    """The app's handler for a class above `error`, which ours, being for the class itself, would take precedence of."""
    handlers = current_app.error_handler_spec[None][None]
    return next((handlers[each] for each in error.__mro__ if handlers.get(each, _answer) is not _answer), None)
