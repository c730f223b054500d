"""Ready scenarios, by name. Each is as short as it can be and still show what it is about."""

from types import MappingProxyType

from balancemw.errors import SettingsError, did_you_mean
from balancemw.simulate.faults import Antagonists, Fault
from balancemw.simulate.scenario import Scenario
from balancemw.simulate.site import Network, Replica
from balancemw.simulate.times import ServiceTime

_SHORT = ServiceTime(kind="lognormal", mean=0.010, sigma=0.7)
_ZONES = ("a", "b", "c")
_ZONE_FIRST = MappingProxyType({"all zones alike": {}, "own zone first": {"zone": True}})

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
        about="a surge that all replicas together cannot carry, and callers that wait for two seconds: 130 % load",
        requests=20_000,
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
    Scenario(
        name="uneven-fleet",
        about="machines of speeds 1, 2 and 4, and a hundred callers with so few calls each that they hardly see it",
        callers=100,
        replicas=30,
        requests=60_000,
        utilization=0.35,
        service_time=ServiceTime(kind="lognormal", mean=0.200, sigma=0.7),
        replica=Replica(workers=2, speeds=(1.0, 2.0, 4.0)),
    ),
    Scenario(
        name="hedging",
        about="every replica is ten times slower now and then, for a twentieth of a second",
        utilization=0.4,
        service_time=_SHORT,
        antagonists=Antagonists(share=1.0, slowdown=10.0, busy=0.05, calm=1.0),
        variants=MappingProxyType({"without hedging": {}, "with hedging": {"hedge": {"delay": "p95"}}}),
    ),
    Scenario(
        name="zones",
        about="quick replicas in three zones, and a network that takes longer between them",
        callers=12,
        replicas=12,
        requests=60_000,
        utilization=0.5,
        service_time=ServiceTime(kind="lognormal", mean=0.001, sigma=0.7),
        replica=Replica(zones=_ZONES),
        network=Network(delay=0.0005, across=0.002),
        variants=_ZONE_FIRST,
    ),
    Scenario(
        name="zone-overload",
        about="for half of the run the replicas of one zone of three are too slow to carry the calls of its callers",
        callers=6,
        replicas=9,
        requests=60_000,
        utilization=0.5,
        service_time=ServiceTime(kind="lognormal", mean=0.020, sigma=0.7),
        replica=Replica(workers=2, zones=_ZONES),
        network=Network(delay=0.0005, across=0.002),
        faults=(Fault("slow", (0, 3, 6), factor=2.5),),
        variants=_ZONE_FIRST,
    ),
    Scenario(
        name="hot-keys",
        about="calls by key, of which some are much hotter than others (Zipf): too hot for the replica that has them",
        callers=2,
        utilization=0.5,
        keys=1_000,
        key_skew=1.0,
        service_time=_SHORT,
        variants=MappingProxyType(
            {
                "unbounded": {"strategy": "consistent_hash"},
                "bounded load": {"strategy": {"name": "consistent_hash", "balance_factor": 1.25}},
            }
        ),
    ),
    Scenario(
        name="subset",
        about="200 callers of 100 replicas, which need not all have connections to each other",
        callers=200,
        replicas=100,
        requests=100_000,
        service_time=ServiceTime(kind="lognormal", mean=0.050, sigma=0.7),
        variants=MappingProxyType({"all replicas": {}, "subset of 10": {"subset": 10}}),
    ),
    Scenario(
        name="returning-pool",
        about="all replicas are down for two seconds, and back as cold as they are: three times as slow for five more",
        callers=2,
        replicas=4,
        requests=20_000,
        service_time=ServiceTime(kind="lognormal", mean=0.050, sigma=0.7),
        faults=(Fault("kill", "all", "38%", "40%"), Fault("slow", "all", "40%", "45%", factor=3.0)),
        service=MappingProxyType({"attempt_timeout": 1.0}),
        variants=MappingProxyType(
            {"all calls at once": {"slow_start": {"window": 0.0}}, "as many as it carries": {"slow_start": {}}}
        ),
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
        problem = f"no scenario {name!r}{did_you_mean(name, READY)} (known: {', '.join(READY)})"
        raise SettingsError([problem], "the scenario")
    return READY[name]
