"""The figures of docs/benchmarks.md and README.md: written between markers, from the results alone.

``<!-- table: NAME -->`` … ``<!-- end -->`` holds the tables and the plot of a benchmark, ``<!-- summary -->`` …
``<!-- end -->`` who did what in all scenarios, and ``<!-- notes -->`` … ``<!-- end -->`` what else would stand below
one table after the other. What they show is kept in docs/benchmarks/results.jsonl.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from benchmarks.arena.contenders import CONTENDERS
from benchmarks.arena.processes import ROOT
from benchmarks.plots import plot
from benchmarks.records import Record, append, latest

DOCS = ROOT / "docs"
PLOTS = DOCS / "benchmarks"
PAGES = (DOCS / "benchmarks.md", ROOT / "README.md")
_BETWEEN = re.compile(r"(<!-- (?:table: (\w+)|summary|(notes)) -->\n).*?(<!-- end -->)", re.DOTALL)
_OFTEN = 3
"""Benchmarks whose tables have a note in common, from which on it stands once for all of them."""

_NOTHING = "\nNo results yet.\n\n"

Records = Mapping[str, Sequence[Record]]


def write(results: Path, plots: Path = PLOTS, pages: Sequence[Path] = PAGES) -> list[str]:
    """Bring plots and pages up to date with `results`; gives a line for each thing done."""
    plots.mkdir(parents=True, exist_ok=True)
    kept = plots / "results.jsonl"
    records: dict[str, list[Record]] = {**latest(kept), **latest(results)}
    kept.unlink(missing_ok=True)
    append(kept, (record for each in records.values() for record in each))
    said = _plot_all(records, plots)
    for page in pages:
        old = page.read_text()
        picture = partial(_picture, plots, page.parent)
        new = _BETWEEN.sub(partial(_filled, records=records, picture=picture), old)
        if new != old:
            page.write_text(new)
            said.append(f"wrote the figures of {page.name}")
    return said


def _plot_all(records: Records, plots: Path) -> list[str]:
    try:
        drawn = [file.name for name, each in records.items() if (file := plot(name, each, plots)) is not None]
    except ImportError as error:
        return [f"plots left out: {error.name} is not installed"]
    return [f"drew {', '.join(drawn)}"] if drawn else []


def _picture(plots: Path, page: Path, name: str) -> str | None:
    """The path of a benchmark's plot as seen from the folder of a page."""
    file = plots / f"{name}.svg"
    return file.relative_to(page).as_posix() if file.exists() else None


def _filled(place: re.Match[str], records: Records, picture: Callable[[str], str | None]) -> str:
    opening, name, notes, closing = place.groups()
    common = _common(records)
    if name is not None:
        return f"{opening}{_between(name, records, common, picture)}{closing}"
    return f"{opening}{_list(common) if notes else summary(records)}{closing}"


def _common(records: Records) -> Sequence[str]:
    """The notes that many benchmarks have in common."""
    scenarios_first = sorted(records.values(), key=lambda each: not each[0]["data"].get("contenders"))
    told = Counter(
        note for each in scenarios_first for note in dict.fromkeys(note for record in each for note in record["notes"])
    )
    return [note for note, benchmarks in told.items() if benchmarks >= _OFTEN]


def _between(name: str, records: Records, common: Sequence[str], picture: Callable[[str], str | None]) -> str:
    if name not in records:
        return _NOTHING
    found = "".join(_table(record, common) for record in records[name])
    if path := picture(name):
        found += f"![{records[name][0]['title']}]({path})\n\n"
    first = records[name][0]
    machine, day = first["machine"], first["date"][:10]
    where = f"{machine['cores']} cores of {machine['processor']}, Python {machine['python']}, {day}"
    return f"\n`python -m benchmarks {name}`, {where}:\n\n{found}"


def _table(record: Record, common: Sequence[str]) -> str:
    rows = [record["columns"], ["---", *["--:"] * (len(record["columns"]) - 1)], *record["rows"]]
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    return f"**{record['title']}**\n\n{table}{_list([note for note in record['notes'] if note not in common])}"


def _list(notes: Sequence[str]) -> str:
    lines = "".join(f"* {note}\n" for note in notes)
    return f"\n{lines}\n" if lines else "\n"


def summary(records: Records) -> str:
    """A row for each scenario: needless errors and the 99th percentile of everyone."""
    scenarios = [each[0] for each in records.values() if each[0]["data"].get("contenders")]
    if not scenarios:
        return _NOTHING
    names = [name for name in CONTENDERS if any(name in each["data"]["contenders"] for each in scenarios)]
    head = f"| needless errors, p99 in ms | {' | '.join(names)} |\n|---|{'--:|' * len(names)}\n"
    rows = (f"| {each['title']} | {' | '.join(_short(each, name) for name in names)} |\n" for each in scenarios)
    return f"\n{head}{''.join(rows)}\n"


def _short(record: Record, name: str) -> str:
    each = record["data"]["contenders"].get(name)
    return f"{each['needless']}, {each['p99'] * 1000:.0f}" if each else "–"
