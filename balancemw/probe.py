"""When the nodes of a service are checked, and what the results lead to. Decides only: checking is done by others.

Rise, fall and an interval per state are HAProxy's (``rise 2 fall 3``, ``inter``, ``fastinter``, ``downinter``). A check
that no node has ever passed is not believed, as rest.li tries its own first: a mistyped path must not empty a pool.
"""

from collections import deque
from collections.abc import Mapping
from heapq import heappop, heappush
from itertools import count
from math import inf
from random import Random

from balancemw.health import Mark, commanded
from balancemw.peer import Peer
from balancemw.pool import Pool
from balancemw.self_reports import heed
from balancemw.settings import ProbeSettings

_PATIENCE = 3.0
"""Fast intervals, each with its timeout, for which a node whose time out is over waits for a result of its probe."""


class _Checked:
    """A peer and what its checks have shown.

    Attributes:
        mark: the probe's mark when last looked at; another one, or none, means that someone else changed it.
        passes, failures: in a row.
        due: when it is checked next; infinity: a check is under way.
        heard_at: when the last result came.
        urgent: whether another check is wanted right after the one that is under way.
    """

    __slots__ = ("due", "failures", "heard_at", "mark", "passes", "peer", "urgent")

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.mark = peer.marks.get("probe")
        self.passes = self.failures = 0
        self.due = inf
        self.heard_at = -inf
        self.urgent = False


class Probe:
    """The active checks of one service. All but `must_wait`, `hasten` and `stop` is for one thread at a time.

    Args:
        pool: whose nodes are checked; it is told what comes of it, and asks `must_wait` from then on.
        settings: its ``probe`` settings.
        rng: spreads the checks.

    Attributes:
        pool: as given.
    """

    def __init__(self, pool: Pool, settings: ProbeSettings, rng: Random) -> None:
        self.pool = pool
        self._settings = settings
        self._rng = rng
        self._running = False
        self._told: frozenset[str] | None = None  # the nodes of which was told that none has ever passed
        self._known: Mapping[str, Peer] = {}
        self._checked: dict[str, _Checked] = {}
        self._queue: list[tuple[float, int, _Checked]] = []  # a heap; entries whose time is not the peer's are void
        self._numbers = count()
        self._urgent: deque[Peer] = deque(maxlen=1000)
        self._pace = min(settings.fast_interval, settings.interval)
        self._look_at = inf
        pool.must_wait = self.must_wait

    @property
    def service(self) -> str:
        """Name of the service."""
        return self.pool.name

    @property
    def proven(self) -> bool:
        """Whether any node has ever passed. Until then failures mean nothing."""
        return self.pool.partners.proven

    def start(self, now: float) -> None:
        """Begin, or begin again: whatever was under way is forgotten, what was learnt is not."""
        self._running = True
        for checked in self._checked.values():
            self._set_due(checked, now + self._spread())
        self._look_at = now

    def stop(self) -> None:
        """Nobody checks any more, so nobody need wait for a result."""
        self._running = False

    # -- when

    @property
    def next_due(self) -> float:
        """When `due` is to be asked next; infinity: not before `start`."""
        if self._urgent and self._running:
            return -inf
        return min(self._queue[0][0], self._look_at) if self._queue else self._look_at

    def hasten(self, peer: Peer) -> None:
        """Have the peer's next check made at once. May be called from any thread."""
        self._urgent.append(peer)

    def due(self, now: float) -> list[Peer]:
        """The peers to be checked now; each is to be given back by `record` or `postpone`."""
        if now >= self._look_at:
            self._look_at = now + self._pace
            self._look_around(now)
        while self._urgent:
            checked = self._find(self._urgent.popleft())
            if checked is None:
                continue
            checked.urgent = checked.due == inf  # one is under way, and began before there was reason for another
            if not checked.urgent:
                self._set_due(checked, now)
        found: list[Peer] = []
        while self._queue and self._queue[0][0] <= now:
            due, _, checked = heappop(self._queue)
            if due == checked.due:
                checked.due = inf
                if self._checked.get(checked.peer.node.url) is checked:
                    found.append(checked.peer)
        return found

    def follow(self, now: float) -> None:
        """Another worker makes the checks: only see who is there, so that `must_wait` can tell."""
        if now >= self._look_at:
            self._look_at = now + self._pace
            self._look_around(now)

    def _look_around(self, now: float) -> None:
        """Take in what others have done: nodes that came or left, marks, ejections that end before the next check.

        A node whose time out is over is checked at every look, until there is a result.
        """
        if self.pool.roster.peers is not self._known:
            self._join(now)
        for checked in self._checked.values():
            if checked.due < inf and self._begun_anew(checked):
                self._set_due(checked, min(checked.due, now + self._spread()))
            until = _ejected_until(checked.peer)
            if until is not None and checked.heard_at < until < checked.due < inf:
                self._set_due(checked, until)

    def _join(self, now: float) -> None:
        self._known = self.pool.roster.peers
        members: dict[str, _Checked] = {}
        for url, peer in self._known.items():
            checked = self._find(peer)
            if checked is None:
                checked = _Checked(peer)
                self._set_due(checked, now + self._spread())
            members[url] = checked
        self._checked = members  # at once, as `must_wait` is asked by other threads

    def _spread(self) -> float:
        return self._rng.uniform(0.0, self._pace)

    def _set_due(self, checked: _Checked, due: float) -> None:
        checked.due = due
        heappush(self._queue, (due, next(self._numbers), checked))

    def _pause(self, checked: _Checked) -> float:
        settings = self._settings
        if checked.urgent:
            checked.urgent = False
            return 0.0
        if checked.heard_at < checked.peer.past.back_by:
            pause = settings.fast_interval
        elif checked.mark is not None:
            pause = settings.fast_interval if checked.passes else settings.down_interval
        elif 0 < checked.failures < settings.fall:
            pause = settings.fast_interval
        else:
            pause = settings.interval
        return pause * self._rng.uniform(1.0 - settings.jitter, 1.0 + settings.jitter)

    # -- what

    def postpone(self, peer: Peer, now: float) -> None:
        """The peer's check came to nothing, through no fault of the peer's."""
        checked = self._find(peer)
        if checked is not None:
            self._set_due(checked, now + self._pause(checked))

    def heed(self, peer: Peer, said: str, now: float) -> None:
        """The peer was reached, and said of itself `said`: that it is going is no failure."""
        heed(self.pool, peer, said, now)
        self.postpone(peer, now)

    def record(self, peer: Peer, passed: bool, reason: str, now: float, fault: str | None = None) -> None:
        """The peer passed its check or failed it.

        Args:
            peer: who was checked.
            passed: the result.
            reason: of a failure, in words.
            now: when the result came.
            fault: of a failure, its kind.
        """
        checked = self._find(peer)
        if checked is None:
            return
        self._begun_anew(checked)
        checked.heard_at = now
        if passed:
            self._passed(checked, now)
        else:
            self._failed(checked, reason, now, fault)
        self._set_due(checked, now + self._pause(checked))

    def _find(self, peer: Peer) -> _Checked | None:
        """What is known of `peer`; None when it has left, even if another has come under its url."""
        checked = self._checked.get(peer.node.url)
        return checked if checked is not None and checked.peer is peer else None

    @staticmethod
    def _begun_anew(checked: _Checked) -> bool:
        """Whether someone else has set or removed the probe's mark, an operator for one; then the counts are void."""
        mark = checked.peer.marks.get("probe")
        if mark is checked.mark:
            return False
        checked.mark = mark
        checked.passes = checked.failures = 0
        return True

    def _passed(self, checked: _Checked, now: float) -> None:
        peer = checked.peer
        checked.failures = 0
        checked.passes += 1
        if not self.proven:
            self.pool.prove()
            if self._told is not None:
                reason = f"{peer.node.name} has passed {described(self._settings)}: it is believed from now on"
                self.pool.tell("probe_proven", "probe", reason)
        if checked.mark is not None and checked.passes >= self._settings.rise:
            checked.mark = None
            held = _ejected_until(peer) is not None or commanded(peer.marks) is not None
            event = "cleared" if held else "readmitted"  # others may keep it out still
            self.pool.clear(peer, "probe", now, event, f"{_checks(checked.passes)} passed")
        if now < peer.past.back_by and self._settings.kind == "http":  # what it answers says so no more
            self.pool.clear(peer, "self", now, "cleared", "it no longer says that it is going")
        if not self._blind(peer, now):
            self.pool.probe_passed(peer, now)

    def _blind(self, peer: Peer, now: float) -> bool:
        """Whether passing means nothing: the port of a server that shuts down may still take connections."""
        return self._settings.kind == "tcp" and now < peer.past.back_by

    def _failed(self, checked: _Checked, reason: str, now: float, fault: str | None) -> None:
        checked.passes = 0
        checked.failures += 1
        if checked.mark is not None or checked.failures < self._settings.fall:
            return
        if self.proven:
            checked.mark = Mark("probe", "down", f"{_checks(checked.failures)} failed: {reason}", now)
            self.pool.mark(checked.peer, checked.mark, now, fault)
        elif self._checked.keys() != self._told and self._all_failed():
            self._told = frozenset(self._checked)
            what = f"no node has ever passed {described(self._settings)}, so it is not believed and takes none out"
            self.pool.tell("probe_unproven", "probe", f"{what}; last, {checked.peer.node.name}: {reason}")

    def _all_failed(self) -> bool:
        return all(checked.failures >= self._settings.fall for checked in self._checked.values())

    # -- asked by the pool

    def must_wait(self, peer: Peer, now: float) -> bool:
        """Whether a peer whose time out is over waits for its probe rather than for a trial call.

        Not while the probe is unproven, nor when no result has come for long: then a call may find out sooner.
        """
        checked, until = self._find(peer), _ejected_until(peer)
        if checked is None or until is None or not (self.proven and self._running) or self._blind(peer, now):
            return False
        patience = _PATIENCE * (self._settings.fast_interval + self._settings.timeout)
        return now < max(until, checked.heard_at) + patience


def described(settings: ProbeSettings) -> str:
    """What is checked, in words. Without the query of a path, which may hold a secret."""
    if settings.kind == "http":
        path, question, _ = settings.path.partition("?")
        return f"{settings.method} {path}{question and '?…'}"
    return "a TCP connection" if settings.kind == "tcp" else settings.kind


def _ejected_until(peer: Peer) -> float | None:
    """When the ejection ends that traffic has put on the peer, if it has."""
    mark = peer.marks.get("traffic")
    return mark.until if mark is not None and mark.kind == "ejected" else None


def _checks(number: int) -> str:
    return "1 check" if number == 1 else f"{number} checks in a row"
