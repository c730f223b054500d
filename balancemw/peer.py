"""A node as its pool sees it: its load, its record, the marks against it, and the state that follows from them."""

from collections.abc import Mapping
from types import MappingProxyType

from balancemw.ejection import Record
from balancemw.health import Mark, Marks, commanded, weight_factor
from balancemw.load import Load
from balancemw.node import Node

NO_MARKS: Marks = MappingProxyType({})


class Peer(Load):
    """The mutable half of a node. Guarded by the pool's lock; `marks` is replaced, never changed.

    Attributes:
        record: what its traffic has shown.
        marks: claims about it, by source.
        fresh_from: calls begun before this time say nothing any more: the node has been judged and readmitted since.
        returned_at: when it came back or was added late, while it ramps up; None: at full weight.
        trial_at: when its single trial call was sent, or None.
        open: whether it may be chosen although traffic or a probe is against it.
        rests: how often in a row it was overloaded without saying for how long.
        wins: successes in a row while it stands ejected.
        overloads, neutral: calls ended by overload, and those that say nothing of the node.
    """

    __slots__ = (
        "fresh_from",
        "marks",
        "neutral",
        "open",
        "overloads",
        "record",
        "rests",
        "returned_at",
        "trial_at",
        "wins",
    )

    def __init__(self, node: Node, window: float) -> None:
        super().__init__(node)
        self.record = Record(window)
        self.marks = NO_MARKS
        self.fresh_from = float("-inf")
        self.returned_at: float | None = None
        self.trial_at: float | None = None
        self.open = True
        self.rests = self.wins = self.overloads = self.neutral = 0

    @property
    def accused(self) -> bool:
        """Whether traffic or a probe holds something against it."""
        return "traffic" in self.marks or "probe" in self.marks

    @property
    def barred(self) -> bool:
        """Whether anything but an overload holds it back, so that it has not come back yet."""
        mark = self.marks.get("traffic")
        ejected = mark is not None and mark.kind == "ejected"
        return ejected or "probe" in self.marks or commanded(self.marks) is not None

    @property
    def figures(self) -> tuple[int, int, int]:
        """Calls in flight, calls ended and failures, of all kinds and in all."""
        record = self.record
        return self.in_flight, record.calls + self.overloads + self.neutral, record.failed + self.overloads

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
        self.trial_at = None
        self.fresh_from = now
        self.record.restart(now)
        self.forget()

    def put(self, mark: Mark) -> None:
        """Set `mark`, in place of the source's former one."""
        self.marks = {**self.marks, mark.source: mark}
        self.weight = self.node.weight * weight_factor(self.marks)

    def drop(self, source: str) -> None:
        """Remove the mark of `source`."""
        kept = {each: mark for each, mark in self.marks.items() if each != source}
        self.marks = kept or NO_MARKS
        self.weight = self.node.weight * weight_factor(kept)

    def ramp(self, now: float, window: float, least: float) -> float:
        """The share of its weight that it gets: linear over `window` seconds, from `least`; 1 when it is warm."""
        if self.returned_at is None or window <= 0.0:
            return 1.0
        return min(1.0, max(least, (now - self.returned_at) / window))

    def awaits_readmission(self, now: float) -> bool:
        """Whether its time out is over and it now has to show that it works."""
        mark = self.marks.get("traffic")
        return mark is not None and mark.kind == "ejected" and mark.until is not None and now >= mark.until

    def state(self, trying: bool) -> str:
        """One word for status pages; `trying`: its trial call may be sent or is under way."""
        order = commanded(self.marks)
        if order:
            return order
        if "probe" in self.marks:
            return "trial" if self.open else "down"
        mark = self.marks.get("traffic")
        if mark is not None:
            return "resting" if mark.kind == "resting" else "trial" if self.open or trying else "ejected"
        return "up" if self.returned_at is None else "slow_start"

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
