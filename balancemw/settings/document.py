"""The whole of the settings: from what the user wrote to one immutable object."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, is_dataclass
from types import MappingProxyType
from typing import Any, Self, TypeVar

from pydantic import TypeAdapter, ValidationError

from balancemw.errors import SettingsError
from balancemw.node import Node
from balancemw.settings.admin import AdminSettings
from balancemw.settings.alerts import AlertSettings
from balancemw.settings.merge import Section, merged, written
from balancemw.settings.models import InboundSettings, RouteSettings, ServiceSettings
from balancemw.settings.nodes import NodeList
from balancemw.settings.report import KNOWN, Report, unknown_key
from balancemw.settings.routes import parse_routes
from balancemw.settings.source import from_environment, from_file
from balancemw.settings.state import StateSettings, parse_state
from balancemw.settings.words import HOST_RULE, Path, host_name, shown

_SERVICE = TypeAdapter(ServiceSettings)
_INBOUND = TypeAdapter(InboundSettings)
_ADMIN = TypeAdapter(AdminSettings)
_ALERTS = TypeAdapter(AlertSettings)
_NODES: TypeAdapter[tuple[Node, ...]] = TypeAdapter(NodeList)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Settings:
    """Valid settings. `load` makes them; all parts are immutable.

    Attributes:
        services: read-only mapping of names to `ServiceSettings`.
        inbound: what a request that comes in brings along.
        routes: read-only mapping of path prefixes, decoded and without a slash at the end, to `RouteSettings`.
        state: where what is known of the nodes is kept.
        admin: who may look into it and give orders, and where.
        alerts: what alerts from outside mean.
    """

    services: Mapping[str, ServiceSettings] = field(hash=False)
    inbound: InboundSettings = field(default_factory=InboundSettings)
    routes: Mapping[str, RouteSettings] = field(hash=False, default_factory=dict)
    state: StateSettings = field(default_factory=StateSettings)
    admin: AdminSettings = field(default_factory=AdminSettings)
    alerts: AlertSettings = field(default_factory=AlertSettings)

    def __post_init__(self) -> None:
        if not all(isinstance(service, ServiceSettings) for service in self.services.values()):
            raise TypeError("Settings holds what is already checked; use Settings.load(mapping)")
        object.__setattr__(self, "services", MappingProxyType(dict(self.services)))
        object.__setattr__(self, "routes", MappingProxyType(dict(self.routes)))

    def __reduce__(self) -> tuple[type["Settings"], tuple[object, ...]]:
        parts = (self.inbound, dict(self.routes), self.state, self.admin, self.alerts)
        return Settings, (dict(self.services), *parts)  # a mapping proxy cannot be pickled

    @classmethod
    def load(cls, source: "Settings | Mapping[str, object] | str | os.PathLike[str] | None" = None) -> Self:
        """Settings out of `source`, with everything checked.

        Args:
            source: a mapping, the path of a TOML file, settings already loaded, or None for the file that the
                environment variable ``BALANCEMW_SETTINGS`` names.

        Raises:
            SettingsError: with all problems at once.
        """
        if isinstance(source, cls):
            return source
        raw: Section
        if source is None:
            raw = from_environment()
        elif isinstance(source, Mapping):
            raw = source
        elif isinstance(source, str | os.PathLike):
            raw = from_file(source)
        else:
            raise SettingsError([f"expected a mapping or the path of a TOML file, got {shown(source)}{_how(source)}"])
        return cls(**_checked(raw))


def _how(source: object) -> str:
    if hasattr(source, "model_dump"):
        return "; pass its model_dump()"
    return "; pass dataclasses.asdict() of it" if is_dataclass(source) else ""


def parse_nodes(nodes: Iterable[object], *, key: str = "nodes") -> tuple[Node, ...]:
    """Nodes out of urls, mappings and `Node` objects, as ``nodes`` in the settings takes them.

    Args:
        nodes: any iterable of them.
        key: how the list is called in messages.

    Raises:
        SettingsError: with all problems at once, such as ``nodes[1].weight: must be above 0, got -1``.
    """
    listed = isinstance(nodes, Iterable) and not isinstance(nodes, str | bytes | Mapping)
    raw: object = list(nodes) if listed else nodes
    report = Report(key)
    try:
        return _NODES.validate_python(raw)
    except ValidationError as error:
        report.invalid(error, lambda path, _: path, root="nodes")
    raise SettingsError(report.lines)


def _checked(raw: Section) -> dict[str, Any]:
    """What `Settings` is made of."""
    report = Report()
    report.odd_keys((), raw)
    for key in raw:
        if isinstance(key, str) and key not in KNOWN[""]:
            report.add((key,), unknown_key(key, ""))
    if "services" not in raw:
        report.add(("services",), 'missing; write {"services": {"name": {"nodes": ["http://host:port"]}}}')
    services = _mapping(raw, "services", report)
    defaults = _defaults(_mapping(raw, "defaults", report), report, alone=not services)
    found = {name: _service(name, own, defaults, report) for name, own in _named(services, report)}
    checked = {
        "services": {name: service for name, service in found.items() if service},
        "inbound": _section(raw, "inbound", _INBOUND, InboundSettings(), report),
        "routes": parse_routes(_mapping(raw, "routes", report), services, report),
        "state": _state(raw.get("state", "memory"), report),
        "admin": _section(raw, "admin", _ADMIN, AdminSettings(), report),
        "alerts": _section(raw, "alerts", _ALERTS, AlertSettings(), report),
    }
    if report.lines:
        raise SettingsError(report.lines)
    return checked


def _mapping(raw: Section, key: str, report: Report) -> Section:
    value = raw.get(key, {})
    if isinstance(value, Mapping):
        return value
    report.add((key,), f"expected a mapping, got {shown(value)}")
    return {}


def _named(services: Section, report: Report) -> Iterable[tuple[str, object]]:
    """The services whose names can be told, with what is wrong about a name told on the way."""
    report.odd_keys(("services",), services)
    seen: dict[str, str] = {}
    for name, own in services.items():
        if not isinstance(name, str):
            continue
        if not host_name(name):
            report.add(("services", name), f"the name must be usable as a host's: {HOST_RULE}")
        elif seen.setdefault(name.lower(), name) != name:
            report.add(("services", name), f"differs from {seen[name.lower()]!r} in case only, and hosts have no case")
        yield name, own


def _defaults(defaults: Section, report: Report, *, alone: bool) -> Section:
    """The defaults, checked by themselves, so that what is wrong with them is told even where it is overridden.

    `alone`: there is no service. Else what only the merged settings can tell is left to them.
    """
    if "nodes" in defaults:
        report.add(("defaults", "nodes"), "nodes belong to one service; write them there")
    defaults = {key: value for key, value in defaults.items() if key != "nodes"}
    try:
        _SERVICE.validate_python(merged({"nodes": ()}, defaults))
    except ValidationError as error:
        skip = () if alone else ("missing", "conflict")
        report.invalid(error, lambda path, other: ("defaults", *written(defaults, {}, path, other)[1]), skip=skip)
    return defaults


def _service(name: str, own: object, defaults: Section, report: Report) -> ServiceSettings | None:
    if not isinstance(own, Mapping):
        hint = '; write {"nodes": ["http://host:port"]}'
        report.add(("services", name), f"expected a mapping, got {shown(own)}{hint}")
        return None

    def place(path: Path, other: str) -> Path:
        mine, key = written(own, defaults, path, other)
        return ("services", name, *key) if mine else ("defaults", *key)

    try:
        return _SERVICE.validate_python(merged(own, defaults))
    except ValidationError as error:
        report.invalid(error, place)
    return None


def _section(raw: Section, name: str, kind: TypeAdapter[T], default: T, report: Report) -> T:
    """The section `name`; in its place `default` if anything is wrong with it, which is told."""
    section: dict[Any, Any] = dict(_mapping(raw, name, report))
    report.odd_keys((name,), section)
    try:
        return kind.validate_python({key: value for key, value in section.items() if isinstance(key, str)})
    except ValidationError as error:
        report.invalid(error, lambda path, other: _written(section, name, path, other), root=name)
    return default


def _written(section: Section, name: str, path: Path, other: str) -> Path:
    """The key to tell `path` by: of two that contradict each other, one that was written."""
    if not path:
        return (name,)
    return (name, *path[:-1], other if other and path[-1] not in section else path[-1])


def _state(state: object, report: Report) -> StateSettings:
    try:
        return parse_state(state)
    except ValueError as error:
        report.add(("state",), str(error))
    return StateSettings()
