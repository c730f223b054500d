"""The demo as a live table, with the timeline below it."""

import asyncio
import time

from rich.console import Console, Group
from rich.live import Live as Screen
from rich.padding import Padding
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from balancemw.demo.journal import HEADINGS, entries, told_by
from balancemw.demo.load import Answer, quantile
from balancemw.demo.outcome import Outcome
from balancemw.demo.processes import Stage
from balancemw.demo.scene import RECENT, Scene
from balancemw.demo.summary import errors, figures, verdict
from balancemw.demo.words import DOING, Line

_REFRESH = 0.2
_TONES = {"act": "bold", "bad": "red", "good": "green", "note": "dim"}
_SIGNS = {"act": "▶", "bad": "▼", "good": "▲", "note": "·"}
_WIDEST = 110
_MARGIN = 11
"""Columns before the text of the timeline."""


class Live:
    """Shows the demo on a terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._title = ""

    def begin(self, title: str, stage: Stage) -> None:
        """Tell what is about to be seen."""
        self._title = title
        self._console.print(Text(title, style="bold"), "\nThe app's settings:\n")
        self._console.print(
            Padding(Syntax(stage.settings, "toml", theme="ansi_dark", background_color="default"), (0, 2))
        )

    async def follow(self, scene: Scene) -> None:
        """Show what happens, until cancelled."""
        with Screen(console=self._console, auto_refresh=False, transient=True) as screen:
            try:
                while True:
                    screen.update(self._picture(scene), refresh=True)
                    await asyncio.sleep(_REFRESH)
            finally:
                screen.stop()
                self._console.print(self._picture(scene, whole=True))

    def end(self, outcome: Outcome, scene: Scene) -> None:
        """Print the journal and the summary."""
        width = min(self._console.width, _WIDEST)
        self._console.print("", Padding(told_by(scene), (0, 1)), "", journal(scene, width))
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="bold", no_wrap=True)
        grid.add_column()
        for heading, text in figures(outcome):
            grid.add_row(heading, text)
        for line in errors(outcome):
            grid.add_row("", Text(line, style="red"))
        self._console.print("", Padding(grid, (0, 1)), "", width=width)
        style = "bold green" if outcome.held else "bold red"
        self._console.print(
            Padding(Text(f"{'✔' if outcome.held else '✘'} {verdict(outcome)}", style=style), (0, 1)), width=width
        )

    def _picture(self, scene: Scene, *, whole: bool = False) -> Group:
        now, width = time.time(), min(self._console.width, _WIDEST)
        recent = list(scene.load.since(now - RECENT))
        title = Text(f" {self._title}", style="bold", overflow="ellipsis", no_wrap=True)
        title.append(f"   {now - scene.began:.0f} s", style="dim")
        top = Group("", title, "", replicas(scene, recent, width), "", callers(scene, recent, width), "")
        if whole:
            return Group(top, timeline(scene.lines, width))
        room = self._console.height - 1 - len(self._console.render_lines(top))
        return Group(top, timeline(self._latest(scene.lines, room, width), width))

    def _latest(self, lines: list[Line], room: int, width: int) -> list[Line]:
        """The last lines that fit into so many rows."""
        shown: list[Line] = []
        for line in reversed(lines):
            room -= len(Text(line.text).wrap(self._console, width - _MARGIN))
            if room < 0:
                break
            shown.append(line)
        return shown[::-1]


def replicas(scene: Scene, recent: list[Answer], width: int) -> Table:
    """A row per replica."""
    table = Table(box=None, padding=(0, 1), width=width, header_style="dim", expand=True)
    table.add_column("replica", no_wrap=True)
    table.add_column("is", no_wrap=True, min_width=11)
    table.add_column("in the pool", no_wrap=True, min_width=16)
    table.add_column("share", no_wrap=True)
    table.add_column("median", justify="right", no_wrap=True, min_width=6)
    table.add_column("faults", ratio=1)
    for name, share in scene.shares().items():
        doing = scene.doing[name]
        tone, state = scene.standing(name, share)
        latency = quantile((answer.seconds for answer in recent if answer.replica == name), 0.5)
        table.add_row(
            Text(f"   {name}", style="bold"),
            Text(DOING[doing], style="" if doing == "ok" else "bold yellow"),
            Text(state, style=_TONES[tone] if tone != "note" else "yellow"),
            bar(share, 20 if width > 95 else 10, _TONES[tone] if tone != "note" else "yellow"),
            "–" if latency is None else f"{latency * 1000:.0f} ms",
            Text(", ".join(f"{times} × {kind}" for kind, times in scene.faults[name].items()), style="dim"),
        )
    return table


def bar(share: float, width: int, style: str) -> Text:
    """A share as a bar and in per cent."""
    eighths = round(share * width * 8)
    full = "█" * (eighths // 8) + ("", *"▏▎▍▌▋▊▉")[eighths % 8]
    return Text.assemble((full.ljust(width), style), f"{share:5.0%}")


def callers(scene: Scene, recent: list[Answer], width: int) -> Table:
    """What the callers see, and what it costs."""
    reads, orders = scene.failed()
    p50, p99 = (quantile((each.seconds for each in recent), share) for share in (0.5, 0.99))
    speed = "" if p50 is None or p99 is None else f", median {p50 * 1000:.0f} ms, 99 % {p99 * 1000:.0f} ms"
    grid = Table.grid(padding=(0, 1))
    grid.width = width
    grid.add_column(style="dim", width=8)
    grid.add_column(ratio=1)
    failed = (f"{reads} reads failed", "bold red" if reads else "bold green")
    seen = Text.assemble(f"{len(scene.load.answers):,} calls, ", failed, f", {orders} orders failed{speed}")
    grid.add_row(" callers", seen)
    grid.add_row(" tries", f"{len(scene.failures)} failed, and were made again where that does no harm")
    return grid


def timeline(lines: list[Line], width: int) -> Table:
    """What has happened, in words."""
    grid = Table.grid(padding=(0, 1))
    grid.width = width
    grid.add_column(justify="right", style="dim", width=_MARGIN - 3, no_wrap=True)
    grid.add_column(width=1)
    grid.add_column(ratio=1)
    for line in lines:
        style = _TONES[line.tone]
        grid.add_row(f"{line.time:.1f} s", Text(_SIGNS[line.tone], style=style), Text(line.text, style=style))
    return grid


def journal(scene: Scene, width: int) -> Table:
    """The journal, a row an entry."""
    table = Table(box=None, padding=(0, 1), width=width, header_style="dim")
    for heading in HEADINGS[:-1]:
        table.add_column(heading, no_wrap=True, justify="right" if heading == HEADINGS[0] else "left")
    table.add_column(HEADINGS[-1], ratio=1)
    for row in entries(scene):
        table.add_row(*map(Text, row))
    return table
