"""The loop over attempts, for code that is not one function."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextvars import Token
from math import inf
from types import TracebackType
from typing import TypeVar

from balancemw.call import Call
from balancemw.context import BOUND, Bound, give_up
from balancemw.fault import Fault, Kind
from balancemw.node import Node
from balancemw.timeouts import Watch, timeout_of, watch
from balancemw.tries import Terms, Try
from balancemw.waiting import wait_for_nodes, wait_for_nodes_async

R = TypeVar("R")


class Attempt:
    """One try in a loop over `Service.attempts`: ``with attempt as node: …``.

    A try that raises is followed by another where that is safe and sensible, else what it raised goes up as it is. A
    result shown to `observe` is judged by its status; a try that neither raised nor showed a result was a success.
    """

    __slots__ = ("_call", "_fault", "_result", "_timed", "_token", "_try", "_watch", "retry_in")

    def __init__(self, call: Call, *, timed: bool) -> None:
        self.retry_in: float | None = None
        self._call = call
        self._timed = timed
        self._try: Try | None = None
        self._watch: Watch | None = None
        self._fault: Fault | None = None
        self._result: object = None
        self._token: Token[Bound | None] | None = None

    def __enter__(self) -> Node:
        if self._try is not None:
            raise RuntimeError("an attempt is one try: take the next one from the loop")
        self._try = attempt = self._call.begin()
        self._token = BOUND.set(attempt)
        if self._timed and attempt.until < inf:
            self._watch = watch(attempt.until, attempt.clock)
        return attempt.node

    def observe(self, result: R) -> R:
        """Judge `result` by its status, and return it. Of several the last counts.

        Raises:
            RuntimeError: the attempt is not under way: its verdict is already spoken.
        """
        if self._try is None or self._token is None:
            raise RuntimeError("a result is observed inside the attempt's `with` block")
        self._result = result
        self._fault = self._call.judge(self._try, result, None)
        return result

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        attempt, token = self._try, self._token
        if attempt is None or token is None:
            return False
        self._token = None
        give_up(attempt, token)
        if self._watch is not None and self._watch.end(error):
            error = timeout_of(error)
        if error is None:
            if self._fault is None:
                self._call.succeed(attempt)
            else:
                self._fault = self._call.fail(attempt, self._fault, None)
            return False
        fault, observed = self._call.judge(attempt, None, error) or Fault(Kind.APPLICATION), self._fault
        self._fault = None
        if fault.kind is Kind.APPLICATION and observed is not None:
            self._call.fail(attempt, observed, error)  # the node failed, and then its caller did
        else:
            fault = self._call.fail(attempt, fault, error)
        self.retry_in = self._call.delay(fault, None, error)
        if self.retry_in is None:
            self._call.tell(error)
            if kind is not type(error):
                raise error
        return self.retry_in is not None

    def next_in(self) -> float | None:
        """Seconds until the loop's next try, or None when the loop is over."""
        if self._fault is not None:
            return self._call.delay(self._fault, self._result, None)
        return self.retry_in


class Attempts:
    """The tries of one call, for code that is not one function; ``for`` and ``async for`` alike."""

    def __init__(self, terms: Terms, key: str | None) -> None:
        self._terms = terms
        self._key = key

    def __iter__(self) -> Iterator[Attempt]:
        terms = wait_for_nodes(self._terms) if self._terms.pool.special else self._terms
        call = Call(terms, self._key)
        wait: float | None = 0.0
        while wait is not None:
            if wait:
                self._terms.sleep(wait)
            attempt = Attempt(call, timed=False)
            yield attempt
            wait = attempt.next_in()

    async def __aiter__(self) -> AsyncIterator[Attempt]:
        terms = await wait_for_nodes_async(self._terms) if self._terms.pool.special else self._terms
        call = Call(terms, self._key)
        wait: float | None = 0.0
        while wait is not None:
            if wait:
                await asyncio.sleep(wait)
            attempt = Attempt(call, timed=True)
            yield attempt
            wait = attempt.next_in()
