"""Gunicorn's workers share one file: what callers and replicas see of it."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.adapters.outage import settings_file
from tests.adapters.replicas import Replica
from tests.adapters.servers import gunicorn
from tests.adapters.watching import eventually

PATIENCE = 30.0
STATE = """
state = "sqlite:///{path}"
"""
PROBE = """
[services.inventory.probe]
kind = "http"
path = "/probe?id=probe"
interval = 0.5
fast_interval = 0.5
down_interval = 0.5
jitter = 0
fall = {fall}
"""


def settings(directory: Path, replicas: list[Replica], *, fall: int) -> dict[str, str]:
    path = Path(settings_file(directory, [replica.url for replica in replicas]))
    state = STATE.format(path=directory / "state.db")
    path.write_text(state + path.read_text() + PROBE.format(fall=fall))
    return {"BALANCEMW_SETTINGS": str(path)}


@pytest.mark.parametrize(("how", "preload"), [("kill", False), ("status", True)])
def test_four_workers_lose_a_replica_as_one(replicas, tmp_path: Path, how: str, preload: bool):
    started: list[Replica] = replicas(3)
    victim = started[0]
    env = settings(tmp_path, started, fall=100)
    options = ["--preload"] if preload else []
    if preload:
        env["CALL_AT_IMPORT"] = "yes"  # so that the master shares, too, when it forks
    with (
        gunicorn("tests.adapters.flask_app:app", *options, workers=4, threads=8, env=env) as base,
        ThreadPoolExecutor(4) as pool,
    ):

        def load(count: int) -> Counter[tuple[int, str]]:
            answers = pool.map(lambda _: requests.get(f"{base}/sync", timeout=PATIENCE), range(count))
            return Counter((answer.status_code, answer.text) for answer in answers)

        load(100)
        failed = _failures(base, victim)
        assert failed == 0
        victim.kill() if how == "kill" else victim.status(503)
        outcome = load(300)
        while _failures(base, victim) == 0:  # what a busy machine has made slow is spared for a while
            outcome += load(20)
        outcome += load(20)
        assert {status for status, _ in outcome} == {200}
        assert _failures(base, victim) < 12


def test_four_workers_check_as_one(replicas, tmp_path: Path):
    started: list[Replica] = replicas(2)
    env = settings(tmp_path, started, fall=2)
    alone = ("--worker-class", "sync")  # one request at a time, so that no worker can take them all
    with (
        gunicorn("tests.adapters.flask_app:app", *alone, workers=4, threads=1, env=env) as base,
        ThreadPoolExecutor(8) as pool,
    ):
        asked: set[int] = set()

        def ask(_: int) -> None:
            requests.get(f"{base}/sync", timeout=PATIENCE)
            asked.add(requests.get(f"{base}/sharing", timeout=PATIENCE).json()["pid"])

        eventually(lambda: list(pool.map(ask, range(20))) and len(asked) == 4)
        eventually(lambda: started[0].counts()["probe"] > 0)
        begin = time.monotonic()  # first: what is checked while this process waits for its turn must count in its time
        before = started[0].counts()["probe"]
        eventually(lambda: started[0].counts()["probe"] >= before + 5)
        assert time.monotonic() - begin > 1.5  # one needs two seconds at least; two would have done in one


def _failures(base: str, replica: Replica) -> int:
    nodes = requests.get(f"{base}/sharing", timeout=PATIENCE).json()["nodes"]
    return next(int(each["failures"]) for each in nodes if each["url"] == replica.url)
