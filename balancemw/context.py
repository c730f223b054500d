"""What the code that is running now has been granted: how long, for which request, by which balancer.

Two context variables, so that threads and tasks each see their own and children inherit:

* the *bound*: how long the innermost attempt, request or ``deadline`` block may still take;
* the *request*: what the inbound adapter knows of the request being served.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar, Token
from math import inf
from types import TracebackType
from typing import Any

from balancemw.arguments import check_number

Clock = Callable[[], float]

# requests, urllib3 and sockets refuse a timeout of 0 as a programming error, which would hide the expired deadline.
_LEAST = 0.001

_RULE = "a deadline is a number of seconds from now"


class Bound:
    """Anything that must be over at a known time: an attempt, a request, a ``deadline`` block.

    Attributes:
        until: when, on `clock`; infinity: unbounded.
        clock: seconds, like ``time.monotonic``.
        outer: what held when it began, and holds again when it is over.
        over: whether it binds no more, though `BOUND` still has it: to set that back would cost every call a tenth.
    """

    __slots__ = ("clock", "outer", "over", "until")

    def __init__(self, until: float = inf, clock: Clock = time.monotonic, outer: "Bound | None" = None) -> None:
        self.until = until
        self.clock = clock
        self.outer = outer
        self.over = False


class Request(Bound):
    """What is known of the inbound request being served; itself the bound that its deadline is.

    Attributes:
        until: when its answer is due; infinity: at no time.
        balancer: the balancer of the app that serves it; ``balanced`` functions find it here.
        retries_allowed: False when the request is itself a retry and must not be multiplied further down.
        note: what is to be noted of its answer, or told with it: a `balancemw.meter.Note`; None: nothing.
    """

    __slots__ = ("balancer", "note", "retries_allowed")

    # In place of the slots of `Bound`, as they are the same for all requests: two attributes fewer are to be set.
    clock = time.monotonic
    outer = None

    def __init__(self, balancer: Any, retries_allowed: bool = True, until: float = inf) -> None:
        self.until = until
        self.over = False
        self.balancer = balancer
        self.retries_allowed = retries_allowed
        self.note: Any = None


# What it holds may be over: `current_bound` is how to read it.
BOUND: ContextVar[Bound | None] = ContextVar("balancemw_bound", default=None)
REQUEST: ContextVar[Request | None] = ContextVar("balancemw_request", default=None)


def enter_request(request: Request) -> tuple[Token[Request | None], Token[Bound | None]]:
    """Make `request` the current one, and the bound, if it is due at some time; returns what restores what held before.

    Adapters have these two lines in place: the call would be a thirtieth of what they add to a request.
    """
    return REQUEST.set(request), BOUND.set(request if request.until < inf else None)


def current_bound() -> Bound | None:
    """What bounds the code that is running now; None: nothing."""
    return in_force(BOUND.get())


def in_force(bound: Bound | None) -> Bound | None:
    """`bound`, or what holds in its place when it is over."""
    while bound is not None and bound.over:
        bound = bound.outer
    return bound


def time_left(bound: Bound | None) -> float | None:
    """Seconds until `bound` ends, negative when it has passed, None when nothing bounds it."""
    if bound is None or bound.until == inf:
        return None
    return bound.until - bound.clock()


def remaining() -> float | None:
    """Seconds left for this attempt, request or ``deadline`` block; None where nothing bounds it.

    Made for ``requests.get(..., timeout=remaining())``: never less than a millisecond, because HTTP clients
    take 0 for a programming error rather than for a timeout.
    """
    left = time_left(current_bound())
    return None if left is None else max(left, _LEAST)


class _Block(Bound):
    """The bound of one entered ``deadline``; it knows what held around it, since another thread may enter the same."""

    __slots__ = ("owner", "token")

    token: Token[Bound | None]

    def __init__(self, until: float, owner: "deadline", outer: Bound | None) -> None:
        super().__init__(until, outer=outer)
        self.owner = owner


class deadline:  # noqa: N801  it reads as a verb phrase: `with deadline(2.0):`
    """Bound everything outbound inside the block to `seconds`; of nested bounds the shorter wins.

    One object may be entered again and again, inside itself, and by many threads and tasks at once.

    Raises:
        TypeError: `seconds` is no number.
        ValueError: `seconds` is negative or NaN.
    """

    def __init__(self, seconds: float) -> None:
        check_number(_RULE, seconds)
        if not seconds >= 0:
            raise ValueError(f"{_RULE}, not {seconds!r}")
        self._seconds = seconds

    def __enter__(self) -> None:
        outer = current_bound()
        left = time_left(outer)
        seconds = self._seconds if left is None else min(self._seconds, left)
        block = _Block(time.monotonic() + seconds, self, outer)
        block.token = BOUND.set(block)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        block = current_bound()
        while block is not None:
            if isinstance(block, _Block) and block.owner is self:
                give_up(block, block.token)
                return
            block = in_force(block.outer)


def leave(token: Token[Bound | None]) -> None:
    """Restore the bound that held before a try."""
    with suppress(ValueError):  # closed from another context, as an abandoned generator is: that context ends anyway
        BOUND.reset(token)


def give_up(bound: Bound, token: Token[Bound | None]) -> None:
    """Restore the bound that held before `bound`, which may not be the innermost or not of this context.

    So it is where generators take turns, and where an async one is closed by the event loop.
    """
    if current_bound() is bound:  # what is still set above it is over
        with suppress(ValueError):
            BOUND.reset(token)
            return
    bound.over = True  # not set back, as what was entered later is still on, or as it is set elsewhere
