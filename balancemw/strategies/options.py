"""Checks of the options that strategies take."""

from math import isfinite

from balancemw.strategies import OptionError


def number(option: str, value: object, least: float, most: float = float("inf"), *, above: bool = False) -> float:
    """`value` as a number from `least` to `most`; with `above`, `least` itself is not allowed.

    Raises:
        OptionError: it is no number, or not such a one.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise OptionError(option, f"expected a number, got {value!r}")
    if not isfinite(value):
        raise OptionError(option, f"must be a finite number, got {value!r}")
    if value < least or (above and value == least):
        raise OptionError(option, f"must be {'above' if above else 'at least'} {least:g}, got {value!r}")
    if value > most:
        raise OptionError(option, f"must be at most {most:g}, got {value!r}")
    return float(value)


def whole(option: str, value: object, least: int, most: int) -> int:
    """`value` as a whole number from `least` to `most`.

    Raises:
        OptionError: it is no whole number, or not such a one.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise OptionError(option, f"expected a whole number, got {value!r}")
    return int(number(option, value, least, most))
