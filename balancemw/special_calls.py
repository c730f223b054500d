"""The drivers of those calls that begin with more than a try: they wait for nodes, or may be hedged.

They are the same loop as that of `balancemw.decorator`, apart from it so that other calls do not pay for them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from typing import TypeVar

from balancemw.call import Call
from balancemw.context import BOUND, leave
from balancemw.ending import after_error, after_result, discard, discard_async, verdict
from balancemw.node import Node
from balancemw.race import Outcome, Race
from balancemw.racing import attempt_async, attempt_sync, race_async, race_sync
from balancemw.timeouts import timeout_of, watch
from balancemw.tries import Terms, Try, first_try
from balancemw.waiting import wait_for_nodes, wait_for_nodes_async

R = TypeVar("R")


def call_apart(once: Callable[[Node], R], terms: Terms, key: str | None, route: str) -> R:
    """Call `once` with a node, and again as `terms` say.

    Args:
        once: the function, with all its arguments but the node.
        terms: on which it is called.
        key: of the call.
        route: what it is a call of.
    """

    def send(attempt: Try) -> R:
        token = BOUND.set(attempt)
        try:
            return once(attempt.node)
        finally:
            leave(token)

    terms = wait_for_nodes(terms)
    first = first_try(terms, key)
    call = Call(terms, key, first, route)
    if terms.hedged:
        outcome = race_sync(Race(call, terms, key, first), send, discard, terms.threads)
    else:
        outcome = attempt_sync(first, send)
    while (wait := _after(call, terms, outcome)) is not None:
        discard(outcome.result)
        if wait:
            terms.sleep(wait)
        outcome = attempt_sync(call.begin(), send)
    result: R = outcome.result
    return result


async def call_apart_async(once: Callable[[Node], Awaitable[R]], terms: Terms, key: str | None, route: str) -> R:
    """As `call_apart`, for a function that is awaited."""

    async def send(attempt: Try) -> R:
        token = BOUND.set(attempt)
        timer = None if attempt.until == inf else watch(attempt.until, attempt.clock)
        try:
            result = await once(attempt.node)
        except BaseException as error:
            if timer is not None and timer.end(error):
                raise timeout_of(error) from error
            raise
        finally:
            leave(token)
        if timer is not None:
            timer.end()
        return result

    terms = await wait_for_nodes_async(terms)
    first = first_try(terms, key)
    call = Call(terms, key, first, route)
    if terms.hedged:
        outcome = await race_async(Race(call, terms, key, first), send, discard_async)
    else:
        outcome = await attempt_async(first, send)
    while (wait := _after(call, terms, outcome)) is not None:
        await discard_async(outcome.result)
        if wait:
            await asyncio.sleep(wait)
        outcome = await attempt_async(call.begin(), send)
    result: R = outcome.result
    return result


def _after(call: Call, terms: Terms, outcome: Outcome) -> float | None:
    if outcome.error is not None:
        wait = after_error(call, outcome.attempt, outcome.error)
        if wait is None:
            raise outcome.error
        return wait
    fault = verdict(terms, outcome.attempt, outcome.result)
    if fault is not None:
        return after_result(call, outcome.attempt, outcome.result, fault)
    call.succeed(outcome.attempt)
    return None
