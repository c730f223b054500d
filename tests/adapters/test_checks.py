"""What a single check finds, of real servers."""

from typing import Any

import pytest

from balancemw.checks import Outcome
from balancemw.fault import Kind
from balancemw.settings import ProbeSettings
from tests.adapters.checking import OK, answer, check, check_all, refusing
from tests.adapters.failing_server import Peer, serving, steps

TIMEOUT = 0.2


# -- http


def test_a_good_answer_passes():
    with serving(steps("hear", OK)) as (server, seen):
        assert check(f"http://{server}") == Outcome(True)
    assert seen[0].startswith(b"GET / HTTP/1.1\r\n")
    assert f"Host: {server}\r\n".encode() in seen[0]
    assert b"User-Agent: balancemw-probe\r\n" in seen[0]


def test_the_path_is_put_behind_the_nodes_own():
    with serving(steps("hear", answer(200))) as (server, seen):
        assert check(f"http://{server}/v1", path="/health?full=1", method="HEAD").passed
    assert seen[0].startswith(b"HEAD /v1/health?full=1 HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("status", "expect", "reason", "fault"),
    [
        (503, ((200, 399),), "503 Service Unavailable, expected 200-399", Kind.UNAVAILABLE),
        (500, ((200, 399),), "500 Internal Server Error, expected 200-399", Kind.SERVER_ERROR),
        (429, ((200, 399),), "429 Too Many Requests, expected 200-399", Kind.OVERLOAD),
        (404, ((200, 299), (401, 401)), "404 Not Found, expected 200-299, 401", None),
        (200, ((204, 204),), "200 OK, expected 204", None),
        (599, ((200, 399),), "599, expected 200-399", Kind.SERVER_ERROR),
    ],
)
def test_an_unexpected_status_fails_and_is_named(
    status: int, expect: tuple[tuple[int, int], ...], reason: str, fault: Kind | None
):
    with serving(steps("hear", answer(status))) as (server, _):
        assert check(f"http://{server}", expect=expect) == Outcome(False, reason, fault)


@pytest.mark.parametrize("status", [200, 302, 399, 401])
def test_any_of_the_expected_statuses_passes(status: int):
    with serving(steps("hear", answer(status))) as (server, _):
        assert check(f"http://{server}", expect=((200, 399), (401, 401))).passed


def test_a_redirect_is_an_answer_and_not_followed():
    with serving(steps("hear", answer(302, "Location: /elsewhere"))) as (server, seen):
        assert check(f"http://{server}").passed
    assert len(seen) == 1


def test_nothing_is_remembered_from_one_check_to_the_next():
    with serving(steps("hear", answer(200, "Set-Cookie: seen=before"))) as (server, seen):
        url = f"http://localhost:{server.rpartition(':')[2]}"  # cookies of bare addresses are forgotten anyway
        assert [each.passed for each in check_all(ProbeSettings(kind="http"), url, url)] == [True, True]
    assert len(seen) == 2
    assert all(b"Cookie" not in request for request in seen)


def test_every_check_makes_a_connection_of_its_own():
    connections: list[Peer] = []

    def script(peer: Peer) -> None:
        connections.append(peer)
        peer.hear()
        peer.say(OK)
        peer.hold()

    with serving(script) as (server, _):
        url = f"http://{server}"
        check_all(ProbeSettings(kind="http"), url, url, url)
    assert len(connections) == 3


def test_a_body_without_end_is_not_read_to_its_end():
    sent = 0

    def script(peer: Peer) -> None:
        nonlocal sent
        peer.hear()
        peer.say("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        while sent < 1_000_000_000:
            sent += peer.connection.send(bytes(65536))

    with serving(script) as (server, _):
        assert check(f"http://{server}").passed
    assert sent < 50_000_000


def test_an_answer_that_breaks_off_fails():
    with serving(steps("hear", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it")) as (server, _):
        outcome = check(f"http://{server}")
    assert not outcome.passed
    assert outcome.fault == Kind.RESET


@pytest.mark.parametrize(
    "script", [steps("hold"), steps("hear", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nwell", "hold")]
)
def test_a_node_that_hangs_fails_in_time(script: Any):
    with serving(script) as (server, _):
        outcome = check(f"http://{server}", timeout=TIMEOUT)
    assert outcome == Outcome(False, "no answer within 0.2 s", Kind.TIMEOUT)


def test_a_certificate_that_nobody_trusts_fails():
    with serving(steps("secure", "hear", OK)) as (server, _):
        outcome = check(f"https://{server}")
    assert not outcome.passed
    assert outcome.fault == Kind.TLS
    assert "certificate" in outcome.reason.lower()


@pytest.mark.parametrize(
    ("script", "fault"),
    [
        (steps("hear"), Kind.RESET),
        (steps("hear", "abort"), Kind.RESET),
        (steps("hear", "SSH-2.0-x\r\n"), Kind.PROTOCOL),
    ],
)
def test_other_failures_are_told_apart(script: Any, fault: Kind):
    with serving(script) as (server, _):
        outcome = check(f"http://{server}")
    assert (outcome.passed, outcome.fault) == (False, fault)
    assert outcome.reason


@pytest.mark.parametrize("kind", ["http", "tcp"])
def test_a_dead_node_fails(kind: str):
    outcome = check(refusing(), kind)
    assert (outcome.passed, outcome.fault) == (False, Kind.REFUSED)


def test_proxies_of_the_environment_are_not_for_checks(monkeypatch: pytest.MonkeyPatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, refusing())
    with serving(steps("hear", OK)) as (server, _):
        assert check(f"http://{server}").passed


# -- tcp


def test_a_connection_is_enough_for_tcp():
    with serving(steps("hold")) as (server, seen):
        assert check(f"http://{server}", "tcp", timeout=TIMEOUT).passed
    assert not seen
