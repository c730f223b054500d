"""A comparison as a table, for people: with rich where that is installed, plain otherwise."""

import io
from collections.abc import Callable, Sequence

from balancemw.columns import columns
from balancemw.simulate.comparison import Comparison
from balancemw.simulate.outcome import Outcome
from balancemw.simulate.scenario import Scenario
from balancemw.simulate.verdict import ms, percent

_FIGURES: dict[str, Callable[[Outcome], str]] = {
    "errors": lambda outcome: percent(outcome.error_rate),
    "p50": lambda outcome: ms(outcome.p50),
    "p99": lambda outcome: ms(outcome.p99),
    "p99.9": lambda outcome: ms(outcome.p999),
    "tries per call": lambda outcome: f"{outcome.amplification:.3f}",
    "imbalance": lambda outcome: f"{outcome.imbalance:.2f}",
    "to bad nodes": lambda outcome: "–" if outcome.bad_share is None else percent(outcome.bad_share),
    "across zones": lambda outcome: percent(outcome.crossed or 0.0),
    "connections": lambda outcome: f"{outcome.connections or 0.0:.3g}",
    "queue": lambda outcome: f"{outcome.longest_queue:,}",
    "ejected": lambda outcome: f"{outcome.events.get('ejected', 0):,}",
}

Row = tuple[str, ...]

_WIDTH = 1000  # more than it takes, whatever the terminal: a number that is cut off would be a wrong one


def shown(comparison: Comparison, *, color: bool = False) -> str:
    """The comparison in text: what was simulated, the table, the recommendation.

    Args:
        comparison: what is told.
        color: whether it may be coloured.
    """
    table = _table(*_lines(comparison.outcomes), color)
    return "\n".join((*_heads(comparison.scenario, comparison.seed), "", table, "", comparison.recommendation))


def _heads(scenario: Scenario, seed: int) -> tuple[str, str]:
    rate = scenario.calls_per_second
    load = f"{rate:,.0f}" if rate >= 10.0 else f"{rate:.2g}"
    workers = f"{scenario.replica.workers} workers" if scenario.replica.workers > 1 else "one worker"
    each = " each" if scenario.replicas > 1 else ""
    zones = f" in zones {', '.join(dict.fromkeys(scenario.replica.zones))}" if scenario.replica.zones else ""
    about = f"{scenario.name}: {scenario.about}" if scenario.about else scenario.name
    return about, (
        f"{_many(scenario.callers, 'caller')}, {_many(scenario.replicas, 'replica')} of {workers}{each}{zones}, "
        f"{_many(scenario.requests, 'request')} at {load} requests/s ({ms(scenario.duration)}), "
        f"{scenario.service_time.kind} service time of {ms(scenario.service_time.mean)}, seed {seed}"
    )


def _many(number: int, thing: str) -> str:
    return f"1 {thing}" if number == 1 else f"{number:,} {thing}s"


def _lines(outcomes: Sequence[Outcome]) -> tuple[Row, list[Row]]:
    """The headings and what is below them: of what only some scenarios have, what says something in this one."""
    none = {"across zones"} if outcomes[0].crossed is None else set[str]()
    if len({_FIGURES["connections"](each) for each in outcomes}) == 1 or not outcomes[0].variant:
        none.add("connections")
    figures = {heading: figure for heading, figure in _FIGURES.items() if heading not in none}
    rows = [(each.name, *(figure(each) for figure in figures.values())) for each in outcomes]
    return ("variant" if outcomes[0].variant else "strategy", *figures), rows


def _table(headings: Row, rows: Sequence[Row], color: bool) -> str:
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        return "\n".join(columns(headings, rows))
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="right" if index else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    written = io.StringIO()
    Console(file=written, width=_WIDTH, force_terminal=color, no_color=not color).print(table)
    return written.getvalue().strip("\n")
