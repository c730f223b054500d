"""The settings of the simulated service, as below ``services.<name>``, and those of variants of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from balancemw.settings import ServiceSettings
from balancemw.settings.merge import merged, written
from balancemw.settings.report import Report
from balancemw.settings.words import Path, shown

_SERVICE = TypeAdapter(ServiceSettings)

NOT_SIMULATED = {
    "nodes": "the replicas are simulated; say how many there are with replicas = 10",
    "discovery": "the replicas are simulated, and known from the beginning",
    "probe": "active checks are not simulated",
}
"""Keys of a service that mean nothing here, and why."""

Section = Mapping[Any, Any]


@dataclass(frozen=True, slots=True)
class Said:
    """What is said of the service in one place, over what is said elsewhere.

    Attributes:
        own: what is said there.
        below: what holds besides.
        place: its key.
    """

    own: Section
    below: Section
    place: Path

    @property
    def own_zone(self) -> bool:
        """Whether each caller prefers the replicas of its own zone."""
        return {**self.below, **self.own}.get("zone") is True

    def settings(
        self, report: Report, nodes: Sequence[Mapping[str, object]] = (), zone: str = ""
    ) -> ServiceSettings | None:
        """All in all; None: something is wrong with it, which is told.

        Args:
            report: takes the problems.
            nodes: the replicas.
            zone: the caller's.
        """
        report.odd_keys(self.place, self.own)
        for key, why in NOT_SIMULATED.items():
            if self.own.get(key) not in (None, ""):
                report.add((*self.place, key), f"not part of a simulation: {why}")
        if not isinstance(ours := self.own.get("zone"), bool) and ours not in (None, ""):
            why = "each caller has a zone; with true it prefers the replicas there"
            report.add((*self.place, "zone"), f"expected true or false, got {shown(ours)}: {why}")
        whole = merged(_simulated(self.own), _simulated(self.below))
        try:
            found = _SERVICE.validate_python({**whole, "nodes": [*nodes], "zone": zone if self.own_zone else ""})
        except ValidationError as error:
            report.invalid(error, self._key)
            return None
        return None if report.lines else found

    def _key(self, path: Path, other: str) -> Path:
        mine, key = written(self.own, self.below, path, other)
        return (*self.place, *key) if mine else ("service", *key)


def _simulated(section: Section) -> dict[Any, Any]:
    return {key: each for key, each in section.items() if isinstance(key, str) and key not in NOT_SIMULATED}


def variant_of(service: Section, variants: Mapping[Any, object], name: str, report: Report) -> Said | None:
    """What the variant called `name` says over `service`; None: nothing that makes sense, which is told."""
    own = variants[name]
    if not name:
        report.add(("variants",), "a variant needs a name")
    elif isinstance(own, Mapping):
        return Said(own, service, ("variants", name))
    else:
        report.add(("variants", name), f"expected a mapping, got {shown(own)}; write {{}} for the service as it is")
    return None


def check(service: object, variants: object, report: Report) -> None:
    """Tell of all that is wrong with the service's settings and with its variants."""
    below = service if isinstance(service, Mapping) else {}
    if below is service:
        Said(below, {}, ("service",)).settings(report)
    if not isinstance(variants, Mapping):
        return
    report.odd_keys(("variants",), variants)
    for name in variants:
        if isinstance(name, str) and (said := variant_of(below, variants, name, report)):
            said.settings(report)
