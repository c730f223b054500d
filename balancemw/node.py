"""Who can be called: the identity of a replica, without any state."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}
_NO_METADATA: Mapping[str, object] = MappingProxyType({})


def normal_url(url: str) -> str:
    """The canonical form of a replica's `url`: lower-case scheme and host, no trailing slash.

    Raises:
        ValueError: not ``http(s)://host[:port][/prefix]``. It never repeats the url, which may hold a password.
    """
    if not isinstance(url, str):
        raise ValueError(f"expected a url like 'http://host:port', got {type(url).__name__}")
    if " " in url or not url.isprintable():
        raise ValueError("a url has no spaces or control characters")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("expected a url like 'http://host:port'") from None
    try:
        port = parts.port
    except ValueError:
        raise ValueError("a port is a number from 1 to 65535") from None
    if parts.scheme.lower() not in _DEFAULT_PORTS or not parts.hostname:
        raise ValueError("expected a url like 'http://host:port'")
    if "@" in parts.netloc:
        raise ValueError("a node's url must not carry a user or password: it is shown in logs and status pages")
    if parts.query or parts.fragment or url.endswith(("?", "#")):
        raise ValueError("a node's url has no query and no fragment")
    if port == 0:
        raise ValueError("a port is a number from 1 to 65535")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if parts.netloc.lower().removeprefix(host.lower())[:1] not in ("", ":"):  # urlsplit drops what surrounds brackets
        raise ValueError("expected a url like 'http://host:port'")
    suffix = f":{port}" if port is not None else ""
    return f"{parts.scheme.lower()}://{host}{suffix}{parts.path.rstrip('/')}"


@dataclass(frozen=True, slots=True)
class Node:
    """One replica of a service. Frozen and hashable; what is known of its health lives elsewhere.

    Attributes:
        url: ``scheme://host[:port][/prefix]`` without a trailing slash.
        weight: relative capacity, > 0.
        zone: where it runs; free text.
        priority: lower numbers are used first.
        metadata: read-only mapping of whatever the user wants to know about it.
        name: ``host:port``, with the scheme's port where the url has none.
        host: host name or address (IPv6 without brackets).
        port: port number.

    Raises:
        ValueError: the url is not a replica's address, or the weight is not above 0.
    """

    url: str
    weight: float = 1.0
    zone: str = ""
    priority: int = 0
    metadata: Mapping[str, object] = field(default_factory=lambda: _NO_METADATA, hash=False)
    name: str = field(init=False, compare=False, repr=False)
    host: str = field(init=False, compare=False, repr=False)
    port: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        url = normal_url(self.url)
        if not 0 < self.weight < float("inf"):
            raise ValueError(f"weight must be above 0, got {self.weight!r}")
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port or _DEFAULT_PORTS[parts.scheme]
        shown = f"[{host}]" if ":" in host else host
        put = object.__setattr__
        put(self, "url", url)
        put(self, "weight", float(self.weight))
        if self.metadata is not _NO_METADATA:
            put(self, "metadata", MappingProxyType(dict(self.metadata)))
        put(self, "name", f"{shown}:{port}")
        put(self, "host", host)
        put(self, "port", port)

    def __str__(self) -> str:
        return self.url

    def __reduce__(self) -> tuple[type["Node"], tuple[object, ...]]:
        return Node, (self.url, self.weight, self.zone, self.priority, dict(self.metadata))
