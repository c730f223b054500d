"""The settings of hedging."""

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainValidator
from pydantic.dataclasses import dataclass

from balancemw.hedging import LEAST_DELAY, Hedging
from balancemw.settings.fields import STRICT, PositiveShare
from balancemw.settings.words import shown

_PERCENTILE = re.compile(r"p([0-9]{1,2}(?:\.[0-9]{1,3})?)")


def _delay(value: Any) -> float | str:
    if isinstance(value, str):
        found = _PERCENTILE.fullmatch(value)
        if found is None or float(found[1]) == 0.0:
            raise ValueError(f'expected a percentile like "p95" or seconds like 0.05, got {shown(value)}')
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f'expected a percentile like "p95" or seconds like 0.05, got {shown(value)}')
    if not LEAST_DELAY <= value < float("inf"):
        raise ValueError(f"must be a finite number and at least {LEAST_DELAY}, got {shown(value)}")
    return float(value)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class HedgeSettings:
    """When a call that takes long is sent to a second node as well.

    Attributes:
        delay: how long an answer may take until then: seconds, or a percentile of recent calls' time such as ``"p95"``.
        max_extra: hedges allowed as a share of calls, above 0 and up to 1.
    """

    delay: Annotated[float | str, PlainValidator(_delay)] = "p95"
    max_extra: PositiveShare = 0.05

    @property
    def percentile(self) -> float | None:
        """The percentile as a share, such as 0.95; None: the delay is fixed."""
        return float(self.delay[1:]) / 100.0 if isinstance(self.delay, str) else None

    def begin(self) -> Hedging:
        """What the calls of a service share that has these settings."""
        return Hedging(0.0 if isinstance(self.delay, str) else self.delay, self.percentile, self.max_extra)


def _hedge(value: Any) -> Any:
    if value is True:
        return {}
    if value is False:
        return None
    if isinstance(value, str | int | float):
        raise ValueError(f'expected a mapping, true or false, got {shown(value)}; write {{"delay": "p95"}}')
    return value


Hedge = Annotated[HedgeSettings | None, BeforeValidator(_hedge)]
