"""Callables that settings can name; each test says what they do."""

import asyncio
from collections.abc import Callable
from typing import Any

DOES: dict[str, Callable[[], Any]] = {}
CALLS: list[str] = []


def sync() -> Any:
    CALLS.append("sync")
    return DOES["it"]()


async def later() -> Any:
    CALLS.append("later")
    await asyncio.sleep(0)
    result = DOES["it"]()
    return await result if asyncio.iscoroutine(result) else result


def promises() -> Any:
    """A plain function that returns what has to be awaited."""
    CALLS.append("promises")
    return later()


def generates() -> Any:
    yield from DOES["it"]()
