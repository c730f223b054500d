"""Load reports in less memory: every one of a thousand callers may keep one of every one of a thousand replicas."""

from collections.abc import Iterator, Mapping
from typing import Any

from balancemw.orca import IN_FLIGHT, LATENCY, LoadReport

_NUMBERS: dict[float, float] = {}  # those in reports, which are rounded: so that equal ones are one


def compact(report: LoadReport) -> LoadReport:
    """The same report, as `balancemw.meter` makes them, in half of the memory."""
    same, metrics = _NUMBERS.setdefault, report.named_metrics
    cpu, rate, errors = report.cpu_utilization, report.rps_fractional, report.eps
    others, latency = metrics[IN_FLIGHT], metrics.get(LATENCY)
    return LoadReport(
        cpu_utilization=same(cpu, cpu),
        rps_fractional=same(rate, rate),
        eps=same(errors, errors),
        named_metrics=_Metrics(same(others, others), None if latency is None else same(latency, latency)),
    )


class _Metrics(Mapping[str, float]):
    """The metrics of a report in a third of a dict's memory."""

    __slots__ = ("_in_flight", "_latency")

    def __init__(self, in_flight: float, latency: float | None) -> None:
        self._in_flight = in_flight
        self._latency = latency

    def get(self, name: str, default: object = None) -> Any:
        """As of every mapping, whose own comes to as much as all the rest of hearing a report."""
        found = self._in_flight if name == IN_FLIGHT else self._latency if name == LATENCY else None
        return default if found is None else found

    def __getitem__(self, name: str) -> float:
        found = self.get(name)
        if found is None:
            raise KeyError(name)
        return found  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[str]:
        return iter((IN_FLIGHT,) if self._latency is None else (IN_FLIGHT, LATENCY))

    def __len__(self) -> int:
        return 1 if self._latency is None else 2
