"""The monitor at work on real replica processes."""

import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from balancemw import Balancer, Event
from balancemw.context import REQUEST, deadline, remaining
from tests.adapters import callables
from tests.adapters.checking import OK
from tests.adapters.failing_server import serving, steps
from tests.adapters.watching import FAST, PATIENCE, SYNC, Replicas, Watched, alone, eventually, urls, watching


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    with alone():
        yield


@pytest.mark.parametrize("kind", ["http", "tcp"])
def test_a_replica_that_dies_is_out_without_any_call_and_back_when_it_is(replicas: Replicas, kind: str):
    nodes = replicas(3)
    with watching(urls(nodes), kind=kind) as watched:
        watched.wait_until_proven()
        nodes[0].kill()
        down = watched.wait_for("down")
        assert (down.node, down.source, down.fault) == (nodes[0].url.removeprefix("http://"), "probe", "refused")
        assert watched.available() == set(urls(nodes[1:]))
        nodes[0].restart()
        assert watched.wait_for("readmitted").source == "probe"
        assert watched.available() == set(urls(nodes))
        assert not [each for each in watched.told if each.event in ("failed", "ejected")]


@pytest.mark.parametrize(
    ("said", "host"), [({}, "inventory"), ({"host_header": "service"}, "inventory"), ({"host_header": "node"}, "")]
)
def test_a_replica_sees_the_host_that_calls_show_it(said: dict[str, str], host: str):
    with serving(steps("hear", OK)) as (server, seen):
        service = {"nodes": [f"http://{server}"], "probe": {"kind": "http", **FAST}, **said}
        with Balancer({"services": {"inventory": service}}):
            eventually(lambda: seen)
    assert f"Host: {host or server}\r\n".encode() in seen[0]


def test_a_replica_that_hangs_or_answers_with_errors_is_out(replicas: Replicas):
    nodes = replicas(3)
    with watching(urls(nodes), path="/health") as watched:
        watched.wait_until_proven()
        nodes[0].hang()
        down = watched.wait_for("down")
        assert (down.fault, down.reason) == ("timeout", "3 checks in a row failed: no answer within 0.3 s")
        nodes[0].recover()
        watched.wait_for("readmitted")
        nodes[1].status(503)
        down = watched.wait_for("down", 2)
        assert down.fault == "unavailable"
        assert down.reason == "3 checks in a row failed: 503 Service Unavailable, expected 200-399"
        assert watched.available() == {nodes[0].url, nodes[2].url}


def test_replicas_without_the_path_that_is_checked_stay_in_and_the_log_says_why(
    replicas: Replicas, caplog: pytest.LogCaptureFixture
):
    nodes = replicas(2)
    for node in nodes:
        node.status(404)
    with watching(urls(nodes), path="/helthz") as watched:
        told = watched.wait_for("probe_unproven")
        assert (told.node, told.source) == (None, "probe")
        received = nodes[0].received
        eventually(lambda: nodes[0].received > received + 3)
        assert watched.available() == set(urls(nodes))
        assert len(watched.told) == 1
        (record,) = [each for each in caplog.records if each.name == "balancemw"]
        assert record.levelno == logging.WARNING
        assert "GET /helthz" in record.message
        assert "404 Not Found" in record.message
        nodes[0].recover()
        watched.wait_for("probe_proven")
        assert watched.wait_for("down").node == nodes[1].url.removeprefix("http://")


def test_a_certificate_that_nobody_trusts_proves_nothing():
    script = steps("secure", "hear", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    with serving(script) as (server, _), watching([f"https://{server}"]) as watched:
        assert "certificate" in watched.wait_for("probe_unproven").reason


def test_what_calls_find_is_undone_by_a_check_once_the_time_is_over(replicas: Replicas):
    nodes = replicas(2)
    settings: Any = {"nodes": urls(nodes), "probe": {"kind": "http", **FAST}, "ejection": {"base": 0.4, "max": 0.4}}
    with Balancer({"services": {"s": settings}}) as balancer:
        told: list[Event] = []
        balancer.subscribe(told.append)
        probe: Any = balancer["s"].pool.must_wait
        eventually(lambda: probe.__self__.proven)

        def refused(node: Any) -> None:
            raise ConnectionRefusedError(111, f"so says the test of {node}")

        with pytest.raises(ConnectionRefusedError):
            balancer.call("s", attempts=1)(refused)()
        eventually(lambda: [each for each in told if each.event == "readmitted"])
        out, back = [each for each in told if each.event != "failed"]
        assert (out.event, out.source) == ("ejected", "traffic")
        assert (back.event, back.source) == ("readmitted", "probe")
        assert back.time - out.time >= 0.2  # half of it, by lot, at least


@pytest.mark.parametrize("kind", [SYNC, "tests.adapters.callables:later"])
def test_a_callable_decides(kind: str):
    nodes = ["http://one:1", "http://two:2"]
    with watching(nodes, kind=kind) as watched:
        watched.wait_until_proven()
        callables.ANSWERS[nodes[0]] = lambda _: False
        assert watched.wait_for("down").reason == "3 checks in a row failed: it returned False"
        callables.ANSWERS.clear()
        watched.wait_for("readmitted")


def test_a_callable_that_hangs_takes_its_node_out_and_is_called_once():
    go_on, nodes = threading.Event(), ["http://one:1", "http://two:2"]
    with watching(nodes, kind=SYNC) as watched:
        watched.wait_until_proven()
        calls = 0

        def hang(_: object) -> bool:
            nonlocal calls
            calls += 1
            return go_on.wait(PATIENCE)

        callables.ANSWERS[nodes[0]] = hang
        assert "has not returned" in watched.wait_for("down").reason
        assert calls == 1
        assert watched.available() == {nodes[1]}
        go_on.set()
        watched.wait_for("readmitted")


def test_a_check_inherits_nothing_from_the_call_that_started_the_thread():
    seen: list[object] = []
    node = "http://one:1"
    callables.ANSWERS[node] = lambda _: seen.append((remaining(), REQUEST.get()))
    watched = Watched([node], kind=SYNC)
    with deadline(5.0):
        watched.service.pick()
    eventually(lambda: seen)
    watched.balancer.close()
    assert seen[0] == (None, None)
