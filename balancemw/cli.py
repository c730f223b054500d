"""The command ``balancemw``: what can be asked of it, and what it answers.

    balancemw check FILE     are these settings right, and can they work together?
    balancemw status URL     what does a running app's balancer know of its nodes?
    balancemw demo           replicas die, hang and come back under load, and callers see nothing of it
    balancemw simulate       which strategy is the best for so many callers, replicas and troubles?

Exit status: 0 when all is well, 1 when it is not, 2 when the command was not understood; as a shell has it of any
command, 130 when it was interrupted, and 141 when whoever read the answer went away before its end.
"""

import argparse
import codecs
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module, metadata

from balancemw import status_command
from balancemw.errors import SettingsError

_SIGINT, _SIGPIPE = 128 + 2, 128 + 13

_PLAIN = {"–": "-", "─": "-", "…": "..."}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: what follows the program's name; from the command line unless given.

    Returns:
        The exit status.
    """
    codecs.register_error("balancemw", _instead)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="balancemw")  # what the terminal cannot show is no reason to fail
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
        print(end="", flush=True)
    except BrokenPipeError:
        with open(os.devnull, "w") as nowhere:  # or the interpreter tells of it again when it flushes at its end
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return _SIGPIPE
    except KeyboardInterrupt:
        return _SIGINT
    return status


def _instead(error: UnicodeError) -> tuple[str, int]:
    """What stands for characters that an encoding does not have: others for our own, numbers for those in names."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(_PLAIN.get(each) or each.encode("ascii", "backslashreplace").decode() for each in missing), error.end


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="balancemw",
        description="Keeps an app answering while the replicas behind it die, hang, slow down and come back.",
    )
    parser.add_argument("--version", action="version", version=f"balancemw {metadata.version('balancemw')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _describe_check(commands.add_parser("check", help="validate a settings file"))
    status_command.describe(commands.add_parser("status", help="ask a running app for its nodes"))
    _describe_demo(commands.add_parser("demo", help="watch an app survive its replicas' failures"))
    _describe_simulate(commands.add_parser("simulate", help="compare strategies in a simulated scenario"))
    return parser


def _describe_check(check: argparse.ArgumentParser) -> None:
    check.description = (
        "Validate settings: every problem is told at once, with its full key, and so is what is valid but cannot "
        "work together. Strategies and probes of your own are imported, as from the current directory."
    )
    check.epilog = "Exit status: 0 when the settings are valid, with warnings or without; 1 when they are not."
    check.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        help="a TOML file; without it, the one that the environment variable BALANCEMW_SETTINGS names",
    )
    check.set_defaults(run=_check)


def _check(options: argparse.Namespace) -> int:
    from balancemw.settings import Settings, advice

    _look_here()
    try:
        settings = Settings.load(options.file)
    except SettingsError as error:
        print(error)
        return 1
    services, nodes = len(settings.services), sum(len(service.nodes) for service in settings.services.values())
    print(f"ok: {_told(services, 'service')}, {_told(nodes, 'node')}")
    for line in advice(settings):
        print(f"warning: {line}")
    return 0


def _look_here() -> None:
    here = os.getcwd()
    if here not in sys.path:  # a console script does not look there, the app itself does
        sys.path.insert(0, here)


def _told(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _describe_demo(demo: argparse.ArgumentParser) -> None:
    demo.description = (
        "Start three replicas and an app of four workers, send it load, kill one replica, make others hang, slow down "
        "and fail, drain one, raise an alert about one, bring them back, and show it as it happens, and in the end the "
        "app's journal. Ends by itself within a minute."
    )
    demo.epilog = "Exit status: 0 only when no caller of an idempotent function saw an error."
    demo.add_argument("--app", choices=("starlette", "flask", "django"), default="starlette", help="default: starlette")
    demo.add_argument("--plain", action="store_true", help="plain lines, for what is no terminal")
    demo.set_defaults(run=_demo)


def _demo(options: argparse.Namespace) -> int:
    status: int = import_module("balancemw.demo").main(options.app, options.plain)
    return status


def _describe_simulate(simulate: argparse.ArgumentParser) -> None:
    simulate.description = (
        "Compare strategies, or variants of the settings, in a scenario: callers, replicas and what goes wrong with "
        "them are simulated on virtual time, while every choice, retry, hedge, ejection and trial is the engine's own. "
        "Prints a table and one sentence that recommends one."
    )
    simulate.epilog = (
        "Exit status: 0 when it was simulated, 1 when the scenario is wrong, a simulation fails or the plot cannot be "
        "made."
    )
    simulate.add_argument("scenario", nargs="?", default="steady", metavar="SCENARIO",
                        help="the name of a ready one, or a TOML file with one's own (default: steady)")  # fmt: skip
    simulate.add_argument("--list", action="store_true", help="the ready scenarios")
    simulate.add_argument(
        "--strategies",
        type=_names,
        metavar="A,B,...",
        help="or all; default: those worth a look in it; not where the scenario has variants to compare",
    )
    simulate.add_argument("--seed", type=int, default=1, help="of all that is left to chance (default: 1)")
    for name in ("requests", "callers", "replicas"):
        simulate.add_argument(f"--{name}", type=_count, metavar="N", help="instead of what the scenario says")
    simulate.add_argument("--utilization", type=_share, metavar="X",
                        help="likewise: the load as a share of what all replicas can do, like 0.8")  # fmt: skip
    simulate.add_argument(
        "--plot", metavar="FILE", help="also draw it, as .png, .svg or .pdf; needs balancemw[simulate]"
    )
    simulate.add_argument("--json", action="store_true", help="print JSON instead of the table")
    simulate.set_defaults(run=_simulate)


def _simulate(options: argparse.Namespace) -> int:
    _look_here()
    status: int = import_module("balancemw.simulate.command").run(options)
    return status


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise argparse.ArgumentTypeError("expected names of strategies, like peak_ewma,random")
    return names


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number, at least 1, not {text!r}")
    return int(text)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, like 0.8, not {text!r}")
    return value


if __name__ == "__main__":
    sys.exit(main())
