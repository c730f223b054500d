"""What the command ``balancemw simulate`` does; which options it takes is in `balancemw.cli`."""

import argparse
import dataclasses
import json
import os
import sys

from balancemw.errors import SettingsError
from balancemw.simulate.comparison import Comparison, SimulationFailed, compare
from balancemw.simulate.plot import PlotError, check, plot
from balancemw.simulate.ready import READY, ready
from balancemw.simulate.scenario import Scenario
from balancemw.simulate.table import shown
from balancemw.strategies import BUILT_IN


def run(options: argparse.Namespace) -> int:
    """Carry the command out.

    Returns:
        The exit status.
    """
    if options.list:
        width = max(map(len, READY))
        print("\n".join(f"{name:{width}}  {scenario.about}" for name, scenario in READY.items()))
        return 0
    try:
        if options.plot:
            check(options.plot)
        comparison = compare(_scenario(options), _strategies(options), seed=options.seed)
        print(_json(comparison) if options.json else _text(comparison), flush=True)
        if options.plot:
            plot(comparison, options.plot)
    except (SettingsError, SimulationFailed, PlotError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _strategies(options: argparse.Namespace) -> tuple[str, ...] | None:
    names: tuple[str, ...] | None = options.strategies
    return tuple(BUILT_IN) if names == ("all",) else names and tuple(dict.fromkeys(names))


def _scenario(options: argparse.Namespace) -> Scenario:
    named = options.scenario
    own = named.endswith(".toml") or os.path.exists(named)
    scenario = Scenario.load(named) if own and named not in READY else ready(named)
    changes = {
        name: value
        for name in ("requests", "callers", "replicas", "utilization")
        if (value := getattr(options, name)) is not None
    }
    if "utilization" in changes:
        changes["rate"] = None
    return dataclasses.replace(scenario, **changes)


def _text(comparison: Comparison) -> str:
    color = sys.stdout is not None and sys.stdout.isatty() and "NO_COLOR" not in os.environ
    return shown(comparison, color=color)


def _json(comparison: Comparison) -> str:
    return json.dumps(comparison.as_dict(), indent=2, default=str)
