"""The settings of alerts: which node an alert is about, and what follows from it."""

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, ValidationInfo, field_validator
from pydantic.dataclasses import dataclass

from balancemw.errors import did_you_mean
from balancemw.health import LEAST_WEIGHT, MOST_WEIGHT
from balancemw.node import normal_url
from balancemw.settings.admin import Token
from balancemw.settings.fields import STRICT, Conflict, Count, Seconds, Text, plain
from balancemw.settings.words import shown
from balancemw.strategies import OptionError

OTHERS = "*"
"""In ``alerts.severity``: every severity that is not named, and none at all."""

_WORDS = ("down", "drain", "probe", "note")
_WEIGHT_KEYS = ("weight", "probe")


@dataclass(frozen=True, slots=True)
class Reaction:
    """What a firing alert does to its node.

    Attributes:
        kind: ``down``, ``drain`` or ``weight``: the mark that is set; ``note``: none.
        weight: for kind ``weight``: the factor.
        probe: whether the node is checked at once.
    """

    kind: str
    weight: float | None = None
    probe: bool = False

    def __str__(self) -> str:
        named = self.kind if self.weight is None else f"weight × {self.weight:g}"
        return named if not self.probe else "probe" if self.kind == "note" else f"{named} and probe"


def _reaction(value: Any) -> Reaction:
    if isinstance(value, str):
        if value not in _WORDS:
            hint = did_you_mean(value, _WORDS)
            raise ValueError(
                f'unknown reaction {shown(value)}{hint} (known: {", ".join(_WORDS)}, or {{"weight": 0.25}})'
            )
        return Reaction("note", probe=True) if value == "probe" else Reaction(value)
    if not isinstance(value, Mapping):
        raise ValueError(f'expected "down", "drain", "probe", "note" or {{"weight": 0.25}}, got {shown(value)}')
    return _weight(value)


def _weight(value: Mapping[Any, Any]) -> Reaction:
    for key in value:
        if key not in _WEIGHT_KEYS:
            known = did_you_mean(key, _WEIGHT_KEYS) if isinstance(key, str) else ""
            raise OptionError(str(key), f"unknown key{known}")
    weight, probe = value.get("weight"), value.get("probe", False)
    if not isinstance(weight, int | float) or isinstance(weight, bool) or not LEAST_WEIGHT < weight <= MOST_WEIGHT:
        got = "missing" if weight is None else f"got {shown(weight)}"
        raise OptionError("weight", f"a factor above {LEAST_WEIGHT:g} and up to {MOST_WEIGHT:g}; {got}")
    if not isinstance(probe, bool):
        raise OptionError("probe", f"expected true or false, got {shown(probe)}")
    return Reaction("weight", float(weight), probe)


DEFAULT_SEVERITY = {
    "critical": Reaction("down"),
    "warning": Reaction("weight", 0.25, probe=True),
    OTHERS: Reaction("note", probe=True),
}


def _over_defaults(value: dict[str, Reaction]) -> dict[str, Reaction]:
    return {**DEFAULT_SEVERITY, **value}


def _label(value: str) -> str:
    if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", value):
        raise ValueError(f"expected the name of a label, got {shown(value)}")
    return value


def _label_or_none(value: str) -> str:
    return _label(value) if value else value


def _by(value: str) -> str:
    if value in ("name", "host") or (value.startswith("metadata.") and value != "metadata."):
        return value
    hint = did_you_mean(value, ("name", "host", "metadata."))
    raise ValueError(f"unknown property {shown(value)}{hint} (known: name, host, metadata.<key>)")


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class MatchRule:
    """How the labels of an alert lead to nodes.

    Attributes:
        node: the label that holds the node.
        by: what of the node it holds: ``name`` (or the whole url), ``host`` (a port in the label is left out of
            account) or ``metadata.<key>``.
        service: the label that names the service, if the alert has it, else every service is meant; "": not looked at.
        where: labels that the alert must have besides, with their values.
    """

    node: Annotated[Text, AfterValidator(_label)] = "instance"
    by: Annotated[Text, AfterValidator(_by)] = "name"
    service: Annotated[Text, AfterValidator(_label_or_none)] = "service"
    where: Annotated[dict[Annotated[Text, AfterValidator(_label)], Text], BeforeValidator(plain)] = field(
        default_factory=dict, hash=False
    )


def _rules(value: Any) -> Any:
    if not isinstance(value, list | tuple):
        raise ValueError(f'expected a list of rules, got {shown(value)}; write [{{"node": "instance"}}]')
    return [plain(rule) for rule in value]


def _some(value: tuple[MatchRule, ...]) -> tuple[MatchRule, ...]:
    if not value:
        raise ValueError('without a rule no alert leads to a node; write [{"node": "instance"}]')
    return value


def _user(value: str) -> str:
    if ":" in value:
        raise ValueError("basic authentication knows no user with a ':' in the name")
    return value


def _url(value: str) -> str:
    try:
        return normal_url(value)
    except ValueError as error:
        if "@" in value:
            raise ValueError(
                "must not carry a user or password; write them as alerts.user and alerts.password"
            ) from None
        raise ValueError(str(error)) from None


@dataclass(frozen=True, slots=True, config=STRICT)  # kw_only would hide `user` from the validator of `password`
class AlertSettings:
    """What alerts mean, and where Alertmanager is.

    Attributes:
        match: rules, tried in turn until one leads to a node.
        severity: mapping of the label ``severity`` to reactions; ``"*"`` stands for all others.
        lease: seconds for which an alert counts without being heard of again.
        max: alerts taken of one webhook.
        url: base url of an Alertmanager that is asked at start-up and from time to time; None: none is.
        interval: seconds between these questions.
        receiver: only what is routed to this receiver is asked for; None: everything.
        token: for its bearer authentication, or None.
        user, password: for its basic authentication, or None.
    """

    match: Annotated[tuple[MatchRule, ...], AfterValidator(_some), BeforeValidator(_rules)] = (MatchRule(),)
    severity: Annotated[
        dict[Text, Annotated[Reaction, PlainValidator(_reaction)]],
        BeforeValidator(plain),
        AfterValidator(_over_defaults),
    ] = field(default_factory=lambda: dict(DEFAULT_SEVERITY), hash=False)
    lease: Seconds = 18000.0
    max: Count = 1000
    url: Annotated[Text, AfterValidator(_url)] | None = None
    interval: Seconds = 300.0
    receiver: Text | None = None
    token: Token | None = field(default=None, repr=False)
    user: Annotated[Text, AfterValidator(_user)] | None = None
    password: Text | None = Field(default=None, repr=False, validate_default=True)  # so that its absence is told too

    @field_validator("password")
    @classmethod
    def _whole(cls, value: str | None, info: ValidationInfo) -> str | None:
        if "user" in info.data and (value is None) != (info.data["user"] is None):
            raise Conflict("user", "user and password go together")
        if value is not None and info.data.get("token") is not None:
            raise Conflict("token", "either token, or user and password")
        return value

    def reaction(self, severity: str) -> Reaction:
        """What follows from an alert of this `severity`; "": it has none."""
        return self.severity.get(severity) or self.severity[OTHERS]
