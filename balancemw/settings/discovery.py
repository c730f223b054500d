"""The settings of discovery: which kind of source a service has, with the options of that kind."""

import dataclasses
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Annotated, Any

from pydantic import PlainValidator, TypeAdapter, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from balancemw.errors import did_you_mean
from balancemw.settings.fields import Conflict
from balancemw.settings.nodes import again
from balancemw.settings.sources import (
    CallableSettings,
    ConsulSettings,
    DiscoverySettings,
    DnsSettings,
    FileSettings,
    KubernetesSettings,
    SrvSettings,
    known_callable,
)
from balancemw.settings.words import shown
from balancemw.strategies import OptionError

KINDS: Mapping[str, type[DiscoverySettings]] = {
    "dns": DnsSettings,
    "srv": SrvSettings,
    "file": FileSettings,
    "consul": ConsulSettings,
    "kubernetes": KubernetesSettings,
}
_KNOWN = f'{", ".join(KINDS)}, or "package.module:callable"'


def _discovery(value: Any) -> DiscoverySettings | None:
    if value is None or isinstance(value, DiscoverySettings):
        return value
    if isinstance(value, str) and ":" in value:
        return CallableSettings(kind=known_callable(value))
    if not isinstance(value, Mapping):
        hint = '; write {"kind": "dns", "name": "inventory.internal", "port": 8000}'
        raise ValueError(f'expected a mapping or "package.module:callable", got {shown(value)}{hint}')
    odd = [key for key in value if not isinstance(key, str)]
    if odd:
        raise ValueError(f"every key must be a string, got {shown(odd[0])}")
    return _of_kind(dict(value))


def _of_kind(given: dict[str, Any]) -> DiscoverySettings:
    """All that is wrong is told together: options that the kind does not take, and values that they do not."""
    kind = _kind(given)
    cls = KINDS.get(kind, CallableSettings)
    taken = [field.name for field in dataclasses.fields(cls) if field.init]
    faults = [_fault(option, ValueError(_unknown(option, kind, taken))) for option in given if option not in taken]
    settings: Any = None
    try:
        settings = TypeAdapter(cls).validate_python({key: each for key, each in given.items() if key in taken})
    except ValidationError as error:
        faults.extend(again(fault) for fault in error.errors(include_url=False))
    least, most = getattr(settings, "ttl_min", 0.0), getattr(settings, "ttl_max", 0.0)
    if least > most:
        faults.append(_fault("ttl_max", Conflict("ttl_min", f"ttl_min ({least:g}) is above ttl_max ({most:g})")))
    if faults:
        raise ValidationError.from_exception_data("discovery", faults)
    return settings  # type: ignore[no-any-return]


def _kind(given: Mapping[str, Any]) -> str:
    if "kind" not in given:
        raise OptionError("kind", f"missing; write one of {_KNOWN}")
    kind = given["kind"]
    if not isinstance(kind, str):
        raise OptionError("kind", f"expected a string, got {shown(kind)}")
    if ":" not in kind and kind not in KINDS:
        raise OptionError("kind", f"unknown kind {shown(kind)}{did_you_mean(kind, KINDS)} (known: {_KNOWN})")
    if kind in ("dns", "srv") and find_spec("dns") is None:
        raise OptionError("kind", f"{kind!r} needs dnspython: pip install 'balancemw[dns]'")
    return kind


def _unknown(option: str, kind: str, taken: list[str]) -> str:
    what = f"of kind {kind!r}" if kind in KINDS else "of a callable"
    return f"unknown option {what}{did_you_mean(option.lower(), taken)} (it takes: {', '.join(taken)})"


def _fault(option: str, error: ValueError) -> InitErrorDetails:
    return {"type": PydanticCustomError("value_error", "{error}", {"error": error}), "loc": (option,), "input": None}


Discovery = Annotated[DiscoverySettings | None, PlainValidator(_discovery)]
