"""What each kind of discovery can be told: its options, their defaults and their ranges. Times are seconds."""

import dataclasses
from collections.abc import Callable
from ipaddress import ip_address
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator
from pydantic.dataclasses import dataclass

from balancemw.node import normal_url
from balancemw.settings.fields import STRICT, Flag, Positive, Seconds, Text, Whole, plain
from balancemw.settings.words import HOST_RULE, a_list, host_name, shown
from balancemw.strategies import load_object

Port = Annotated[int, Field(strict=True, ge=1, le=65535)]


def _name(value: str) -> str:
    if not host_name(value.removesuffix(".")):
        raise ValueError(f"expected a name to look up ({HOST_RULE}), got {shown(value)}")
    return value


def _scheme(value: str) -> str:
    if value not in ("http", "https"):
        raise ValueError(f"expected 'http' or 'https', got {shown(value)}")
    return value


def _prefix(value: str) -> str:
    if value and not value.startswith("/"):
        raise ValueError(f"must begin with '/', got {shown(value)}")
    if any(c in value for c in "?#") or any(ord(c) <= 32 or ord(c) == 127 for c in value):
        raise ValueError("a path prefix has no spaces, control characters, query or fragment")
    return value.rstrip("/")


def _nameserver(value: str) -> str:
    try:
        parts = urlsplit(f"//{value}" if value.count(":") < 2 or value.startswith("[") else f"//[{value}]")
        ip_address(parts.hostname or "")
        fine = parts.port != 0 and not parts.path and "@" not in value
    except ValueError:
        fine = False
    if not fine:
        raise ValueError(f"expected the address of a server like '127.0.0.1' or '[::1]:5353', got {shown(value)}")
    return value


def _file(value: str) -> str:
    if not value.endswith((".json", ".toml")) or "\0" in value:
        raise ValueError(f"expected a path that ends in .json or .toml, got {shown(value)}")
    return value


def _word(value: str) -> str:
    if not value.isascii() or not value.isprintable() or any(c in value for c in "/?#% "):
        raise ValueError(f"expected a name without spaces and any of / ? # %, got {shown(value)}")
    return value


def _secret(value: str) -> str:
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("a token has no spaces, control characters or letters beyond ASCII")
    return value


def _not_empty(value: str) -> str:
    if not value:
        raise ValueError("must not be empty")
    return value


def known_callable(value: str) -> str:
    """`value`, if it names a callable.

    Raises:
        ValueError: it does not.
    """
    if not callable(load_object(value)):
        raise ValueError(f"{shown(value)} is not callable")
    return value


def _port(value: Any) -> int | str | None:
    if value is None or (isinstance(value, str) and value):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 65535:
        return value
    raise ValueError(f"expected the name of a port or a number from 1 to 65535, got {shown(value)}")


Name = Annotated[Text, AfterValidator(_name)]
Scheme = Annotated[Text, AfterValidator(_scheme)]
Prefix = Annotated[Text, AfterValidator(_prefix)]
Api = Annotated[Text, AfterValidator(normal_url)]
Word = Annotated[Text, AfterValidator(_word)]
Service = Annotated[Text, AfterValidator(_not_empty), AfterValidator(_word)]
Metadata = Annotated[dict[Text, Any], BeforeValidator(plain)]
Nameservers = Annotated[
    tuple[Annotated[Text, AfterValidator(_nameserver)], ...], a_list("addresses", '["127.0.0.1"]', (list, tuple))
]
Records = Annotated[
    tuple[Literal["A", "AAAA"], ...],
    AfterValidator(lambda value: value or ("A", "AAAA")),
    a_list("types of records", '["A", "AAAA"]', (list, tuple)),
]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class DiscoverySettings:
    """What every kind of source takes.

    Attributes:
        kind: of source.
        timeout: seconds that one question to it may take; a call waits that long for its first answer.
        zone: of the nodes it finds, where it does not say.
        metadata: of the nodes it finds; what it says itself is put over it.
    """

    kind: Text
    timeout: Seconds = 5.0
    zone: Text = ""
    metadata: Metadata = dataclasses.field(default_factory=dict[str, Any], hash=False)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class DnsSettings(DiscoverySettings):
    """The addresses of a name.

    Attributes:
        name: whose A and AAAA records are the nodes.
        port: of the nodes; None: the scheme's own.
        scheme, prefix: of the nodes' urls.
        records: the types to ask for.
        ttl_min, ttl_max: seconds; bounds on the time for which an answer is held to be good.
        nameservers: whom to ask, ``"address"`` or ``"address:port"``; empty: the system's.
        weight, priority: of the nodes.
    """

    name: Name
    port: Port | None = None
    scheme: Scheme = "http"
    prefix: Prefix = ""
    records: Records = ("A", "AAAA")
    ttl_min: Seconds = 1.0
    ttl_max: Seconds = 300.0
    nameservers: Nameservers = ()
    weight: Positive = 1.0
    priority: Whole = 0


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class SrvSettings(DiscoverySettings):
    """The SRV records of a name, which tell hosts, ports, priorities and weights.

    Attributes:
        name: such as ``_http._tcp.inventory.internal``.
        scheme, prefix: of the nodes' urls.
        ttl_min, ttl_max: seconds; bounds on the time for which an answer is held to be good.
        nameservers: whom to ask, ``"address"`` or ``"address:port"``; empty: the system's.
    """

    name: Name
    scheme: Scheme = "http"
    prefix: Prefix = ""
    ttl_min: Seconds = 1.0
    ttl_max: Seconds = 300.0
    nameservers: Nameservers = ()


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class FileSettings(DiscoverySettings):
    """A file with the nodes.

    Attributes:
        path: of a JSON or TOML file, by its ending.
        interval: seconds between looks at it.
        weight, priority: of the nodes, where the file does not say.
    """

    path: Annotated[Text, AfterValidator(_file)]
    interval: Seconds = 1.0
    weight: Positive = 1.0
    priority: Whole = 0


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ConsulSettings(DiscoverySettings):
    """The instances of a service in Consul.

    Attributes:
        service: its name there.
        address: url of the agent's or server's HTTP API.
        token: ACL token, never shown; empty: none.
        datacenter: empty: the agent's own.
        tag: only instances that carry it; empty: all.
        passing: whether instances with a check that does not pass are left out. Else they stay, marked.
        wait: seconds that a question waits for something to change.
        ca_file: PEM file of the authorities to trust; empty: the system's.
        scheme, prefix: of the nodes' urls.
        priority: of the nodes.
    """

    service: Service
    address: Api = "http://127.0.0.1:8500"
    token: Annotated[Text, AfterValidator(_secret)] = Field(default="", repr=False)
    datacenter: Word = ""
    tag: Word = ""
    passing: Flag = True
    wait: Annotated[float, Field(strict=True, gt=0, le=600)] = 60.0
    ca_file: Text = ""
    scheme: Scheme = "http"
    prefix: Prefix = ""
    priority: Whole = 0


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class KubernetesSettings(DiscoverySettings):
    """The endpoints of a service in Kubernetes.

    Attributes:
        service: its name there.
        namespace: empty: the pod's own.
        port: name or number; None: the only one.
        address: url of the API server; empty: the cluster's, as its pods are told.
        token_file, ca_file, namespace_file: the pod's credentials; the token is read again for every request.
        scheme, prefix: of the nodes' urls.
        weight, priority: of the nodes.
    """

    service: Service
    namespace: Word = ""
    port: Annotated[int | str | None, PlainValidator(_port)] = None
    address: Annotated[Text, AfterValidator(lambda value: value and normal_url(value))] = ""
    token_file: Text = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    ca_file: Text = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
    namespace_file: Text = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
    scheme: Scheme = "http"
    prefix: Prefix = ""
    weight: Positive = 1.0
    priority: Whole = 0


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class CallableSettings(DiscoverySettings):
    """A callable of the user's, without arguments, sync or async, that returns what ``nodes`` takes.

    Attributes:
        kind: ``"package.module:callable"``.
        interval: seconds between its calls.
        weight, priority: of the nodes, where it does not say.
        call: the callable itself. Not a key of the settings.
    """

    kind: Annotated[Text, AfterValidator(known_callable)]
    interval: Seconds = 10.0
    weight: Positive = 1.0
    priority: Whole = 0
    call: Callable[[], Any] = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "call", load_object(self.kind))
