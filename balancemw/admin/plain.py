"""What a balancer knows, as tables in plain text, for where rich is not installed."""

from collections.abc import Iterator, Mapping
from typing import Any

from balancemw.admin.overview import NO_SERVICES, Overview, overviews
from balancemw.columns import columns


def show(status: Mapping[str, Any], now: float) -> None:
    """Print a status to the standard output: a table for each service, and the marks below it.

    Args:
        status: what `balancer.status()` returns.
        now: seconds since the epoch.
    """
    tables = ["\n".join(_lines(overview)) for overview in overviews(status, now)]
    print("\n\n".join(tables) or NO_SERVICES)


def _lines(overview: Overview) -> Iterator[str]:
    yield overview.title
    headings = (*overview.words, *overview.figures)
    yield from columns(headings, [row.cells for row in overview.rows], left=len(overview.words))
    yield from overview.notes
    for row in overview.rows:
        yield from (f"{row.cells[0]}: {mark}" for mark in row.marks)
