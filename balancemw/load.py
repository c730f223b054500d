"""How busy and how quick a node is, as its callers see it: the scores that strategies compare.

Peak EWMA is Finagle's (``loadbalancer/PeakEwma.scala``): a sample above the average becomes the average at
once, lower samples pull it down over `DECAY` seconds. Four corrections keep it honest:

* the age of the calls still open counts (nginx ``least_time … inflight``), so a node that accepts and never
  answers looks slow before its first call times out;
* a failure never lowers the latency, and adds to a penalty that fades (Linkerd's load biaser, Palantir's
  dialogue), so a node that fails fast is not taken for a fast node;
* an idle node's average fades, so that it is tried again;
* a lower sample takes at least 1/16 of the way down, so that peaks are those of as many samples for every node.
"""

from math import exp, inf, log

from balancemw.node import Node
from balancemw.orca import IN_FLIGHT, LATENCY, LoadReport

DECAY = 3.0
"""Seconds in which a past latency or failure loses all but 1/e of its say. Finagle's ``decayTime`` is 10, for pools of
hundreds; of three nodes the one with the worst past gets no call at all, and must be asked again within seconds: then
it either does well or gives the next piece of evidence for its ejection."""

KEPT = 15 / 16
"""Share of a peak that one lower sample leaves at most. By time alone a busy node, of whose many samples the highest
counts for `DECAY` seconds, would look several times slower than an equal one that is seldom called."""

KEPT_FOR = -DECAY * log(KEPT)
"""Seconds since the former sample for which it is that share, and not what the time would leave."""

IDLE = 1.0
"""Seconds after which a node that finished no call counts as idle; below it the decay is not worth its price."""

FAILURE = 10.0
"""What one failure adds to the calls a node seems to have open (dialogue's ``FAILURE_WEIGHT``)."""

UNKNOWN = 1.0
"""Latency assumed of a node that has been called but has not answered well yet, in seconds (Linkerd's seed). It is
assumed only while a call waits there or a failure counts: a second is a hundred times what some services take, and
taken for what the node was seen to do it would keep one that is well by now waiting for a quarter of a minute."""

_QUICKEST = 1e-6  # seconds: what a node reports below is no time that an answer takes, and would draw all calls

_NONE_LOST = (0.0, 0.0)


class Load:
    """A node and the load its callers put on it. Times come in as numbers; the pool's lock guards the writes.

    Attributes:
        node: who it is.
        weight: the relative capacity in force, > 0.
        in_flight: calls open now.
        latency: peak EWMA of response times in seconds as of `seen_at`; 0.0 before the first call ended.
        seen_at: when the last call ended.
        started: sum of the start times of the calls that wait for an answer, so that their average age costs no list.
        streams: those in flight that are answered, while their callers read on for as long as they like: no age of
            theirs tells anything of the node.
        longest: the longest time that an answer took of late, in seconds; who compares nodes lets it fade.
        spent, squares: sums, since the beginning, of the seconds that answers took, and of their squares.
        penalty: for failures, in calls, as of the last one; `failures` has what is left of it.
        cut_short: calls that count in these sums although they ended without an answer.
        report: what the node said last of its own load; None: nothing yet.
        reported_at: when it said that.
        reports_since: when it said something for the first time since it is what it is.
        others: calls of other callers that it had in flight, by that report; negative: it did not say.
        reported_latency: seconds that a call takes there of late, by that report; 0.0: it did not say.
    """

    __slots__ = (
        "_failed_at",
        "_lost",
        "cut_short",
        "in_flight",
        "latency",
        "longest",
        "node",
        "others",
        "penalty",
        "report",
        "reported_at",
        "reported_latency",
        "reports_since",
        "seen_at",
        "spent",
        "squares",
        "started",
        "streams",
        "weight",
    )

    def __init__(self, node: Node) -> None:
        self.node = node
        self.weight = node.weight
        self.spent = self.squares = 0.0
        self.cut_short = 0
        self.reset()

    def reset(self) -> None:
        """Forget everything, as in a process that has just been forked: its parent's calls are not its own."""
        self.in_flight = self.streams = 0
        self.started = 0.0
        self.forget()

    def forget(self) -> None:
        """Forget latency and failures: the node is not what it was when they were seen."""
        self.latency = self.longest = self.seen_at = 0.0
        self.penalty = self._failed_at = 0.0
        self._lost = _NONE_LOST
        self.report: LoadReport | None = None
        self.reported_at = self.reports_since = self.reported_latency = 0.0
        self.others = -1.0

    def hear(self, report: LoadReport, now: float) -> None:
        """The node reports its load with the answer to a call that is not given back, and that it does not count."""
        if self.report is None:
            self.reports_since = now
        self.report = report
        self.reported_at = now
        said, took = report.named_metrics.get(IN_FLIGHT, -1.0), report.named_metrics.get(LATENCY, 0.0)
        own = max(0, self.in_flight - 1)
        self.others = max(0.0, said - own) if 0.0 <= said < inf else -1.0
        self.reported_latency = took if _QUICKEST <= took < inf else 0.0

    def begin(self, started: float) -> None:
        """A call is sent at `started`."""
        self.in_flight += 1
        self.started += started

    def end(self, started: float) -> None:
        """The call that was sent at `started` is over, however it ended."""
        left = self.in_flight - 1
        if left > self.streams:
            self.in_flight = left
            self.started -= started
        else:  # also drops the rounding error of a long sum; never negative, even when a call outlives a fork
            self.in_flight = self.streams
            self.started = 0.0

    def read_on(self, started: float) -> None:
        """The call that was sent at `started` has an answer, whose body is being read: it waits no more."""
        if self.streams < self.in_flight:
            self.streams += 1
            self.started = self.started - started if self.streams < self.in_flight else 0.0

    def read_out(self, started: float) -> None:
        """The body of that answer has come to its end, as has the call: take `read_on` back."""
        if self.streams:
            self.streams -= 1
            self.started += started

    def hold_on(self) -> None:
        """A stream is open, to be ended by `hang_up`."""
        self.in_flight += 1
        self.streams += 1

    def hang_up(self) -> None:
        """A stream is over."""
        if self.streams:
            self.streams -= 1
            self.in_flight -= 1

    def observe(self, seconds: float, now: float) -> None:
        """A call was answered after `seconds`."""
        self.spent += seconds
        self.squares += seconds * seconds
        latency = self.latency
        if seconds < latency:
            idle = now - self.seen_at
            self.latency = seconds + (latency - seconds) * (KEPT if idle < KEPT_FOR else exp(-idle / DECAY))
        else:
            self.latency = seconds
            if seconds > self.longest:
                self.longest = seconds
        self.seen_at = now
        if self.penalty:
            self.penalty *= 0.5

    def observe_at_least(self, seconds: float, now: float) -> None:
        """A call ended after `seconds` without an answer: the latency is no less than that."""
        self.latency = max(self.faded_latency(now), seconds)
        self.spent += seconds
        self.squares += seconds * seconds
        self.cut_short += 1
        self._lose(now)

    def penalize(self, seconds: float, now: float, *, answered: bool = False, usual: float = 0.0) -> None:
        """A call failed after `seconds` through the node's fault: how quick that was says nothing good of it.

        `usual`: latency of its peers, to assume of a node that has not answered well so far; 0.0: not known either.
        """
        if not self.latency:
            self.latency = seconds if seconds >= UNKNOWN else usual
        if answered:
            self.seen_at = now
        else:
            self._lose(now)
        self.penalty = self.failures(now) + FAILURE
        self._failed_at = now

    def _lose(self, now: float) -> None:
        """A call ended without an answer, which is no sign of life."""
        self._lost = self.heard_at, now
        self.seen_at = now

    @property
    def heard_at(self) -> float:
        """When the last answer came, whatever it was; 0.0: there was none. Kept aside only by what is no answer."""
        heard_at, lost_at = self._lost
        return heard_at if self.seen_at == lost_at else self.seen_at

    def failures(self, now: float) -> float:
        """The fading penalty for failures, in calls."""
        if not self.penalty:
            return 0.0
        left = self.penalty * exp((self._failed_at - now) / DECAY)
        return left if left > 0.5 else 0.0  # less than half a call must not decide between idle nodes

    @property
    def waiting(self) -> int:
        """Calls that wait for an answer."""
        return self.in_flight - self.streams

    def age(self, now: float) -> float:
        """Seconds that the waiting calls have waited on average; 0.0: there are none."""
        waiting = self.in_flight - self.streams
        return now - self.started / waiting if waiting > 0 else 0.0

    def busyness(self, now: float) -> float:
        """The score of ``least_requests``: open calls, and failures in their measure, per weight."""
        calls = self.in_flight
        return (calls + self.failures(now) if self.penalty else calls) / self.weight

    def cost(self, now: float) -> float:
        """The score of ``peak_ewma``, in seconds: what one more call would have to wait, per weight."""
        latency = self.latency
        if now - self.seen_at > IDLE:
            latency = self.faded_latency(now)
        calls: float = self.in_flight
        if calls > self.streams:
            age = now - self.started / (calls - self.streams)
            if age > latency:
                latency = age if self.latency else max(age, UNKNOWN)
        elif not calls and not self.penalty:
            return latency / self.weight
        if self.penalty and (failures := self.failures(now)):
            calls += failures
            latency = latency or UNKNOWN
        return latency * (calls + 1.0) / self.weight

    def faded_latency(self, now: float) -> float:
        """The latency as the caller saw it, less what being idle has taken off."""
        idle = now - self.seen_at - IDLE
        return self.latency * exp(-idle / DECAY) if idle > 0.0 else self.latency
