"""A comparison as a table, for people: with rich where that is installed, plain otherwise."""

import io
from collections.abc import Sequence

from balancemw.simulate.comparison import Comparison
from balancemw.simulate.outcome import Outcome
from balancemw.simulate.scenario import Scenario
from balancemw.simulate.verdict import ms, percent

_HEADINGS = (
    "strategy", "errors", "p50", "p99", "p99.9", "tries per call", "imbalance", "to bad nodes", "queue", "ejected",
)  # fmt: skip

_WIDTH = 1000  # more than it takes, whatever the terminal: a number that is cut off would be a wrong one


def shown(comparison: Comparison, *, color: bool = False) -> str:
    """The comparison in text: what was simulated, the table, the recommendation.

    Args:
        comparison: what is told.
        color: whether it may be coloured.
    """
    rows = [_row(outcome) for outcome in comparison.outcomes]
    return "\n".join(
        (*_heads(comparison.scenario, comparison.seed), "", _table(rows, color), "", comparison.recommendation)
    )


def _heads(scenario: Scenario, seed: int) -> tuple[str, str]:
    load = f"{scenario.calls_per_second:,.0f} requests/s"
    workers = f"{scenario.replica.workers} workers each" if scenario.replica.workers > 1 else "one worker each"
    about = f"{scenario.name}: {scenario.about}" if scenario.about else scenario.name
    return about, (
        f"{scenario.callers:,} callers, {scenario.replicas:,} replicas of {workers}, {scenario.requests:,} requests at "
        f"{load} ({scenario.duration:.3g} s), {scenario.service_time.kind} service time of "
        f"{ms(scenario.service_time.mean)}, seed {seed}"
    )


def _row(outcome: Outcome) -> tuple[str, ...]:
    return (
        outcome.strategy,
        percent(outcome.error_rate),
        ms(outcome.p50),
        ms(outcome.p99),
        ms(outcome.p999),
        f"{outcome.amplification:.3f}",
        f"{outcome.imbalance:.2f}",
        "–" if outcome.bad_share is None else percent(outcome.bad_share),
        f"{outcome.longest_queue:,}",
        f"{outcome.events.get('ejected', 0):,}",
    )


def _table(rows: Sequence[tuple[str, ...]], color: bool) -> str:
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        return _plain(rows)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
    for index, heading in enumerate(_HEADINGS):
        table.add_column(heading, justify="right" if index else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    written = io.StringIO()
    Console(file=written, width=_WIDTH, force_terminal=color, no_color=not color).print(table)
    return written.getvalue().strip("\n")


def _plain(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in (_HEADINGS, *rows)) for column in range(len(_HEADINGS))]
    lines = []
    for row in (_HEADINGS, tuple("-" * width for width in widths), *rows):
        first, *rest = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join((row[0].ljust(len(first)), *rest)))
    return "\n".join(lines)
