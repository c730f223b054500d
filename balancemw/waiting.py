"""Calls that wait before their first try.

The first calls of a process to a service whose nodes are still being looked for wait for the first answer: as with
gRPC, while the source is asked for the first time, and they fail at once when that has failed. And those to a pool that
was out as a whole and comes back wait for their turn, so that they do not all fall upon the first node; none fails by
that. Only the wait has a colour, and a sync call never makes an event loop wait.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from math import inf

from balancemw.context import current_bound, time_left
from balancemw.tries import Terms

_LOOK = 0.005  # seconds between looks: names are looked up in a few milliseconds
_SELDOM = 0.25  # part of the time that a call has waited which it waits till the next look: many may wait for long
_PATIENCE = 0.5  # part of its time that a call waits for its turn


def pauses(terms: Terms) -> Iterator[float]:
    """Seconds to wait, until nodes are known and have room, nobody looks for them, or the time is up."""
    pool, left = terms.pool, time_left(current_bound())
    discovery = pool.settings.discovery
    whole = min(terms.timeout, inf if left is None else left)
    now = terms.clock()
    began, end = now, now + min(whole, discovery.timeout if discovery else 0.0)
    while pool.seeking and not pool.available(now) and now < end:
        yield min(_LOOK, end - now)
        now = terms.clock()
    waited, most = now - began, _PATIENCE * whole
    while waited < most and not pool.admits(now, waited):
        pause = min(max(_LOOK, _SELDOM * waited), most - waited)
        yield pause
        now = terms.clock()
        waited = max(waited + pause, now - began)  # also by a clock of tests that stands still


def wait_for_nodes(terms: Terms) -> Terms:
    """Wait, unless that would hold up an event loop; returns the terms on which to call, with the time that is left."""
    if not terms.pool.awaited:
        return terms
    began = terms.clock()
    if not _on_event_loop():
        for pause in pauses(terms):
            terms.sleep(pause)
    return shortened(terms, began)


async def wait_for_nodes_async(terms: Terms) -> Terms:
    """As `wait_for_nodes`, without blocking."""
    if not terms.pool.awaited:
        return terms
    began = terms.clock()
    for pause in pauses(terms):
        await asyncio.sleep(pause)
    return shortened(terms, began)


def _on_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def shortened(terms: Terms, began: float) -> Terms:
    """`terms` with the time that is left of theirs, to a call that has waited since `began`."""
    waited = terms.clock() - began
    return replace(terms, timeout=max(0.0, terms.timeout - waited)) if waited > 0.0 and terms.timeout < inf else terms
