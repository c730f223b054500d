"""``python -m benchmarks`` runs every benchmark and prints its tables, ``python -m benchmarks NAME …`` some of them."""

import argparse
import gc
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from rich.console import Console

from benchmarks.arena.contenders import CONTENDERS
from benchmarks.arena.match import play
from benchmarks.records import RESULTS, append, records_of
from benchmarks.report import Report, show
from benchmarks.timing import FULL, QUICK, Effort

COSTS = ("overhead", "pick", "adapters", "clients", "forwarding", "memory", "availability", "sharing")
SCENARIOS = (
    "steady",
    "one_slow",
    "one_failing",
    "one_hung",
    "one_cut",
    "one_killed",
    "rolling_restart",
    "all_down",
    "all_failing",
    "uneven",
    "stalls",
)
NAMES = COSTS + SCENARIOS


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what `arguments`, by default the command line's, ask for."""
    options = _options(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # nothing is left behind then either
    console, began = Console(), time.perf_counter()
    if not console.is_terminal:
        console = Console(width=120)  # a file has room for whole tables
    for name in options.names or NAMES:
        reports = _run(name, replace(QUICK if options.quick else FULL, only=tuple(options.only)))
        for report in reports:
            show(report, console)
        if options.results is not None:
            append(options.results, records_of(name, reports))
        gc.collect()  # what one benchmark leaves behind is not the next one's to clear away
    if options.pages:
        from benchmarks.pages import write

        for line in write(options.results):
            console.print(line, highlight=False, soft_wrap=True)
    console.print(f"{time.perf_counter() - began:.0f} s in all", style="dim")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What balancemw costs, and what it does.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one or more of {', '.join(NAMES)}; default: all")
    parser.add_argument("--quick", action="store_true", help="little work: shows that it runs, and no more")
    parser.add_argument(
        "--only", action="append", default=[], choices=CONTENDERS, metavar="CONTENDER", help="play faults to them alone"
    )
    parser.add_argument(
        "--results", type=Path, metavar="FILE", help=f"append results to FILE; default: {RESULTS.name}, if not quick"
    )
    parser.add_argument("--pages", action="store_true", help="renew the plots and tables of docs and README")
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in NAMES:
            parser.error(f"no benchmark {name!r} (known: {', '.join(NAMES)})")
    if options.results is None and not options.quick:
        options.results = RESULTS
    if options.pages and options.results is None:
        parser.error("pages are made of results: name their file by --results")
    if options.results is not None and not _writable(options.results):
        parser.error(f"results cannot be written to {options.results}")  # told before the work, not after it
    return options


def _writable(file: Path) -> bool:
    if file.exists():
        return file.is_file() and os.access(file, os.W_OK)
    return file.parent.is_dir() and os.access(file.parent, os.W_OK)


def _run(name: str, effort: Effort) -> Sequence[Report]:
    module = import_module(f"benchmarks.scenarios.{name}" if name in SCENARIOS else f"benchmarks.{name}")
    return [play(module.SCENARIO, effort)] if hasattr(module, "SCENARIO") else module.run(effort)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)  # all is put away: there is nothing to tell
