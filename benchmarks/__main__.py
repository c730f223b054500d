"""``python -m benchmarks`` runs every benchmark and prints its tables, ``python -m benchmarks NAME …`` some of them."""

import argparse
import gc
import time
from importlib import import_module

from rich.console import Console

from benchmarks.report import show
from benchmarks.timing import FULL, QUICK

NAMES = ("overhead", "pick", "adapters", "clients", "forwarding", "memory", "availability", "sharing")


def main(arguments: list[str] | None = None) -> None:
    """Run what `arguments`, by default the command line's, ask for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="What balancemw costs.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one or more of {', '.join(NAMES)}; default: all")
    parser.add_argument("--quick", action="store_true", help="few rounds of little work: shows that it runs, no more")
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in NAMES:
            parser.error(f"no benchmark {name!r} (known: {', '.join(NAMES)})")
    console, began = Console(), time.perf_counter()
    if not console.is_terminal:
        console = Console(width=120)  # a file has room for whole tables
    for name in options.names or NAMES:
        for report in import_module(f"benchmarks.{name}").run(QUICK if options.quick else FULL):
            show(report, console)
        gc.collect()  # what one benchmark leaves behind is not the next one's to clear away
    console.print(f"{time.perf_counter() - began:.0f} s in all", style="dim")


if __name__ == "__main__":
    main()
