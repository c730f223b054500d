"""What a status says, in words: a table for each service, a line for each node. How it is drawn is up to others."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

NO_SERVICES = "no services"

_UNKNOWN = "–"
_DAY = 86400.0
_FIGURES = ("weight", "in flight", "latency", "success")


@dataclass(frozen=True, slots=True)
class Row:
    """One node.

    Attributes:
        state: as in the status.
        cells: what stands below the headings, the node's name and its state first.
        marks: one line each.
    """

    state: str
    cells: tuple[str, ...]
    marks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Overview:
    """One service.

    Attributes:
        title: which it is.
        words, figures: the headings of the columns, first those of words, then those of numbers.
        rows: of the nodes.
        notes: what stands below the table.
    """

    title: str
    words: tuple[str, ...]
    figures: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def overviews(status: Mapping[str, Any], now: float) -> Iterator[Overview]:
    """The services of a status.

    Args:
        status: what `balancer.status()` returns.
        now: seconds since the epoch: marks that end today are shown without the date.
    """
    for name, service in status["services"].items():
        nodes = service["nodes"]
        zones, tiers = any(node.get("zone") for node in nodes), len({node.get("priority", 0) for node in nodes}) > 1
        more = tuple(key for key, shown in (("zone", zones), ("priority", tiers)) if shown)
        yield Overview(
            title=_title(name, service),
            words=("node", "state", *more),
            figures=_FIGURES,
            rows=tuple(_row(node, more, now) for node in nodes),
            notes=(*_budget(service.get("budget")), *_hedge(service.get("hedge"))),
        )


def _row(node: Mapping[str, Any], more: tuple[str, ...], now: float) -> Row:
    words = (node["name"], node["state"].replace("_", " "), *(str(node.get(key, _UNKNOWN)) for key in more))
    return Row(node["state"], (*map(_printable, words), *_figures(node)), tuple(_marks(node, now)))


def _title(name: str, service: Mapping[str, Any]) -> str:
    count = len(service["nodes"])
    nodes = f"{count} node{'' if count == 1 else 's'}"
    return _printable(f"{name}: {nodes}, {service.get('strategy', _UNKNOWN)}")


def _budget(budget: object) -> Iterator[str]:
    if isinstance(budget, Mapping):
        calls, retries, allowed = (_number(budget.get(key), "{:.0f}") for key in ("calls", "retries", "allowed"))
        yield f"in the last 10 s: {calls} calls, {retries} retries of {allowed} allowed"


def _hedge(hedge: object) -> Iterator[str]:
    if isinstance(hedge, Mapping):
        hedges, wins = (_number(hedge.get(key), "{:.0f}") for key in ("hedges", "wins"))
        yield f"hedged after {_number(hedge.get('delay_ms'), '{:.1f} ms')}: {hedges} hedges, of which {wins} won"


def _figures(node: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        _number(node.get("weight"), "{:.3g}"),
        _number(node.get("in_flight"), "{:.0f}"),
        _number(node.get("latency_ms"), "{:.1f} ms"),
        _number(node.get("success_rate"), "{:.1%}"),
    )


def _printable(words: str) -> str:
    """`words` as they are, but for what could control a terminal: others choose names and reasons."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in words)


def _number(value: object, form: str) -> str:
    return form.format(value) if isinstance(value, int | float) and not isinstance(value, bool) else _UNKNOWN


def _marks(node: Mapping[str, Any], now: float) -> Iterator[str]:
    marks = node.get("marks")
    for mark in marks if isinstance(marks, list) else ():
        if isinstance(mark, Mapping):
            yield _printable(_mark(mark, now))


def _mark(mark: Mapping[str, Any], now: float) -> str:
    until = mark.get("until")
    end = f" (until {_clock(until, now)})" if isinstance(until, int | float) else ""
    return f"{mark.get('source', _UNKNOWN)} {mark.get('kind', _UNKNOWN)}: {mark.get('reason') or _UNKNOWN}{end}"


def _clock(at: float, now: float) -> str:
    try:
        form = "%H:%M:%S" if abs(at - now) < _DAY / 2 else "%Y-%m-%d %H:%M"
        return time.strftime(form, time.localtime(at))
    except (OverflowError, ValueError, OSError):  # a year that no calendar has
        return f"{at:g}"
