"""A callable of the user's that says which nodes there are, and what it may do wrong."""

import asyncio
import gc
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from balancemw import Node
from balancemw.discovery.found import Source, SourceError
from tests.adapters.watching import PATIENCE, eventually
from tests.discovery import callables
from tests.discovery.finding import asking, finding, settings_of
from tests.discovery.test_dns import Ask, failing, found, once

A, B = "http://a:1", "http://b:2"
KINDS = ["sync", "later", "promises"]


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    callables.DOES.clear()
    callables.CALLS.clear()
    yield
    callables.DOES.clear()


def kind(name: str) -> str:
    return f"tests.discovery.callables:{name}"


@pytest.mark.parametrize("name", [*KINDS, "generates"])
def test_it_returns_what_nodes_takes(name: str):
    callables.DOES["it"] = lambda: [A, {"url": B, "weight": 2}, Node("http://c:3")]
    answer = asking(once, kind=kind(name), interval=3, zone="z")
    assert found(answer) == [Node(A, zone="z"), Node(B, 2, "z"), Node("http://c:3")]
    assert answer.good_for == 3


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    ("error", "why"),
    [
        (RuntimeError("no such table\nhere"), "RuntimeError: no such table here"),
        (SystemExit(), "SystemExit"),
        (OSError("http://me:secret@db is away"), "OSError: http://***@db is away"),
    ],
)
def test_what_it_raises_is_a_failure(name: str, error: BaseException, why: str):
    def fail() -> None:
        raise error

    callables.DOES["it"] = fail
    assert asking(failing, kind=kind(name)) == why


@pytest.mark.parametrize("wrong", [None, A, 5, [5], {"nodes": []}])
def test_so_is_what_is_no_list_of_nodes(wrong: object):
    callables.DOES["it"] = lambda: wrong
    assert "nodes" in asking(failing, kind=kind("sync"))


def test_one_that_hangs_is_not_called_again_until_it_returns():
    go_on = threading.Event()
    callables.DOES["it"] = lambda: go_on.wait(PATIENCE) and [A]

    async def work(_source: Source, ask: Ask) -> None:
        for why in ("no answer within 0.05 s", "it has been called and has not returned"):
            with pytest.raises(SourceError, match=why):
                await ask()
        while not callables.CALLS:
            await asyncio.sleep(0.001)
        assert callables.CALLS == ["sync"]
        go_on.set()
        while True:
            try:
                answer = await ask()
            except SourceError:
                await asyncio.sleep(0.001)
            else:
                assert [node.url for node in found(answer)] == [A]
                return

    asking(work, kind=kind("sync"), timeout=0.05)


def test_a_coroutine_that_hangs_is_cancelled():
    callables.DOES["it"] = lambda: asyncio.sleep(PATIENCE)

    async def work(source: Source, ask: Ask) -> None:
        with pytest.raises(SourceError, match=r"no answer within 0.05 s"):
            await ask()
        await asyncio.sleep(0)
        callables.DOES["it"] = lambda: [A]
        vars(source)["_settings"] = settings_of(kind=kind("later"), timeout=PATIENCE)  # the machine may be busy
        assert [node.url for node in found(await ask())] == [A]

    asking(work, kind=kind("later"), timeout=0.05)


def test_one_that_cancels_itself():
    def cancel() -> None:
        raise asyncio.CancelledError

    callables.DOES["it"] = cancel
    assert asking(failing, kind=kind("later")) == "it was cancelled"


def test_without_a_thread_to_be_had_it_can_be_called_later(monkeypatch: pytest.MonkeyPatch):
    from balancemw import checks

    async def work(_source: Source, ask: Ask) -> None:
        def refuse(self: Any) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patch:
            patch.setattr(checks.Thread, "start", refuse)
            with pytest.raises(checks.NotMade):
                await ask()
        callables.DOES["it"] = lambda: [A]
        assert [node.url for node in found(await ask())] == [A]

    asking(work, kind=kind("sync"))


def test_one_that_is_given_up_the_moment_it_fails_leaves_no_error_for_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    from balancemw.discovery import function

    async def work(_source: Source, ask: Ask) -> None:
        async def fail(_: object) -> None:
            giving_up.cancel()
            raise LookupError("the registry is away")

        monkeypatch.setattr(function, "in_thread", fail)
        giving_up = asyncio.ensure_future(ask())
        await asyncio.wait([giving_up])
        assert giving_up.cancelled()

    asking(work, kind=kind("sync"))
    gc.collect()
    assert not caplog.records


def test_a_pool_follows_it():
    nodes: list[Any] = [A]

    def them() -> list[Any]:
        if not nodes:
            raise LookupError("the registry is away")
        return nodes

    callables.DOES["it"] = them
    with finding({"kind": kind("sync"), "interval": 0.02}) as shop:
        shop.until_urls(A)
        nodes.append({"url": B, "state": "down", "reason": "sold"})
        shop.until_urls(A, B)
        assert shop.available() == [A]
        nodes.clear()
        assert "LookupError: the registry is away; the 2 nodes known stay" in shop.wait_for("discovery_failed").reason
        nodes.append(B)
        shop.until_available(B)
        assert [each.source for each in shop.events("cleared")] == ["discovery"]
    calls = len(callables.CALLS)
    with shop.balancer:  # closed and started again
        eventually(lambda: len(callables.CALLS) > calls)


def test_the_bare_name_will_do():
    callables.DOES["it"] = lambda: [A]
    with finding(kind("sync")) as shop:
        shop.until_urls(A)
