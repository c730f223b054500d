"""The demo as plain lines, for what is no terminal."""

import asyncio
import time
from collections.abc import Iterator
from textwrap import fill, indent

from balancemw.demo.journal import HEADINGS, entries, told_by
from balancemw.demo.load import quantile
from balancemw.demo.outcome import Outcome
from balancemw.demo.processes import Stage
from balancemw.demo.scene import Scene
from balancemw.demo.summary import errors, figures, verdict
from balancemw.demo.words import DOING, Line

WIDTH = 100
STATUS_EVERY = 3.0

_SIGNS = {"act": ">>", "bad": " -", "good": " +", "note": "  "}


class Plain:
    """Prints the timeline as it happens, and how things stand every few seconds."""

    def begin(self, title: str, stage: Stage) -> None:
        """Tell what is about to be seen."""
        print(f"{title}\n\nThe app's settings:\n\n{indent(stage.settings, '    ')}", flush=True)

    async def follow(self, scene: Scene) -> None:
        """Show what happens, until cancelled."""
        told, due = 0, time.time() + STATUS_EVERY
        try:
            while True:
                await asyncio.sleep(0.1)
                told = self._tell(scene, told)
                if time.time() >= due:
                    print(status_line(scene), flush=True)
                    due += STATUS_EVERY
        finally:
            self._tell(scene, told)

    @staticmethod
    def _tell(scene: Scene, told: int) -> int:
        lines = scene.lines[told:]
        for line in lines:
            print(timeline(line), flush=True)
        return told + len(lines)

    def end(self, outcome: Outcome, scene: Scene) -> None:
        """Print the journal and the summary."""
        print(f"\n{told_by(scene)}\n")
        for line in columns(scene):
            print(line)
        print("\nSummary\n")
        for heading, text in figures(outcome):
            print(fill(text, WIDTH, initial_indent=f"  {heading:<16}", subsequent_indent=" " * 18))
        for line in errors(outcome):
            print(fill(line, WIDTH, initial_indent="  ! ", subsequent_indent="    "))
        print(f"\n{verdict(outcome)}", flush=True)


def columns(scene: Scene) -> Iterator[str]:
    """The journal, a line an entry, and more where a reason does not fit into one."""
    rows = [HEADINGS, *entries(scene)]
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
    for *cells, reason in rows:
        start = "  ".join([cells[0].rjust(widths[0]), *map(str.ljust, cells[1:], widths[1:])])
        yield fill(reason, WIDTH, initial_indent=f"{start}  ", subsequent_indent=" " * (len(start) + 2))


def timeline(line: Line) -> str:
    """A line of the timeline as text."""
    return fill(f"{line.time:5.1f} s {_SIGNS[line.tone]} {line.text}", WIDTH, subsequent_indent=" " * 11)


def status_line(scene: Scene) -> str:
    """How things stand, in one line."""
    now, parts = time.time(), list[str]()
    recent = list(scene.load.since(now - 3.0))
    for name, share in scene.shares().items():
        _, state = scene.standing(name, share)
        latency = quantile((answer.seconds for answer in recent if answer.replica == name), 0.5)
        answers = "" if latency is None else f" {latency * 1000:.0f} ms"
        parts.append(f"{name} {DOING[scene.doing[name]]}, {state} {share:.0%}{answers}")
    return f"{now - scene.began:5.1f} s    | {' | '.join(parts)} | {failures(scene)}"


def failures(scene: Scene) -> str:
    """The errors that callers have seen so far."""
    reads, orders = scene.failed()
    return f"errors: {reads} reads, {orders} orders"
