"""The figures of one worker, as its heartbeat carries them."""

import json
from collections.abc import Mapping, Sequence

Told = Mapping[str, Mapping[str, Sequence[int]]]
"""By service and url: calls in flight, calls ended, failures, failures in a row."""

_COLUMNS = 4


def figures_text(worker: str, told: Told) -> str:
    """It as JSON."""
    return json.dumps([worker, told])


def read_figures(text: str) -> tuple[str, Told]:
    """Worker and figures; what makes no sense is left out, as others may write there too, and other versions."""
    try:
        worker, told = json.loads(text)
        return str(worker), {
            service: {url: row for url, row in nodes.items() if _plain(row)} for service, nodes in told.items()
        }
    except (ValueError, TypeError, AttributeError, RecursionError):
        return "", {}


def _plain(row: object) -> bool:
    return isinstance(row, list) and len(row) == _COLUMNS and all(type(number) is int for number in row)
