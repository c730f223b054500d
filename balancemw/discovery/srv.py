"""The SRV records of a name as a source (RFC 2782).

A target stays a host name. It is what its certificate names, and it stays the same node when its address changes;
clients look it up when they connect.
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import aiohttp

from balancemw.discovery.found import Answer, Found, SourceError, reading, url
from balancemw.discovery.resolver import Resolver, good_for
from balancemw.node import Node
from balancemw.settings import SrvSettings


class Record(NamedTuple):
    """One SRV record; `target` without a final dot: the root, which means "not available here", is the empty string."""

    priority: int
    weight: int
    port: int
    target: str


class Srv:
    """Asks for a name's SRV records as often as their time to live says."""

    def __init__(self, settings: SrvSettings) -> None:
        self._settings = settings
        self._resolver = Resolver(settings.nameservers, settings.timeout)

    async def ask(self, _session: aiohttp.ClientSession) -> Answer:
        """The nodes that the records name."""
        settings = self._settings
        answers, ttl = await self._resolver.ask(settings.name, "SRV")
        records = [
            Record(each.priority, each.weight, each.port, each.target.to_text(omit_final_dot=True).removesuffix("."))
            for each in answers
        ]
        return Answer(nodes_of(records, settings), good_for(ttl, settings, whole=bool(records)))

    def close(self) -> None:
        """Nothing to do."""


def nodes_of(records: Iterable[Record], settings: SrvSettings) -> tuple[Found, ...]:
    """The nodes that `records` name, each once, at its lowest priority.

    The weight of a node is above 0, and the RFC's may be 0: "very little". Its rule for drawing one gives all the
    records of weight 0 together a chance of 1 in 1 + the sum of the others; so they share a weight of 1.

    Raises:
        SourceError: the records say that the service is decidedly not available.
    """
    records = sorted(set(records))
    there = [record for record in records if record.target and record.port]
    if records and not there:
        raise SourceError("its records say that the service is not available")
    light = Counter(record.priority for record in there if not record.weight)
    found: dict[str, Found] = {}
    with reading("SRV records"):
        for record in there:
            weight = record.weight or 1.0 / light[record.priority]
            where = url(settings.scheme, record.target, record.port, settings.prefix)
            node = Node(where, weight, settings.zone, record.priority, settings.metadata)
            found.setdefault(node.url, Found(node))
    return tuple(found.values())
