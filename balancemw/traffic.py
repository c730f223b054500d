"""The judge of traffic: from how calls end to the marks that source ``traffic`` sets and clears."""

from collections.abc import Iterable
from dataclasses import replace
from random import Random

from balancemw.ejection import Record, Rules, offence, time_out
from balancemw.fault import Fault
from balancemw.health import Mark
from balancemw.peer import Peer

_FIRST_REST, _LONGEST_REST = 1.0, 30.0
"""Seconds of rest after an overload that names no time: doubling per overload in a row."""

_RETURN = 1.0
"""Seconds after which a node that is being restarted is tried again; the most, where an outage of all seems over."""

_ENOUGH_WINS = 5
"""Successes in a row that readmit an ejected node before its time, where the pool had to go on using it."""


class Traffic:
    """Judges the calls of one service. Runs under the pool's lock and touches only the peer it is given.

    Args:
        rules: the ejection settings.
        longest_rest: cap on a ``Retry-After``, in seconds.
        rng: spreads the ends of ejections.
    """

    def __init__(self, rules: Rules, longest_rest: float, rng: Random) -> None:
        self.rules = rules
        self._longest_rest = longest_rest
        self._rng = rng

    def convict(
        self, peer: Peer, fault: Fault, started: float, now: float, others: Iterable[Record], *, all_out: bool
    ) -> Mark | None:
        """The mark that a fault of the node's own leads to, if any.

        `others`: records to compare with; `all_out`: whether no node is good.
        """
        mark = peer.marks.get("traffic")
        if mark is not None and mark.kind == "ejected":
            return self._relapse(peer, mark, fault, started, now, all_out=all_out)
        if fault.ejects_at_once:
            return self._eject(peer, "it cannot be reached", fault, now)
        reason = offence(peer.record, others, now, self.rules)
        return self._eject(peer, reason, fault, now) if reason and not self._excuses(peer, now) else None

    def _excuses(self, peer: Peer, now: float) -> bool:
        """Whether the low success rate of the peer is the fault of a route behind it."""
        if peer.routes is None or 0 < self.rules.consecutive <= peer.record.consecutive:
            return False
        calls, failed = peer.record.window(now)
        return peer.routes.exonerate(calls, failed, self.rules.success_rate, self.rules.min_calls)

    def put_out(self, peer: Peer, reason: str, fault: Fault, now: float) -> Mark:
        """The mark of a node whose open calls show that it does not answer."""
        mark = self._eject(peer, reason, fault, now)
        peer.past = replace(peer.past, stalled=True)
        return mark

    def _relapse(
        self, peer: Peer, mark: Mark, fault: Fault, started: float, now: float, *, all_out: bool
    ) -> Mark | None:
        if started < mark.since:
            return None  # a call that was under way when the node was put out
        peer.past = replace(peer.past, wins=0)
        on_trial = peer.past.trial_at is not None and started >= peer.past.trial_at
        if not on_trial and not peer.awaits_readmission(now):
            return None
        if now < peer.past.back_by:
            return self.gone(peer, f"not back yet ({fault.reason})", now, now + _RETURN)
        if now < peer.past.tried_at:
            return self.gone(peer, f"not back yet ({fault.reason})", now, peer.past.tried_at)
        return self._eject(peer, "its trial call failed", fault, now, all_out=all_out)

    def sooner(self, peer: Peer, back: str, now: float) -> Mark | None:
        """The mark of an ejected node that is tried before its time, as `back`, which was out like all others, is well.

        What all suffer is no node's fault: a trial that fails puts it out for as long as it was before all were, and
        for no longer.
        """
        mark = peer.marks.get("traffic")
        if mark is None or mark.kind != "ejected" or mark.until is None:
            return None
        within = self._rng.uniform(_RETURN / 2.0, _RETURN)
        until = now + within
        self.forgive(peer, now, within)
        peer.record.level = max(0, peer.record.level - 1)
        if mark.until <= until:
            return None
        return replace(mark, reason=f"{mark.reason}; tried sooner, as {back} is back", until=until)

    @staticmethod
    def forgive(peer: Peer, now: float, within: float = _RETURN) -> None:
        """One of all that were out is back: what the peer failed meanwhile is forgotten, and what it fails until it is
        tried, `within` so many seconds, proves nothing."""
        peer.past = replace(peer.past, tried_at=now + within, shared=0)

    @staticmethod
    def gone(peer: Peer, reason: str, now: float, until: float) -> Mark:
        """The mark of a node that ended as it had said: it has to show that it is back, but did nothing wrong."""
        peer.past = replace(peer.past, trial_at=None, wins=0)
        return Mark("traffic", "ejected", reason, now, until)

    def _eject(self, peer: Peer, reason: str, fault: Fault, now: float, *, all_out: bool = False) -> Mark:
        """Put the peer out, for longer with each relapse; `all_out`: this is none, as no node is good."""
        span = time_out(peer.record.level + peer.past.shared, self.rules, self._rng)
        self.adopt(peer, peer.record.level + (not all_out), now)
        peer.past = replace(peer.past, shared=peer.past.shared + all_out)
        return Mark("traffic", "ejected", f"{reason} ({fault.reason}); out for {span:.1f} s", now, now + span)

    @staticmethod
    def adopt(peer: Peer, level: int, now: float) -> None:
        """The peer is ejected, by us or by another worker, for the `level`-th time in a row."""
        peer.record.level = level
        peer.record.restart(now)
        peer.past = replace(peer.past, returned_at=None, trial_at=None, stalled=False, wins=0)

    def rest(self, peer: Peer, fault: Fault, started: float, now: float) -> Mark | None:
        """The mark of an overloaded node that is given a rest: one that was on trial is tried again after it."""
        mark = peer.marks.get("traffic")
        if mark is not None and mark.kind == "ejected":
            if started < mark.since or not peer.awaits_readmission(now):
                return None
            until = now + self._span(peer, fault)
            return replace(mark, reason=f"{fault.reason} when it was tried", until=until)
        if mark is not None and mark.kind == "weight":
            mark = None  # to rest is more than to be slow
        resting = mark is not None and not mark.expired(now)
        if resting and fault.retry_after is None:
            return None  # calls that were under way together tell of one overload, not of many in a row
        span = self._span(peer, fault)
        until = now + span
        if mark is not None and mark.until is not None and mark.until > until:
            until = mark.until
        return Mark("traffic", "resting", f"{fault.reason}; rests for {span:.1f} s", now, until) if span else None

    def _span(self, peer: Peer, fault: Fault) -> float:
        if fault.retry_after is not None:
            return min(fault.retry_after, self._longest_rest)
        peer.past = replace(peer.past, rests=peer.past.rests + 1)
        return min(_LONGEST_REST, _FIRST_REST * 2.0 ** min(peer.past.rests - 1, 16))

    def absolves(self, peer: Peer, started: float, now: float, *, desperate: bool) -> bool:
        """Whether a success ends the node's ejection. `desperate`: the pool has no good node, so any success counts."""
        peer.record.calm(now)
        mark = peer.marks.get("traffic")
        if mark is not None and peer.past.stalled:
            return True  # there is the answer for the want of which it was put out
        if mark is not None and started < mark.since:
            return False  # a call that was under way when the mark was set says nothing of the node now
        if peer.past.rests:
            peer.past = replace(peer.past, rests=0)
        if mark is None or mark.kind != "ejected":
            return False
        peer.past = replace(peer.past, wins=peer.past.wins + 1)
        past = peer.past
        return desperate or past.trial_at is not None or peer.awaits_readmission(now) or past.wins >= _ENOUGH_WINS
