"""The life of a balancer, and who hears of what happens in it."""

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import balancemw
from balancemw import (
    Balancer,
    Event,
    Node,
)
from tests.engine.stage import Stage, refused


def of(*hosts: str, **more: Any) -> dict[str, Any]:
    return {"services": {"s": {"nodes": [f"http://{host}:80" for host in hosts], **more}}}


# -- its life


def test_making_a_balancer_opens_nothing():
    program = (
        "import os, threading; from balancemw import Balancer; before = len(os.listdir('/proc/self/fd'));"
        f"balancer = Balancer({of('a', 'b', probe=True)!r});"
        "balancer.call('s')(lambda node: None); balancer['s'].attempts();"
        "print(len(os.listdir('/proc/self/fd')) - before, threading.active_count())"
    )
    fresh = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert fresh.stdout.split() == ["0", "1"]


def test_importing_the_package_opens_nothing():
    program = (
        "import os, threading; before = len(os.listdir('/proc/self/fd')); import balancemw, balancemw.monitor;"
        "print(len(os.listdir('/proc/self/fd')) - before, threading.active_count())"
    )
    fresh = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert fresh.stdout.split() == ["0", "1"]


def test_it_may_be_closed_twice_and_calls_still_work():
    stage = Stage(2)
    stage.balancer.close()
    stage.balancer.close()
    assert stage.call().status_code == 200
    stage.balancer.start()
    assert stage.call().status_code == 200
    stage.balancer.start()
    stage.balancer.close()


def test_background_work_begins_with_the_first_call_and_ends_with_close(monkeypatch: pytest.MonkeyPatch):
    stage, heard = Stage(2), list[str]()
    for method in ("ensure", "stop"):
        monkeypatch.setattr(stage.balancer._monitor, method, lambda method=method: heard.append(method))
    stage.service.attempts()
    assert heard == []
    stage.call()
    assert heard == ["ensure"]
    stage.clock.advance(1)
    stage.call()
    assert heard == ["ensure", "ensure"]  # it may have died, or never have come along into this process
    stage.balancer.close()
    stage.clock.advance(1)
    stage.call()
    assert heard == ["ensure", "ensure", "stop"]
    stage.balancer.start()
    assert heard == ["ensure", "ensure", "stop", "ensure"]
    with stage.balancer:
        heard.clear()
    assert heard == ["stop"]


def test_what_is_said_of_a_node_begins_background_work_as_a_call_does(monkeypatch: pytest.MonkeyPatch):
    stage, heard = Stage(2), list[bool]()
    monkeypatch.setattr(stage.balancer._monitor, "ensure", lambda: heard.append(stage.service.pool.lock.locked()))
    stage.service.mark("n0:80", "down", reason="maintenance")
    assert heard == [False]
    stage.service.clear("n0:80")
    assert heard == [False, False]


def test_as_a_context_manager():
    with Balancer(of("a")) as balancer:
        assert isinstance(balancer, Balancer)
        assert balancer.call("s")(lambda node: node.host)() == "a"
    assert balancer.call("s")(lambda node: node.host)() == "a"

    def fail() -> None:
        with Balancer(of("a")):
            raise KeyError("mine")

    with pytest.raises(KeyError):
        fail()


async def test_as_an_async_context_manager():
    async with Balancer(of("a")) as balancer:
        assert isinstance(balancer, Balancer)
        assert balancer.call("s")(lambda node: node.host)() == "a"
    with pytest.raises(KeyError):
        async with balancer:
            raise KeyError("mine")


def test_one_balancer_serves_threads_and_event_loops():
    balancer = Balancer(of("a"))

    @balancer.call("s")
    async def call(node: Node) -> str:
        await asyncio.sleep(0)
        return node.host

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: asyncio.run(call()), range(20))) == ["a"] * 20


# -- listeners


def test_listeners_hear_events_until_they_unsubscribe():
    stage = Stage(2)
    heard: list[Event] = []
    unsubscribe = stage.balancer.subscribe(heard.append)
    stage.service.mark("n0:80", "down", reason="maintenance")
    unsubscribe()
    unsubscribe()
    stage.service.clear("n0:80")
    assert [(each.event, each.node, each.service, each.source, each.reason) for each in heard] == [
        ("down", "n0:80", "s", "operator", "maintenance")
    ]
    assert [each.event for each in stage.events] == ["down", "cleared"]


def test_events_are_frozen_numbered_and_dated():
    stage = Stage(2)
    stage.all(refused)
    stage.calls(1)
    first, *others = stage.events
    assert [each.id for each in stage.events] == list(range(first.id, first.id + len(others) + 1))
    assert abs(first.time - balancemw.balancer.time.time()) < 3600
    assert {each.fault for each in stage.happened("failed")} == {"refused"}
    with pytest.raises(AttributeError):
        first.event = "other"  # type: ignore[misc]


def test_events_are_told_when_they_happen_and_not_with_the_next():
    stage = Stage(3)
    stage.open_on("n0").end(refused)
    assert [each.event for each in stage.events] == ["failed", "ejected"]
    stage.clock.advance(5)
    trial = stage.open()
    assert stage.events[-1].event == "trial"
    trial.end()
    assert stage.events[-1].event == "readmitted"
    for act in (
        lambda: stage.service.mark("n1:80", "down", reason="?"),
        lambda: stage.service.mark("n1:80", "up", reason="?"),
        lambda: stage.service.mark("n1:80", "drain", source="alert", reason="?"),
        lambda: stage.service.clear("n1:80", source="alert"),
        lambda: stage.service.replace(["http://n0:80", "http://n1:80"]),
    ):
        act()
    assert [(each.event, each.source) for each in stage.events[-5:]] == [
        ("down", "operator"),
        ("up", "operator"),
        ("drain", "alert"),
        ("cleared", "alert"),
        ("removed", "operator"),
    ]


def test_a_listener_may_call_back():
    stage = Stage(3)

    def listener(event: Event) -> None:
        if event.event == "ejected":
            stage.service.mark(event.node, "down", reason="ejected")
            stage.balancer.status()

    stage.balancer.subscribe(listener)
    stage.does["n1"] = refused
    stage.calls(3)
    assert stage.states()["n1"] == "down"


def test_a_listener_that_raises_hurts_nobody(caplog: pytest.LogCaptureFixture):
    stage = Stage(3)
    stage.balancer.subscribe(lambda event: 1 // 0)
    stage.does["n1"] = refused
    assert sum(stage.calls(6).values()) == 7
    assert "ZeroDivisionError" in caplog.text
    assert stage.happened("ejected")
