"""Asks the domain name system, by dnspython."""

from math import inf
from typing import Any
from urllib.parse import urlsplit

import dns.asyncresolver
import dns.exception
import dns.nameserver
import dns.resolver
import dns.ttl

from balancemw.discovery.found import SourceError
from balancemw.settings import DnsSettings, SrvSettings

_SOON = 5.0  # seconds at most until the question is put again, when the answer is of little use


class Resolver:
    """Looks names up. It has no cache: for how long an answer is good is told with it.

    Args:
        nameservers: whom to ask; empty: the system's, in which case short names are looked for in its search domains.
        timeout: seconds for one question, over all servers and tries.
    """

    def __init__(self, nameservers: tuple[str, ...], timeout: float) -> None:
        self._nameservers = [_server(each) for each in nameservers]
        self._timeout = timeout
        self._resolver: dns.asyncresolver.Resolver | None = None

    async def ask(self, name: str, kind: str) -> tuple[list[Any], float]:
        """The records of `kind` that `name` has, maybe none, and the seconds for which they are good.

        These are infinite where the zone does not say for how long there are none.

        Raises:
            SourceError: nobody answers, or the answer is an error or that there is no such name.
        """
        try:
            resolver = self._resolver = self._resolver or self._made()
            search = not self._nameservers
            answer = await resolver.resolve(name, kind, lifetime=self._timeout, raise_on_no_answer=False, search=search)
        except dns.resolver.NXDOMAIN:
            raise SourceError("there is no such name") from None
        except dns.exception.Timeout:
            self._resolver = None  # the system's servers may be others by now
            raise SourceError(f"no answer within {self._timeout:g} s") from None
        except (dns.exception.DNSException, ValueError) as error:
            self._resolver = None
            raise SourceError(_why(error)) from error
        records = [] if answer.rrset is None else list(answer.rrset)
        ttl = answer.chaining_result.minimum_ttl  # of the chain of aliases, too; of "none" it is the zone's word
        return records, inf if ttl >= dns.ttl.MAX_TTL else float(ttl)

    def _made(self) -> dns.asyncresolver.Resolver:
        resolver = dns.asyncresolver.Resolver(configure=not self._nameservers)
        if self._nameservers:
            resolver.nameservers = self._nameservers
        return resolver


def good_for(ttl: float, settings: DnsSettings | SrvSettings, *, whole: bool) -> float:
    """Seconds after which to ask again; `whole`: the answer is all that was asked for, and not nothing."""
    clamped = min(max(ttl, settings.ttl_min), settings.ttl_max)
    return clamped if whole else min(clamped, _SOON)


def _server(address: str) -> dns.nameserver.Nameserver:
    parts = urlsplit(f"//{address}" if address.count(":") < 2 or address.startswith("[") else f"//[{address}]")
    return dns.nameserver.Do53Nameserver(parts.hostname or "", parts.port or 53)


def _why(error: Exception) -> str:
    if isinstance(error, dns.resolver.NoNameservers):
        answers = [str(each[3]) for each in error.kwargs.get("errors", ()) if len(each) > 3]
        return f"no server answers the question ({', '.join(dict.fromkeys(answers)) or 'there is none'})"
    return f"cannot be looked up: {error}"
