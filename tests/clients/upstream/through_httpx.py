"""Plugin for httpx's tests: their server is a service, and clients without a transport of their own are balanced."""

import os
from typing import Any

import httpx
import pytest

from balancemw import Balancer
from balancemw_httpx import AsyncBalancedTransport, BalancedTransport

NAME = "server.test"
SETTINGS = {"services": {NAME: {"nodes": ["http://127.0.0.1:8000"], "retry": {"attempts": 1}}}}


def balance(client: Any, balanced: Any) -> None:
    def init_transport(self: Any, transport: Any = None, **options: Any) -> Any:
        return transport or balanced(Balancer(SETTINGS), **options)

    client._init_transport = init_transport


if os.environ["THROUGH"]:
    balance(httpx.Client, BalancedTransport)
    balance(httpx.AsyncClient, AsyncBalancedTransport)


def pytest_collection_finish(session: pytest.Session) -> None:
    from tests import conftest  # of httpx

    own = conftest.TestServer.url  # type: ignore[attr-defined]

    def url(self: Any) -> httpx.URL:
        return httpx.URL(f"http://{NAME}/") if self.config.port == 8000 and os.environ["THROUGH"] else own.fget(self)

    conftest.TestServer.url = property(url)  # type: ignore[attr-defined]
