"""One simulation: a scenario under one strategy, from the first call to the last answer."""

import gc
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from math import log
from random import Random

from balancemw.pool import Pool
from balancemw.settings import ServiceSettings
from balancemw.simulate.calls import Caller, Counted, Door, Flight, Office
from balancemw.simulate.faults import Antagonists, Fault
from balancemw.simulate.keys import keys
from balancemw.simulate.network import Way
from balancemw.simulate.outcome import Outcome, Record
from balancemw.simulate.racing import Hedged
from balancemw.simulate.replica import Replica
from balancemw.simulate.scenario import Scenario
from balancemw.simulate.world import World

_MANY = 200_000  # pairs of a caller and a replica


def follow(
    scenario: Scenario, strategy: str | Mapping[str, object] | None, seed: int, variant: str | None = None
) -> Outcome:
    """Simulate a scenario, see `Course`."""
    with _without_collector(many=scenario.callers * scenario.replicas >= _MANY):
        return Course(scenario, strategy, seed, variant).run()


class Course:
    """A scenario as it takes its course. Every kind of chance has a generator of its own, so that calls, their work and
    the neighbours' whims are the same whatever the strategy draws.

    Args:
        scenario: what is simulated.
        strategy: as in the settings; None: as the scenario says.
        seed: of all that is left to chance.
        variant: of the service's settings; None: none.

    Attributes:
        scenario, variant: the same.
        strategy: with its options.
        world: its time.
        replicas: in the order of their numbers.
        callers: who calls.
        open: calls under way.

    Raises:
        SettingsError: the service's settings are wrong.
    """

    def __init__(
        self,
        scenario: Scenario,
        strategy: str | Mapping[str, object] | None,
        seed: int,
        variant: str | None = None,
    ) -> None:
        settings = {
            zone: scenario.settings(strategy, variant=variant, zone=zone) for zone in dict.fromkeys(scenario.zones)
        }
        self.scenario = scenario
        self.variant = variant
        self.strategy = next(iter(settings.values())).strategy
        self.world = World()
        self.events = Counted()
        self.replicas = [Replica(self.world, i, scenario.replica, speed) for i, speed in enumerate(scenario.speeds)]
        self.record = Record(scenario.requests)
        self.office = Office(self.world, self.replicas, self._ended, scenario.timeout)
        self.callers = self._employ(settings, Random(f"choices {seed}"))
        terms = self.callers[0].terms
        self._flight = Hedged if terms.hedged else Flight
        if terms.pool.wants_reports:
            for replica in self.replicas:
                replica.measure()
        self.open = 0
        self._faulty = 0  # replicas with which something is wrong now
        self._of_bad = 0  # tries while there were any; less those before, as long as there are
        self._arrivals = Random(f"arrivals {seed}")
        self._work = scenario.service_time.sampler(Random(f"work {seed}"))
        self._neighbours = Random(f"neighbours {seed}")
        for fault in scenario.faults:
            self._script(fault)
        if scenario.antagonists is not None:
            self._settle(scenario.antagonists)

    def _employ(self, settings: Mapping[str, ServiceSettings], rng: Random) -> list[Caller]:
        """The callers, with the settings of the zone that each is in."""
        zones = self.scenario.zones
        doors = {zone: self._doors(each, zone) for zone, each in settings.items()}
        return [
            Caller(
                settings[zone],
                idempotent=self.scenario.idempotent,
                doors=doors[zone],
                world=self.world,
                rng=rng,
                events=self.events,
            )
            for zone in (zones[number % len(zones)] for number in range(self.scenario.callers))
        ]

    def _doors(self, settings: ServiceSettings, zone: str) -> dict[str, Door]:
        """Where callers of a zone hand in what is for the replicas."""
        network, pairs = self.scenario.network, zip(settings.nodes, self.replicas, strict=True)
        if not zone and network is None:
            return {node.url: replica for node, replica in pairs}
        return {node.url: Way(self.office, replica, node.zone != zone, network) for node, replica in pairs}

    @property
    def pools(self) -> list[Pool]:
        """Those of the callers."""
        return [caller.terms.pool for caller in self.callers]

    def run(self) -> Outcome:
        """Let it happen."""
        began = time.perf_counter()
        self._call()
        while self.open and self.world.plans:
            self.world.run(self.world.plans[0][0])
        connections = None if self.variant is None else self._connections()  # there may be a million pairs
        outcome = self.record.outcome(self.strategy.name, self.office, self.events.counts, time.perf_counter() - began)
        crossed = self.office.crossed / max(1, outcome.tries) if self.scenario.replica.zones else None
        of_bad = self._of_bad + (outcome.tries if self._faulty else 0)
        return replace(
            outcome,
            variant=self.variant or "",
            options=dict(self.strategy.options),
            bad_share=sum(each.bad for each in self.replicas) / of_bad if of_bad else None,
            crossed=crossed,
            connections=connections,
        )

    def _connections(self) -> float:
        """Replicas that a caller has had an answer from, on average."""
        peers = (peer for pool in self.pools for peer in pool.roster.peers.values())
        return sum(peer.spent > 0.0 for peer in peers) / len(self.callers)

    def _call(self) -> None:
        """Make all calls, each at its time."""
        world, office, record, work = self.world, self.office, self.record, self._work
        random, callers, flight = self._arrivals.random, self.callers, self._flight
        count, rate = len(callers), self.scenario.calls_per_second
        key_of = keys(self.scenario.keys, self.scenario.key_skew)
        when = 0.0
        for _ in range(self.scenario.requests):
            when -= log(1.0 - random()) / rate
            world.run(when)
            world.now = when
            self.open += 1
            key = None if key_of is None else key_of(random())
            flight(office, callers[int(random() * count)], key, work(), record.begin(when)).start()

    def _ended(self, flight: Flight, fault: str) -> None:
        self.open -= 1
        self.record.end(flight.number, self.world.now, fault)

    # -- what goes wrong

    def _script(self, fault: Fault) -> None:
        for number, begin, end in fault.spells(len(self.replicas), self.scenario.duration):
            self.world.at(begin, self._break, self.replicas[number], fault)
            self.world.at(end, self._mend, self.replicas[number], fault)

    def _break(self, replica: Replica, fault: Fault) -> None:
        if not self._faulty:
            self._of_bad -= self.office.tries
        self._faulty += not replica.faults
        replica.begin(fault)

    def _mend(self, replica: Replica, fault: Fault) -> None:
        replica.cease(fault)
        self._faulty -= not replica.faults
        if not self._faulty:
            self._of_bad += self.office.tries

    def _settle(self, antagonists: Antagonists) -> None:
        count = max(1, round(antagonists.share * len(self.replicas)))
        for replica in self._neighbours.sample(self.replicas, count):
            first = self._neighbours.random() * (antagonists.busy + antagonists.calm) < antagonists.busy
            self._toggle(replica, first)

    def _toggle(self, replica: Replica, busy: object) -> None:
        antagonists = self.scenario.antagonists
        assert antagonists is not None
        replica.burdened(antagonists.slowdown if busy else 1.0)
        mean = antagonists.busy if busy else antagonists.calm
        self.world.at(self.world.now + self._neighbours.expovariate(1.0 / mean), self._toggle, replica, not busy)


@contextmanager
def _without_collector(*, many: bool) -> Generator[None]:
    """Millions of objects that stay: looking through them for what is out of use would take most of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
            if many:
                gc.collect()  # what follows takes memory as well
