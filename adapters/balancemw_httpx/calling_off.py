"""How a request is called off: as its library expects it, by a scope of anyio's.

httpcore, up to 1.0.9, guards against being cancelled by what anyio knows of, and not against a task that is cancelled
by asyncio: a connection that has just been opened, or is being given back, is then lost to its pool for good.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import anyio

from balancemw.checks import take_error


async def call(handle: Callable[[Any], Awaitable[Any]], request: Any) -> Any:
    """``await handle(request)``, which a cancellation of the running task ends by a scope."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # something else than asyncio runs
        return await handle(request)
    scope = anyio.CancelScope()

    async def run() -> Any:
        with scope:
            return await handle(request)

    task = asyncio.create_task(run())
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        scope.cancel()
        task.add_done_callback(take_error)
        with anyio.CancelScope(shield=True):  # who calls us off by a scope would do so again
            await _see_off(task)
        raise


async def _see_off(task: "asyncio.Task[Any]") -> None:
    """Wait until the request has ended, and give back an answer that comes all the same."""
    await asyncio.wait((task,))
    with suppress(Exception, asyncio.CancelledError):
        response = task.result()
        if response is not None:
            await response.aclose()
