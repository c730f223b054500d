"""The Django example, as a user runs it, while a replica dies."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable

import pytest

from tests.adapters import servers
from tests.adapters.replicas import free_port, running

EXAMPLE = "examples.django_app"


def get(url: str) -> dict[str, str]:
    with urllib.request.urlopen(url) as answer:
        assert answer.status == 200
        return json.load(answer)


def test_it_passes_djangos_checks() -> None:
    paths = os.pathsep.join([str(servers.ROOT), str(servers.ROOT / "adapters")])
    command = [sys.executable, servers.ROOT / "examples" / "django_app.py", "check", "--fail-level", "WARNING"]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": paths})


@pytest.mark.parametrize(
    ("server", "app", "page"),
    [(servers.gunicorn, "application", "products"), (servers.uvicorn, "async_application", "async/products")],
)
def test_its_pages_stay_up_when_a_replica_dies(server: Callable[..., object], app: str, page: str) -> None:
    with running(3) as replicas:
        env = {"INVENTORY": " ".join(replica.url for replica in replicas)}
        with server(f"{EXAMPLE}:{app}", workers=2, env=env) as base:
            before = [get(f"{base}/{page}/chair") for _ in range(60)]
            assert {answer["sku"] for answer in before} == {"chair"}
            assert "replica-0" in {answer["stock"] for answer in before}
            replicas[0].kill()
            after = [get(f"{base}/{page}/chair") for _ in range(60)]
            assert {answer["stock"] for answer in after} <= {"replica-1", "replica-2"}


def test_it_sends_an_order_once() -> None:
    with running(1) as [replica]:
        port = free_port()
        base = f"http://127.0.0.1:{port}"
        command = [f"{EXAMPLE}", "runserver", "--noreload", str(port)]
        with servers.process(command, base, {"INVENTORY": replica.url}):
            order = urllib.request.Request(f"{base}/orders/chair", method="POST")
            with urllib.request.urlopen(order) as answer:
                assert (answer.status, json.load(answer)) == (201, {"sku": "chair", "reservation": "replica-0"})
            replica.reset()
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(order)
            refused.value.close()
            assert refused.value.code == 500
            assert replica.received == 2
