"""One of several workers receives an alert; all of them obey it, and any of them may hear of its end."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from balancemw import Balancer
from balancemw.alerts import Desk
from tests.adapters.servers import gunicorn
from tests.adapters.watching import eventually
from tests.alerts.notices import alert, webhook

TOKEN = "a-token-of-the-tests"
NODES = [f"http://127.0.0.1:{port}" for port in range(7001, 7005)]


def settings(state: str) -> dict[str, Any]:
    return {"services": {"inventory": {"nodes": NODES}}, "admin": {"token": TOKEN}, "state": state}


@pytest.fixture
def workers(state: str) -> Iterator[list[Balancer]]:
    """Three balancers over one store, as in three processes."""
    with ExitStack() as stack:
        yield [stack.enter_context(Balancer(settings(state))) for _ in range(3)]


def out(balancer: Balancer) -> set[str]:
    service = balancer["inventory"]
    return {node.name for node in service.nodes} - {node.name for node in service.available}


def test_what_one_is_told_all_know(workers: list[Balancer]):
    first, second, third = workers
    first.receive_alerts(webhook(alert("127.0.0.1:7001"), alert("127.0.0.1:7002", starts=1)))
    second.receive_alerts(webhook(alert("127.0.0.1:7003", starts=-1)))
    chosen = {"127.0.0.1:7001", "127.0.0.1:7003"}
    eventually(lambda: all(out(worker) == chosen for worker in workers))
    third.receive_alerts(webhook(alert("127.0.0.1:7001", resolved=True)))
    eventually(lambda: all(out(worker) == {"127.0.0.1:7002", "127.0.0.1:7003"} for worker in workers))
    assert second.receive_alerts(webhook(alert("127.0.0.1:7001")))["stale"] == 1  # a replay


def test_it_survives_a_restart_of_all(state: str):
    with Balancer(settings(state)) as first:
        first.receive_alerts(webhook(alert("127.0.0.1:7001")))
    with Balancer(settings(state)) as second:
        eventually(lambda: out(second) == {"127.0.0.1:7001"})
        second.receive_alerts(webhook(alert("127.0.0.1:7001", resolved=True)))
        assert out(second) == set()


def test_an_operators_up_overrules_it_for_all(workers: list[Balancer]):
    first, _second, third = workers
    first.receive_alerts(webhook(alert("127.0.0.1:7001")))
    eventually(lambda: out(third) == {"127.0.0.1:7001"})
    third["inventory"].mark("127.0.0.1:7001", "up", reason="it is well")
    eventually(lambda: all(out(worker) == set() for worker in workers))

    def overruled(worker: Balancer) -> bool:
        (entry,) = worker.alerts.entries()
        return bool(entry.overruled)

    eventually(lambda: all(overruled(worker) for worker in workers))


def test_the_journal_tells_it_once(workers: list[Balancer]):
    workers[0].receive_alerts(webhook(alert("127.0.0.1:7001")))
    eventually(lambda: all(out(worker) for worker in workers))
    eventually(lambda: all(not worker.journal.adrift and worker.journal.after() for worker in workers))
    workers[2].receive_alerts(webhook(alert("127.0.0.1:7001", resolved=True)))
    eventually(lambda: all(not out(worker) for worker in workers))
    eventually(lambda: len(workers[0].journal.after()) >= 2)
    assert [event.event for event in workers[0].journal.after()] == ["down", "cleared"]


def test_a_check_that_an_alert_calls_for_reaches_the_worker_that_makes_them(
    workers: list[Balancer], monkeypatch: pytest.MonkeyPatch
):
    asked: list[Desk] = []
    monkeypatch.setattr(Desk, "_act_at_once", lambda desk, entry, now: asked.append(desk))
    workers[0].receive_alerts(webhook(alert("127.0.0.1:7001", "info")))
    eventually(lambda: len(asked) == 3)
    assert {id(desk) for desk in asked} == {id(worker.alerts) for worker in workers}


def test_a_thousand_alerts_for_three_workers(workers: list[Balancer]):
    workers[0].receive_alerts(webhook(*(alert("127.0.0.1:7001", name=f"Broken{i}") for i in range(1000))))
    eventually(lambda: all(len(worker.alerts.entries()) == 1000 for worker in workers))


def test_gunicorns_workers(tmp_path: Path):
    file = tmp_path / "balancemw.toml"
    state = f'state = "sqlite:///{tmp_path / "state"}"\n'
    file.write_text(f'{state}[services.inventory]\nnodes = {NODES}\n[admin]\ntoken = "{TOKEN}"\n'.replace("'", '"'))
    with gunicorn("tests.admin.apps:flask_app", workers=4, env={"BALANCEMW_SETTINGS": str(file)}) as base:

        def ask(method: str, path: str, **options: Any) -> Any:
            headers = {"authorization": f"Bearer {TOKEN}", "connection": "close"}
            answer = requests.request(method, f"{base}/_balancer{path}", headers=headers, timeout=30, **options)
            assert answer.status_code == 200
            return answer.json()

        def states() -> set[str]:
            """What the workers think of one node, asked so often that each has its say."""
            found: list[str] = []

            def look() -> None:
                for _ in range(10):
                    nodes = ask("GET", "/status")["services"]["inventory"]["nodes"]
                    found.append("down" if nodes[0]["state"] == "down" else "up")

            threads = [threading.Thread(target=look) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return set(found)

        ask("POST", "/alerts", json=webhook(alert("127.0.0.1:7001")))
        eventually(lambda: states() == {"down"})
        ask("POST", "/alerts", json=webhook(alert("127.0.0.1:7001", resolved=True)))
        eventually(lambda: states() == {"up"})
        replay = webhook(alert("127.0.0.1:7001"))
        # A worker that has not been asked for anything before reads first what the others know.
        eventually(lambda: all(ask("POST", "/alerts", json=replay)["new"] == 0 for _ in range(8)))
        eventually(lambda: states() == {"up"})
