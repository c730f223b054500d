"""How many of a service's calls leave their own zone, because its nodes cannot carry them.

Two things make calls leave, and both by degrees:

* *Too few nodes.* A zone carries its calls while `OVERPROVISIONED` times its share of good nodes is at least 1, and
  that part of them otherwise, as Envoy's priority levels and localities do (``overprovisioning_factor``, 140 %).
* *Nodes too slow or too busy, or failing too often*, held against those of the other zones. A caller does not know
  how many others call the same nodes, but it does see what its own calls take: both queues and slow nodes show in it.
  Envoy's ``load_aware_locality`` compares utilization that nodes report; here nobody has to report anything.

To compare, something must be known of the other zones. As long as all is well one call in a while goes there to look;
when calls of the own zone begin to take much longer than they used to, or to fail, a few more do.
"""

from collections.abc import Callable, Iterable
from math import exp, log2

from balancemw.peer import Peer

OVERPROVISIONED = 1.4
"""How many times the usual number of its calls a node can take."""

SLOWER = 2.0
"""Times the other zones' time from which on calls leave. Up to `LIKE` of that they come back."""

LIKE = 0.75
MATTERS = 0.010
"""Seconds by which the own zone's time must exceed the others'."""

FAILS = 0.1
"""By how much more the share of failed calls must be."""

MOST = 0.95
"""Share of the calls that leave at most while the own zone has good nodes: the rest sees when it is well again."""

_PAUSE, _PER_NODE = 0.2, 0.001  # seconds between two looks, or so many for each node
_MEMORY = 3.0  # seconds in which what was seen loses all but 1/e of its say
_USUAL = 60.0  # likewise of what the own zone usually takes; a fall is believed six times as fast
_ENOUGH, _FEW = 10.0, 5.0  # calls of late that say something of the own zone, and of the others when some must go there
_ANY = 0.3  # part of a call of late: there was one within four seconds
_UP, _FAILING_UP, _DOWN = 0.2, 0.5, 0.1  # change of the share per second: per doubling of the time, for failures, back
_LEAST, _PROBED = 0.05, 0.25  # share that leaves to find out about the others: at first, and at most
_LOOK, _CALLS = 10.0, 1000  # one call in so many seconds, and in so many calls, looks how the others are
_TELL, _QUIET = 0.1, 10.0  # the share from which on it is told, and seconds without any after which it is over


class _Side:
    """What the calls of one side, our zone or the others, took of late.

    Attributes:
        calls: calls that count; those of the past fade, those that wait for an answer do not.
        failed: those of them that failed.
        mean: seconds that one took, or has waited so far; 0.0: nothing is known.
    """

    def __init__(self) -> None:
        self._seen: dict[Peer, tuple[int, float, int]] = {}
        self._answers = self._spent = 0.0
        self.calls = self.failed = self.mean = 0.0

    def read(self, peers: Iterable[Peer], now: float, left: float) -> int:
        """Count what happened since the last time, and let `left` of what was before; returns the new answers."""
        seen = {peer: (peer.answers, peer.spent, peer.record.failed) for peer in peers}
        answers, spent, failed, waiting, waited = 0, 0.0, 0, 0, 0.0
        for peer, sums in seen.items():
            before = self._seen.get(peer, sums)
            answers += sums[0] - before[0]
            spent += sums[1] - before[1]
            failed += sums[2] - before[2]
            waiting += peer.waiting
            waited += peer.waiting * peer.age(now)
        self._seen = seen
        self._answers = self._answers * left + answers
        self._spent = self._spent * left + spent
        self.failed = self.failed * left + failed
        self.calls = self._answers + self.failed + waiting
        measured = self._answers + waiting
        self.mean = (self._spent + waited) / measured if measured else 0.0
        return answers


class Spill:
    """The share of calls that leave the own zone, for the nodes of one priority. Changed under the pool's lock.

    Args:
        zone: its name, for telling.

    Attributes:
        share: of the calls that leave, 0..1.
        away: whether the next call may have to leave; False is quick to ask.
        due: when to look again.
    """

    def __init__(self, zone: str) -> None:
        self.share = 0.0
        self.away = False
        self.due = float("-inf")
        self._zone = zone
        self._near, self._far = _Side(), _Side()
        self._missing = self._loaded = (
            0.0  # share that leaves since nodes are missing; of the rest: since they are slow
        )
        self._usual = 0.0  # seconds that calls in the own zone take while all is well
        self._last: float | None = None
        self._looked_at, self._since_look, self._looking = 0.0, 0, False
        self._why = self._counted = ""
        self._told = False
        self._told_at = self._quiet_since = float("-inf")

    def leaves(self, random: Callable[[], float]) -> bool:
        """Whether this call leaves the zone. Takes no lock: that one more or none goes to look does no harm."""
        if self._looking:
            self._looking, self.away = False, self.share > 0.0
            return True
        return random() < self.share

    def count(self, near: tuple[float, float], far: tuple[float, float], counted: str) -> None:
        """Nodes went or came. Of our zone, and of the others: the weight that can be used, and all there is."""
        ours, theirs = (min(1.0, OVERPROVISIONED * good / whole) if whole else 0.0 for good, whole in (near, far))
        self._missing = max(0.0, 1.0 - ours) if ours + theirs >= 1.0 else theirs / (ours + theirs or 1.0)
        self._counted = counted
        self._settle()

    def look(self, near: Iterable[Peer], far: Iterable[Peer], now: float) -> None:
        """Compare our zone's nodes, those that may be chosen, with the others'."""
        near, far = tuple(near), tuple(far)
        elapsed, self._last = 0.0 if self._last is None else now - self._last, now
        self.due = now + max(_PAUSE, _PER_NODE * (len(near) + len(far)))
        left = exp(-elapsed / _MEMORY)
        self._since_look += self._near.read(near, now, left)
        if self._far.read(far, now, left):
            self._looked_at, self._since_look = now, 0
        change = self._change()
        self._loaded = min(MOST, max(0.0, self._loaded + change * min(elapsed, 1.0)))
        if change > 0.0:
            self._loaded = max(_LEAST, self._loaded)
        elif not self._loaded:
            self._learn(elapsed)
        self._looking = self._since_look >= _CALLS and now >= self._looked_at + _LOOK
        self._settle()

    def _settle(self) -> None:
        self.share = self._missing + (1.0 - self._missing) * self._loaded
        self.away = self._looking or self.share > 0.0

    def _change(self) -> float:
        """By how much the share that is due to load changes, per second."""
        near, far = self._near, self._far
        if near.calls < _ENOUGH:
            return -_DOWN
        slower = 0.0 < SLOWER * far.mean <= near.mean and near.mean - far.mean >= MATTERS
        failing = near.failed / near.calls - (far.failed / far.calls if far.calls else 0.0)
        if far.calls < _FEW:
            strange = near.mean >= SLOWER * self._usual + MATTERS and self._usual > 0.0
            if strange or failing >= FAILS or (slower and far.calls >= _ANY):
                self._why = (
                    f"its calls take {_ms(near.mean)}" if failing < FAILS else f"{failing:.0%} of its calls fail"
                )
                return _LEAST if self._loaded < _PROBED else 0.0
            return -_DOWN
        if failing >= FAILS:
            self._why = f"{near.failed / near.calls:.0%} of its calls fail, of the others' {far.failed / far.calls:.0%}"
            return _FAILING_UP
        if slower:
            self._why = f"its calls take {_ms(near.mean)}, the others' {_ms(far.mean)}"
            return min(1.0, _UP * log2(near.mean / far.mean))
        like = not far.mean or near.mean <= LIKE * SLOWER * far.mean or near.mean - far.mean < MATTERS / 2.0
        return -_DOWN if like and failing < FAILS / 2.0 else 0.0

    def _learn(self, elapsed: float) -> None:
        near = self._near
        if near.calls >= _ENOUGH and near.mean:
            pace = _USUAL if near.mean > self._usual else _USUAL / 6.0
            part = 1.0 - exp(-elapsed / pace) if self._usual else 1.0
            self._usual += (near.mean - self._usual) * part

    def news(self, now: float) -> tuple[str, str] | None:
        """What has to be told, if anything, as (event, reason): once that calls leave, and once that it is over."""
        if self.share > 0.0:
            self._quiet_since = now
        if not self._told and self.share >= _TELL:
            self._told = True
            why = self._counted if self._missing >= self._loaded else self._why
            return "zone_spill", f"{self.share:.0%} of the calls leave zone {self._zone!r}: {why}"
        if self._told and now >= self._quiet_since + _QUIET:
            self._told = False
            return "zone_spill_ended", f"zone {self._zone!r} carries its calls again"
        return None


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms"
