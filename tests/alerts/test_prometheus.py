"""End to end: a replica goes bad in a way that traffic cannot see; Prometheus and Alertmanager tell, and it is out."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.adapters.replicas import free_port
from tests.adapters.servers import gunicorn
from tests.alerts.monitoring import Replica, daemon, eventually, program, replicas, written

TOKEN = "change-me-to-a-long-secret"
FAST = {  # else the test would last minutes
    "scrape_interval: 15s": "scrape_interval: 1s",
    "evaluation_interval: 15s": "evaluation_interval: 1s",
    "for: 1m": "for: 0s",
    "group_interval: 10s": "group_interval: 1s",
}


def test_the_configuration_in_the_docs_is_valid(tmp_path: Path):
    promtool, amtool = program("promtool"), program("amtool")
    files = written(tmp_path, {})
    for command in (
        [promtool, "check", "config", files["prometheus.yml"]],
        [amtool, "check-config", files["alertmanager.yml"]],
    ):
        checked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert checked.returncode == 0, checked.stdout + checked.stderr


class Site:
    """The app, and what watches its replicas."""

    def __init__(self, directory: Path, nodes: list[Replica]) -> None:
        self.port, alertmanager, prometheus = free_port(), free_port(), free_port()
        self.nodes = nodes
        self.base = f"http://127.0.0.1:{self.port}"
        self._alertmanager = f"127.0.0.1:{alertmanager}"
        self._prometheus = f"127.0.0.1:{prometheus}"
        addresses = {f"10.0.0.{i}:8000": node.name for i, node in enumerate(nodes, 1)}
        others = {"10.0.0.9:9093": self._alertmanager, "10.0.0.8:5000": f"127.0.0.1:{self.port}"}
        self._files = written(directory, addresses | others | FAST)
        self._directory = directory

    def monitoring(self, stack: ExitStack) -> None:
        """Start Alertmanager and Prometheus."""
        data = self._directory / "data"
        alertmanager = [
            program("alertmanager", "prometheus-alertmanager"),
            f"--config.file={self._files['alertmanager.yml']}",
            f"--storage.path={data / 'alertmanager'}",
            f"--web.listen-address={self._alertmanager}",
            "--cluster.listen-address=",
        ]
        prometheus = [
            program("prometheus"),
            f"--config.file={self._files['prometheus.yml']}",
            f"--storage.tsdb.path={data / 'prometheus'}",
            f"--web.listen-address={self._prometheus}",
        ]
        log = self._directory / "alertmanager.log"
        stack.enter_context(daemon(alertmanager, f"http://{self._alertmanager}/-/ready", log))
        log = self._directory / "prometheus.log"
        stack.enter_context(daemon(prometheus, f"http://{self._prometheus}/-/ready", log))

    def app(self) -> Any:
        """Start the app."""
        env = {"BALANCEMW_SETTINGS": str(self._files["balancemw.toml"])}
        return gunicorn("tests.alerts.app:app", "--bind", f"127.0.0.1:{self.port}", env=env)

    def status(self) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {TOKEN}"}
        answer = requests.get(f"{self.base}/_balancer/status", headers=headers, timeout=30)
        answer.raise_for_status()
        told: dict[str, Any] = answer.json()
        return told

    def states(self) -> list[str]:
        return [node["state"] for node in self.status()["services"]["inventory"]["nodes"]]

    def called(self) -> set[str]:
        """The replicas that calls go to."""
        answers = [requests.get(self.base, timeout=30) for _ in range(30)]
        assert {answer.status_code for answer in answers} == {200}
        return {answer.text for answer in answers}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    for names in (("prometheus",), ("alertmanager", "prometheus-alertmanager")):
        program(*names)
    with replicas(3) as nodes:
        yield Site(tmp_path, nodes)


@pytest.mark.timeout(240)
def test_an_alert_takes_a_replica_out_and_its_end_brings_it_back(site: Site):
    stale, full, well = site.nodes
    with ExitStack() as stack:
        site.monitoring(stack)
        with site.app():
            eventually(lambda: stale.name in site.called(), site.status)
            stale.age, full.disk = 3600.0, 0.95
            eventually(lambda: site.states()[0] == "down", site.status)
            eventually(lambda: site.status()["alerts"]["firing"] == 2, site.status)
            assert site.called() <= {full.name, well.name}
            told = site.status()["services"]["inventory"]["nodes"]
            assert told[0]["marks"][0]["reason"] == "StockIsStale (critical): the stock is 3600 s old"
            assert told[1]["weight"] == 0.25
            assert told[0]["failures"] == 0  # traffic saw nothing
            full.disk = 0.5
            eventually(lambda: site.status()["alerts"]["firing"] == 1, site.status)
        with site.app():  # started anew: nobody tells it again for hours, so it asks
            site.called()
            eventually(lambda: site.states()[0] == "down", site.status)
            stale.age = 1.0
            eventually(lambda: site.states()[0] != "down", site.status)
            eventually(lambda: stale.name in site.called(), site.status)
            assert site.status()["alerts"]["resolved"] >= 1
