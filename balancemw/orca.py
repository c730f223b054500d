"""What a node reports of its load with its answers: an ORCA report, as gRPC and Envoy know it.

Sources: cncf/xds, ``xds/data/orca/v3/orca_load_report.proto``, for the fields; Envoy's
``source/common/orca/orca_parser.cc`` and envoyproxy/envoy#6614 for the headers. A request asks for a report by
``endpoint-load-metrics-format: text``, and the answer has one in ``endpoint-load-metrics``::

    TEXT cpu_utilization=0.3, rps_fractional=10.0, eps=0.0, named_metrics.in_flight=3.0
    JSON {"cpu_utilization": 0.3, "rps_fractional": 10.0, "eps": 0.0, "named_metrics": {"in_flight": 3.0}}
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from types import MappingProxyType

IN_FLIGHT, LATENCY = "in_flight", "latency"
"""The named metrics that our own middleware adds: requests being served, and what one takes of late, in seconds."""

REPORT = "endpoint-load-metrics"
"""The header of an answer that has a report."""

FORMAT = "endpoint-load-metrics-format"
"""The header of a request that asks for one: ``text`` or ``json``."""

ASK: Mapping[str, str] = MappingProxyType({FORMAT: "text"})
"""What a request carries that asks for a report."""

HEADERS = (REPORT, "endpoint-load-metrics-json", "x-endpoint-load-metrics", "x-endpoint-load-metrics-json")
"""Where reports are found: Envoy had a header of its own for JSON at first, and Google's balancers read ``x-``."""

BINARY = "endpoint-load-metrics-bin"
"""gRPC's, in protobuf. It is not read, nor is ``BIN …``: who is asked for text does not answer like this."""

LONGEST = 4096
"""Characters of a header beyond which it is not read."""

_NAMED = "named_metrics"
_PREFIX = _NAMED + "."
_FIELDS = ("cpu_utilization", "mem_utilization", "application_utilization", "rps_fractional", "eps")
_RATES = frozenset(("rps_fractional", "eps"))  # of which 0 says something
_CAMEL = {re.sub("_(.)", lambda found: found[1].upper(), name): name for name in (*_FIELDS, _NAMED)}  # protobuf's own
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_NAME = re.compile(r"[!-+\--9;<>-~]+")  # what can stand in a list of `name=value`: printable, and none of , : =


@dataclass(frozen=True, slots=True)
class LoadReport:
    """One report; the names are those of the protocol's fields, and 0.0 stands for what was not said.

    Attributes:
        cpu_utilization: share of the processor, 0 and up.
        mem_utilization: share of the memory, 0..1.
        application_utilization: share of what the application can do, as it sees that itself; 0 and up.
        rps_fractional: requests per second.
        eps: errors per second.
        named_metrics: what the node has to say besides, by name.
    """

    cpu_utilization: float = 0.0
    mem_utilization: float = 0.0
    application_utilization: float = 0.0
    rps_fractional: float = 0.0
    eps: float = 0.0
    named_metrics: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


# -- to the header


def _fields(report: LoadReport) -> dict[str, float]:
    said = {name: getattr(report, name) for name in _FIELDS}
    return {name: value for name, value in said.items() if value or name in _RATES}


def text(report: LoadReport) -> str:
    """`report` as the value of `REPORT`; a name that cannot stand in a list of ``name=value`` is left out."""
    pairs = [f"{name}={value!r}" for name, value in _fields(report).items()]
    named = report.named_metrics.items()
    return "TEXT " + ", ".join([*pairs, *(f"{_PREFIX}{name}={value!r}" for name, value in named if _plain(name))])


def _plain(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def as_json(report: LoadReport) -> str:
    """`report` as the value of `REPORT`, in protobuf's JSON."""
    said: dict[str, object] = {**_fields(report)}
    if report.named_metrics:
        said[_NAMED] = dict(report.named_metrics)
    return "JSON " + json.dumps(said)


WRITERS: Mapping[str, Callable[[LoadReport], str]] = MappingProxyType({"text": text, "json": as_json})
"""What writes a report, by the format that `FORMAT` asks for in lower case."""


# -- from the header


def found(header: Callable[[str], object]) -> LoadReport | None:
    """The report in the headers of an answer, if there is one; `header` gives a header by its name, or None."""
    for name in HEADERS:
        said = header(name)
        if said is not None:
            return read(said) if isinstance(said, str) else None
    return None


def read(said: str) -> LoadReport | None:
    """The report that a header's value says; None: it is none. Never raises.

    As Envoy's parser, it takes ``name=value`` and the older ``name:value``, and refuses a report in which a name stands
    twice or a number is not finite, and as the protocol has it one below 0, but for named metrics, which mean what the
    node likes. Unlike Envoy, it passes over fields it does not know.
    """
    if len(said) > LONGEST:
        return None
    form, _, rest = said.strip().partition(" ")
    try:
        if form == "JSON" or form.startswith("{"):
            return _report(_from_json(rest if form == "JSON" else said))
        return _report(_from_text(rest if form == "TEXT" else said))
    except (ValueError, ArithmeticError, RecursionError):
        return None


def _from_text(said: str) -> Iterable[tuple[str, object]]:
    for member in said.split(","):
        name, separator, value = member.partition("=")
        if not separator:
            name, _, value = member.partition(":")
        yield name.strip(), value.strip()


def _from_json(said: str) -> Iterable[tuple[str, object]]:
    for name, value in _members(json.loads(said, object_pairs_hook=list)):
        known = _CAMEL.get(name, name)
        if known == _NAMED:
            yield from ((_PREFIX + inner, number) for inner, number in _members(value))
        elif known in _FIELDS:
            yield known, value


def _members(value: object) -> list[tuple[str, object]]:
    if not isinstance(value, list) or not all(isinstance(member, tuple) for member in value):
        raise ValueError("not an object")
    return value


def _number(value: object) -> float:
    """A number of a report; in JSON it may be written as a string, as protobuf has it."""
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value):
            raise ValueError("not a number")
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("not a number")
    number = float(value)
    if not isfinite(number):
        raise ValueError("not finite")
    return number


def _report(said: Iterable[tuple[str, object]]) -> LoadReport | None:
    fields: dict[str, float] = {}
    named: dict[str, float] = {}
    for name, value in said:
        if name in _FIELDS:
            place, key = fields, name
        elif name.startswith(_PREFIX):
            place, key = named, name[len(_PREFIX) :]
        else:
            continue
        if not key or key in place:
            raise ValueError("a metric without a name, or said twice")
        place[key] = number = _number(value)
        if number < 0.0 and place is fields:
            raise ValueError("below 0")
    return LoadReport(**fields, named_metrics=MappingProxyType(named)) if fields or named else None
