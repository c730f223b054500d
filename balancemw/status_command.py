"""``balancemw status``: what a running app's balancer knows, asked of its admin surface."""

import argparse
import asyncio
import json
import os
import sys
import time
from importlib import import_module
from types import ModuleType

from balancemw.admin.client import USUAL_PATH, NoAnswer, status_of

TOKEN = "BALANCEMW_TOKEN"
"""The environment variable for the token, which on a command line others could see."""

_TAKING_CALLS = ("up", "slow_start")


def describe(parser: argparse.ArgumentParser) -> None:
    """Tell `parser` what the command takes."""
    parser.description = (
        "Ask a running app for its services and nodes: state, weight, calls in flight, latency, success rate, and the "
        "marks on each node with their reasons. The app's settings need an admin.token."
    )
    parser.epilog = (
        "Exit status: 0 when every node takes calls, 1 when some node does not, 2 when there is no answer to go by."
    )
    parser.add_argument(
        "url",
        metavar="URL",
        help=f"where the app is: http://host:port, followed by its admin.path where that is not {USUAL_PATH}",
    )
    parser.add_argument("--token", help=f"the app's admin.token; without it, what the environment says in {TOKEN}")
    parser.add_argument("--json", action="store_true", help="the answer as it is, instead of tables")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Ask, and show the answer; returns the exit status."""
    token = os.environ.get(TOKEN, "") if options.token is None else options.token
    try:
        if not token:
            raise NoAnswer(f"a token is needed: give --token, or set {TOKEN}")
        status = asyncio.run(status_of(options.url, token))
    except NoAnswer as error:
        print(f"balancemw status: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(status, indent=2))
    else:
        _drawing().show(status, time.time())
    nodes = [node for service in status["services"].values() for node in service["nodes"]]
    return int(any(node["state"] not in _TAKING_CALLS for node in nodes))


def _drawing() -> ModuleType:
    try:
        return import_module("balancemw.admin.picture")
    except ImportError:  # no rich
        return import_module("balancemw.admin.plain")
