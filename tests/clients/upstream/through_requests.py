"""Plugin for requests' tests: httpbin is a service, and each session is balanced."""

import os
from types import SimpleNamespace

import pytest
import requests

from balancemw import configure
from balancemw_requests import mount

PORT = os.environ["HTTPBIN_PORT"]
NAME = "httpbin.test"

make = requests.Session.__init__
balancer = configure({"services": {NAME: {"nodes": [f"http://127.0.0.1:{PORT}"], "retry": {"attempts": 1}}}})


def session(self: requests.Session) -> None:
    make(self)
    mount(self, balancer)


if os.environ["THROUGH"]:
    requests.Session.__init__ = session  # type: ignore[method-assign]


@pytest.fixture
def httpbin() -> SimpleNamespace:
    return SimpleNamespace(url=f"http://{NAME if os.environ['THROUGH'] else '127.0.0.1'}:{PORT}")


@pytest.fixture
def httpbin_secure() -> None:
    pytest.skip("there is no httpbin with a certificate")
