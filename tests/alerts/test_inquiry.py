"""Alertmanager is asked what is firing: by a stand-in that answers as its documentation says, to see every corner."""

import base64
import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from balancemw import Balancer, Event
from tests.adapters.watching import alone, eventually
from tests.alerts.notices import alert, webhook


class Alertmanager:
    """Answers ``GET /api/v2/alerts`` with what it is given, and remembers what it was asked."""

    def __init__(self) -> None:
        self.listed: list[dict[str, Any]] = []
        self.status = 200
        self.body: bytes | None = None
        self.asked: list[tuple[dict[str, list[str]], dict[str, str]]] = []
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                known = parts.path == "/am/api/v2/alerts"
                stand_in.asked.append((parse_qs(parts.query), {k.lower(): v for k, v in self.headers.items()}))
                body = json.dumps(stand_in.listed).encode() if stand_in.body is None else stand_in.body
                self.send_response(stand_in.status if known else 404)
                self.send_header("content-length", str(len(body)))
                self.send_header("location", stand_in.url + "/elsewhere")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/am"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def has(self, *alerts: dict[str, Any], state: str = "active") -> None:
        self.listed = [
            {**each, "endsAt": "2026-01-31T12:04:00Z", "status": {"state": state, "silencedBy": [], "inhibitedBy": []}}
            for each in alerts
        ]

    def wait(self, questions: int = 2) -> None:
        """Until so many more have been asked and the one before the last has been dealt with."""
        before = len(self.asked)
        eventually(lambda: len(self.asked) >= before + questions)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def alertmanager() -> Iterator[Alertmanager]:
    stand_in = Alertmanager()
    with alone():
        yield stand_in
    stand_in.close()


class Asking(Balancer):
    """A balancer that asks often."""

    def __init__(self, alertmanager: Alertmanager, **alerts: Any) -> None:
        nodes = [f"http://n{i}:80" for i in range(4)]
        alerts = {"url": alertmanager.url, "interval": 0.05, **alerts}
        super().__init__({"services": {"s": {"nodes": nodes}}, "admin": {"token": "of-tests"}, "alerts": alerts})
        self.told: list[Event] = []
        self.subscribe(self.told.append)

    def out(self) -> set[str]:
        service = self["s"]
        return {node.host for node in service.nodes} - {node.host for node in service.available}

    def since(self, host: str) -> float:
        """When the node's mark was set."""
        return self["s"].pool.roster.find(f"{host}:80").marks["alert"].since

    def names(self) -> list[str]:
        return [event.event for event in self.told]


def test_what_is_active_takes_effect_and_what_is_silenced_does_not(alertmanager: Alertmanager):
    alertmanager.has(alert("n0:80"), alert("nobody:1"))
    with Asking(alertmanager) as balancer:
        eventually(lambda: balancer.out() == {"n0"})
        query, headers = alertmanager.asked[0]
        assert query == {name: ["true"] for name in ("active", "silenced", "inhibited", "unprocessed")}
        assert "authorization" not in headers
        told: Any = balancer.status()["alerts"]
        assert told["unmatched"] == 0  # it has many alerts that are not ours
    alertmanager.has(alert("n0:80"), state="suppressed")
    with Asking(alertmanager) as balancer:
        alertmanager.wait(3)
        assert balancer.out() == set()


def test_what_is_silenced_later_goes_on(alertmanager: Alertmanager):
    alertmanager.has(alert("n0:80"))
    with Asking(alertmanager, lease=0.4) as balancer:
        eventually(lambda: balancer.out() == {"n0"})
        alertmanager.has(alert("n0:80"), state="suppressed")
        since = balancer.since("n0")
        alertmanager.wait(12)  # longer than the lease
        assert balancer.since("n0") == since


def test_what_is_listed_no_more_is_over_at_the_second_time(alertmanager: Alertmanager):
    alertmanager.has(alert("n0:80"))
    with Asking(alertmanager) as balancer:
        eventually(lambda: balancer.out() == {"n0"})
        alertmanager.has()
        eventually(lambda: balancer.out() == set())
        assert balancer.names() == ["down", "cleared"]


def test_what_never_was_listed_is_not_over_for_that(alertmanager: Alertmanager):
    with Asking(alertmanager) as balancer:
        balancer.receive_alerts(webhook(alert("n0:80")))
        alertmanager.wait(4)
        assert balancer.out() == {"n0"}


@pytest.mark.parametrize(
    ("settings", "authorization"),
    [
        ({"token": "hunter2"}, "Bearer hunter2"),
        ({"user": "bob", "password": "hünter2"}, "Basic " + base64.b64encode("bob:hünter2".encode()).decode()),
    ],
)
def test_it_may_want_to_know_who_asks(
    alertmanager: Alertmanager, settings: Any, authorization: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG, "balancemw")
    with Asking(alertmanager, receiver="a.b", **settings) as balancer:
        alertmanager.wait()
        query, headers = alertmanager.asked[0]
        assert (headers["authorization"], query["receiver"]) == (authorization, [r"a\.b"])
        alertmanager.status = 401
        eventually(lambda: "alertmanager_lost" in balancer.names())
        assert "nter2" not in caplog.text + repr(balancer.settings) + json.dumps(balancer.status())


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (500, None, "it answered with status 500"),
        (302, None, "it answered with status 302"),
        (200, b"<html>", "its answer is no JSON"),
        (200, b"[" * 100_000, "its answer is no JSON"),
        (200, b"{}", "the body: expected a list"),
        (200, b"x" * (17 * 1024 * 1024), "its answer is longer than 16777216 bytes"),
    ],
)
def test_what_it_answers_may_be_of_no_use(alertmanager: Alertmanager, status: int, body: bytes | None, reason: str):
    alertmanager.has(alert("n0:80"))
    with Asking(alertmanager) as balancer:
        eventually(lambda: balancer.out() == {"n0"})
        alertmanager.status, alertmanager.body = status, body
        eventually(lambda: "alertmanager_lost" in balancer.names())
        assert f"cannot be asked what is firing: {reason}" in balancer.told[-1].reason
        alertmanager.wait()
        assert balancer.names() == ["down", "alertmanager_lost"]  # told once, and what is known holds
        alertmanager.status, alertmanager.body = 200, None
        eventually(lambda: balancer.names()[-1] == "alertmanager_found")
        assert balancer.out() == {"n0"}
        assert {path for query, _ in alertmanager.asked for path in query.get("elsewhere", [])} == set()


def test_it_may_be_gone(alertmanager: Alertmanager):
    with Asking(alertmanager, url="http://127.0.0.1:1") as balancer:
        eventually(lambda: balancer.names() == ["alertmanager_lost"])
        assert "ClientConnectorError" in balancer.told[0].reason


def test_a_balancer_that_is_started_anew_asks_at_once(alertmanager: Alertmanager):
    balancer = Asking(alertmanager, interval=3600)
    for questions in (1, 2):
        with balancer:
            eventually(lambda count=questions: len(alertmanager.asked) == count)
