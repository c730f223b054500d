from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.adapters.servers import gunicorn, uvicorn

TOKEN = "a-token-of-the-tests"

SETTINGS = f"""
[services.inventory]
nodes = ["http://127.0.0.1:7001", "http://127.0.0.1:7002", "http://127.0.0.1:7003", "http://[::1]:7004"]

[admin]
token = "{TOKEN}"
"""

SERVERS: dict[str, Callable[[Any], Any]] = {
    "starlette": lambda env: uvicorn("tests.admin.apps:starlette_app", env=env),
    "wsgi": lambda env: gunicorn("tests.admin.apps:wsgi_app", env=env),
    "flask": lambda env: gunicorn("tests.admin.apps:flask_app", env=env),
    "django": lambda env: gunicorn("tests.admin.django_project:wsgi", env=env),
    "django-async": lambda env: uvicorn("tests.admin.django_project:asgi", env=env),
}


class Site:
    """An app under a real server, asked by a client that knows the token unless told otherwise."""

    def __init__(self, base: str, adapter: str) -> None:
        self.base = base
        self.adapter = adapter
        self._session = requests.Session()

    def ask(self, method: str, path: str, *, token: str | None = TOKEN, **options: Any) -> requests.Response:
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        headers |= options.pop("headers", {})
        url = f"{self.base}/_balancer{path}"
        return self._session.request(method, url, headers=headers, timeout=30, allow_redirects=False, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.ask("GET", path, **options)

    def post(self, path: str, **options: Any) -> requests.Response:
        return self.ask("POST", path, **options)

    def node(self, name: str) -> dict[str, Any]:
        nodes = self.get("/status").json()["services"]["inventory"]["nodes"]
        return next(each for each in nodes if each["name"] == name)

    def order(self, name: str, **order: Any) -> requests.Response:
        return self.post(f"/services/inventory/nodes/{name}", json=order)

    def close(self) -> None:
        self._session.close()


@pytest.fixture(scope="session", params=SERVERS)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The surface of every adapter in turn."""
    file: Path = tmp_path_factory.mktemp("admin") / "balancemw.toml"
    file.write_text(SETTINGS)
    with SERVERS[request.param]({"BALANCEMW_SETTINGS": str(file)}) as base:
        served = Site(base, request.param)
        yield served
        served.close()
