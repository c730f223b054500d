"""What the middleware adds to a request: tiny apps of each framework, called in this process as a server would."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from benchmarks import apps
from benchmarks.report import Report, micros
from benchmarks.timing import Effort, Run, awaits, calls, race

HEADER, VALUE = "x-request-timeout-ms", "2000"
SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0"},
    "http_version": "1.1",
    "method": "GET",
    "scheme": "http",
    "path": "/",
    "raw_path": b"/",
    "query_string": b"",
    "root_path": "",
    "headers": [(b"host", b"localhost"), (HEADER.encode(), VALUE.encode())],
    "client": ("127.0.0.1", 1),
    "server": ("127.0.0.1", 80),
}
MOST = 5e-6  # seconds
DJANGO_ASYNC = "Django, ASGI, async view"
MANY = 8
"""Times as many rounds there: Django has a thread started for each request, which takes now this long, now that."""

READ = "a request that brings a deadline, to a view that returns a few bytes and calls nothing"


def run(effort: Effort) -> list[Report]:
    """Measure every framework that is installed."""
    rows: list[tuple[str, ...]] = []
    notes = [READ]
    missed: list[str] = []
    with asyncio.Runner() as runner:
        asgi = partial(_asgi, runner=runner)
        for name, pair, drive in (
            ("Starlette, ASGI", apps.starlette_apps, asgi),
            ("werkzeug, WSGI", apps.werkzeug_apps, _wsgi),
            ("Flask, WSGI", apps.flask_apps, _wsgi),
            ("Django, WSGI, sync view", apps.django_wsgi_apps, _wsgi),
            (DJANGO_ASYNC, apps.django_asgi_apps, asgi),
        ):
            try:
                without, balanced = pair()
            except ImportError as error:
                notes.append(f"{name}: left out, as {error.name} is not installed")
            else:
                rounds = effort.rounds * (MANY if name == DJANGO_ASYNC else 1)
                times = race({"without": drive(without), "with": drive(balanced)}, replace(effort, rounds=rounds))
                added = times.difference("with", "without")
                rows.append((name, *map(micros, (times.median("without"), times.median("with"), added))))
                missed += [name] if added > MOST else []
    notes.append(f"target: at most {MOST * 1e6:g} µs added ({'missed by ' + ', '.join(missed) if missed else 'met'})")
    return [Report("A request through the middleware, µs", ("", "without", "with", "added"), rows, notes)]


def _asgi(app: Callable[..., Awaitable[None]], runner: asyncio.Runner) -> Run:
    async def send(message: Mapping[str, Any]) -> None:
        if message.get("status", 200) != 200:
            raise RuntimeError(f"the app failed: {message}")

    async def request() -> None:
        asked = False

        async def receive() -> dict[str, object]:
            nonlocal asked
            if asked:
                await asyncio.get_running_loop().create_future()  # the client waits, and does not hang up
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}

        await app(dict(SCOPE), receive, send)

    return awaits(request, runner)


def _wsgi(app: Callable[..., Iterable[bytes]]) -> Run:
    from werkzeug.test import create_environ

    environ = create_environ("/", headers={HEADER: VALUE})

    def start_response(status: str, headers: object, exc_info: object = None) -> None:
        if not status.startswith("200"):
            raise RuntimeError(f"the app failed: {status}")

    def request() -> None:
        body = app(dict(environ), start_response)
        b"".join(body)
        close = getattr(body, "close", None)
        if close is not None:
            close()

    return calls(request)
