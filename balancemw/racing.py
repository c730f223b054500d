"""The two drivers of a race between the tries of a call that may be hedged, sync and async.

Async, the first try runs in its caller's own task, so that a call which is answered in time pays for a timer and no
more; only the hedge is a task of its own. Whoever comes second is cancelled.

Sync, both run in threads of a pool, each in a copy of its caller's context: a caller that made the first try itself
could not return before it. Nothing interrupts a thread, so whoever comes second is left to end by itself, with no time
`remaining`, and what it brings is closed.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import copy_context
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any

from balancemw.race import Outcome, Race
from balancemw.threads import SPARE, Threads
from balancemw.tries import Try

Send = Callable[[Try], Any]
SendAsync = Callable[[Try], Awaitable[Any]]
Discard = Callable[[Any], object]
DiscardAsync = Callable[[Any], Awaitable[object]]

_PATIENCE = 0.1  # seconds that an answer waits at most for the try that is cancelled


async def race_async(race: Race, send: SendAsync, discard: DiscardAsync) -> Outcome:
    """Run the race; returns how the try ended that answers for the call, which is still to be given back.

    Args:
        race: with its first try begun.
        send: makes a try, and bounds it in time.
        discard: closes a result that is not the answer.

    Raises:
        BaseException: the caller is to end; then there is nothing to give back.
    """
    delay = race.due_in()
    task = None if delay is None else _current_task()
    if delay is None or task is None:
        return race.alone(await attempt_async(race.first, send))
    rival = _Rival(race, send, discard, task)
    timer = task.get_loop().call_later(delay, rival.begin)
    first = await attempt_async(race.first, send)
    timer.cancel()
    return await rival.meet(first)


def _current_task() -> "asyncio.Task[Any] | None":
    try:
        return asyncio.current_task()
    except RuntimeError:  # something else than asyncio runs
        return None


async def attempt_async(attempt: Try, send: SendAsync) -> Outcome:
    """Make a try; returns how it ended, whatever that was."""
    try:
        return Outcome(attempt, await send(attempt), None)
    except BaseException as error:
        return Outcome(attempt, None, error)


class _Rival:
    """The hedge of an async call: a task beside its caller's, in which the first try runs."""

    __slots__ = ("_answer", "_begun", "_caller", "_cancelling", "_discard", "_first", "_race", "_send", "_task")

    def __init__(self, race: Race, send: SendAsync, discard: DiscardAsync, caller: "asyncio.Task[Any]") -> None:
        self._race = race
        self._send = send
        self._discard = discard
        self._caller = caller
        self._first = True  # it is under way
        self._cancelling = caller.cancelling()
        self._task: asyncio.Task[None] | None = None
        self._begun = False
        self._answer: Outcome | None = None

    def begin(self) -> None:
        """The hedge is due. Called by the caller's timer, and so in a copy of its context."""
        hedge = self._race.hedge()
        if hedge is not None:
            self._task = asyncio.get_running_loop().create_task(self._run(hedge))
            self._task.add_done_callback(self._check)

    async def _run(self, hedge: Try) -> None:
        self._begun = True
        outcome = await attempt_async(hedge, self._send)
        if not self._settle(outcome):
            await self._drop(outcome)

    def _check(self, _: object) -> None:
        if not self._begun and self._race.second is not None:  # cancelled before its first step
            self._settle(Outcome(self._race.second, None, asyncio.CancelledError()))

    def _settle(self, outcome: Outcome) -> bool:
        """The hedge has ended; returns whether it answers for the call."""
        if self._race.over:
            self._race.give_back(outcome)
            return False
        if not self._race.end(outcome):
            return False
        self._answer = outcome
        if self._first:
            self._caller.cancel()
        return True

    async def meet(self, first: Outcome) -> Outcome:
        """The first try has ended, by itself or because it was cancelled here: see who answers for the call."""
        self._first = False
        if self._answer is not None:
            return await self._yield_to(self._answer, first, ours=self._caller.uncancel() <= self._cancelling)
        if not self._race.end(first):
            return await self._wait_after(first)
        if self._race.leave() and self._task is not None:
            self._task.cancel()
            if first.error is None or isinstance(first.error, Exception | asyncio.CancelledError):
                await self._see_off(self._task, first)
        return first

    async def _yield_to(self, answer: Outcome, first: Outcome, *, ours: bool) -> Outcome:
        """The hedge came first; `ours`: the caller was cancelled for that, and for nothing else."""
        self._race.leave()
        self._race.give_back(first)
        error = first.error
        cancelled = isinstance(error, asyncio.CancelledError)
        if error is None or isinstance(error, Exception) or (cancelled and ours):
            await self._drop(first)
            return answer
        self._race.give_back(answer)
        if cancelled:
            await self._drop(answer)
        raise error

    async def _wait_after(self, first: Outcome) -> Outcome:
        """The first try has failed: wait for the hedge, whatever comes of it."""
        assert self._task is not None
        try:
            await self._drop(first)
            await asyncio.wait((self._task,))
        except BaseException:
            self._race.leave()
            self._task.cancel()
            if self._answer is not None:
                self._race.give_back(self._answer)
                await self._drop(self._answer)
            raise
        assert self._answer is not None
        return self._answer

    async def _see_off(self, task: "asyncio.Task[None]", first: Outcome) -> None:
        """Wait until the hedge, which is cancelled, has ended, but not longer than an answer may well be kept."""
        try:
            await asyncio.wait((task,), timeout=_PATIENCE)
        except BaseException:
            self._race.give_back(first)
            await self._drop(first)
            raise

    async def _drop(self, outcome: Outcome) -> None:
        if outcome.error is None:
            with suppress(Exception):
                await self._discard(outcome.result)


def race_sync(race: Race, send: Send, discard: Discard, threads: Threads | None) -> Outcome:
    """As `race_async`. Where no thread is free at once, the call is made without a hedge by its caller's own.

    Args:
        race: with its first try begun.
        send: makes a try.
        discard: closes a result that is not the answer.
        threads: in which both tries run; None: there are none.

    Raises:
        BaseException: the caller is to end; then there is nothing to give back.
    """
    delay = race.due_in()
    finish = _Finish(race, send, discard)
    if delay is None or threads is None or not threads.start(finish.job(race.first), spare=SPARE):
        return race.alone(attempt_sync(race.first, send))
    try:
        outcome = finish.next(delay)
        if outcome is None:
            hedge = race.hedge()
            if hedge is not None and not threads.start(finish.job(hedge)):
                race.end(Outcome(hedge, None, asyncio.CancelledError("no thread is free")))
            outcome = finish.next()
        while outcome is None or not race.end(outcome):
            finish.drop(outcome)
            outcome = finish.next()
        return outcome
    finally:
        finish.close()


def attempt_sync(attempt: Try, send: Send) -> Outcome:
    """As `attempt_async`."""
    try:
        return Outcome(attempt, send(attempt), None)
    except BaseException as error:
        return Outcome(attempt, None, error)


class _Finish:
    """Where the tries of a sync call meet: its caller takes them as they end, until it has the one that answers."""

    __slots__ = ("_closed", "_discard", "_ended", "_lock", "_race", "_send")

    def __init__(self, race: Race, send: Send, discard: Discard) -> None:
        self._race = race
        self._send = send
        self._discard = discard
        self._ended: SimpleQueue[Outcome] = SimpleQueue()
        self._lock = Lock()
        self._closed = False

    def job(self, attempt: Try) -> Callable[[], object]:
        """What makes a try, in any thread and in the context of whoever calls this."""
        context = copy_context()
        return lambda: context.run(self._run, attempt)

    def _run(self, attempt: Try) -> None:
        outcome = attempt_sync(attempt, self._send)
        with self._lock:
            if not self._closed:
                self._ended.put(outcome)
                return
        self._reject(outcome)

    def next(self, seconds: float | None = None) -> Outcome | None:
        """The next try that has ended; None: none within `seconds`."""
        try:
            return self._ended.get(timeout=seconds)
        except Empty:
            return None

    def close(self) -> None:
        """The caller has its answer, or has gone away."""
        self._race.leave()
        with self._lock:
            self._closed = True
        while (outcome := self.next(0.0)) is not None:
            self._reject(outcome)

    def _reject(self, outcome: Outcome) -> None:
        self._race.give_back(outcome)
        self.drop(outcome)

    def drop(self, outcome: Outcome | None) -> None:
        """Close a result that is not the answer."""
        if outcome is not None and outcome.error is None:
            with suppress(Exception):
                self._discard(outcome.result)
