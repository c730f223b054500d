"""What an app says of itself: that it is up, or that it is going, and how much it has to do.

Who balances calls to it reads that in its health document, and, while it goes, in a header of every answer: then new
calls stay away, those in flight finish, and nothing is lost when it stops listening.
"""

import json
import time
from collections.abc import Callable
from http import HTTPStatus
from math import inf, isfinite
from weakref import WeakValueDictionary

from balancemw.events import LOG
from balancemw.meter import Meter
from balancemw.orca import REPORT, WRITERS
from balancemw.reply import Reply

STATE = "x-balancemw-state"
"""The header of answers of an app that is going: ``draining``, and ``draining; left=4.2`` if it knows how long it goes
on serving, in seconds."""

_UP, _DRAINING = "up", "draining"


class Presence(Meter):
    """How it is with the app that a balancer belongs to. Safe from any thread, and to drain even from a signal handler.

    Args:
        path: where the health document is; None: nowhere.
        grace: seconds that it goes on serving when it is told to end.
        reports: whether it tells its load when it is asked.

    Attributes:
        path: where the health document is; None: nowhere.
        draining: whether it is going.
        watched: whether somebody listens for the signal that tells it to end.
        reports: whether it tells its load when it is asked.
        utilization: what the app says of itself, called for each report: the share of what it can do that is in use.
    """

    def __init__(self, path: str | None, grace: float, *, reports: bool = True) -> None:
        super().__init__()
        self.grace = grace
        self.reports = reports
        self.draining = self.watched = False
        self.utilization: Callable[[], float] | None = None
        self._blamed = False  # whether it has been told that this function fails
        self.path = path
        self._since = time.time()
        self._drained_at = self._until = 0.0
        _everyone[id(self)] = self

    # -- requests

    def headers(self, *, close: bool = False) -> tuple[tuple[str, str], ...]:
        """What every answer carries besides its own headers; nothing while the app is up.

        `close`: whether the app may ask for the connection to be closed, so that no call comes on a kept one at the
        moment at which the server closes it. HTTP/2 knows no such header, and WSGI leaves it to the server.
        """
        if not self.draining:
            return ()
        said = (
            STATE,
            f"{_DRAINING}; left={max(0.0, self._until - time.monotonic()):.1f}" if self._until else _DRAINING,
        )
        return (said, ("connection", "close")) if close else (said,)

    def load_header(self, form: str) -> tuple[str, str] | None:
        """The header that answers a request for a report in `form`; None: that is no format, or none is told."""
        write = WRITERS.get(form.partition(",")[0].strip().lower()) if self.reports else None
        return None if write is None else (REPORT, write(self.load(self._utilization())))

    def _utilization(self) -> float:
        if self.utilization is None:
            return 0.0
        try:
            said = float(self.utilization())
            if not (isfinite(said) and said >= 0.0):
                raise ValueError(f"expected a number of 0 or more, not {said!r}")
        except Exception:
            if not self._blamed:
                self._blamed = True
                LOG.exception("the app's utilization is not known, and left out of load reports")
            return 0.0
        return said

    def report(self, method: str, path: str) -> Reply | None:
        """The health document, if that is what is asked for, with a status that every health check understands.

        It names no service and no node.
        """
        if path != self.path:
            return None
        if method not in ("GET", "HEAD"):
            return Reply(HTTPStatus.METHOD_NOT_ALLOWED, (("allow", "GET, HEAD"), ("content-length", "0")), b"")
        told = {
            "state": _DRAINING if self.draining else _UP,
            "since": round(self._since, 3),
            "in_flight": self.in_flight,
            "requests": self.served,
        }
        body = json.dumps(told).encode()
        headers = (
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("cache-control", "no-store"),
        )
        status = HTTPStatus.SERVICE_UNAVAILABLE if self.draining else HTTPStatus.OK
        return Reply(status, headers, body if method == "GET" else b"")

    # -- going and coming

    def drain(self, reason: str, seconds: float | None = None) -> None:
        """Say from now on that the app is going; `seconds`: how long it goes on serving, if that is known."""
        if seconds is not None:
            self._until = time.monotonic() + seconds
        if not self.draining:
            self._since, self._drained_at = time.time(), time.monotonic()
            self.draining = True
            LOG.warning("draining: %s", reason)

    def resume(self) -> None:
        """Take that back."""
        if self.draining:
            self.draining = False
            self._since, self._until = time.time(), 0.0
            LOG.warning("up: no longer draining")

    def left(self) -> float:
        """Seconds for which it still has to serve when it is told to end now: callers know since it drains."""
        return max(0.0, self._drained_at + self.grace - time.monotonic()) if self.draining else self.grace

    def after_fork(self) -> None:
        """Begin anew in a child process: the requests, and the thread that may hold the lock, are its parent's."""
        self.reset()
        self.watched = False
        self._since = time.time()


_everyone: "WeakValueDictionary[int, Presence]" = WeakValueDictionary()


def drain(reason: str = "asked to", *, ending: bool = False) -> float:
    """Have this process say that it is going, in every app with a balancer: callers then stay away.

    For servers that leave no handler of SIGTERM to Python, and for those who want to drain before anything ends.

    Args:
        reason: for the log.
        ending: whether the process is going to end after the seconds returned.

    Returns:
        Seconds for which it should go on serving, so that all callers learn of it.
    """
    # By a list of references, which is made in one step: other threads may make apps meanwhile.
    everyone = [presence for reference in _everyone.valuerefs() if (presence := reference()) is not None]
    seconds = max((presence.left() for presence in everyone), default=0.0)
    for presence in everyone:
        presence.drain(reason, seconds if ending else None)
    return seconds


def time_to_go(said: str) -> float | None:
    """Seconds for which a node that says `said` of itself goes on serving; infinity: unknown; None: it stays."""
    state, _, rest = said.partition(";")
    if state.strip() != _DRAINING:
        return None
    name, _, value = rest.strip().partition("=")
    try:
        left = float(value) if name == "left" else inf
    except ValueError:
        return inf
    return left if left >= 0.0 else inf
