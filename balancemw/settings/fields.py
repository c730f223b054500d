"""The kinds of values that settings are made of. Strict: a number in quotes is no number, and neither is true."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import ConfigDict, Field

STRICT = ConfigDict(extra="forbid", hide_input_in_errors=True)

Text = Annotated[str, Field(strict=True)]
Flag = Annotated[bool, Field(strict=True)]
Whole = Annotated[int, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=1)]
CountOrOff = Annotated[int, Field(strict=True, ge=0)]
Status = Annotated[int, Field(strict=True, ge=100, le=599)]
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Seconds = Positive
SecondsOrZero = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Rate = SecondsOrZero
Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
PositiveShare = Annotated[float, Field(strict=True, gt=0, le=1, allow_inf_nan=False)]


def plain(value: Any) -> Any:
    """`value`, a mapping as a dict: pydantic takes no other where it wants one."""
    return dict(value) if isinstance(value, Mapping) else value


class Conflict(ValueError):
    """Two keys of one section contradict each other.

    Attributes:
        other: the key that contradicts the one the error is raised for.
    """

    def __init__(self, other: str, message: str) -> None:
        super().__init__(message)
        self.other = other
