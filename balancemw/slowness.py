"""Who is much slower than its peers, although its answers are good.

A node is held against the others over the same stretches of time, call by call: for each of its calls is noted how
long it took and how long the others took on average meanwhile. Load that rises or falls for all, and a node that is
called at other times than its peers, therefore prove nothing. What it takes to be slow is both plain (a multiple of
the others' median, and an amount that matters) and sure (by the spread of the answers); several verdicts in a row
lower the node's share step by step, and raise it again (rest.li's degrader has the same shape).
"""

from collections.abc import Iterator, Sequence
from math import inf, sqrt

from balancemw.peer import Peer

LEAST_SHARE = 0.1
"""Share of its turns that the slowest node keeps: enough to see when it is well again."""

STEP = 0.6
"""What one verdict leaves of a share."""

WELL = 0.75
"""Part of the multiple that makes a node slow up to which it is like its peers. Between the two nothing changes."""

MATTERS = 0.010
"""Seconds by which a slow node must exceed the others: 0.6 ms instead of 0.2 ms is nothing."""

SURE = 3.0
"""Standard errors by which it must exceed them."""

IN_A_ROW = 3
"""Verdicts in a row that it takes to lower a share for the first time."""

ENOUGH = 10
"""Calls of a node that a verdict is based on at least."""

_FADES = 0.8  # what each stretch leaves of the evidence that is not enough for a verdict: the node may have changed
_TYPICAL = 20  # calls of the median node in one stretch: means of fewer are too skewed for their median to be fair
_SHORTEST, _LONGEST = 1.0, 60.0  # seconds of one stretch; with less traffic than that nobody is judged
_NOTHING = (0, 0.0, 0.0)
_COMPARED = 3  # nodes in all below which nobody can say which of them is the odd one


class _Case:
    """What speaks for and against a node since its last verdict.

    Attributes:
        base: its sums at the beginning of the current stretch: (answers, seconds, squares).
        calls: answers that count; not a whole number where some have faded.
        took, squares: seconds that they took, and the sum of their squares.
        expected: seconds that they would have taken with the others.
        variance: of `took`, if the node were like the others.
        row: verdicts in a row that it is slow.
        share: what the last verdict left it; it has another one now if somebody else has spoken since.
    """

    __slots__ = ("base", "calls", "expected", "row", "share", "squares", "took", "variance")

    def __init__(self, base: tuple[int, float, float]) -> None:
        self.base = base
        self.begin(1.0)

    def begin(self, share: float) -> None:
        self.share = share
        self.row = 0
        self.reset()

    def reset(self) -> None:
        self.calls = self.took = self.squares = self.expected = self.variance = 0.0

    def fade(self) -> None:
        self.calls *= _FADES
        self.took *= _FADES
        self.squares *= _FADES
        self.expected *= _FADES
        self.variance *= _FADES

    def verdict(self, multiple: float) -> bool | None:
        """True: it is slow; False: it is like its peers; None: neither is certain.

        Of the two spreads, its own and that of its peers, the wider counts: where few calls are expensive, the nodes
        that had none of them lately know nothing of chance (otherwise as Welch's t-test).
        """
        if self.calls < ENOUGH:
            return None
        more = self.took - self.expected
        own = _spread((self.calls, self.took, self.squares)) * self.calls / (self.calls - 1.0)
        sure = more >= SURE * sqrt(max(self.variance, own))
        if self.took >= multiple * self.expected and more >= MATTERS * self.calls and sure:
            return True
        return False if self.took <= WELL * multiple * self.expected or more < MATTERS * self.calls / 2.0 else None


class Slowness:
    """Compares the nodes of one tier. Runs under the pool's lock.

    Args:
        multiple: of the others' time, from which on a node is slow.
    """

    def __init__(self, multiple: float) -> None:
        self._multiple = multiple
        self._cases: dict[Peer, _Case] = {}
        self._began = -inf
        self._seen: tuple[Sequence[Peer], int] = ((), 0)  # who there was when the stretch began, and their answers

    def review(self, peers: Sequence[Peer], now: float) -> Iterator[tuple[Peer, float, str]]:
        """Those of `peers`, the available ones, whose share changes: the new share, and why."""
        if now - self._began < _SHORTEST or self._too_early(peers, now):
            return
        sums = {peer: (peer.answers, peer.spent, peer.squares) for peer in peers}
        anew = not self._cases and not self._seen[1]  # nothing had happened when the stretch began
        cases = {peer: self._cases.get(peer) or _Case(_NOTHING if anew else base) for peer, base in sums.items()}
        self._cases = cases
        for peer, case in cases.items():
            if peer.eased != case.share:
                case.begin(peer.eased)
        counts = sorted(base[0] - cases[peer].base[0] for peer, base in sums.items())
        if counts and counts[len(counts) // 2] < _TYPICAL and now - self._began < _LONGEST:
            return
        self._began, self._seen = now, (peers, _ended(peers))
        stretch = {peer: _difference(base, cases[peer].base) for peer, base in sums.items()}
        for peer, base in sums.items():
            cases[peer].base = base
        self._compare(stretch)
        for peer, case in cases.items():
            verdict = case.verdict(self._multiple)
            if verdict is not None:
                yield from _conclude(peer, case, verdict)
            elif case.calls >= ENOUGH:
                case.fade()

    def _too_early(self, peers: Sequence[Peer], now: float) -> bool:
        """Whether there cannot be calls enough yet: one sum tells, where what follows takes notes on every node."""
        former, before = self._seen
        ended = _ended(peers)
        if not ended and not self._cases:
            self._began, self._seen = now, (peers, 0)
            return True
        return peers is former and now - self._began < _LONGEST and ended - before < _TYPICAL * (len(peers) + 1) // 2

    def _compare(self, stretch: dict[Peer, tuple[int, float, float]]) -> None:
        """Enter what each node did in a stretch, and what the others would have done in its place."""
        means = sorted(took / calls for calls, took, _ in stretch.values() if 2 * calls >= _TYPICAL)
        all_calls = sum(calls for calls, _, _ in stretch.values())
        all_spread = sum(_spread(each) for each in stretch.values())
        for peer, each in stretch.items():
            calls, took, squares = each
            known = 2 * calls >= _TYPICAL
            others, around = all_calls - calls, len(means) - known
            if not calls or around < _COMPARED - 1:
                continue
            usual = _median_without(means, took / calls if known else None)
            variance = max(0.0, all_spread - _spread(each)) / max(1, others - around)
            case = self._cases[peer]
            case.calls += calls
            case.took += took
            case.squares += squares
            case.expected += calls * usual
            case.variance += variance * calls * (1.0 + calls / others)


def _ended(peers: Sequence[Peer]) -> int:
    """No less than their answers."""
    return sum([peer.record.calls + peer.cut_short for peer in peers])


def _difference(now: tuple[int, float, float], then: tuple[int, float, float]) -> tuple[int, float, float]:
    return now[0] - then[0], now[1] - then[1], now[2] - then[2]


def _spread(each: tuple[float, float, float]) -> float:
    """Sum of the squared distances from the node's own mean."""
    calls, took, squares = each
    return max(0.0, squares - took * took / calls) if calls else 0.0


def _median_without(means: list[float], own: float | None) -> float:
    """The median of `means`, which are in order, without one of the value `own`."""
    rest = means if own is None else [*means[: (at := means.index(own))], *means[at + 1 :]]
    middle = len(rest) // 2
    return rest[middle] if len(rest) % 2 else (rest[middle - 1] + rest[middle]) / 2.0


def _conclude(peer: Peer, case: _Case, slow: bool) -> Iterator[tuple[Peer, float, str]]:
    share, own, theirs = peer.eased, case.took / case.calls, case.expected / case.calls
    reason = f"{case.calls:.0f} answers took {own * 1000:.3g} ms on average, its peers' {theirs * 1000:.3g} ms"
    case.reset()
    case.row = case.row + 1 if slow else 0
    mark = peer.marks.get("traffic")
    if mark is not None and mark.kind != "weight":
        return
    if slow and (share < 1.0 or case.row >= IN_A_ROW):
        wanted = max(LEAST_SHARE, share * STEP)
    elif not slow:
        wanted = 1.0 if share / STEP > 0.99 else share / STEP
    else:
        return
    if wanted != share:
        case.share = wanted
        yield peer, wanted, reason
