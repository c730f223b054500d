"""What a run comes down to."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from math import ceil

from benchmarks.arena.generator import POSTS
from benchmarks.arena.replica import MEDIAN, TROUBLE
from benchmarks.arena.stage import Arrival, Run, Window

LATE = 5 * MEDIAN
"""Seconds from which on a caller has something to complain of."""

BUCKET = 0.1
"""Seconds of one point of a plot, and the grain of `hurt`."""

HURT = 0.05
"""Share of the calls of a bucket that fail or are late, above which callers are hurt."""

_SHARES = tuple(10.0 ** (-step / 10.0) for step in range(31))  # 1, 0.79 … 0.001
_BACK = 0.25  # seconds over which a replica's share is taken


@dataclass(frozen=True)
class Figures:
    """One contender in one scenario. Times are seconds; None: there is nothing to tell.

    Attributes:
        gets, posts: calls.
        failed: GETs without a whole answer of 200.
        needless: those of them that a replica could have answered at any time while they were open.
        posts_failed: POSTs without a whole answer of 200; they may not be sent again once a replica may have begun.
        posts_twice: POSTs that replicas have begun to work on more than once.
        p50, p99, p999: latency of the GETs that were answered, from when they were due.
        bad: requests that reached replicas while these were unwell.
        tries: requests that reached replicas, per call, while something was wrong.
        hurt: for how long more than `HURT` of the calls failed or were `LATE`.
        back: from when a replica was well again until it had half of its fair share, or until the end; the slowest.
    """

    gets: int
    posts: int
    failed: int
    needless: int
    posts_failed: int
    posts_twice: int
    p50: float
    p99: float
    p999: float
    bad: int | None
    tries: float | None
    hurt: float
    back: float | None

    def data(self) -> dict[str, object]:
        """As plain values, for JSON."""
        return {name: round(value, 7) if isinstance(value, float) else value for name, value in asdict(self).items()}


def figures(run: Run) -> Figures:
    """Count it all up."""
    gets = [call for call in run.calls if call[0] % POSTS]
    posts = [call for call in run.calls if not call[0] % POSTS]
    failed = [call for call in gets if call[3] != 200]
    dead = _nobody_well(run.windows, len(run.arrivals))
    good = sorted(took for _, _, took, status in gets if status == 200)
    return Figures(
        gets=len(gets),
        posts=len(posts),
        failed=len(failed),
        needless=sum(not any(due < end and due + took > begin for begin, end in dead) for _, due, took, _ in failed),
        posts_failed=sum(call[3] != 200 for call in posts),
        posts_twice=_twice(run.arrivals),
        p50=quantile(good, 0.5),
        p99=quantile(good, 0.99),
        p999=quantile(good, 0.999),
        bad=_bad(run),
        tries=_tries(run),
        hurt=sum(share > HURT for share in _complaints(run)) * BUCKET,
        back=_back(run),
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value that this share of those `ordered` does not exceed (nearest rank); infinite where there are none."""
    return ordered[max(0, ceil(share * len(ordered)) - 1)] if ordered else float("inf")


def series(run: Run) -> dict[str, list[float | None]]:
    """What a plot shows, by buckets: the 99th percentile of the GETs answered, and the share of calls that failed."""
    buckets = _buckets(run)
    latencies = [sorted(took for number, _, took, status in bucket if status == 200) for bucket in buckets]
    return {
        "p99": [round(quantile(bucket, 0.99), 5) if bucket else None for bucket in latencies],
        "failed": [round(sum(c[3] != 200 for c in bucket) / len(bucket), 4) if bucket else None for bucket in buckets],
    }


def tail(run: Run) -> list[tuple[float, float]]:
    """(seconds, share of the GETs answered that took longer), where nothing happens that a course would show."""
    good = sorted(took for number, _, took, status in run.calls if status == 200 and number % POSTS)
    return [(round(quantile(good, 1.0 - share), 5), round(share, 5)) for share in _SHARES if len(good) * share >= 1.0]


def _buckets(run: Run) -> list[list[tuple[int, float, float, int]]]:
    buckets: list[list[tuple[int, float, float, int]]] = [[] for _ in range(max(1, ceil(run.seconds / BUCKET)))]
    for call in run.calls:
        buckets[min(len(buckets) - 1, int((call[1] - run.begin) / BUCKET))].append(call)
    return buckets


def _complaints(run: Run) -> list[float]:
    return [
        sum(status != 200 or took > LATE for _, _, took, status in bucket) / len(bucket) if bucket else 0.0
        for bucket in _buckets(run)
    ]


def _nobody_well(windows: Sequence[Window], replicas: int) -> list[tuple[float, float]]:
    """The times in which all replicas were unwell."""
    edges = sorted({edge for window in windows for edge in (window.begin, window.end)})
    return [
        (begin, end)
        for begin, end in pairwise(edges)
        if len({window.replica for window in windows if window.begin <= begin and window.end >= end}) == replicas
    ]


def _twice(arrivals: Sequence[Sequence[Arrival]]) -> int:
    begun = Counter(
        each.number for arrived in arrivals for each in arrived if each.method == "POST" and each.mode != "fail"
    )
    return sum(times > 1 for times in begun.values())


def _bad(run: Run) -> int | None:
    if not any(window.what in TROUBLE for window in run.windows):
        return None
    return sum(each.mode in TROUBLE for arrived in run.arrivals for each in arrived)


def _tries(run: Run) -> float | None:
    """Where nobody was there to count requests, there is no answer."""
    if not run.windows or any(window.what not in TROUBLE for window in run.windows):
        return None
    begin, end = min(window.begin for window in run.windows), max(window.end for window in run.windows)
    arrived = sum(begin <= each.time < end for arrived in run.arrivals for each in arrived)
    calls = sum(begin <= due < end for _, due, _, _ in run.calls)
    return arrived / calls if calls else None


def _back(run: Run) -> float | None:
    fair = len(run.calls) / run.seconds / len(run.arrivals)
    found = []
    for window in run.windows:
        times = [each.time for each in run.arrivals[window.replica]]
        wanted = max(1, int(fair * _BACK / 2))
        first = bisect_left(times, window.end)
        back = (
            times[place] - window.end
            for place in range(first, len(times) - wanted)
            if times[place + wanted] - times[place] <= _BACK
        )
        found.append(next(back, run.begin + run.seconds - window.end))
    return max(found, default=None)


def faults(run: Run) -> list[Mapping[str, object]]:
    """The windows, for plots: seconds from the beginning."""
    return [
        {**asdict(window), "begin": round(window.begin - run.begin, 3), "end": round(window.end - run.begin, 3)}
        for window in run.windows
    ]
