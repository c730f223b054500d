"""A service in Consul as a source: its health API, by blocking queries.

A question waits at the server until something changes. The rules for the index are those of Consul's documentation of
blocking queries: one that goes backwards, and one below 1, is forgotten.
"""

from collections.abc import Mapping
from random import Random
from typing import Any

import aiohttp

from balancemw.discovery.found import Answer, Found, SourceError, reading, url
from balancemw.discovery.web import get, read_json, trust, within
from balancemw.health import MOST_WEIGHT
from balancemw.node import Node
from balancemw.settings import ConsulSettings

_MAINTENANCE = ("_node_maintenance", "_service_maintenance")
_PAUSE = (0.05, 0.25)  # seconds between questions: all who wait for one change hear of it at once


class Consul:
    """Asks the health API of an agent or a server."""

    def __init__(self, settings: ConsulSettings, rng: Random) -> None:
        self._settings = settings
        self._rng = rng
        self._index = 0

    async def ask(self, session: aiohttp.ClientSession) -> Answer:
        """The instances: at once the first time, later when something has changed or the wait is over."""
        settings = self._settings
        index, self._index = self._index, 0  # a question that fails is followed by one that does not wait
        headers = {"X-Consul-Token": settings.token} if settings.token else {}
        where = f"{settings.address}/v1/health/service/{settings.service}"
        # The server adds up to a sixteenth of the wait, so that not all questions end together.
        async with within(settings.timeout + (settings.wait * (1 + 1 / 16) if index else 0.0)):
            tls = trust(settings.ca_file)
            async with await get(session, where, self._question(index), headers, tls) as response:
                document = await read_json(response, "Consul's health API")
                told = response.headers.get("X-Consul-Index", "")
        self._index = next_index(index, told)
        return Answer(instances(document, settings), self._rng.uniform(*_PAUSE))

    def _question(self, index: int) -> dict[str, str]:
        settings = self._settings
        asked = {"passing": "1" if settings.passing else "", "dc": settings.datacenter, "tag": settings.tag}
        if index:
            asked |= {"index": str(index), "wait": f"{max(1, round(settings.wait * 1000))}ms"}
        return {key: value for key, value in asked.items() if value}

    def close(self) -> None:
        """Nothing to do."""


def next_index(known: int, told: str) -> int:
    """The index to wait beyond: `told` by the server; 0, not to wait, when it went backwards or is none."""
    index = int(told) if told.isdecimal() and len(told) < 20 else 0
    return 0 if index < known else index


def instances(document: Any, settings: ConsulSettings) -> tuple[Found, ...]:
    """The instances in an answer of the health API. Those without a port cannot be called and are left out.

    Raises:
        SourceError: it is no such answer, or none of the instances has a port.
    """
    with reading("Consul's health API"):
        callable_ones = [entry for entry in document if entry["Service"].get("Port")]
        if document and not callable_ones:
            raise SourceError("none of the instances has a port")
        found = [_instance(entry, settings) for entry in callable_ones]
    return tuple(sorted(found, key=lambda each: each.node.url))


def _instance(entry: Mapping[str, Any], settings: ConsulSettings) -> Found:
    service, machine = entry["Service"], entry["Node"]
    weights = service.get("Weights") or {}
    passing = float(weights.get("Passing", 1))
    locality = service.get("Locality") or machine.get("Locality") or {}
    metadata = {**settings.metadata, "id": service["ID"], "node": machine["Node"], **(service.get("Meta") or {})}
    host = service.get("Address") or machine["Address"]
    node = Node(
        url(settings.scheme, host, service["Port"], settings.prefix),
        passing if passing > 0 else 1.0,
        locality.get("Zone") or settings.zone,
        settings.priority,
        metadata,
    )
    return Found(node, *_claim(entry.get("Checks") or (), passing, float(weights.get("Warning", 1))))


def _claim(checks: Any, passing: float, warning: float) -> tuple[str, str, float | None]:
    """What its checks hold against an instance: the worst of them counts, and maintenance more than any."""
    by_status: dict[str, list[str]] = {}
    for check in checks:
        if check["CheckID"].startswith(_MAINTENANCE):
            notes = check.get("Notes") or "no reason given"
            return "drain", f"maintenance: {notes}", None
        by_status.setdefault(check["Status"], []).append(check.get("Name") or check["CheckID"])
    if "critical" in by_status:
        return "down", f"critical: {', '.join(by_status['critical'])}", None
    if "warning" not in by_status or warning == passing:
        return "", "", None
    reason = f"warning: {', '.join(by_status['warning'])}"
    if warning <= 0:
        return "drain", reason, None
    return "weight", reason, min(MOST_WEIGHT, warning / passing if passing > 0 else warning)
