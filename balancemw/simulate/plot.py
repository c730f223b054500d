"""A comparison as a picture: the tail of the times that calls take, and the course of the run. Needs matplotlib."""

import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from balancemw.simulate.comparison import Comparison
from balancemw.simulate.faults import at
from balancemw.simulate.outcome import STEPS, Outcome

_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#7f7f7f", "#8c6d31")
"""Okabe and Ito's, which people tell apart who see few colours, and three more."""

_MARKERS = "osD^vPX*<"

ENDINGS = (".png", ".svg", ".pdf")
"""Of the files that a plot is written to."""


class PlotError(Exception):
    """The picture cannot be made, and why."""


def check(path: str | os.PathLike[str]) -> None:
    """See whether a picture could be written to `path`, before much is simulated.

    Raises:
        PlotError: matplotlib is not installed, the ending is none of a picture's, or there is no such directory.
    """
    place = Path(path)
    if place.suffix.lower() not in ENDINGS:
        raise PlotError(f"{place}: a plot is written as {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}, by its ending")
    if not place.parent.is_dir():
        raise PlotError(f"{place}: there is no directory {str(place.parent)!r}")
    try:
        import_module("matplotlib")
    except ImportError:
        raise PlotError("plots need matplotlib: pip install 'balancemw[simulate]'") from None


def plot(comparison: Comparison, path: str | os.PathLike[str]) -> None:
    """Write the picture to `path`; its ending says in which format.

    Raises:
        PlotError: matplotlib is not installed, the ending is none that it knows, or the file cannot be written.
    """
    check(path)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.0, 5.4), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    tail, course, errors = figure.subplot_mosaic(
        [["tail", "course"], ["tail", "course"], ["tail", "errors"]], gridspec_kw={"width_ratios": (1.0, 1.15)}
    ).values()
    outcomes = comparison.outcomes
    _tail(tail, outcomes)
    _course(course, errors, comparison)
    figure.suptitle(f"{comparison.scenario.name}: {comparison.scenario.about}".rstrip(": "), fontsize=11)
    try:
        canvas.print_figure(os.fspath(path), dpi=120)
    except (OSError, ValueError) as error:
        raise PlotError(f"{os.fspath(path)}: {error}") from None


def _tail(axes: Any, outcomes: Sequence[Outcome]) -> None:
    for index, outcome in enumerate(outcomes):
        times = [seconds * 1000.0 for seconds, _ in outcome.tail]
        above = [share for _, share in outcome.tail]
        axes.plot(times, above, label=outcome.name, color=_color(index), marker=_marker(index), markevery=10, ms=4)
    axes.set(xscale="log", yscale="log", xlabel="time of a call, ms", ylabel="share of the calls that take longer")
    axes.set_title("how long calls take", fontsize=10)
    _in_plain_numbers(axes.xaxis)
    for share, name in ((0.5, "p50"), (0.01, "p99"), (0.001, "p99.9")):
        axes.axhline(share, color="0.75", lw=0.8, zorder=0)
        axes.annotate(name, (1.0, share), xycoords=("axes fraction", "data"), xytext=(-2, 2), fontsize=7, color="0.4",
                      textcoords="offset points", ha="right")  # fmt: skip
    axes.legend(fontsize=8, loc="lower left")
    axes.grid(alpha=0.25)


def _course(times: Any, errors: Any, comparison: Comparison) -> None:
    failing = False
    scenario = comparison.scenario
    half = scenario.duration / STEPS / 2.0  # in the middle of the time it is of: no error shows before its fault
    for index, outcome in enumerate(comparison.outcomes):
        began = [moment + half for moment, *_ in outcome.course]
        look = {"color": _color(index), "marker": _marker(index), "markevery": 10, "ms": 4, "lw": 1.3}
        times.plot(began, [p99 * 1000.0 for *_, p99 in outcome.course], **look)
        errors.plot(began, [100.0 * failed / calls for _, calls, failed, _, _ in outcome.course], **look)
        failing = failing or outcome.errors > 0
    times.set(yscale="log", ylabel="p99, ms")
    _in_plain_numbers(times.yaxis)
    times.set_title("in the course of time", fontsize=10)
    times.tick_params(labelbottom=False)
    errors.set(xlabel="seconds", ylabel="errors, %")
    if not failing:
        errors.set_ylim(0.0, 1.0)
    for fault in scenario.faults:
        for axes in (times, errors):
            axes.axvspan(at(fault.begin, scenario.duration), at(fault.end, scenario.duration), color="0.92", zorder=0)
    for axes in (times, errors):
        axes.grid(alpha=0.25)
        axes.set_xlim(0.0, scenario.duration)


def _in_plain_numbers(axis: Any) -> None:
    """Of an axis by powers of ten: 200, not 2 * 10^2."""
    from matplotlib.ticker import LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 1000.0 * low else (1.0,)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def _color(index: int) -> str:
    return _COLORS[index % len(_COLORS)]


def _marker(index: int) -> str:
    return _MARKERS[index % len(_MARKERS)]
