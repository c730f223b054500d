"""What a node's own traffic says against it: failures in a row, and a success rate clearly below its peers'.

Exact counts in time buckets, not a moving average: a tight burst would give each sample almost no weight and could
hide a total outage (Linkerd ``success_rate.rs``). Time out of the pool doubles per relapse with equal jitter and
shrinks only on observed success (Finagle ``FailureAccrualFactory``, envoyproxy/envoy#21142).
"""

from collections.abc import Iterable
from math import sqrt
from random import Random
from typing import Protocol

_BUCKETS = 10
_NEVER = float("-inf")  # one number for all: there may be millions of records
_BLANK = ((0, 0),)

CLEARLY = 2.5
"""Standard errors by which a success rate must lie below the peers' before the difference counts as the node's."""


class Rules(Protocol):
    """The settings below ``services.<name>.ejection``; times in seconds, rates in 0..1."""

    @property
    def consecutive(self) -> int: ...
    @property
    def success_rate(self) -> float: ...
    @property
    def min_calls(self) -> int: ...
    @property
    def window(self) -> float: ...
    @property
    def base(self) -> float: ...
    @property
    def max(self) -> float: ...
    @property
    def slow(self) -> float: ...


class Record:
    """The calls of one node: totals, the failures in a row, and the last window in buckets.

    Attributes:
        calls: calls that say something about the node, in all.
        failed: those of them that lower its success rate.
        consecutive: failures in a row that count towards ejection.
        elsewhere: the same in other workers, as far as they have told since the last success here.
        edge: when the current bucket ends.
        level: how often it was ejected without having shown since that it works; doubles the next time out.
    """

    __slots__ = ("_calm_at", "_past", "_window", "calls", "consecutive", "edge", "elsewhere", "failed", "level")

    def __init__(self, window: float) -> None:
        self._window = window
        self.calls = self.failed = self.consecutive = self.elsewhere = self.level = 0
        self.edge = self._calm_at = _NEVER
        self._past: tuple[tuple[int, int], ...] = ()  # (calls, failed) when each bucket of the window began

    def roll(self, now: float) -> None:
        """Begin the bucket of `now`; to be called before counting when ``now >= edge``."""
        width = self._window / _BUCKETS
        if not self._past:
            self._past = ((self.calls, self.failed),) if self.calls else _BLANK
            self.edge = now + width
            return
        steps = int((now - self.edge) / width) + 1
        self._past = (*self._past, *((self.calls, self.failed),) * min(steps, _BUCKETS))[-_BUCKETS:]
        self.edge = now + width if steps > _BUCKETS else self.edge + steps * width

    def fail(self, now: float, *, counts: bool) -> None:
        """A call failed. `counts`: towards the failures in a row; else in the success rate alone."""
        if now >= self.edge:
            self.roll(now)
        self.calls += 1
        self.failed += 1
        self.consecutive += counts
        self._calm_at = now + self._window

    def calm(self, now: float) -> None:
        """A call succeeded: after a window without failures, one relapse is forgiven."""
        if self.level and now >= self._calm_at:
            self.level -= 1
            self._calm_at = now + self._window

    def window(self, now: float) -> tuple[int, int]:
        """(calls, failed) in the window up to `now`."""
        if now >= self.edge:
            self.roll(now)
        calls, failed = self._past[0]
        return self.calls - calls, self.failed - failed

    def success_rate(self, now: float) -> float | None:
        """Share of the window's calls that did not fail, or None when there were none."""
        calls, failed = self.window(now)
        return 1.0 - failed / calls if calls else None

    def restart(self, now: float) -> None:
        """Forget the window and the row: what comes is a new beginning."""
        self.consecutive = self.elsewhere = 0
        self._past = ()
        self._calm_at = now + self._window
        self.roll(now)


def offence(record: Record, peers: Iterable[Record], now: float, rules: Rules) -> str | None:
    """Why the node must leave the pool, in words, or None when it need not."""
    if rules.consecutive and record.consecutive + record.elsewhere >= rules.consecutive:
        return f"{record.consecutive + record.elsewhere} failures in a row"
    calls, failed = record.window(now)
    if calls < rules.min_calls or 1.0 - failed / calls >= rules.success_rate:
        return None
    others = [peer.window(now) for peer in peers]
    peer_calls, peer_failed = sum(c for c, _ in others), sum(f for _, f in others)
    if not clearly_worse(calls, failed, peer_calls, peer_failed):
        return None
    return f"{failed} of {calls} calls failed within {rules.window:g} s, of its peers' {peer_failed} of {peer_calls}"


def clearly_worse(calls: int, failed: int, peer_calls: int, peer_failed: int) -> bool:
    """Whether a node fails more than chance and what its peers suffer too can explain.

    It must fail at least twice as often as they do, and by `CLEARLY` standard errors (two-proportion z-test, pooled).
    Without peers that were called there is nobody to compare with, and no blame.
    """
    if not calls or not peer_calls:
        return False
    own, theirs = failed / calls, peer_failed / peer_calls
    pooled = (failed + peer_failed) / (calls + peer_calls)
    error = sqrt(pooled * (1.0 - pooled) * (1.0 / calls + 1.0 / peer_calls))
    return own >= 2.0 * theirs and own - theirs > CLEARLY * error


def time_out(level: int, rules: Rules, rng: Random) -> float:
    """Seconds out of the pool at the `level`-th relapse: ``base * 2**level`` up to ``max``, half of it by lot."""
    span = min(rules.max, rules.base * 2.0 ** min(level, 64))
    return rng.uniform(span / 2.0, span)
