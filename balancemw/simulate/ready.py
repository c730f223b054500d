"""Ready scenarios, by name. Each is as short as it can be and still show what it is about."""

from types import MappingProxyType

from balancemw.errors import SettingsError, did_you_mean
from balancemw.simulate.faults import Antagonists, Fault
from balancemw.simulate.scenario import Scenario
from balancemw.simulate.site import Replica
from balancemw.simulate.times import ServiceTime

_SHORT = ServiceTime(kind="lognormal", mean=0.010, sigma=0.7)

_ALL = (
    Scenario(name="steady", about="nothing is wrong: ten callers, ten equal replicas, 60 % load", service_time=_SHORT),
    Scenario(
        name="busy",
        about="nothing is wrong, but the replicas have little to spare: 90 % load",
        utilization=0.9,
        service_time=_SHORT,
    ),
    Scenario(
        name="heavy-tail",
        about="few requests take very long (Pareto, exponent 1.8) and block those behind them",
        service_time=ServiceTime(kind="pareto", mean=0.010, alpha=1.8),
    ),
    Scenario(
        name="slow-replica",
        about="one replica of ten takes ten times as long, for half of the run",
        service_time=_SHORT,
        faults=(Fault("slow", factor=10.0),),
    ),
    Scenario(
        name="fail-fast",
        about="one replica of ten answers 503 within a millisecond: the sinkhole, which looks idle and quick",
        service_time=_SHORT,
        faults=(Fault("fail"),),
    ),
    Scenario(
        name="hung-replica",
        about="one replica of ten accepts requests and never answers",
        service_time=_SHORT,
        faults=(Fault("hang"),),
        service=MappingProxyType({"attempt_timeout": 1.0}),
    ),
    Scenario(
        name="killed-replica",
        about="one replica of ten dies with all that it was working on, and is back later",
        service_time=_SHORT,
        faults=(Fault("kill"),),
    ),
    Scenario(
        name="rolling-restart",
        about="every replica in turn is killed and comes back",
        service_time=_SHORT,
        faults=(Fault("restart", "all"),),
    ),
    Scenario(
        name="all-down",
        about="all replicas answer 503 for a quarter of the run: how many tries do they get for each call?",
        service_time=_SHORT,
        faults=(Fault("fail", "all", "40%", "65%"),),
    ),
    Scenario(
        name="overload",
        about="a surge that all replicas together cannot carry, and callers that wait for half a second: 130 % load",
        utilization=1.3,
        service_time=_SHORT,
        timeout=2.0,
        service=MappingProxyType({"attempt_timeout": 0.5}),
    ),
    Scenario(
        name="uneven",
        about="machines of speeds 1, 2 and 4, and callers that do not know it",
        replicas=9,
        service_time=_SHORT,
        replica=Replica(speeds=(1.0, 2.0, 4.0)),
    ),
    Scenario(
        name="uneven-weighted",
        about="the same machines, their speeds told to the callers as weights",
        replicas=9,
        service_time=_SHORT,
        replica=Replica(speeds=(1.0, 2.0, 4.0), weighted=True),
    ),
    Scenario(
        name="antagonists",
        about="others on the machines take their processors for a while, at 70 % load",
        utilization=0.7,
        replicas=20,
        service_time=_SHORT,
        antagonists=Antagonists(share=0.5, slowdown=3.0),
    ),
    Scenario(
        name="many-callers",
        about="200 callers of 200 replicas: each sees little of what the replicas do",
        callers=200,
        replicas=200,
        requests=200_000,
        utilization=0.7,
        service_time=ServiceTime(kind="lognormal", mean=0.050, sigma=0.7),
        antagonists=Antagonists(share=0.3),
    ),
)

READY = {scenario.name: scenario for scenario in _ALL}
"""The ready scenarios by name."""


def ready(name: str) -> Scenario:
    """The ready scenario called `name`.

    Raises:
        SettingsError: there is none.
    """
    if name not in READY:
        raise SettingsError([f"no scenario {name!r}{did_you_mean(name, READY)} (known: {', '.join(READY)})"])
    return READY[name]
