"""How many of a service's calls leave their own zone, because its nodes cannot carry them.

Two things make calls leave by degrees, and one at once:

* *Too few nodes.* A zone carries its calls while `OVERPROVISIONED` times its share of good nodes is at least 1, and
  that part of them otherwise, as Envoy's priority levels and localities do (``overprovisioning_factor``, 140 %).
* *Nodes too slow or too busy, or failing too often*, held against those of the other zones. A caller does not know
  how many others call the same nodes, but it does see what its own calls take: both queues and slow nodes show in it.
  Envoy's ``load_aware_locality`` compares utilization that nodes report; here nobody has to report anything.
* *No answer at all*, to several calls and for out of all proportion, while other zones answer. The age of open calls
  tells, as it does of nodes, and as soon as one of them is answered calls return.

To compare, something must be known of the other zones. As long as all is well one call in a while goes there to look;
when calls of the own zone begin to take much longer than they used to, or to fail, a few more do.
"""

from collections.abc import Callable, Sequence
from math import expm1, inf, log2

from balancemw.pace import Pace
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

SILENT = 0.1
"""Seconds without any answer, while calls wait for one, after which a zone may be taken not to answer. A node by itself
is given longer: it is put out for that, and here calls only go elsewhere until there is an answer."""

SURELY_SILENT = 1.0
"""The same whatever its calls took of late, where enough is known of the others; see `silence.LEAST`."""

MOST = 0.95
"""Share of the calls that leave at most while the own zone has good nodes: the rest sees when it is well again."""

_PAUSE, _DOUBTING, _PER_NODE = 0.2, 0.05, 0.001  # seconds between two looks, while in doubt, or so many for each node
_ENOUGH, _FEW, _ANY = 10.0, 5.0, 0.3  # calls of late: of the own zone; of the others, to go by them; to have seen one
_TIMES_USUAL = 10.0  # of what its calls take that a silent zone must have been silent

# Change of the share per second: per doubling of the time, but no more in the time that an answer takes than can be
# seen by then, unless that is very long; where calls fail; back, and back after a silence.
_UP, _PER_ANSWER, _ANYWAY, _UP_FAILING, _DOWN, _DOWN_HEARD = 0.1, 0.1, 0.2, 0.5, 0.1, 1.0

_LEAST, _PROBED = 0.05, 0.25  # share that leaves to find out about the others: at first, and at most
_LOOK, _CALLS = 30.0, 1000  # one call in so many seconds, and in so many calls, looks how the others are
_USUAL_UP, _USUAL_DOWN = 60.0, 10.0  # seconds in which what calls usually take follows what they take
_TELL, _QUIET = 0.1, 30.0  # the share from which on it is told, and seconds without any after which it is over


class Spill:
    """The share of calls that leave the own zone, for the nodes of one priority. Changed under the pool's lock.

    Args:
        zone: its name, for telling.

    Attributes:
        share: of the calls that leave, 0..1.
        away: whether the next call may have to leave; quick to ask.
        doubted: whether the zone has been silent for so long that it may not answer at all.
        due: when to look again.
    """

    def __init__(self, zone: str) -> None:
        self.share = 0.0
        self.away = self.doubted = False
        self.due = self._last = -inf
        self._zone = zone
        self._near, self._far = Pace(), Pace()
        self._missing = 0.0  # share that leaves because nodes are missing
        self._loaded = 0.0  # share of the rest that leaves because those that are there are slow
        self._silent, self._silent_at = 0.0, -inf  # the same, because none of them answers; when that was last so
        self._usual = 0.0  # seconds that calls in the own zone take while all is well
        self._looked_at, self._since_look, self._looking = 0.0, 0, False
        self._counted = self._judged = ""  # why, in words
        self._told, self._quiet_since = False, -inf

    def leaves(self, random: Callable[[], float]) -> bool:
        """Whether this call leaves the zone. Takes no lock: that one more or none goes to look does no harm."""
        if self._looking:
            self._looking, self.away = False, self.share > 0.0
            return True
        return random() < self.share

    def count(self, near: tuple[float, float], far: tuple[float, float], counted: str) -> None:
        """Nodes went or came. Of our zone and of the others: the weight that can be used, and all there is.

        `counted`: the same of our zone, in words.
        """
        ours, theirs = (min(1.0, OVERPROVISIONED * good / whole) if whole else 0.0 for good, whole in (near, far))
        self._missing = 1.0 - ours if ours + theirs >= 1.0 else theirs / (ours + theirs or 1.0)
        self._counted = counted
        self._settle()

    def look(self, near: Sequence[Peer], far: Sequence[Peer], now: float) -> None:
        """Compare our zone's nodes, those that may be chosen, with the others'."""
        elapsed = now - self._last if self._last > -inf else 0.0
        self._last = now
        self._since_look += self._near.read(near, now, elapsed)
        if self._far.read(far, now, elapsed):
            self._looked_at, self._since_look = now, 0
        change = self._judge()
        self._loaded = min(MOST, max(0.0, self._loaded + change * min(elapsed, 1.0)))
        if change > 0.0:
            self._loaded = max(_LEAST, self._loaded)
        elif not self._loaded and not self._silent:
            self._learn(elapsed)
        self._listen(near, min(elapsed, 1.0), now)
        self._looking = self._since_look >= _CALLS and now >= self._looked_at + _LOOK
        self._looking |= self.doubted and self._far.waiting < _FEW
        self.due = now + max(_DOUBTING if self.doubted else _PAUSE, _PER_NODE * (len(near) + len(far)))
        self._settle()

    def _settle(self) -> None:
        self.share = self._missing + (1.0 - self._missing) * max(self._loaded, self._silent)
        self.away = self._looking or self.share > 0.0

    def _listen(self, peers: Sequence[Peer], elapsed: float, now: float) -> None:
        """Whether the zone answers at all: its open calls tell, before the first of them times out.

        While they wait all others leave, as the first answer to one of them will tell that the zone is back.
        """
        near, far = self._near, self._far
        quiet = now - near.heard_at
        several = near.waiting >= _FEW and (near.calls >= _ENOUGH or self._silent > 0.0)
        patience = self._patience(peers) if several else inf
        self.doubted = quiet >= patience / 2.0  # then one call goes to see how the others are
        if quiet >= patience and far.answered_at > near.heard_at and far.failing < near.failing + FAILS:
            self._silent, self._silent_at = 1.0, now
            self._judged = f"none of its calls was answered for {quiet:.1f} s"
        elif self._silent > 0.0 and not self.doubted:
            pace = _DOWN_HEARD if near.answered_at >= self._silent_at else _DOWN
            self._silent = max(0.0, min(MOST, self._silent) - pace * elapsed)
            if not self._silent:
                near.forget()  # how long its calls waited then says nothing of what they take now

    def _patience(self, peers: Sequence[Peer]) -> float:
        """Seconds that none of its calls may be answered before that is out of all proportion."""
        took = self._near.took
        soon = max(SILENT, _TIMES_USUAL * took, _middle_longest(peers)) if took else inf
        late = max(SURELY_SILENT, _TIMES_USUAL * self._usual) if self._far.calls >= _FEW else inf
        return min(soon, late)

    def _judge(self) -> float:
        """By how much the share that is due to load changes, per second."""
        near, far = self._near, self._far
        if near.calls < _ENOUGH:
            return -_DOWN
        if far.calls < _FEW:
            return self._guess()
        if near.failing >= far.failing + FAILS:
            self._judged = f"{near.failing:.0%} of its calls fail, of the others' {far.failing:.0%}"
            return _UP_FAILING
        if self._silent > 0.0:
            return 0.0
        if self._slower(near, far):
            if not near.exceeds(far.mean, far.variance, far.calls):
                return -_DOWN / 2.0
            self._judged = f"its calls take {_ms(near.mean)}, the others' {_ms(far.mean)}"
            return min(_UP * log2(near.mean / far.mean), max(_PER_ANSWER / near.mean, _ANYWAY))
        like = near.mean <= LIKE * SLOWER * far.mean or near.mean < far.mean + MATTERS / 2.0
        return -_DOWN if like and near.failing < far.failing + FAILS / 2.0 else 0.0

    @staticmethod
    def _slower(near: Pace, far: Pace) -> bool:
        return 0.0 < SLOWER * far.mean <= near.mean and near.mean >= far.mean + MATTERS

    def _guess(self) -> float:
        """As `_judge`, where too little is known of the others: whether to find out."""
        near, far = self._near, self._far
        strange = bool(self._usual) and near.mean >= SLOWER * self._usual + MATTERS and near.exceeds(self._usual)
        seen = far.calls >= _ANY and self._slower(near, far)
        if not strange and not seen and near.failing < FAILS:
            return -_DOWN
        failing = near.failing >= FAILS
        self._judged = f"{near.failing:.0%} of its calls fail" if failing else f"its calls take {_ms(near.mean)}"
        if self._loaded >= _PROBED:
            return 0.0
        return max(_LEAST, _UP * log2(near.mean / self._usual)) if strange else _LEAST

    def _learn(self, elapsed: float) -> None:
        near = self._near
        if near.calls >= _ENOUGH and near.mean:
            pace = _USUAL_UP if near.mean > self._usual else _USUAL_DOWN
            self._usual += (near.mean - self._usual) * (-expm1(-elapsed / pace) if self._usual else 1.0)

    def news(self, now: float) -> tuple[str, str] | None:
        """What has to be told, if anything, as (event, reason): once that calls leave, and once that it is over."""
        if self.share > 0.0:
            self._quiet_since = now
        if not self._told and self.share >= _TELL:
            self._told = True
            why = self._counted if self._missing >= max(self._loaded, self._silent) else self._judged
            return "zone_spill", f"{self.share:.0%} of the calls leave zone {self._zone!r}: {why}"
        if self._told and now >= self._quiet_since + _QUIET:
            self._told = False
            return "zone_spill_ended", f"zone {self._zone!r} carries its calls again"
        return None


def _middle_longest(peers: Sequence[Peer]) -> float:
    """The longest time that an answer took of late, in seconds, of the node in the middle."""
    return sorted(peer.longest for peer in peers)[len(peers) // 2]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms"
