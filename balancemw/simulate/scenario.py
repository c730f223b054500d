"""What is simulated: so many callers and replicas, their load, what goes wrong, and the service's own settings."""

import dataclasses
import os
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self

from pydantic import PlainValidator, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from balancemw.errors import SettingsError, did_you_mean
from balancemw.settings import ServiceSettings
from balancemw.settings.fields import STRICT, Count, CountOrOff, Flag, Positive, Seconds, SecondsOrZero, Text
from balancemw.settings.report import KNOWN, MISSING, Report
from balancemw.settings.source import NULLABLE, from_file, nulled
from balancemw.settings.words import Path, a_list, shown
from balancemw.simulate.faults import KINDS, Antagonists, AntagonistsOrNone, Fault
from balancemw.simulate.service import NOT_SIMULATED, Said, check, variant_of
from balancemw.simulate.site import Network, NetworkOrNone, Replica, Zones
from balancemw.simulate.times import ServiceTime


def _mapping(value: Any) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise ValueError(f"expected a mapping, got {shown(value)}")
    return {key: dict(each) if isinstance(each, Mapping) else each for key, each in value.items()}


_MOST_PAIRS = 10_000_000  # of callers and replicas, of about a kilobyte each
_MOST_REQUESTS = 100_000_000
_MOST_KEYS = 10_000_000  # of which each has a share of its own
_WITH_ZONES = 'write replica.zones = ["a", "b"]'
_Section = Annotated[Mapping[str, Any], PlainValidator(_mapping)]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Scenario:
    """One situation in which strategies are compared. `dataclasses.replace` makes another one of it.

    Attributes:
        name, about: what it is called, and what it shows, in a line.
        callers: processes that call, each with a balancer of its own that sees its own calls only.
        replicas: of the service.
        requests: calls in all; they come at random, independent of each other and of the answers (an open loop).
        utilization: the work they are, as a share of what all replicas can do while nothing is wrong.
        rate: calls per second in all; instead of `utilization`.
        timeout: seconds for which those who called the caller wait, as an inbound deadline; None: for ever.
        idempotent: whether a call may be sent twice.
        keys: how many keys there are, for ``consistent_hash``; 0: none.
        key_skew: how unequal they are: the n-th comes 1 / n**key_skew times as often as the first (Zipf); 0: equal.
        service_time: how long a request takes.
        replica: what the replicas are like.
        caller_zones: in which the callers are, dealt out in turn; none: as the replicas.
        network: what takes time between callers and replicas; None: nothing.
        antagonists: what else happens on their machines.
        faults: what goes wrong.
        service: the service's settings, as below ``services.<name>``, without its nodes. With ``zone = true`` each
            caller prefers the replicas of its own zone.
        variants: settings by name, each merged over `service`, to be compared instead of strategies. The first is what
            the others are held against.
    """

    name: Text = "own"
    about: Text = ""
    callers: Count = 10
    replicas: Count = 10
    requests: Count = 40_000
    utilization: Positive = 0.6
    rate: Positive | None = None
    timeout: Seconds | None = None
    idempotent: Flag = True
    keys: CountOrOff = 0
    key_skew: SecondsOrZero = 0.0
    service_time: ServiceTime = ServiceTime()
    replica: Replica = Replica()
    caller_zones: Zones = ()
    network: NetworkOrNone = None
    antagonists: AntagonistsOrNone = None
    faults: Annotated[tuple[Fault, ...], a_list("faults", '[{kind = "slow"}]', (list, tuple))] = ()
    service: _Section = dataclasses.field(default_factory=dict, hash=False)
    variants: _Section = dataclasses.field(default_factory=dict, hash=False)

    @classmethod
    def load(cls, source: "Mapping[str, object] | str | os.PathLike[str]") -> Self:
        """A scenario out of a mapping or a TOML file.

        Raises:
            SettingsError: with every problem at once.
        """
        raw = dict(source) if isinstance(source, Mapping) else _from_file(source)
        nulled(raw, ("timeout", "rate", "antagonists", "network"))
        variants = raw.get("variants")
        for section in (raw.get("service"), *(variants.values() if isinstance(variants, Mapping) else ())):
            nulled(section, NULLABLE)
        report = Report(known=_KNOWN, missing=_MISSING)
        report.odd_keys((), raw)
        checked: Any = None
        try:
            checked = _SCENARIO.validate_python({key: each for key, each in raw.items() if isinstance(key, str)})
        except ValidationError as error:
            report.invalid(error, lambda path, other: _written(raw, path, other), root="")
        if raw.get("rate") is not None and "utilization" in raw:
            report.add(("rate",), "rate and utilization say the same thing: give one of them")
        check(raw.get("service"), variants, report)
        if report.lines:
            raise SettingsError(report.lines, "the scenario")
        return checked  # type: ignore[no-any-return]

    @property
    def speeds(self) -> tuple[float, ...]:
        """The speed of each replica, 1.0 for one that takes as long as `service_time` says."""
        dealt = self.replica.speeds
        return tuple(dealt[number % len(dealt)] for number in range(self.replicas))

    @property
    def calls_per_second(self) -> float:
        """`rate`, or what `utilization` comes to."""
        capacity = sum(self.speeds) * self.replica.workers / self.service_time.mean
        return self.rate or self.utilization * capacity

    @property
    def duration(self) -> float:
        """Seconds from the first call to the last."""
        return self.requests / self.calls_per_second

    @property
    def zones(self) -> tuple[str, ...]:
        """Where callers are, in turn: one zone without a name, unless there are others."""
        return self.caller_zones or self.replica.zones or ("",)

    def check_size(self) -> None:
        """See whether it can be simulated at all, before anything is made of it.

        Raises:
            SettingsError: there is too much of something.
        """
        report = Report(known=_KNOWN)
        if self.callers * self.replicas > _MOST_PAIRS:
            too_many = f"{self.callers:,} callers of {self.replicas:,} replicas are too many"
            report.add(("replicas",), f"{too_many}: callers * replicas may be {_MOST_PAIRS:,} at most")
        if self.requests > _MOST_REQUESTS:
            report.add(("requests",), f"{self.requests:,} are too many: {_MOST_REQUESTS:,} at most")
        if self.keys > _MOST_KEYS and self.key_skew:
            report.add(("keys",), f"{self.keys:,} of unequal shares are too many: {_MOST_KEYS:,} at most")
        if report.lines:
            raise SettingsError(report.lines, "the scenario")

    def settings(
        self, strategy: "str | Mapping[str, object] | None" = None, *, variant: str | None = None, zone: str = ""
    ) -> ServiceSettings:
        """The settings of the simulated service.

        Args:
            strategy: instead of the one in `service`.
            variant: which of the `variants`; None: the service as it is.
            zone: of the caller.

        Raises:
            SettingsError: with every problem at once.
        """
        self.check_size()
        report = Report(known=_KNOWN)
        for path, problem in self._problems():
            report.add(path, problem)
        said = self._said(variant, report)
        if said is None:
            raise SettingsError(report.lines, "the scenario")
        if strategy is not None:
            said = dataclasses.replace(said, own={**said.own, "strategy": strategy})
        if said.own_zone and not self.replica.zones:
            report.add((*said.place, "zone"), f"the replicas are in no zones; {_WITH_ZONES}")
        found = said.settings(report, self._nodes(), zone)
        if found is not None and found.hedge is not None and not self.idempotent:
            report.add(
                (*said.place, "hedge"), "calls that may not be sent twice are not hedged; write idempotent = true"
            )
        if found is None or report.lines:
            raise SettingsError(report.lines, "the scenario")
        return found

    def _said(self, variant: str | None, report: Report) -> Said | None:
        if variant is None:
            return Said(self.service, {}, ("service",))
        if variant in self.variants:
            return variant_of(self.service, self.variants, variant, report)
        report.add(("variants",), f"there is no {shown(variant)}{did_you_mean(variant, self.variants)}")
        return None

    def _nodes(self) -> list[dict[str, object]]:
        weights = self.speeds if self.replica.weighted else (1.0,) * self.replicas
        zones = self.replica.zones or ("",)
        return [
            {"url": f"http://replica-{i}", "weight": weight, "zone": zones[i % len(zones)]}
            for i, weight in enumerate(weights)
        ]

    def _problems(self) -> Iterator[tuple[Path, str]]:
        """What says nothing beside the rest, and why."""
        for key, problem in self.service_time.problems():
            yield ("service_time", key), problem
        for index, fault in enumerate(self.faults):
            for key, problem in fault.problems(self.replicas, self.duration):
                yield ("faults", index, key), problem
        if self.key_skew and not self.keys:
            yield ("key_skew",), "calls have no keys; write keys = 1000"
        if self.replica.zones:
            return
        if self.caller_zones:
            yield ("caller_zones",), f"the replicas are in no zones; {_WITH_ZONES}"
        if self.network is not None and self.network.across != Network().across:
            yield ("network", "across"), f"the replicas are in no zones; {_WITH_ZONES}"


_SCENARIO = TypeAdapter(Scenario)


def _from_file(path: "str | os.PathLike[str]") -> dict[str, Any]:
    try:
        return from_file(path)
    except SettingsError as error:
        raise SettingsError(error.problems, "the scenario") from None


def _keys(cls: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(cls))


_KNOWN = {
    **KNOWN,
    "": _keys(Scenario),
    "service": tuple(key for key in KNOWN["service"] if key not in NOT_SIMULATED),
    "service_time": _keys(ServiceTime),
    "replica": _keys(Replica),
    "network": _keys(Network),
    "antagonists": _keys(Antagonists),
    "faults": _keys(Fault),
}
_MISSING = {**MISSING, "kind": f"missing; write one of {', '.join(KINDS)}"}


def _written(raw: Mapping[Any, Any], path: Path, other: str) -> Path:
    """The key to tell `path` by: of two that contradict each other, one that was written."""
    section: Any = raw
    for part in path[:-1]:
        section = section[part]
    return (*path[:-1], other) if other and path[-1] not in section else path
