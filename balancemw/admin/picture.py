"""What a balancer knows, as tables for a terminal: one for each service, one line for each node."""

import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

_TONES = {"up": "green", "slow_start": "yellow", "trial": "yellow"}
_OUT_OF_IT = "bold red"
_UNKNOWN = "–"
_DAY = 86400.0
_NARROW = 112  # columns, with less of which a table has none left for the marks
_WIDE = 160  # columns where the output is no terminal, so that lines stay whole


def show(status: Mapping[str, Any], now: float) -> None:
    """Print `pictures` of a status to the standard output."""
    console = Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False)
    for picture in pictures(status, now, narrow=console.width < _NARROW):
        console.print(picture)


def pictures(status: Mapping[str, Any], now: float, *, narrow: bool = False) -> Iterator[RenderableType]:
    """One table for each service of a status.

    Args:
        status: what `balancer.status()` returns.
        now: seconds since the epoch: marks that end today are shown without the date.
        narrow: whether the marks stand below the table and not in it.
    """
    for name, service in status["services"].items():
        yield _table(name, service, now, narrow)
        if narrow:
            yield from _below(service, now)
    if not status["services"]:
        yield Text("no services")


def _table(name: str, service: Mapping[str, Any], now: float, narrow: bool) -> Table:
    nodes = service["nodes"]
    zones, tiers = any(node.get("zone") for node in nodes), len({node.get("priority", 0) for node in nodes}) > 1
    table = Table(title=_title(name, service), title_justify="left", title_style="bold", caption_justify="left")
    table.caption = _caption(service)
    table.add_column("node", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for heading, shown in (("zone", zones), ("priority", tiers)):
        if shown:
            table.add_column(heading, no_wrap=True)
    for heading in ("weight", "in flight", "latency", "success"):
        table.add_column(heading, justify="right", no_wrap=True)
    if not narrow:
        table.add_column("marks", overflow="fold", min_width=20)
    for node in nodes:
        more = [str(node.get(key, _UNKNOWN)) for key, shown in (("zone", zones), ("priority", tiers)) if shown]
        state = _text(node["state"].replace("_", " "), style=_TONES.get(node["state"], _OUT_OF_IT))
        marks = () if narrow else (_marks(node, now),)
        table.add_row(_text(node["name"]), state, *map(_text, more), *_figures(node), *marks)
    return table


def _below(service: Mapping[str, Any], now: float) -> Iterator[Text]:
    for node in service["nodes"]:
        if marks := _marks(node, now):
            yield Text.assemble(_text(node["name"]), ": ", marks)


def _title(name: str, service: Mapping[str, Any]) -> Text:
    count = len(service["nodes"])
    nodes = f"{count} node{'' if count == 1 else 's'}"
    return _text(f"{name}: {nodes}, {service.get('strategy', _UNKNOWN)}")


def _caption(service: Mapping[str, Any]) -> Text:
    return Text("\n").join([*_budget(service.get("budget")), *_hedge(service.get("hedge"))])


def _budget(budget: object) -> Iterator[Text]:
    if isinstance(budget, Mapping):
        calls, retries, allowed = (_number(budget.get(key), "{:.0f}") for key in ("calls", "retries", "allowed"))
        yield Text(f"in the last 10 s: {calls} calls, {retries} retries of {allowed} allowed")


def _hedge(hedge: object) -> Iterator[Text]:
    if isinstance(hedge, Mapping):
        hedges, wins = (_number(hedge.get(key), "{:.0f}") for key in ("hedges", "wins"))
        yield Text(f"hedged after {_number(hedge.get('delay_ms'), '{:.1f} ms')}: {hedges} hedges, of which {wins} won")


def _figures(node: Mapping[str, Any]) -> tuple[Text, ...]:
    latency, success = node.get("latency_ms"), node.get("success_rate")
    return (
        Text(_number(node.get("weight"), "{:.3g}")),
        Text(_number(node.get("in_flight"), "{:.0f}")),
        Text(_number(latency, "{:.1f} ms")),
        Text(_number(success, "{:.1%}")),
    )


def _text(words: str, style: str = "") -> Text:
    """`words` as they are, but for what could control a terminal: others choose names and reasons."""
    return Text("".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in words), style=style)


def _number(value: object, form: str) -> str:
    return form.format(value) if isinstance(value, int | float) and not isinstance(value, bool) else _UNKNOWN


def _marks(node: Mapping[str, Any], now: float) -> Text:
    marks = node.get("marks")
    told = [_text(_mark(mark, now)) for mark in marks if isinstance(mark, Mapping)] if isinstance(marks, list) else []
    return Text("\n").join(told)


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
