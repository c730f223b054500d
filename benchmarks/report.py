"""Tables: what a benchmark found, and how it is shown."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich import box
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Report:
    """What one benchmark found.

    Attributes:
        title: what was measured, with its unit.
        columns: their headings; the first names the rows.
        rows: cells as they are shown.
        notes: what is needed to read them, and what was left out.
        data: the same and more as plain values, where cells do not say it all.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    data: Mapping[str, object] = field(default_factory=dict)


def show(report: Report, console: Console) -> None:
    """Print `report`."""
    console.print(
        f"{report.title}  (Python {platform.python_version()})", style="bold", highlight=False, soft_wrap=True
    )
    table = Table(box=box.SIMPLE_HEAD)
    for place, column in enumerate(report.columns):
        table.add_column(column, justify="right" if place else "left", no_wrap=True)
    for row in report.rows:
        table.add_row(*row)
    console.print(table)
    for note in report.notes:
        console.print(f"  {note}", highlight=False, soft_wrap=True)
    console.print()


def micros(seconds: float) -> str:
    """Seconds in microseconds."""
    return f"{seconds * 1e6:.2f}"


def millis(seconds: float) -> str:
    """Seconds in milliseconds."""
    return f"{seconds * 1e3:.3f}"
