"""Time for tests: a clock that is moved by hand, and an event loop that lives by it.

Nothing here ever sleeps. Where code would wait, the clock jumps to the moment at which something happens next.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class FakeClock:
    """A clock like ``time.monotonic`` that stands still until it is moved.

    Attributes:
        now: seconds; what calling the clock returns.
        slept: every wait asked of `sleep`, in order.
    """

    def __init__(self, start: float = 1000.0) -> None:
        self.now = start
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Move on by `seconds`."""
        if seconds < 0:
            raise ValueError(f"a clock does not go back: {seconds!r}")
        self.now += seconds

    def sleep(self, seconds: float) -> None:
        """A stand-in for ``time.sleep`` that takes no time."""
        self.slept.append(seconds)
        self.advance(seconds)


class _Selector(selectors.DefaultSelector):
    """Instead of waiting for a timer, moves the clock to where the timer is due."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("deadlock: no task can run, and no timer will ever wake one")
        if not ready and timeout:
            self._clock.advance(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on a fake clock's time. For pure coroutines: what other threads or sockets do takes real time.

    ``clock.advance()`` inside a coroutine is a coroutine that blocks its loop for so long.
    """

    def __init__(self, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        super().__init__(_Selector(self.clock))

    def time(self) -> float:
        return self.clock()


def virtual_run(coroutine: Coroutine[Any, Any, T], clock: FakeClock | None = None) -> T:
    """Run `coroutine` to its end on a `VirtualLoop` whose time is that of `clock`, and return its result."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock)) as runner:
        return runner.run(coroutine)
