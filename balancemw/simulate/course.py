"""One simulation: a scenario under one strategy, from the first call to the last answer."""

import gc
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from math import log
from random import Random

from balancemw.simulate.calls import Counted, Flight, Office, callers
from balancemw.simulate.faults import Antagonists, Fault
from balancemw.simulate.outcome import Outcome, Record
from balancemw.simulate.replica import Replica
from balancemw.simulate.scenario import Scenario
from balancemw.simulate.world import World

_MANY = 200_000  # pairs of a caller and a replica


def follow(scenario: Scenario, strategy: str | Mapping[str, object] | None, seed: int) -> Outcome:
    """Simulate a scenario, see `Course`."""
    with _without_collector():
        return Course(scenario, strategy, seed).run()


class Course:
    """A scenario as it takes its course. Every kind of chance has a generator of its own, so that calls, their work and
    the neighbours' whims are the same whatever the strategy draws.

    Args:
        scenario: what is simulated.
        strategy: as in the settings; None: as the scenario says.
        seed: of all that is left to chance.

    Raises:
        SettingsError: the service's settings are wrong.
    """

    def __init__(self, scenario: Scenario, strategy: str | Mapping[str, object] | None, seed: int) -> None:
        settings = scenario.settings(strategy)
        self.scenario = scenario
        self.strategy = settings.strategy.name
        self.world = World()
        self.events = Counted()
        self.replicas = [Replica(self.world, i, scenario.replica, speed) for i, speed in enumerate(scenario.speeds)]
        self.record = Record()
        by_url = {node.url: replica for node, replica in zip(settings.nodes, self.replicas, strict=True)}
        self.office = Office(self.world, by_url, self._ended, scenario.timeout)
        self._callers = callers(
            scenario.callers,
            settings,
            idempotent=scenario.idempotent,
            world=self.world,
            rng=Random(f"choices {seed}"),
            events=self.events,
        )
        if self._callers[0].pool.wants_reports:
            for replica in self.replicas:
                replica.measure()
        self._open = 0
        self._arrivals = Random(f"arrivals {seed}")
        self._work = scenario.service_time.sampler(Random(f"work {seed}"))
        self._neighbours = Random(f"neighbours {seed}")
        for fault in scenario.faults:
            self._script(fault)
        if scenario.antagonists is not None:
            self._settle(scenario.antagonists)

    def run(self) -> Outcome:
        """Let it happen."""
        began = time.perf_counter()
        self._call()
        while self._open and self.world.plans:
            self.world.run(self.world.plans[0][0])
        self._callers.clear()
        if self.scenario.callers * self.scenario.replicas >= _MANY:
            gc.collect()  # what follows takes memory as well
        return self.record.outcome(self.strategy, self.office, self.events.counts, time.perf_counter() - began)

    def _call(self) -> None:
        """Make all calls, each at its time."""
        world, office, record, work = self.world, self.office, self.record, self._work
        random, terms = self._arrivals.random, self._callers
        count, keys, rate = len(terms), self.scenario.keys, self.scenario.calls_per_second
        when = 0.0
        for _ in range(self.scenario.requests):
            when -= log(1.0 - random()) / rate
            world.run(when)
            world.now = when
            self._open += 1
            key = f"key-{int(random() * keys)}" if keys else None
            Flight(office, terms[int(random() * count)], key, work(), record.begin(when)).start()

    def _ended(self, flight: Flight, fault: str) -> None:
        self._open -= 1
        self.record.end(flight.number, self.world.now, fault)

    # -- what goes wrong

    def _script(self, fault: Fault) -> None:
        for number, begin, end in fault.spells(len(self.replicas), self.scenario.duration):
            self.world.at(begin, self._break, self.replicas[number], fault)
            self.world.at(end, self._mend, self.replicas[number], fault)

    def _break(self, replica: Replica, fault: Fault) -> None:
        self.office.faulty += not replica.faults
        replica.begin(fault)

    def _mend(self, replica: Replica, fault: Fault) -> None:
        replica.cease(fault)
        self.office.faulty -= not replica.faults

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
def _without_collector() -> Generator[None]:
    """Millions of objects, none of them in a circle: looking through them for circles would take most of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
