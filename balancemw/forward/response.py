"""The head of an answer, from how a replica gave it to how the client gets it."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from balancemw.forward.fields import Field, lowered, sound, this_hop, values, via
from balancemw.orca import BINARY, HEADERS
from balancemw.presence import STATE

_PORTS = {"http": 80, "https": 443}
_REFERENCES = (b"location", b"content-location")

# The server in front says its own, as nginx does, and each is to stand in an answer once.
_OF_THE_SERVER = frozenset((b"date", b"server"))


# What a replica says of itself is not true of us.
_OF_THE_REPLICA = frozenset(name.encode() for name in (STATE, *HEADERS, BINARY))


class Nonsense(Exception):
    """The answer of a replica is none that can be passed on."""


@dataclass(frozen=True, slots=True)
class Outside:
    """How clients see what is forwarded.

    Attributes:
        scheme: ``"http"`` or ``"https"``.
        host: as the client wrote it in ``Host``; None: it did not say, and addresses stay as they are.
        prefix: what was taken off the path.
        service: the name under which replicas are asked.
        node: the url of the replica that answered.
    """

    scheme: str
    host: str | None
    prefix: str
    service: str
    node: str


def response_head(status: int, fields: Iterable[Field], outside: Outside, version: str = "1.1") -> list[Field]:
    """The headers that a client gets.

    Args:
        status: of the answer.
        fields: the headers of the answer.
        outside: what an address in them is to become.
        version: of HTTP in which it came.

    Raises:
        Nonsense: the status or a header is none; nothing may have been passed on yet.
    """
    got = lowered(fields)
    check_head(status, got)
    gone = this_hop(got) | _OF_THE_SERVER | _OF_THE_REPLICA | {b"content-length"}
    kept = [(name, _outward(name, value, outside)) for name, value in got if name not in gone]
    if status != 204 and not values(got, b"transfer-encoding"):
        kept += _length(got)
    return via(kept, version)


def check_head(status: int, fields: Iterable[Field]) -> None:
    """Refuse the head of an answer that is not HTTP, before a client gets any of it.

    Raises:
        Nonsense: the status or a header is none.
    """
    if not 200 <= status <= 599:
        raise Nonsense(f"a replica answered with status {status}")
    if not all(sound(name, value) for name, value in fields):
        raise Nonsense("a header of the answer has characters that no header has")


def _length(fields: list[Field]) -> list[Field]:
    lengths = set(values(fields, b"content-length"))
    if len(lengths) > 1 or not all(length.isdigit() for length in lengths):
        raise Nonsense("the Content-Length of the answer is not one number")
    return [(b"content-length", length) for length in lengths]


def bodiless(method: str, status: int) -> bool:
    """Whether an answer has no body, whatever its headers say (RFC 9112, 6.3)."""
    return method.upper() == "HEAD" or status in (204, 304)


def _outward(name: bytes, value: bytes, outside: Outside) -> bytes:
    if name not in _REFERENCES:
        return value
    try:
        return outward(value.decode("ascii"), outside).encode("ascii")
    except ValueError:
        return value


def outward(reference: str, outside: Outside) -> str:
    """What a client is to take for `reference`, a url that a replica gave.

    One that names the replica, by its address or by the service's name, or that has a path alone, leads to where this
    replica is seen from outside. Any other stays as it is: one relative to the request's path, one to somewhere else,
    one that is outside of its url, and one that an app gave which heeds ``X-Forwarded-Prefix``.

    Raises:
        ValueError: it is no url.
    """
    parts = urlsplit(reference)
    base = urlsplit(outside.node)
    inside = _below(parts.path, base.path)
    if inside is None or outside.host is None:
        return reference
    path = (outside.prefix + inside) or "/"
    if parts.netloc:
        known = _address(parts, base.scheme) in _inner(outside, base)
        scheme = outside.scheme if parts.scheme else ""
        return parts._replace(scheme=scheme, netloc=outside.host, path=path).geturl() if known else reference
    if parts.scheme or not parts.path.startswith("/") or path.startswith("//"):
        return reference
    if outside.prefix and _below(parts.path, outside.prefix) is not None:
        return reference
    return parts._replace(path=path).geturl()


def _below(path: str, prefix: str) -> str | None:
    """What is left of `path` at or below `prefix`, or None."""
    if prefix and path != prefix and not path.startswith(prefix + "/"):
        return None
    return path[len(prefix) :]


def _address(parts: SplitResult, scheme: str) -> tuple[str | None, int | None]:
    return parts.hostname, parts.port or _PORTS.get(parts.scheme or scheme)


def _inner(outside: Outside, base: SplitResult) -> Collection[tuple[str | None, int | None]]:
    ports = {_PORTS[base.scheme], 80, 443}
    return {_address(base, base.scheme), *((outside.service.lower(), port) for port in ports)}
