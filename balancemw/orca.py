"""What a node reports of its load with its answers: an ORCA report, as gRPC and Envoy know it.

Source: cncf/xds, ``xds/data/orca/v3/orca_load_report.proto``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

IN_FLIGHT, LATENCY = "in_flight", "latency"
"""The named metrics that our own middleware adds: requests being served, and what one takes of late, in seconds."""


@dataclass(frozen=True, slots=True)
class LoadReport:
    """One report; the names are those of the protocol's fields, and 0.0 stands for what was not said.

    Attributes:
        cpu_utilization: share of the processor, 0 and up.
        mem_utilization: share of the memory, 0..1.
        application_utilization: share of what the application can do, as it sees that itself; 0 and up.
        rps_fractional: requests per second.
        eps: errors per second.
        named_metrics: what the node has to say beside that, by name.
    """

    cpu_utilization: float = 0.0
    mem_utilization: float = 0.0
    application_utilization: float = 0.0
    rps_fractional: float = 0.0
    eps: float = 0.0
    named_metrics: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
