"""Whose fault a node's errors are: the node's, or that of one route behind it.

A 5xx out of the application may be the fault of one handler, which is no reason to take a node from all the others;
that the node cannot be reached, times out or says 502, 503, 504 is (the split is that of Palantir's dialogue:
``CautiousIncreaseAggressiveDecreaseConcurrencyLimiter``). A route is what the caller knows it by: the decorated
function, or the first segment of a client's path.

Calls are counted by route only from the first such error on, as long as there are any: a healthy node's calls pay
nothing for it.
"""

from collections.abc import Collection

ANY = ""
"""The route of a call that is known by no name."""

_MOST = 64  # routes told apart; paths may be anything
_AT_LEAST = 1  # calls of other routes that must have gone well; as more of them come, the verdict may change


class Routes:
    """A node's calls by route, in the last window or two halves of it.

    Args:
        window: seconds.
        now: when the first error was seen.

    Attributes:
        excuse: why the node is not blamed, in words, once that has been found.
    """

    __slots__ = ("_before", "_half", "_last", "_now", "_since", "excuse")

    def __init__(self, window: float, now: float) -> None:
        self.excuse = ""
        self._half = window / 2.0
        self._since = self._last = now
        self._now: dict[str, list[int]] = {}  # (calls, failed) by route
        self._before: dict[str, list[int]] = {}

    def count(self, route: str, now: float, *, failed: bool) -> None:
        """A call of `route` is over."""
        if now >= self._since + self._half:
            self._before = self._now if now < self._since + 2.0 * self._half else {}
            self._now = {}
            self._since = now
        if failed:
            self._last = now
        if route not in self._now and len(self._now) >= _MOST:
            route = ANY
        seen = self._now.setdefault(route, [0, 0])
        seen[0] += 1
        seen[1] += failed

    def quiet(self, now: float) -> bool:
        """Whether there has been no error for so long that nothing need be counted any more."""
        return now >= self._last + 2.0 * self._half

    def exonerate(self, calls: int, failed: int, rate: float, enough: int) -> bool:
        """Whether the errors are those of some routes, while the others do well; `excuse` says so then.

        It is also given the benefit of doubt, as long as too few calls have been counted by route to say.

        Args:
            calls, failed: of the node in the window, with what has nothing to do with a route.
            rate: the success rate that the others must reach.
            enough: calls that must have been counted.
        """
        sums = {route: self._sum(route) for route in {**self._before, **self._now}}
        counted, lost = _total(sums.values())
        if counted < enough and calls - failed > counted - lost:
            return True  # of those that did well before the first error, nobody knows which route they were of
        bad = {route: (seen, errors) for route, (seen, errors) in sums.items() if seen - errors < rate * seen}
        blamed, errors = _total(bad.values())
        well = counted - blamed - (lost - errors)
        others = counted - blamed + max(0, failed - lost)  # with the failures that are the node's own
        if not bad or well < _AT_LEAST or well < rate * others:
            return False
        worst = max(bad, key=lambda route: bad[route][1]) or "one route"
        what = worst if len(bad) == 1 else f"{worst} and {len(bad) - 1} more"
        self.excuse = f"{errors} calls of {what} failed, but of all others {well} of {others} did well: the node stays"
        return True

    def _sum(self, route: str) -> tuple[int, int]:
        now, before = self._now.get(route, (0, 0)), self._before.get(route, (0, 0))
        return now[0] + before[0], now[1] + before[1]


def _total(counts: Collection[tuple[int, int]]) -> tuple[int, int]:
    """All calls, and all errors."""
    return sum(calls for calls, _ in counts), sum(errors for _, errors in counts)
