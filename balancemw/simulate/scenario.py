"""What is simulated: so many callers and replicas, their load, what goes wrong, and the service's own settings."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import Field, PlainValidator, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from balancemw.errors import SettingsError
from balancemw.settings import ServiceSettings
from balancemw.settings.fields import STRICT, Count, CountOrOff, Flag, Positive, Seconds, Text
from balancemw.settings.merge import merged
from balancemw.settings.report import KNOWN, Report
from balancemw.settings.source import from_file, nulled
from balancemw.settings.words import Path, a_list, shown
from balancemw.simulate.faults import Antagonists, AntagonistsOrNone, Fault
from balancemw.simulate.times import ServiceTime

_SERVICE = TypeAdapter(ServiceSettings)
_NOT_SIMULATED = {
    "nodes": "the replicas are simulated; say how many there are with replicas = 10",
    "discovery": "the replicas are simulated, and known from the beginning",
    "probe": "active checks are not simulated",
    "hedge": "calls are not hedged there",
    "zone": "all replicas are in the same zone",
}


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Replica:
    """What the replicas are like.

    Attributes:
        workers: requests that each works on at once; further ones wait in its queue.
        queue: requests that may wait; further ones are answered 503.
        speeds: of the machines, dealt out in turn: of ``[1, 2, 4]`` the second is twice as fast as the first.
        weighted: whether the callers know the speeds, as weights.
    """

    workers: Count = 4
    queue: CountOrOff = 1000
    speeds: Annotated[tuple[Positive, ...], Field(min_length=1), a_list("numbers", "[1, 2, 4]")] = (1.0,)
    weighted: Flag = False


def _mapping(value: Any) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise ValueError(f"expected a mapping, got {shown(value)}")
    return dict(value)


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
        keys: how many keys there are, for ``consistent_hash``, equally frequent; 0: none.
        service_time: how long a request takes.
        replica: what the replicas are like.
        antagonists: what else happens on their machines.
        faults: what goes wrong.
        service: the service's settings, as below ``services.<name>``, without its nodes.
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
    service_time: ServiceTime = ServiceTime()
    replica: Replica = Replica()
    antagonists: AntagonistsOrNone = None
    faults: Annotated[tuple[Fault, ...], a_list("faults", '[{kind = "slow"}]', (list, tuple))] = ()
    service: Annotated[Mapping[str, object], PlainValidator(_mapping)] = dataclasses.field(
        default_factory=dict, hash=False
    )

    @classmethod
    def load(cls, source: "Mapping[str, object] | str | os.PathLike[str]") -> Self:
        """A scenario out of a mapping or a TOML file.

        Raises:
            SettingsError: with every problem at once.
        """
        raw = dict(source) if isinstance(source, Mapping) else from_file(source)
        nulled(raw, ("timeout", "rate", "antagonists"))
        nulled(raw.get("service"), ("timeout", "attempt_timeout"))
        report = Report(known=_KNOWN)
        report.odd_keys((), raw)
        checked: Any = None
        try:
            checked = _SCENARIO.validate_python({key: each for key, each in raw.items() if isinstance(key, str)})
        except ValidationError as error:
            report.invalid(error, lambda path, other: _written(raw, path, other), root="")
        if raw.get("rate") is not None and "utilization" in raw:
            report.add(("rate",), "rate and utilization say the same thing: give one of them")
        if isinstance(service := raw.get("service"), Mapping):
            _settings(service, report)
        if report.lines:
            raise SettingsError(report.lines)
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

    def settings(self, strategy: "str | Mapping[str, object] | None" = None) -> ServiceSettings:
        """The settings of the simulated service.

        Args:
            strategy: instead of the one in `service`.

        Raises:
            SettingsError: with every problem at once.
        """
        report = Report(known=_KNOWN)
        service = self.service if strategy is None else {**self.service, "strategy": strategy}
        weights = self.speeds if self.replica.weighted else (1.0,) * self.replicas
        nodes = [{"url": f"http://replica-{i}", "weight": weight} for i, weight in enumerate(weights)]
        for index, fault in enumerate(self.faults):
            for key, problem in fault.problems(self.replicas, self.duration):
                report.add(("faults", index, key), problem)
        found = _settings(service, report, nodes)
        if found is None:
            raise SettingsError(report.lines)
        return found


_SCENARIO = TypeAdapter(Scenario)


def _keys(cls: Any) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(cls))


_KNOWN = {
    **KNOWN,
    "": _keys(Scenario),
    "service": tuple(key for key in KNOWN["service"] if key not in _NOT_SIMULATED),
    "service_time": _keys(ServiceTime),
    "replica": _keys(Replica),
    "antagonists": _keys(Antagonists),
    "faults": _keys(Fault),
}


def _written(raw: Mapping[Any, Any], path: Path, other: str) -> Path:
    """The key to tell `path` by: of two that contradict each other, one that was written."""
    section: Any = raw
    for part in path[:-1]:
        section = section[part]
    return (*path[:-1], other) if other and path[-1] not in section else path


def _settings(
    service: Mapping[Any, object], report: Report, nodes: Sequence[Mapping[str, object]] = ()
) -> ServiceSettings | None:
    report.odd_keys(("service",), service)
    for key, why in _NOT_SIMULATED.items():
        if service.get(key) not in (None, ""):
            report.add(("service", key), f"not part of a simulation: {why}")
    own = {key: each for key, each in service.items() if isinstance(key, str) and key not in _NOT_SIMULATED}
    try:
        found = _SERVICE.validate_python(merged({**own, "nodes": [*nodes]}, {}))
    except ValidationError as error:
        report.invalid(error, lambda path, other: ("service", *_written(service, path, other)))
        return None
    return None if report.lines else found
