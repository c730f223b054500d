"""The settings as immutable objects: every key, its default and its range.

Times are seconds. Validation is pydantic's; what a fault is called is decided in `balancemw.settings.report`.
"""

import dataclasses
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import AfterValidator, Field, PlainValidator, ValidationInfo, field_validator
from pydantic.dataclasses import dataclass

from balancemw.errors import did_you_mean
from balancemw.settings.discovery import Discovery
from balancemw.settings.fields import (
    STRICT,
    Conflict,
    Count,
    CountOrOff,
    Flag,
    PositiveShare,
    Rate,
    Seconds,
    SecondsOrZero,
    Share,
    Status,
    Text,
)
from balancemw.settings.hedge import Hedge
from balancemw.settings.nodes import NodeList
from balancemw.settings.probe import Probe
from balancemw.settings.words import a_list, looks_secret, shown
from balancemw.strategies import OptionError, resolve

_LEAST_MULTIPLE = 1.5


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class RetrySettings:
    """When a call is tried again.

    Attributes:
        attempts: tries in all, the first included; 1 never retries.
        backoff: seconds; full jitter up to ``backoff * 2**n``.
        backoff_max: seconds; cap on one wait.
        statuses: responses that are failures to be retried.
        retry_after_max: seconds; cap on a ``Retry-After`` that is honoured.
        budget: retries allowed as a share of calls, 0..1; 0 turns it off.
        budget_floor: retries per second allowed on top of that share; 0 turns it off.
    """

    attempts: Count = 3
    backoff: SecondsOrZero = 0.025
    backoff_max: SecondsOrZero = 0.25
    statuses: Annotated[frozenset[Status], a_list("statuses", "[502, 503, 504]")] = frozenset({502, 503, 504})
    retry_after_max: SecondsOrZero = 300.0
    budget: Share = 0.2
    budget_floor: Rate = 10.0


def _multiple(value: float) -> float:
    if 0 < value < _LEAST_MULTIPLE:
        raise ValueError(f"expected at least {_LEAST_MULTIPLE}, or 0 for off: equal nodes differ that much by chance")
    return value


@dataclass(frozen=True, slots=True, config=STRICT)  # kw_only would hide `base` from the validator of `max`
class EjectionSettings:
    """When traffic takes a node out of the pool, and for how long.

    Attributes:
        consecutive: node-level failures in a row; 0 turns this off.
        success_rate: 0..1; below it a node is a candidate; 0 turns this off.
        min_calls: calls within the window before the rate says anything.
        window: seconds the rate is taken over.
        base: seconds of the first ejection; doubles per relapse.
        max: seconds; cap on an ejection.
        keep: share of the pool that stays in whatever happens, 0..1; at least one node.
        slow: multiple of the time that its peers take from which on a node loses share by degrees; 0 turns this off.
    """

    consecutive: CountOrOff = 5
    success_rate: Share = 0.8
    min_calls: Count = 5
    window: Seconds = 10.0
    base: Seconds = 5.0
    max: Seconds = Field(default=300.0, validate_default=True)  # so that a base above the default is told too
    keep: Share = 0.5
    slow: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False), AfterValidator(_multiple)] = 2.0

    @field_validator("max")
    @classmethod
    def _not_below_base(cls, value: float, info: ValidationInfo) -> float:
        base = info.data.get("base", value)
        if base > value:
            raise Conflict("base", f"base ({base:g}) is above max ({value:g})")
        return value


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class SlowStartSettings:
    """The ramp after recovery.

    Attributes:
        window: seconds until the full weight is reached; 0 turns it off.
        min_weight: share of the weight at the beginning, above 0 and up to 1.
    """

    window: SecondsOrZero = 10.0
    min_weight: PositiveShare = 0.1


@dataclasses.dataclass(frozen=True, slots=True)
class StrategySettings:
    """Which strategy, and with which options.

    Attributes:
        name: a built-in name or ``"package.module:Class"``.
        options: read-only mapping of keyword arguments.
    """

    name: str
    options: Mapping[str, object] = dataclasses.field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))

    def __reduce__(self) -> tuple[type["StrategySettings"], tuple[object, ...]]:
        return StrategySettings, (self.name, dict(self.options))  # a mapping proxy cannot be pickled


def _strategy(value: Any) -> StrategySettings:
    if isinstance(value, StrategySettings):
        chosen = value
    elif isinstance(value, str):
        chosen = StrategySettings(value)
    elif isinstance(value, Mapping):
        chosen = _named(value)
    else:
        raise ValueError(f"expected a name or a mapping with one, got {shown(value)}")
    try:
        resolve(chosen.name, chosen.options)
    except OptionError as error:
        raise OptionError(error.option, _discreet(str(error), chosen.options)) from None
    except ValueError as error:
        text = _discreet(str(error), chosen.options)
        raise (OptionError("name", text) if isinstance(value, Mapping) else ValueError(text)) from None
    return chosen


def _discreet(text: str, options: Mapping[str, object]) -> str:
    """`text`, unless a strategy's own message repeats the value of an option that looks like a secret."""
    secrets = [str(value) for option, value in options.items() if looks_secret(option)]
    return "not valid; why is not shown, as it repeats a secret" if any(s and s in text for s in secrets) else text


def _named(value: Mapping[Any, object]) -> StrategySettings:
    odd = [key for key in value if not isinstance(key, str)]
    if odd:
        raise ValueError(f"every key must be a string, got {shown(odd[0])}")
    if "name" not in value:
        raise OptionError("name", 'missing; write {"name": "peak_ewma"}')
    name = value["name"]
    if not isinstance(name, str):
        raise OptionError("name", f"expected a string, got {shown(name)}")
    return StrategySettings(name, {key: option for key, option in value.items() if key != "name"})


def _identity(value: str) -> str:
    if value not in ("service", "node"):
        raise ValueError(f'expected "service" or "node", got {shown(value)}{did_you_mean(value, ("service", "node"))}')
    return value


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ServiceSettings:
    """One service, `defaults` already merged in.

    Attributes:
        nodes: tuple of `Node`, urls unique.
        strategy: how one of them is chosen.
        timeout: seconds for the whole call, all attempts and waits; None: no limit.
        attempt_timeout: seconds for one attempt; None: no limit.
        retry: when a call is tried again.
        ejection: when traffic takes a node out.
        probe: active checks, or None.
        discovery: where its nodes are found, or None. `nodes` are then those known until it has spoken.
        slow_start: the ramp after recovery.
        hedge: when a call that takes long is sent to a second node as well, or None.
        zone: our own: nodes of the same one are preferred while they can carry the load; "": none is.
        subset: how many nodes of each priority one worker calls, of its own zone and of the others; None: all.
        host_header: what the client adapters and checks send as ``Host``, and whose certificate TLS nodes must have:
            ``"service"``, the service's name, or ``"node"``, the host of the node's url.
    """

    nodes: NodeList
    strategy: Annotated[StrategySettings, PlainValidator(_strategy)] = StrategySettings("peak_ewma")
    timeout: Seconds | None = 30.0
    attempt_timeout: Seconds | None = 10.0
    retry: RetrySettings = RetrySettings()
    ejection: EjectionSettings = EjectionSettings()
    probe: Probe = None
    discovery: Discovery = None
    slow_start: SlowStartSettings = SlowStartSettings()
    hedge: Hedge = None
    zone: Text = ""
    subset: Count | None = None
    host_header: Annotated[Text, AfterValidator(_identity)] = "service"


def _header(value: str) -> str:
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", value):
        raise ValueError(f"expected the name of a header, got {shown(value)}")
    return value.lower()


def _different(value: tuple[str, ...]) -> tuple[str, ...]:
    twice = [name for index, name in enumerate(value) if name in value[:index]]
    if twice:
        raise ValueError(f"{shown(twice[0])} is named twice")
    return value


def _path(value: str) -> str:
    if not re.fullmatch(r"/[!-~]*", value) or "?" in value or "#" in value:
        raise ValueError(f'expected a path like "/healthz", got {shown(value)}')
    return value


DEADLINE_HEADERS = ("x-request-timeout-ms", "x-envoy-expected-rq-timeout-ms", "grpc-timeout")


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class InboundSettings:
    """What a request that comes in brings along.

    Attributes:
        deadline_headers: lower-case names; the first one present bounds the request.
        timeout: seconds; bound for a request that brings no header, None for none.
        chain_stop: whether a request that arrives as a retry makes no retries of its own.
        health_path: where the app says how it is; None: nowhere.
        drain_seconds: how long after SIGTERM the app serves on and says that it is going, before its server hears of
            the signal; 0: not at all.
        report_load: whether a request that asks for a load report is answered with one.
    """

    deadline_headers: Annotated[
        tuple[Annotated[Text, AfterValidator(_header)], ...],
        AfterValidator(_different),
        a_list("header names", '["x-request-timeout-ms"]', (list, tuple)),
    ] = DEADLINE_HEADERS
    timeout: Seconds | None = None
    chain_stop: Flag = True
    health_path: Annotated[Text, AfterValidator(_path)] | None = None
    drain_seconds: SecondsOrZero = 5.0
    report_load: Flag = True


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class RouteSettings:
    """Where the requests at or below one path prefix go.

    Attributes:
        service: the name of a service.
        keep_prefix: whether the replicas get the prefix too.
        body_limit: bytes of a request's body that are kept, so that it can be sent again; 0: none.
    """

    service: Text
    keep_prefix: Flag = False
    body_limit: CountOrOff = 65536
