"""What is wrong with replicas, and when: faults by script, and neighbours that take a machine's time."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, field_validator
from pydantic.dataclasses import dataclass

from balancemw.errors import did_you_mean
from balancemw.settings.fields import STRICT, Conflict, PositiveShare, Seconds, SecondsOrZero, Text
from balancemw.settings.words import shown

KINDS = ("slow", "fail", "overload", "hang", "kill", "restart")

_MEANT_FOR = {
    "factor": ("slow",),
    "status": ("fail",),
    "after": ("fail", "overload", "kill", "restart"),
    "retry_after": ("overload",),
}


def _kind(value: str) -> str:
    if value not in KINDS:
        raise ValueError(f"unknown kind {shown(value)}{did_you_mean(value, KINDS)} (known: {', '.join(KINDS)})")
    return value


def _when(value: Any) -> float | str:
    if isinstance(value, str) and value.endswith("%"):
        try:
            if 0.0 <= float(value[:-1]) <= 100.0:
                return value
        except ValueError:
            pass
    if isinstance(value, str | bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise ValueError(f'expected seconds from the beginning or a share of the run like "25%", got {shown(value)}')
    return float(value)


When = Annotated[float | str, PlainValidator(_when)]
"""Seconds from the beginning of the run, or a share of the run: ``"25%"``."""


def at(when: float | str, duration: float) -> float:
    """`when` in seconds, in a run that takes `duration`."""
    return float(when[:-1]) / 100.0 * duration if isinstance(when, str) else when


def _which(value: Any) -> Any:
    numbers = value if isinstance(value, list | tuple) else [value]
    whole = numbers and all(isinstance(each, int) and not isinstance(each, bool) and each >= 0 for each in numbers)
    if value != "all" and (not whole or value == 0):
        got = "an empty list" if value == [] else shown(value)
        raise ValueError(f'expected how many, a list of numbers from 0 like [0, 2], or "all", got {got}')
    return tuple(value) if isinstance(value, list) else value


Which = Annotated[Literal["all"] | int | tuple[int, ...], PlainValidator(_which)]
"""Replicas: how many of them, from the first; their numbers, from 0; or all."""


@dataclass(frozen=True, slots=True, config=STRICT)  # kw_only would hide `begin` from the validator of `end`
class Fault:
    """Something that happens to replicas.

    Attributes:
        kind: ``slow``: everything takes `factor` times as long. ``fail``: every request is answered at once with
            `status`. ``overload``: likewise with 503 and `retry_after`. ``hang``: requests are accepted and not
            answered. ``kill``: requests under way are reset, new ones refused. ``restart``: the replicas are killed one
            after the other, each for its part of the time.
        replicas: which ones.
        begin, end: when.
        factor: ``slow``.
        status: ``fail``.
        after: seconds until the answer of ``fail`` or ``overload``, or until a connection is refused.
        retry_after: seconds, in the ``Retry-After`` of ``overload``.
    """

    kind: Annotated[Text, AfterValidator(_kind)]
    replicas: Which = 1
    begin: When = "25%"
    end: When = Field(default="75%", validate_default=True)  # so that a begin after it is told too
    factor: Annotated[float, Field(strict=True, ge=1, allow_inf_nan=False)] = 10.0
    status: Annotated[int, Field(strict=True, ge=400, le=599)] = 503
    after: Seconds = 0.001
    retry_after: SecondsOrZero = 1.0

    @field_validator("end")
    @classmethod
    def _after_begin(cls, value: float | str, info: Any) -> float | str:
        begin = info.data.get("begin")
        if type(begin) is type(value) and at(begin, 1.0) >= at(value, 1.0):
            raise Conflict("begin", f"begin ({begin}) is not before end ({value})")
        return value

    def problems(self, count: int, duration: float) -> list[tuple[str, str]]:
        """Keys that say nothing in a run of so many seconds with so many replicas, and why."""
        found = [
            (key, f"means nothing for {self.kind!r}, but for {' and '.join(map(repr, kinds))}")
            for key, kinds in _MEANT_FOR.items()
            if self.kind not in kinds and getattr(self, key) != self.__dataclass_fields__[key].default
        ]
        most = max(self.replicas) + 1 if isinstance(self.replicas, tuple) else self.replicas
        if isinstance(most, int) and most > count:
            found.append(("replicas", f"there are {count}, numbered from 0"))
        if at(self.begin, duration) >= at(self.end, duration):
            found.append(("begin", f"not before its end: the run takes {duration:.3g} s in all"))
        return found

    def numbers(self, count: int) -> tuple[int, ...]:
        """The replicas it happens to, of `count`."""
        if self.replicas == "all":
            return tuple(range(count))
        if isinstance(self.replicas, int):
            return tuple(range(self.replicas))
        return tuple(dict.fromkeys(self.replicas))

    def spells(self, count: int, duration: float) -> list[tuple[int, float, float]]:
        """(replica, begin, end) for each of the replicas that it happens to."""
        numbers = self.numbers(count)
        begin, end = at(self.begin, duration), at(self.end, duration)
        if self.kind != "restart":
            return [(number, begin, end) for number in numbers]
        each = (end - begin) / max(1, len(numbers))
        return [(number, begin + place * each, begin + (place + 1) * each) for place, number in enumerate(numbers)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Antagonists:
    """Others on the replicas' machines, who take their processors for a while (Prequal, section 2).

    Attributes:
        share: of the replicas that have such neighbours.
        slowdown: how many times as long requests take meanwhile.
        busy, calm: seconds on average for which they do, and do not; exponentially distributed.
    """

    share: PositiveShare = 0.3
    slowdown: Annotated[float, Field(strict=True, gt=1, allow_inf_nan=False)] = 3.0
    busy: Seconds = 0.5
    calm: Seconds = 1.0


def _flag(value: Any) -> Any:
    return Antagonists() if value is True else None if value is False else value


AntagonistsOrNone = Annotated[Antagonists | None, BeforeValidator(_flag)]
"""`Antagonists`, ``true`` for those by default, or none."""
