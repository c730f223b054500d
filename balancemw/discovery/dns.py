"""The addresses of a name as a source: each A and AAAA record is a node."""

import asyncio
from collections.abc import Iterable

import aiohttp

from balancemw.discovery.found import Answer, Found, SourceError, url
from balancemw.discovery.resolver import Resolver, good_for
from balancemw.node import Node
from balancemw.settings import DnsSettings


class Dns:
    """Asks for a name's addresses as often as their time to live says.

    Each type of record has an answer of its own. As long as one of them fails, what it said last stays.
    """

    def __init__(self, settings: DnsSettings) -> None:
        self._settings = settings
        self._resolver = Resolver(settings.nameservers, settings.timeout)
        self._addresses: dict[str, list[str]] = {}

    async def ask(self, _session: aiohttp.ClientSession) -> Answer:
        """The nodes at the name's addresses."""
        settings = self._settings
        answers = await asyncio.gather(*(self._ask(kind) for kind in settings.records), return_exceptions=True)
        ttls: list[float] = []
        for answer in answers:
            if isinstance(answer, float):
                ttls.append(answer)
            elif isinstance(answer, BaseException) and not isinstance(answer, SourceError):
                raise answer
        failures = [answer for answer in answers if isinstance(answer, SourceError)]
        addresses = sorted({each for found in self._addresses.values() for each in found})
        if failures and not (ttls and addresses):
            raise failures[0]
        whole = bool(addresses) and not failures
        return Answer(nodes_at(addresses, settings), good_for(min(ttls), settings, whole=whole))

    async def _ask(self, kind: str) -> float:
        records, ttl = await self._resolver.ask(self._settings.name, kind)
        self._addresses[kind] = [record.address for record in records]
        return ttl

    def close(self) -> None:
        """Nothing to do."""


def nodes_at(addresses: Iterable[str], settings: DnsSettings) -> tuple[Found, ...]:
    """The nodes at `addresses`; ``server_hostname`` in their metadata is the name, as clients need it for TLS."""
    metadata = {"server_hostname": settings.name.removesuffix("."), **settings.metadata}
    return tuple(
        Found(
            Node(
                url(settings.scheme, address, settings.port, settings.prefix),
                settings.weight,
                settings.zone,
                settings.priority,
                metadata,
            )
        )
        for address in addresses
    )
