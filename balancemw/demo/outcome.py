"""What came of it: the figures, taken at both ends of the app and not only from the balancer that is on trial."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from balancemw.demo.load import Answer, quantile, shares
from balancemw.demo.scene import Scene
from balancemw.demo.script import ATTEMPT_TIMEOUT


@dataclass(kw_only=True)
class Outcome:
    """What the demo measured. Times are seconds; one that is None never came. Shares are 0..1.

    Attributes:
        finished: whether the story was told to its end.
        seconds: how long the load lasted.
        reads, orders: requests sent of each kind.
        median, p99: latency of the reads that were answered.
        read_errors: what callers of idempotent calls saw instead of an answer.
        failed_orders: the same for orders that may have reached a replica, counted by what became of them.
        unexplained: what callers saw of orders that failed in any other way.
        unanswered: requests that never ended.
        received_twice: orders that replicas received more than once.
        lost: orders that callers were told were placed, and that no replica received.
        retries, exhausted: tries that were made again; how often the budget was found to be empty.
        allowed: retries that the budget comes to over the whole load.
        out_after, back_after: from the kill to out of the pool; from listening again to back in.
        sent_to_dead: calls that went to the killed replica before it was out.
        held_up, held_share: calls that went to the hanging replica before its first timeout, and their share.
        slow_before, slow_after: share of the slow replica before, and at the end of its slowness.
        failing_got, failing_fair: calls that the failing replica got, and what a third of them would have been.
        drained_after, alerted_after: from the order, and from the alert, to the last call that the replica got.
        drained_back, alerted_back: from the order that it is well, and the resolution, to the next call that it got.
    """

    finished: bool = True
    seconds: float = 0.0
    reads: int = 0
    orders: int = 0
    median: float | None = None
    p99: float | None = None
    read_errors: list[str] = field(default_factory=list[str])
    failed_orders: Counter[str] = field(default_factory=Counter[str])
    unexplained: list[str] = field(default_factory=list[str])
    unanswered: int = 0
    received_twice: list[str] = field(default_factory=list[str])
    lost: int = 0
    retries: int = 0
    exhausted: int = 0
    allowed: float = 0.0
    out_after: float | None = None
    back_after: float | None = None
    sent_to_dead: int = 0
    held_up: int = 0
    held_share: float = 0.0
    slow_before: float = 0.0
    slow_after: float = 0.0
    failing_got: int = 0
    failing_fair: float = 0.0
    drained_after: float | None = None
    drained_back: float | None = None
    alerted_after: float | None = None
    alerted_back: float | None = None

    def promises(self) -> list[tuple[str, bool]]:
        """What was promised, and whether it was kept."""
        known = self.out_after is not None and self.back_after is not None
        return [
            ("no caller of an idempotent call saw an error", not self.read_errors and not self.unanswered),
            ("no order was received twice, and none was lost", not self.received_twice and not self.lost),
            ("every order that failed may have reached a replica", not self.unexplained),
            ("retries kept within their budget", self.retries <= self.allowed and not self.exhausted),
            ("the killed replica left the pool, and came back", known),
            ("the story was told to its end", self.finished),
        ]

    @property
    def held(self) -> bool:
        """Whether every promise was kept."""
        return all(kept for _, kept in self.promises())


_MAYBE_RECEIVED = {
    "not answered in time": re.compile(r"TimeoutError|timed out"),
    "answered 503": re.compile(r"\b503\b"),
    "cut off": re.compile(r"Disconnected|reset|Broken pipe|ClientOSError|IncompleteRead|PayloadError"),
}


def explained(error: str) -> str | None:
    """What became of an order that may have reached a replica; None: that one had to be sent again, or never sent."""
    return next((what for what, pattern in _MAYBE_RECEIVED.items() if pattern.search(error)), None)


def gather(scene: Scene, finished: bool) -> Outcome:
    """The figures of a load that is over."""
    answers = scene.load.answers
    reads = [answer for answer in answers if answer.order is None]
    last = max((answer.sent + answer.seconds for answer in answers), default=scene.began)
    outcome = Outcome(finished=finished, seconds=last - scene.began)
    outcome.reads, outcome.orders = len(reads), len(answers) - len(reads)
    outcome.unanswered = scene.load.sent - len(answers)
    outcome.read_errors = [_line(answer, scene.began) for answer in reads if not answer.good]
    latencies = [answer.seconds for answer in reads if answer.good]
    outcome.median, outcome.p99 = quantile(latencies, 0.5), quantile(latencies, 0.99)
    _count_orders(outcome, answers, scene.stage.orders, scene.began)
    _count_retries(outcome, scene)
    _time_the_kill(outcome, scene)
    _weigh_the_hang(outcome, scene)
    _weigh_the_rest(outcome, scene)
    outcome.drained_after, outcome.drained_back = _without(scene, "b", "drain", "up")
    outcome.alerted_after, outcome.alerted_back = _without(scene, "c", "alert", "resolve")
    return outcome


def _line(answer: Answer, began: float) -> str:
    return f"{answer.sent - began:5.1f} s: status {answer.status} after {answer.seconds:.3f} s: {answer.error}"


def _count_orders(outcome: Outcome, answers: Iterable[Answer], log: Path, began: float) -> None:
    received = Counter(line.split()[1] for line in log.read_text().splitlines())
    outcome.received_twice = [order for order, times in received.items() if times > 1]
    for answer in answers:
        if answer.order is None:
            continue
        if answer.good:
            outcome.lost += answer.order not in received
        elif (what := explained(answer.error)) is not None:
            outcome.failed_orders[what] += 1
        else:
            outcome.unexplained.append(_line(answer, began))


def _count_retries(outcome: Outcome, scene: Scene) -> None:
    budget = scene.budget
    outcome.retries = sum(seen.calls for seen in scene.seen.values()) - len(scene.load.answers)
    outcome.exhausted = sum(event["event"] == "budget_exhausted" for event in scene.journal)
    outcome.allowed = budget.get("share", 0.0) * scene.load.sent + budget.get("floor", 0.0) * outcome.seconds


def _when(scene: Scene, replica: str, what: str) -> float | None:
    return next((act.time for act in scene.acts if (act.replica, act.what) == (replica, what)), None)


def _time_the_kill(outcome: Outcome, scene: Scene) -> None:
    killed, started, listening = (_when(scene, "a", what) for what in ("kill", "start", "listening"))
    if killed is not None:
        ends = [event["time"] for what in ("ejected", "down") for event in scene.told("a", what, killed)]
        outcome.out_after = max(0.0, min(ends) - killed) if ends else None
        outcome.sent_to_dead = sum(
            not listening or event["time"] < listening for event in scene.failed_tries("a", killed)
        )
    if started is not None and listening is not None:
        back = next(scene.told("a", "readmitted", started), None)  # the balancer may find it before we do
        outcome.back_after = max(0.0, back["time"] - listening) if back else None


def _weigh_the_hang(outcome: Outcome, scene: Scene) -> None:
    hung = _when(scene, "b", "hang")
    if hung is None:
        return
    tries = [event["time"] - event["evidence"]["seconds"] for event in scene.failed_tries("b", hung)]
    outcome.held_up = sum(began < hung + ATTEMPT_TIMEOUT for began in tries)
    sent = len(_sent(scene, hung, hung + ATTEMPT_TIMEOUT))
    outcome.held_share = outcome.held_up / sent if sent else 0.0


def _weigh_the_rest(outcome: Outcome, scene: Scene) -> None:
    slow, quick = _when(scene, "c", "slow"), _when(scene, "c", "ok")
    if slow is not None and quick is not None:
        outcome.slow_before = shares(_sent(scene, slow - 2.0, slow), scene.seen)["c"]
        outcome.slow_after = shares(_sent(scene, quick - 2.0, quick), scene.seen)["c"]
    failing, well = _when(scene, "a", "fail"), _when(scene, "a", "ok")
    if failing is not None and well is not None:
        outcome.failing_got = sum(event["time"] < well for event in scene.failed_tries("a", failing))
        outcome.failing_fair = len(_sent(scene, failing, well)) / 3


def _without(scene: Scene, replica: str, what: str, undone: str) -> tuple[float | None, float | None]:
    """Seconds from an act to the last call that the replica got, and from its undoing to the next; None: never."""
    out, back = _when(scene, replica, what), _when(scene, replica, undone)
    if out is None or back is None:
        return None, None
    sent = [answer.sent for answer in scene.load.answers if answer.replica == replica]
    before, after = [each for each in sent if each < back], [each for each in sent if each >= back]
    return max(0.0, max(before) - out) if before else None, min(after) - back if after else None


def _sent(scene: Scene, begin: float, end: float) -> list[Answer]:
    return [answer for answer in scene.load.answers if begin <= answer.sent < end]
