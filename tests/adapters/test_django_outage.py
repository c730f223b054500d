"""Django under real servers, four workers each: no caller sees an error while replicas die, hang and come back."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.adapters import servers
from tests.adapters.outage import run_outage, settings_file

SITE = "tests.adapters.django_site"


@pytest.mark.parametrize(
    ("server", "app", "view"),
    [
        (servers.gunicorn, f"{SITE}:wsgi", "sync"),
        (servers.gunicorn, f"{SITE}:wsgi", "async"),
        (servers.uvicorn, f"{SITE}:asgi", "async"),
    ],
    ids=["wsgi-sync", "wsgi-async", "asgi-async"],
)
def test_callers_see_nothing_of_an_outage(
    server: Callable[..., AbstractContextManager[str]], app: str, view: str, tmp_path: Path
) -> None:
    def start(urls: list[str]) -> AbstractContextManager[str]:
        return server(app, workers=4, env={"BALANCEMW_SETTINGS": settings_file(tmp_path, urls)})

    run_outage(start, f"/{view}/real").check()
