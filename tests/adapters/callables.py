"""What ``probe.kind`` can name: callables that do as a test says for each node."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable

from balancemw import Node

ANSWERS: dict[str, Callable[[Node], object]] = {}
"""What `sync` and `later` do with a node, by its url; other nodes are well."""

CALLS: Counter[str] = Counter()
"""How often each node was asked, by its url."""


def sync(node: Node) -> object:
    CALLS[node.url] += 1
    return ANSWERS.get(node.url, lambda _: True)(node)


async def later(node: Node) -> object:
    CALLS[node.url] += 1
    await asyncio.sleep(0)
    answer = ANSWERS.get(node.url, lambda _: True)(node)
    return await answer if asyncio.iscoroutine(answer) else answer


def undecided(node: Node) -> object:
    """A plain function that returns a coroutine, as a wrapper around an async one does."""
    return later(node)


class Instance:
    async def __call__(self, node: Node) -> object:
        return await later(node)


instance = Instance()


def thread_name(node: Node) -> bool:
    raise ValueError(threading.current_thread().name)
