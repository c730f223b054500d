"""What a balancer knows, as tables for a terminal, drawn by rich."""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from balancemw.admin.overview import NO_SERVICES, Overview, overviews

_TONES = {"up": "green", "slow_start": "yellow", "trial": "yellow"}
_OUT_OF_IT = "bold red"
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
    for overview in overviews(status, now):
        yield _table(overview, narrow)
        if narrow:
            yield from (Text(f"{row.cells[0]}: " + "\n".join(row.marks)) for row in overview.rows if row.marks)
    if not status["services"]:
        yield Text(NO_SERVICES)


def _table(overview: Overview, narrow: bool) -> Table:
    table = Table(title=Text(overview.title), title_justify="left", title_style="bold", caption_justify="left")
    table.caption = Text("\n".join(overview.notes))
    name, *words = overview.words
    table.add_column(name, overflow="fold")  # what tells nodes apart may stand at the end of their names
    for heading in words:
        table.add_column(heading, no_wrap=True)
    for heading in overview.figures:
        table.add_column(heading, justify="right", no_wrap=True)
    if not narrow:
        table.add_column("marks", overflow="fold", min_width=20)
    for row in overview.rows:
        name, state, *more = row.cells
        toned = Text(state, style=_TONES.get(row.state, _OUT_OF_IT))
        marks = () if narrow else (Text("\n".join(row.marks)),)
        table.add_row(Text(name), toned, *map(Text, more), *marks)
    return table
