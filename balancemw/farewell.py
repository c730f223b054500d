"""SIGTERM: the app says for a while that it is going, and serves on, before its server hears of it.

Between the signal and the server's own shutdown lie `inbound.drain_seconds`. Meanwhile callers learn that the node is
going, and by the time it stops listening no call is under way on a connection that it closes. A second SIGTERM is
passed on at once; SIGINT is left alone.
"""

import _thread
import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from balancemw.balancer import Balancer
from balancemw.events import LOG
from balancemw.presence import drain

Handler = Callable[[int, FrameType | None], Any]

_NATIVE = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
_kept: list[Any] = []  # callbacks that C code knows: they must not go


def watch_sigterm(balancer: Balancer, *, server: bool) -> None:
    """Have SIGTERM drain this process first; called by the adapters with each request, and does it once.

    A server sets its handler before it serves, and after it has forked its workers; that is why it is not done sooner.

    Args:
        balancer: whose adapter asks.
        server: whether the request comes from a server for certain, and not from a test. Else the signal is left alone
            in a process that has no handler for it, and ends by it at once.
    """
    presence = balancer.presence
    if presence.watched:
        return
    presence.watched = True
    if presence.grace <= 0.0:
        return
    if threading.current_thread() is threading.main_thread():
        _interpose(server)
    elif not _in_main_thread(lambda: _interpose(server)):
        presence.watched = False  # there are too many waiting: the next request tries again


def _interpose(server: bool) -> None:
    former = signal.getsignal(signal.SIGTERM)
    if isinstance(former, _Farewell) and former.pid == os.getpid():
        return
    if former is signal.SIG_DFL and server:
        signal.signal(signal.SIGTERM, _Farewell(_end))
    elif not callable(former):  # nobody's, ignored, or set by C code that Python knows nothing of
        LOG.debug("SIGTERM is not handled by Python in this process")
    elif "noop" in getattr(former, "__name__", ""):  # asyncio's and uvloop's: the event loop hears of it another way
        LOG.info("SIGTERM is handled by the event loop, where it cannot be held up: call balancemw.drain() before")
    else:
        signal.signal(signal.SIGTERM, _Farewell(former))


class _Farewell:
    """A handler of SIGTERM before the server's own.

    Args:
        former: the server's.
    """

    def __init__(self, former: Handler) -> None:
        self.pid = os.getpid()
        self._former = former
        self._going = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        # It may interrupt the main thread anywhere, with any lock held: all else is for another thread.
        if os.getpid() != self.pid or self._going:
            if os.getpid() == self.pid:
                signal.signal(signal.SIGTERM, self._former)
            self._former(number, frame)
            return
        self._going = True
        _thread.start_new_thread(self._go, ())

    def _go(self) -> None:
        time.sleep(drain("SIGTERM", ending=True))
        if signal.getsignal(signal.SIGTERM) is self:  # else it has been passed on, or the server ends by itself
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)


def _end(number: int, _: FrameType | None) -> None:
    """What becomes of a process that has no handler."""
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


def _in_main_thread(function: Callable[[], None]) -> bool:
    """Have the main thread call `function` as soon as it runs Python code; returns whether it will.

    Only there a signal handler can be set, and a server that answers in threads never calls an app in that one.
    """

    def call(_: object) -> int:
        try:
            function()
        except Exception:
            LOG.exception("SIGTERM cannot be heard of")
        return 0

    callback = _NATIVE(call)
    _kept.append(callback)
    return bool(ctypes.pythonapi.Py_AddPendingCall(callback, None) == 0)
