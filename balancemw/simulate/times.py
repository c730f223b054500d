"""How long a request takes at a replica that has nothing else to do: distributions with a given mean."""

from collections.abc import Callable
from math import exp, log
from random import Random
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from balancemw.errors import did_you_mean
from balancemw.settings.fields import STRICT, Positive, Seconds, Share, Text
from balancemw.settings.words import shown

KINDS = ("constant", "uniform", "exponential", "lognormal", "pareto", "bimodal")

_MEANT_FOR = {"sigma": "lognormal", "alpha": "pareto", "share": "bimodal", "times": "bimodal"}


def _kind(value: str) -> str:
    if value not in KINDS:
        raise ValueError(f"unknown kind {shown(value)}{did_you_mean(value, KINDS)} (known: {', '.join(KINDS)})")
    return value


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ServiceTime:
    """The work that a request is.

    Attributes:
        kind: ``constant``, ``uniform`` (from 0 to twice the mean), ``exponential``, ``lognormal``, ``pareto`` or
            ``bimodal`` (few requests are long).
        mean: seconds on average, whatever the kind.
        sigma: ``lognormal``: the standard deviation of the logarithm.
        alpha: ``pareto``: the exponent of the tail, above 1; below 2 the variance is infinite.
        share: ``bimodal``: share of the requests that are long.
        times: ``bimodal``: how many times as long as the others.
    """

    kind: Annotated[Text, AfterValidator(_kind)] = "exponential"
    mean: Seconds = 0.010
    sigma: Positive = 1.0
    alpha: Annotated[float, Field(strict=True, gt=1, allow_inf_nan=False)] = 2.5
    share: Share = 0.05
    times: Positive = 10.0

    def problems(self) -> list[tuple[str, str]]:
        """Keys that say nothing for this kind, and why."""
        return [
            (key, f"means nothing for {self.kind!r}, but for {kind!r}")
            for key, kind in _MEANT_FOR.items()
            if self.kind != kind and getattr(self, key) != self.__dataclass_fields__[key].default
        ]

    def sampler(self, rng: Random) -> Callable[[], float]:
        """Draws the work of one request, in seconds."""
        random, mean = rng.random, self.mean
        if self.kind == "constant":
            return lambda: mean
        if self.kind == "uniform":
            return lambda: 2.0 * mean * random()
        if self.kind == "exponential":
            return lambda: -mean * log(1.0 - random())
        if self.kind == "lognormal":
            middle = mean * exp(-self.sigma * self.sigma / 2.0)
            return lambda: middle * exp(rng.gauss(0.0, self.sigma))
        if self.kind == "pareto":
            least, power = mean * (self.alpha - 1.0) / self.alpha, -1.0 / self.alpha
            return lambda: least * (1.0 - random()) ** power
        short = mean / (1.0 + self.share * (self.times - 1.0))
        return lambda: short * self.times if random() < self.share else short
