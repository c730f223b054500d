"""Starlette under uvicorn and Flask under gunicorn, as processes, with replicas that are processes too."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import pytest
import requests

from tests.adapters.outage import run_outage, settings_file
from tests.adapters.replicas import Replica
from tests.adapters.servers import gunicorn, uvicorn

Serve = Callable[..., AbstractContextManager[str]]

PATIENCE = 30.0


@pytest.fixture(params=["starlette", "flask"])
def serve(request: pytest.FixtureRequest, tmp_path) -> Serve:
    """Starts the app under test for replicas at these urls."""

    def start(urls: list[str], workers: int = 1) -> AbstractContextManager[str]:
        env = {"BALANCEMW_SETTINGS": settings_file(tmp_path, urls)}
        if request.param == "starlette":
            return uvicorn("tests.adapters.starlette_app:app", workers=workers, env=env)
        return gunicorn("tests.adapters.flask_app:app", workers=workers, env=env)

    return start


@pytest.mark.parametrize("path", ["/sync", "/async"])
def test_no_caller_sees_an_outage(serve: Serve, path: str):
    outcome = run_outage(lambda urls: serve(urls, workers=4), path)
    outcome.check()


def test_a_deadline_that_comes_in_bounds_the_call_that_goes_out(serve: Serve, replicas):
    (replica,) = replicas(1)
    replica.hang()
    with serve([replica.url]) as base:
        for path in ("/sync", "/async"):
            answer = requests.get(base + path, headers={"x-request-timeout-ms": "300"}, timeout=PATIENCE)
            assert (answer.status_code, answer.headers["content-type"]) == (504, "application/problem+json")
    assert replica.received == 2


def test_a_request_that_is_a_retry_is_sent_once(serve: Serve, replicas):
    started: list[Replica] = replicas(3)
    for replica in started:
        replica.reset()
    sent: list[int] = []
    with serve([replica.url for replica in started]) as base:
        for count in ("1", "2"):
            answer = requests.get(f"{base}/sync", headers={"x-envoy-attempt-count": count}, timeout=PATIENCE)
            assert answer.status_code == 500
            sent.append(sum(replica.received for replica in started))
    assert sent == [3, 3 + 1]


def test_workers_forked_after_a_call_go_their_own_ways(replicas, tmp_path):
    started: list[Replica] = replicas(3)
    env = {
        "BALANCEMW_SETTINGS": settings_file(tmp_path, [replica.url for replica in started]),
        "CALL_AT_IMPORT": "yes",
    }
    choices: dict[str, str] = {}
    with (
        gunicorn("tests.adapters.flask_app:app", "--preload", workers=4, env=env) as base,
        ThreadPoolExecutor(8) as pool,
    ):
        started[0].kill()
        for answer in pool.map(lambda _: requests.get(f"{base}/choices", timeout=PATIENCE), range(100)):
            worker, _, picked = answer.text.partition(" ")
            choices.setdefault(worker, picked)
        answers = list(pool.map(lambda _: requests.get(f"{base}/sync", timeout=PATIENCE), range(100)))
    assert len(choices) > 1
    assert len(set(choices.values())) == len(choices)  # a random generator copied by the fork would repeat itself
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.text for answer in answers} == {"replica-1", "replica-2"}


def test_a_stream_under_gunicorn_survives_the_death_of_a_replica(replicas, tmp_path):
    started: list[Replica] = replicas(2)
    env = {"BALANCEMW_SETTINGS": settings_file(tmp_path, [replica.url for replica in started])}
    with gunicorn("tests.adapters.flask_app:app", env=env) as base:
        started[0].kill()
        answer = requests.get(f"{base}/stream", timeout=PATIENCE)
    assert (answer.status_code, answer.text) == (200, "replica-1\n" * 3)
