"""A node as its pool sees it: its load, its record, the marks against it, and the state that follows from them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from balancemw.ejection import Record
from balancemw.health import GOING, Mark, Marks, commanded, weight_factor
from balancemw.load import Load
from balancemw.node import Node
from balancemw.routes import Routes

RESTART = 60.0
"""Seconds within which a node that went is expected back, and tried every second."""

SHUTDOWN = 30.0
"""Seconds at the end of the time until which a node is expected back, when it has surely ended: what servers and
Kubernetes give a process that is told to end. Before, its port may take a connection that nobody will answer."""

NO_MARKS: Marks = MappingProxyType({})
_NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class Past:
    """What a node has been through, besides answering well. Replaced, never changed: most share the one of nothing.

    Attributes:
        fresh_from: calls begun before this time say nothing any more: the node has been judged and readmitted since.
        stalled: whether it was ejected for not answering, so that any answer clears it.
        back_by: a node that has said it is going is expected back by then, and tried often.
        tried_at: one of its pool is back, which was out as a whole: then this one is tried, and before it is too soon.
        shared: how often it failed again while no node was good, which is no relapse of its own.
        returned_at: when it came back or was added late, while it ramps up; None: at full weight.
        trial_at: when its single trial call was sent, or None.
        rests: how often in a row it was overloaded without saying for how long.
        wins: successes in a row while it stands ejected.
        overloads, neutral: calls ended by overload, and those that say nothing of the node.
    """

    fresh_from: float = _NEVER
    stalled: bool = False
    back_by: float = _NEVER
    tried_at: float = _NEVER
    shared: int = 0
    returned_at: float | None = None
    trial_at: float | None = None
    rests: int = 0
    wins: int = 0
    overloads: int = 0
    neutral: int = 0


_UNEVENTFUL = Past()  # one for all: there may be millions of peers


class Peer(Load):
    """The mutable half of a node. Guarded by the pool's lock; `marks` is replaced, never changed.

    Attributes:
        record: what its traffic has shown.
        marks: claims about it, by source.
        past: what else it has been through.
        eased: the share of its turns that traffic leaves it: 1.0, or less if it is slower than its peers.
        watched: whether a success has to be looked at, and not only counted: something is, or was of late, held
            against it.
        routes: its calls by route, while there are errors of the application; else None.
        open: whether it may be chosen although traffic or a probe is against it.
    """

    __slots__ = ("eased", "marks", "open", "past", "record", "routes", "watched")

    def __init__(self, node: Node, window: float) -> None:
        super().__init__(node)
        self.record = Record(window)
        self.marks = NO_MARKS
        self.past = _UNEVENTFUL
        self.open = True
        self.watched = False
        self.eased = 1.0
        self.routes: Routes | None = None

    @property
    def accused(self) -> bool:
        """Whether traffic or a probe wants it out. One that is only slow had better be used less."""
        marks = self.marks  # replaced by other threads at any time
        mark = marks.get("traffic")
        return "probe" in marks or (mark is not None and mark.kind != "weight")

    @property
    def answers(self) -> int:
        """How many calls `spent` and `squares` are the sums of."""
        return self.record.calls - self.record.failed + self.cut_short

    @property
    def barred(self) -> bool:
        """Whether anything but an overload holds it back, so that it has not come back yet."""
        mark = self.marks.get("traffic")
        ejected = mark is not None and mark.kind == "ejected"
        return ejected or "probe" in self.marks or commanded(self.marks) is not None

    @property
    def figures(self) -> tuple[int, int, int]:
        """Calls in flight, calls ended and failures, of all kinds and in all."""
        record, past = self.record, self.past
        return self.in_flight, record.calls + past.overloads + past.neutral, record.failed + past.overloads

    def rest_left(self, now: float) -> float:
        """Seconds that it still rests after an overload."""
        mark = self.marks.get("traffic")
        return max(0.0, (mark.until or now) - now) if mark is not None and mark.kind == "resting" else 0.0

    def become(self, node: Node) -> None:
        """The node's settings changed; its url is the same."""
        self.node = node
        self.weight = node.weight * weight_factor(self.marks)

    def begin_anew(self, now: float) -> None:
        """The node is back: what it did before says nothing any more."""
        past = replace(self.past, trial_at=None, stalled=False, back_by=_NEVER, tried_at=_NEVER)
        self.past = replace(past, shared=0, fresh_from=now)
        self.routes = None
        self.record.restart(now)
        self.forget()

    def put(self, mark: Mark) -> None:
        """Set `mark`, in place of the source's former one."""
        self._hold({**self.marks, mark.source: mark})
        self.watched = True

    def drop(self, source: str) -> None:
        """Remove the mark of `source`."""
        self._hold({each: mark for each, mark in self.marks.items() if each != source} or NO_MARKS)

    def _hold(self, marks: Marks) -> None:
        self.marks = marks
        self.weight = self.node.weight * weight_factor(marks)
        own = marks.get("self")
        if own is not None and own.reason == GOING and own.until is not None:
            self.past = replace(self.past, back_by=own.until + RESTART)
        mark = marks.get("traffic")
        self.eased = mark.weight if mark is not None and mark.weight is not None else 1.0

    def ramp(self, now: float, window: float, least: float) -> float:
        """The share of its weight that it gets: linear over `window` seconds, from `least`; 1 when it is warm."""
        since = self.past.returned_at
        if since is None or window <= 0.0:
            return 1.0
        return min(1.0, max(least, (now - since) / window))

    def awaits_readmission(self, now: float) -> bool:
        """Whether its time out is over and it now has to show that it works."""
        mark = self.marks.get("traffic")
        return mark is not None and mark.kind == "ejected" and mark.until is not None and now >= mark.until

    def certain(self, now: float) -> bool:
        """Whether a call to it is either carried out or safely refused: not so while a server that went shuts down."""
        return now >= self.past.back_by - SHUTDOWN

    def state(self, trying: bool) -> str:
        """One word for status pages; `trying`: its trial call may be sent or is under way."""
        order = commanded(self.marks)
        if order:
            return order
        if "probe" in self.marks:
            return "trial" if self.open else "down"
        mark = self.marks.get("traffic")
        if mark is not None and mark.kind != "weight":
            return "resting" if mark.kind == "resting" else "trial" if self.open or trying else "ejected"
        return "up" if self.past.returned_at is None else "slow_start"

    def shown_marks(self, epoch: float) -> list[Mapping[str, object]]:
        """The marks as status pages tell them; `epoch`: seconds since the epoch at zero of the balancer's clock."""
        return [
            {
                "source": mark.source,
                "kind": mark.kind,
                "reason": mark.reason,
                "since": mark.since + epoch,
                "until": None if mark.until is None else mark.until + epoch,
            }
            for mark in self.marks.values()
        ]
