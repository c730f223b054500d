"""The settings of active checks."""

import dataclasses
import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainValidator
from pydantic.dataclasses import dataclass

from balancemw.errors import did_you_mean
from balancemw.node import Node
from balancemw.settings.fields import STRICT, Count, Seconds, Share, Text
from balancemw.settings.sources import known_callable
from balancemw.settings.words import a_list, shown
from balancemw.strategies import load_object


def _kind(value: str) -> str:
    if value in ("http", "tcp"):
        return value
    if ":" not in value:
        hint = did_you_mean(value, ("http", "tcp"))
        raise ValueError(f'unknown kind {shown(value)}{hint} (known: http, tcp, or "package.module:callable")')
    return known_callable(value)


def _path(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError(f"must begin with '/', got {shown(value)}")
    if "#" in value or any(ord(c) <= 32 or ord(c) == 127 for c in value):
        raise ValueError("a path has no spaces, control characters or fragment")
    return value


def _method(value: str) -> str:
    if not re.fullmatch("[A-Za-z]+(-[A-Za-z]+)*", value):
        raise ValueError(f"expected a method like 'GET', got {shown(value)}")
    return value.upper()


def _statuses(value: Any) -> tuple[int, int]:
    """A range of statuses out of ``[low, high]`` or one bare status."""
    pair = value if isinstance(value, list | tuple) else (value, value)
    if len(pair) != 2 or not all(isinstance(n, int) and not isinstance(n, bool) and 100 <= n <= 599 for n in pair):
        said = f"[{', '.join(shown(n) for n in pair[:5])}]" if pair is value else shown(value)
        raise ValueError(f"expected a status (100 to 599) or a range like [200, 399], got {said}")
    low, high = pair
    if low > high:
        raise ValueError(f"a range goes upwards: write [{high}, {low}]")
    return int(low), int(high)


def _not_empty(value: tuple[Any, ...]) -> tuple[Any, ...]:
    if not value:
        raise ValueError("with an empty list no check could ever pass; write [[200, 399]]")
    return value


Expected = Annotated[
    tuple[Annotated[tuple[int, int], PlainValidator(_statuses)], ...],
    AfterValidator(_not_empty),
    a_list("statuses or ranges of them", "[[200, 399]]", (list, tuple)),
]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ProbeSettings:
    """How nodes are actively checked.

    Attributes:
        kind: ``"http"``, ``"tcp"`` or ``"package.module:callable"``.
        path: http: what is asked for, below the node's url.
        method: http: upper-case.
        expect: http: the status ranges that pass, both ends included.
        interval: seconds between checks of a node that is up and steady.
        timeout: seconds; a check that takes longer has failed.
        fall: failures in a row that take a node out.
        rise: passes in a row that bring it back.
        jitter: 0..1; share of the interval by which checks are spread.
        fast_interval: seconds between checks while a node is changing.
        down_interval: seconds between checks of a node that is down.
        call: the callable that `kind` names, or None. Not a key of the settings.
    """

    kind: Annotated[Text, AfterValidator(_kind)]
    path: Annotated[Text, AfterValidator(_path)] = "/"
    method: Annotated[Text, AfterValidator(_method)] = "GET"
    expect: Expected = ((200, 399),)
    interval: Seconds = 5.0
    timeout: Seconds = 2.0
    fall: Count = 3
    rise: Count = 2
    jitter: Share = 0.2
    fast_interval: Seconds = 1.0
    down_interval: Seconds = 10.0
    call: Callable[[Node], object] | None = dataclasses.field(init=False, default=None)

    def __post_init__(self) -> None:
        if ":" in self.kind:
            object.__setattr__(self, "call", load_object(self.kind))


def _probe(value: Any) -> Any:
    if value is True:
        return {"kind": "tcp"}
    if value is False:
        return None
    if isinstance(value, str):
        raise ValueError(f'expected a mapping, true or false, got {shown(value)}; write {{"kind": "tcp"}}')
    return value


Probe = Annotated[ProbeSettings | None, BeforeValidator(_probe)]
