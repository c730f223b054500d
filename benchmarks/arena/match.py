"""A scenario played to everyone who takes part: the table, and who won."""

import os
from collections.abc import Mapping

from benchmarks.arena.contenders import CONTENDERS, OURS
from benchmarks.arena.figures import HURT, LATE, Figures, faults, figures, series, tail
from benchmarks.arena.replica import MEDIAN
from benchmarks.arena.stage import Run, Scenario, run
from benchmarks.report import Report
from benchmarks.timing import Effort

CLOSE = 1.05
"""Two 99th percentiles that differ by less than this factor are even: runs follow one another, and machines vary."""

MUCH = 0.15
"""Share of the machine that others may have before it shows in the latencies."""

COLUMNS = (
    "",
    "failed",
    "needless",
    "p50",
    "p99",
    "p99.9",
    "hurt",
    "back",
    "to bad",
    "tries",
    "POST failed",
    "twice",
)
READ = (
    "Failed: GETs without a whole answer of 200; needless: those that some replica could have answered. Latency in ms "
    "of the GETs answered, from when they were due.",
    f"Hurt: seconds in which over {HURT:.0%} of the calls failed or took over {LATE * 1000:g} ms. Back: seconds until "
    "a replica that is well again has half its share, or until the end.",
    "To bad: requests that reached a replica while it was unwell. Tries: requests at replicas per call while something "
    "was wrong. Twice: POSTs that were begun more than once.",
)


def play(scenario: Scenario, effort: Effort) -> Report:
    """Play `scenario` to every contender that is wanted and installed, one after the other."""
    found: dict[str, Figures] = {}
    data: dict[str, object] = {}
    notes: list[str] = []
    others: list[float] = []
    for name in effort.only or scenario.contenders:
        contender = CONTENDERS[name]
        try:
            versions = contender.versions()
            came = run(scenario, contender, effort.pace)
        except (ImportError, RuntimeError) as error:
            notes.append(f"{name}: left out: {error}")
            continue
        found[name] = figures(came)
        data[name] = _data(came, found[name], versions)
        others += [came.others] if came.others is not None else []
        notes.append(f"{name} ({versions}): {contender.allowed}")
    verdict = verdict_of(found)
    return Report(
        scenario.title,
        COLUMNS,
        [_row(name, each) for name, each in found.items()],
        (*verdict, _load(scenario, effort.pace), *_disturbed(others), *READ, *scenario.notes, *notes),
        {"contenders": data, "verdict": verdict},
    )


def _data(came: Run, figures: Figures, versions: str) -> Mapping[str, object]:
    plot = {"series": series(came), "faults": faults(came), "tail": tail(came)}
    others = None if came.others is None else round(came.others, 4)
    return {"versions": versions, **figures.data(), "errors": dict(came.errors), "others": others, **plot}


def _load(scenario: Scenario, pace: float) -> str:
    slots = " / ".join(map(str, scenario.slots))
    quick = "" if pace == 1.0 else f" Quick: a second of the scenario took {pace:g} s, which shows that it runs."
    return (
        f"{scenario.rate:g} requests a second for {scenario.seconds * pace:g} s, every tenth a POST; three replicas "
        f"that serve {slots} at a time, each request in {MEDIAN * 1000:g} ms at the median.{quick}"
    )


def _disturbed(others: list[float]) -> list[str]:
    """How far the latencies can be trusted."""
    if not others:
        return []
    said = f"Meanwhile other processes had {min(others):.0%} to {max(others):.0%} of the machine"
    if max(others) <= MUCH:
        return [f"{said}."]
    if hasattr(os, "sched_getscheduler") and os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR):
        return [f"{said}, which they gave up whenever a process of the benchmark wanted it: it had real-time priority."]
    return [f"{said}: repeat it on a quiet one before you believe a latency."]


def _row(name: str, each: Figures) -> tuple[str, ...]:
    return (
        name,
        str(each.failed),
        str(each.needless),
        *(f"{seconds * 1000:.1f}" for seconds in (each.p50, each.p99, each.p999)),
        f"{each.hurt:.1f}",
        _or_none(each.back, ".2f"),
        _or_none(each.bad, "d"),
        _or_none(each.tries, ".2f"),
        str(each.posts_failed),
        str(each.posts_twice),
    )


def _or_none(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def verdict_of(found: Mapping[str, Figures]) -> list[str]:
    """How we did against the proxies, and against the libraries: a line for each of ours that took part."""
    lines = []
    for name in OURS:
        if name in found:
            others = {other: each for other, each in found.items() if other not in OURS}
            lost = [line for other, each in others.items() if (line := _lost(found[name], each, other))]
            lines.append(f"{name}: {'; '.join(lost)}" if lost else f"{name}: {_won(found[name], others)}")
    return lines


def _lost(ours: Figures, theirs: Figures, name: str) -> str | None:
    who = f"lost to {name}"
    if theirs.needless < ours.needless:
        return f"{who}: {ours.needless} needless errors against {theirs.needless}"
    if theirs.posts_twice < ours.posts_twice:
        return f"{who}: {ours.posts_twice} POSTs done twice against {theirs.posts_twice}"
    if theirs.needless == ours.needless and theirs.p99 * CLOSE < ours.p99:
        return f"{who}: p99 {ours.p99 * 1000:.1f} against {theirs.p99 * 1000:.1f} ms"
    return None


def _won(ours: Figures, others: Mapping[str, Figures]) -> str:
    if not others:
        return "alone"
    fewer = [
        f"; {name} has a p99 of {each.p99 * 1000:.1f} ms, but of the fewer calls that it answered"
        for name, each in others.items()
        if each.p99 * CLOSE < ours.p99
    ]
    name, best = min(others.items(), key=lambda item: (item[1].needless, item[1].p99))
    if best.needless > ours.needless:
        found = f"won: {ours.needless} needless errors against {best.needless} of {name}, the next"
    else:
        how = "even" if best.p99 < ours.p99 * CLOSE else "won"
        p99 = f"p99 {ours.p99 * 1000:.1f} against {best.p99 * 1000:.1f} ms of {name}, the next"
        found = f"{how}: {ours.needless} needless errors, {p99}"
    return found + "".join(fewer)
