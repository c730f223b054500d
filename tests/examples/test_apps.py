"""The apps in examples/, as their users run them: a real server, and replicas that die."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import requests

from balancemw.settings import Settings, advice
from tests.adapters.replicas import Replica, running
from tests.adapters.servers import ROOT, gunicorn, uvicorn

PATIENCE = 30.0


@pytest.fixture(params=["starlette", "flask"])
def serve(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[list[Replica]], AbstractContextManager[str]]:
    """Starts the example with these replicas."""

    def start(replicas: list[Replica]) -> AbstractContextManager[str]:
        urls = [replica.url for replica in replicas]
        if request.param == "flask":
            return gunicorn("examples.flask_app:app", env={"INVENTORY": ",".join(urls)})
        path = tmp_path / "balancemw.toml"
        path.write_text(f"[services.inventory]\nnodes = {json.dumps(urls)}\n")
        return uvicorn("examples.starlette_app:app", env={"BALANCEMW_SETTINGS": str(path)})

    return start


def test_the_shop_stays_open_while_replicas_die(serve):
    with running(3) as replicas, serve(replicas) as base:
        assert requests.get(f"{base}/product/tea", timeout=PATIENCE).text in {replica.name for replica in replicas}
        replicas[0].kill()
        replicas[1].kill()
        for _ in range(20):
            answer = requests.get(f"{base}/product/tea", timeout=PATIENCE)
            assert (answer.status_code, answer.text) == (200, "replica-2")
        nodes = requests.get(f"{base}/health", timeout=PATIENCE).json()["services"]["inventory"]["nodes"]
    assert {node["url"] for node in nodes} == {replica.url for replica in replicas}
    assert {node["url"]: node["failures"] for node in nodes}[replicas[2].url] == 0


def test_an_order_is_never_sent_twice(serve):
    with running(3) as replicas, serve(replicas) as base:
        assert requests.post(f"{base}/order/tea", timeout=PATIENCE).json() == {"reserved": 200}
        for replica in replicas:
            replica.reset()  # after it has read the order
        for number in range(1, 6):
            assert requests.post(f"{base}/order/{number}", timeout=PATIENCE).status_code == 500
            assert sum(replica.received for replica in replicas) == 1 + number


def test_the_flask_shop_says_itself_that_it_is_closed(monkeypatch):
    from balancemw import balancer as process

    monkeypatch.setattr(process._process, "balancer", None)
    from examples.flask_app import app

    inventory = app.extensions["balancemw"]["inventory"]
    for node in inventory.nodes:
        inventory.mark(node, "down", reason="stocktaking")
    answer = app.test_client().get("/product/tea")
    assert (answer.status_code, answer.text) == (503, "The shop is closed for the moment.")
    assert int(answer.headers["retry-after"]) >= 1


def test_the_settings_of_the_starlette_shop_are_sound():
    assert advice(Settings.load(ROOT / "examples" / "balancemw.toml")) == []
