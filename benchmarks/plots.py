"""Plots of scenarios, made of their records: small SVG files that the pages show."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.arena.figures import BUCKET
from benchmarks.records import Record

OURS = "#d1495b"
COLOURS = {
    "balancemw": OURS,
    "balancemw, function": "#8d1b3d",
    "balancemw, hedged": "#f08a5d",
    "direct": "#9a9a9a",
    "nginx": "#2e8b57",
    "HAProxy": "#1f77b4",
    "Envoy": "#9467bd",
    "tenacity": "#c9a227",
    "pyresilience": "#8c6d5a",
}
_PARTS = {"client": "#d1495b", "proxy": "#1f77b4", "replicas": "#c8c8c8"}
_STYLE: dict[str, Any] = {
    "svg.hashsalt": "balancemw",  # the same results give the same file
    "svg.fonttype": "none",  # text as text: a tenth of the size
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
}


def plot(name: str, records: Iterable[Record], folder: Path) -> Path | None:
    """Draw the benchmark `name` into `folder`; None: it is not one that can be drawn.

    Raises:
        ImportError: matplotlib is not installed.
    """
    courses = [each for each in records if each["data"].get("contenders")]
    costs = [each for each in records if each["data"].get("costs")]
    if not courses and not costs:
        return None
    import matplotlib as mpl

    mpl.use("svg")
    with mpl.rc_context(_STYLE):
        from matplotlib.figure import Figure

        if courses:
            figure = Figure(figsize=(8, 4.2), layout="constrained")
            steady = all(each.get("tail") and not each["faults"] for each in courses[0]["data"]["contenders"].values())
            (_tail if steady else _course)(figure, courses[0])
        else:
            figure = Figure(figsize=(8, 2.6), layout="constrained")
            _costs(figure, costs)
        file = folder / f"{name}.svg"
        figure.savefig(file, metadata={"Date": None})
    return file


def _course(figure: Any, record: Record) -> None:
    """Latency above, failed calls below, over the time of the scenario."""
    latency, failed = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    contenders: dict[str, Any] = record["data"]["contenders"]
    for name, each in reversed(contenders.items()):  # ours is drawn last, above the others
        series = each["series"]
        times = [place * BUCKET for place in range(len(series["p99"]))]
        look = _look(name)
        latency.plot(times, [None if p99 is None else p99 * 1000 for p99 in series["p99"]], **look)
        failed.plot(times, [None if share is None else share * 100 for share in series["failed"]], **look)
    for fault in next(iter(contenders.values()))["faults"]:
        for axes in (latency, failed):
            axes.axvspan(fault["begin"], fault["end"], color="#000000", alpha=0.06, linewidth=0)
    latency.set_yscale("log")
    _plain(latency.yaxis)
    latency.set_ylabel("99 % of answers\nwithin, ms")
    latency.set_title(record["title"])
    failed.set_ylabel("failed, %")
    failed.set_ylim(bottom=0, top=max(1.0, failed.get_ylim()[1]))
    failed.set_xlabel("s")
    figure.legend(*_in_order(latency), loc="outside right center", frameon=False)


def _tail(figure: Any, record: Record) -> None:
    """How many calls took longer than any given time, where no part of the scenario is unlike the others."""
    axes = figure.subplots()
    for name, each in reversed(record["data"]["contenders"].items()):
        times = [seconds * 1000 for seconds, _ in each["tail"]]
        axes.plot(times, [share * 100 for _, share in each["tail"]], **_look(name))
    axes.set(xscale="log", yscale="log", xlabel="ms", ylabel="GETs that take longer, %")
    _plain(axes.xaxis)
    _plain(axes.yaxis)
    axes.set_title(record["title"])
    figure.legend(*_in_order(axes), loc="outside right center", frameon=False)


def _look(name: str) -> dict[str, Any]:
    return {"color": COLOURS[name], "linewidth": 2.0 if name.startswith("balancemw") else 1.0, "label": name}


def _plain(axis: Any) -> None:
    """Numbers, not powers."""
    from matplotlib.ticker import LogLocator, NullLocator

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def _in_order(axes: Any) -> tuple[list[Any], list[str]]:
    handles, labels = axes.get_legend_handles_labels()
    return handles[::-1], labels[::-1]


def _costs(figure: Any, records: list[Record]) -> None:
    """Processor time per call, stacked by who spends it."""
    many = figure.subplots(1, len(records), sharey=True, squeeze=False)[0]
    for axes, each in zip(many, records, strict=True):
        contenders = each["data"]["costs"]
        names = list(contenders)[::-1]
        left = [0.0] * len(names)
        for part, colour in _PARTS.items():
            spent = [contenders[name].get(part, 0.0) * 1e6 for name in names]
            axes.barh(names, spent, left=left, color=colour, label=part)
            left = [one + more for one, more in zip(left, spent, strict=True)]
        axes.set_title(each["title"])
        axes.set_xlabel("µs of processor time per call")
    figure.legend(*many[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
