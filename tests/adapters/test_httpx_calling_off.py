"""A request of httpx's that is called off on its way: what is guarded against that by anyio is not broken off."""

import asyncio
from typing import Any

import anyio
import httpx
import pytest

from balancemw import Balancer
from balancemw_httpx import AsyncBalancedTransport
from balancemw_httpx.calling_off import call


class Response:
    closed = False

    async def aclose(self) -> None:
        self.closed = True


async def test_it_answers() -> None:
    async def handle(request: str) -> Any:
        return request

    assert await call(handle, "request") == "request"


async def test_it_fails() -> None:
    async def handle(_: str) -> Any:
        raise KeyError("of the library")

    with pytest.raises(KeyError):
        await call(handle, "request")


async def called_off(shielded: Any, *, goes_on: bool) -> list[Any]:
    """Call a request off while it does what must not be broken off; returns what of this it has done."""
    begun, done = asyncio.Event(), []

    async def handle(_: str) -> Any:
        with anyio.CancelScope(shield=True):
            begun.set()
            await anyio.sleep(0.001)
            done.append(shielded)
        if goes_on:
            await anyio.sleep_forever()
        return shielded

    task = asyncio.create_task(call(handle, "request"))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return done


async def test_giving_a_connection_back_is_not_broken_off() -> None:
    assert await called_off("given back", goes_on=True) == ["given back"]


async def test_an_answer_that_comes_all_the_same_is_closed() -> None:
    response = Response()
    assert await called_off(response, goes_on=False) == [response]
    assert response.closed


async def test_one_that_comes_although_a_scope_was_left_is_closed_as_well() -> None:
    begun, response = asyncio.Event(), Response()

    async def handle(_: str) -> Any:
        with anyio.CancelScope(shield=True):
            begun.set()
            await anyio.sleep(0.001)
        return response

    async with anyio.create_task_group() as group:
        group.start_soon(call, handle, "request")
        await begun.wait()
        group.cancel_scope.cancel()
    assert response.closed


async def test_one_that_has_not_begun_does_not_begin_to_wait() -> None:
    async def handle(_: str) -> Any:
        await anyio.sleep_forever()

    task = asyncio.create_task(call(handle, "request"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_so_is_a_try_that_is_not_needed_beside_its_hedge(monkeypatch: pytest.MonkeyPatch) -> None:
    answered, done = asyncio.Event(), []

    async def handle(_: Any, request: httpx.Request) -> httpx.Response:
        if request.headers["x-envoy-attempt-count"] == "2":
            answered.set()
            return httpx.Response(200, content=b"ok")
        with anyio.CancelScope(shield=True):
            await answered.wait()
            await anyio.sleep(0.001)
            done.append("given back")
        await anyio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle)
    nodes = ["http://127.0.0.1:1", "http://127.0.0.1:2"]
    service = {"nodes": nodes, "hedge": {"delay": 0.001, "max_extra": 1.0}}
    with Balancer({"services": {"inventory": service}}) as balancer:
        async with httpx.AsyncClient(transport=AsyncBalancedTransport(balancer)) as client:
            assert (await client.get("http://inventory/")).content == b"ok"
    assert done == ["given back"]
