"""The demo in words: what the balancer tells as events and states, as one would tell it to somebody."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DOING = {
    "ok": "well",
    "kill": "killed",
    "hang": "hangs",
    "slow": "30 × slower",
    "fail": "fails: 503",
    "drain": "drained",
    "alert": "stale data",
}
"""What is being done to a replica."""

_AVOIDED = 0.03
"""The share below which a replica is avoided."""

_FAILING = {
    "refused": "refuses connections",
    "connect_timeout": "takes no connections",
    "timeout": "answers nothing",
    "reset": "breaks connections off",
    "protocol": "answers nonsense",
}

_SAID = {
    ("weight", "traffic"): ("bad", "{} is slow, and stays in the pool with less to do"),
    ("cleared", "traffic"): ("good", "{} is as quick as its peers"),
    ("drain", "operator"): ("bad", "{} takes no new calls, by an operator's order"),
    ("up", "operator"): ("good", "{} takes up its share by degrees, by an operator's order"),
    ("down", "alert"): ("bad", "{} is out of the pool, for an alert"),
    ("cleared", "alert"): ("good", "{} takes up its share by degrees, as the alert is resolved"),
}

_EJECTION = re.compile(r"(?P<why>.*?) \((?P<fault>.*)\); out for (?P<seconds>[0-9.]+) s")
_CHECKS = re.compile(r"(?P<times>\d+ checks? (in a row )?)failed: (?P<why>.*)")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the timeline.

    Attributes:
        time: seconds since the load began.
        tone: ``act`` (done by the demo), ``bad``, ``good`` or ``note``.
        text: what happened.
    """

    time: float
    tone: str
    text: str


def telling(event: Mapping[str, Any], name: str | None) -> tuple[str, str]:
    """Tone and words for an event of the balancer's about replica `name`; None: about the whole pool."""
    what, source, fault, reason = event["event"], event["source"], event["fault"], event["reason"]
    if name is None:
        return _of_pool(what, reason)
    if what == "failed":
        seconds = event["evidence"].get("seconds", 0.0)
        return "note", f"{name} {failing(fault, reason)}: a first call failed after {seconds * 1000:.0f} ms"
    if what == "ejected":
        return "bad", _ejected(name, fault, reason)
    if what == "down" and source == "probe":
        return "bad", _down(name, fault, reason)
    if what == "trial":
        return "note", f"{name} has served its time: a single call goes there on trial"
    if what == "readmitted":
        return "good", f"{name} is back in the pool, and takes up its share by degrees ({reason})"
    if what == "cleared" and source == "probe":
        return "note", f"{name} passes its health check again"
    tone, words = _SAID.get((what, source), ("note", f"{{}}: {what} by {source}"))
    return tone, f"{words.format(name)}: {reason}"


def failing(fault: str | None, reason: str) -> str:
    """What a replica does whose calls or checks fail like that."""
    return _FAILING.get(fault or "") or f"answers {reason}"


def fault_name(fault: str, reason: str) -> str:
    """A fault for the table: its kind, or the status where that says more."""
    return reason.partition(" ")[0] if fault in ("unavailable", "server_error") else fault


def _of_pool(what: str, reason: str) -> tuple[str, str]:
    if what == "budget_exhausted":
        return "bad", f"the retry budget is spent: {reason}"
    if what == "fail_open":
        return "bad", f"the pool fails open: {reason}"
    return "note", f"{what.replace('_', ' ')}: {reason}"


def _ejected(name: str, fault: str | None, reason: str) -> str:
    found = _EJECTION.fullmatch(reason)
    if found is None:
        return f"{name} is out of the pool: {reason}"
    doing = failing(fault, found["fault"])
    why = "" if found["why"] == "it cannot be reached" else f", {found['why']}"
    return f"{name} {doing}{why}: out of the pool, for {found['seconds']} s at least"


def _down(name: str, fault: str | None, reason: str) -> str:
    found = _CHECKS.fullmatch(reason)
    if found is None:
        return f"{name} is out of the pool: its health check fails: {reason}"
    times = found["times"].replace("check", "health check")
    return f"{name} fails {times}({failing(fault, found['why'])}): out of the pool"


def standing(state: str, left: float | None, weight: float, share: float, by: str = "probe") -> tuple[str, str]:
    """Tone and words for a state of a replica's.

    Args:
        state: as in ``balancer.status()``.
        left: seconds until its time out is over, if it has one.
        weight: the share of its full weight in force, 0..1.
        share: its share of the latest answers, 0..1.
        by: who has taken it out.
    """
    if state == "up":
        return ("good", "in") if share > _AVOIDED else ("note", "in, but avoided")
    if state == "slow_start":
        return "note", f"in, up to {weight:.0%}"
    if state == "ejected":
        return "bad", f"out, {left:.1f} s more" if left is not None and left > 0 else "out, to be checked"
    return {
        "trial": ("note", "on trial"),
        "down": ("bad", "out, check fails" if by == "probe" else f"out, {by}"),
        "resting": ("note", "rests"),
        "draining": ("note", "drains"),
    }[state]
