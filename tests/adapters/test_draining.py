"""An app that is told to end says so first, in its health document and in its answers, under every server."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.adapters.rolling import SERVERS, Server, servers
from tests.adapters.servers import PATIENCE

KINDS = list(SERVERS)


def ask(server: Server, path: str = "/") -> requests.Response:
    return requests.get(server.url + path, timeout=PATIENCE)


def until(holds: Callable[[], bool]) -> None:
    patience = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < patience
        time.sleep(0.02)


def drains(server: Server) -> bool:
    return "x-balancemw-state" in ask(server).headers


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_is_told_to_end_says_so_serves_on_and_ends(kind: str, tmp_path: Path):
    with servers(kind, 1, tmp_path, drain_seconds=2.5) as (server,):
        before = ask(server, "/healthz")
        assert (before.status_code, before.json()["state"]) == (200, "up")
        assert "x-balancemw-state" not in ask(server).headers
        server.terminate()
        until(lambda: drains(server))
        said = ask(server).headers["x-balancemw-state"]
        assert said.startswith("draining; left=")
        assert 0 < float(said.partition("=")[2]) <= 2.5
        health = ask(server, "/healthz")
        assert (health.status_code, health.json()["state"]) == (503, "draining")
        with ThreadPoolExecutor(1) as pool:
            slow = pool.submit(ask, server, "/slow")
            server.wait()
            assert slow.result().status_code == 200
    assert "Traceback" not in server.said()


@pytest.mark.parametrize("kind", ["uvicorn", "werkzeug"])
def test_a_second_sigterm_passes_at_once(kind: str, tmp_path: Path):
    with servers(kind, 1, tmp_path, drain_seconds=600) as (server,):
        ask(server)  # once more: a server of threads hears of the signal from the moment it wakes to serve again
        server.terminate()
        until(lambda: drains(server))
        server.terminate()
        server.wait()


@pytest.mark.parametrize("kind", ["uvicorn", "gunicorn gthread"])
def test_with_no_seconds_to_drain_it_ends_as_it_always_did(kind: str, tmp_path: Path):
    with servers(kind, 1, tmp_path, drain_seconds=0) as (server,):
        server.terminate()
        server.wait()
    assert "draining" not in server.said()


@pytest.mark.parametrize("kind", ["uvicorn", "gunicorn gthread"])
def test_who_drains_by_hand_is_not_held_up_again(kind: str, tmp_path: Path):
    with servers(kind, 1, tmp_path, drain_seconds=1) as (server,):
        assert ask(server, "/drain").headers["x-balancemw-state"] == "draining"
        assert ask(server, "/healthz").json()["state"] == "draining"
        server.terminate()
        server.wait()


def test_only_http_1_is_asked_to_close_the_connection_and_only_by_asgi(tmp_path: Path):
    with servers("uvicorn", 1, tmp_path, drain_seconds=600) as (server,):
        assert "connection" not in ask(server).headers
        assert ask(server, "/drain").headers["connection"] == "close"
    with servers("werkzeug", 1, tmp_path, drain_seconds=600) as (server,):
        ask(server, "/drain")
        assert ask(server).headers["connection"] == "close"  # its own: it keeps none


@pytest.mark.parametrize("kind", ["uvicorn", "werkzeug"])
def test_the_health_document_counts_what_is_in_flight(kind: str, tmp_path: Path):
    with servers(kind, 1, tmp_path) as (server,), ThreadPoolExecutor(4) as pool:
        slow = [pool.submit(ask, server, "/slow") for _ in range(3)]
        until(lambda: ask(server, "/healthz").json()["in_flight"] == 3)
        assert [each.result().status_code for each in slow] == [200] * 3
        ask(server, "/stream")
        until(lambda: ask(server, "/healthz").json()["in_flight"] == 0)
        health = ask(server, "/healthz")
        assert set(json.loads(health.content)) == {"state", "since", "in_flight", "requests"}
        assert health.json()["requests"] == 5  # with the one that saw it start, and none of these
        assert health.headers["cache-control"] == "no-store"
        assert requests.head(server.url + "/healthz", timeout=PATIENCE).status_code == 200
        assert requests.post(server.url + "/healthz", timeout=PATIENCE).status_code == 405
