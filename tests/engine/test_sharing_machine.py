"""Random histories of several workers over one store: what they hold true comes to be the same for all."""

import math
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from balancemw import NoNodeAvailable
from tests.engine.crew import Crew, Member
from tests.engine.stage import FAULTS, Answer

COMMANDS = ("operator", "alert", "discovery", "self")
KEEP = 0.5

workers = st.integers(0, 2)
hosts = st.integers(0, 3).map("n{}".format)


class SharingMachine(RuleBasedStateMachine):
    @initialize(probed=st.booleans())
    def begin(self, probed: bool) -> None:
        probe: dict[str, Any] = {"probe": True} if probed else {}
        self.crew = Crew(3, 4, ejection={"keep": KEEP}, slow_start={"window": 0}, **probe)

    @rule(worker=workers, host=hosts, outcome=st.sampled_from([*FAULTS, "ok"]))
    def call(self, worker: int, host: str, outcome: str) -> None:
        member = self.crew[worker]
        member.does = {host: FAULTS[outcome] if outcome != "ok" else Answer}
        member.takes = 0.0
        for _ in range(3):
            try:
                member.call(timeout=20.0)
            except BaseException:
                continue

    @rule(
        worker=workers,
        host=hosts,
        source=st.sampled_from(COMMANDS),
        kind=st.sampled_from(["down", "drain", "weight", "up"]),
        ttl=st.none() | st.sampled_from([0.5, 5.0, 60.0]),
    )
    def command(self, worker: int, host: str, source: str, kind: str, ttl: float | None) -> None:
        weight = 0.5 if kind == "weight" else None
        if self.has(worker, host):
            self.crew[worker].service.mark(f"{host}:80", kind, source=source, reason="why", ttl=ttl, weight=weight)

    @rule(worker=workers, host=hosts, source=st.sampled_from([*COMMANDS, "probe", "traffic"]))
    def withdraw(self, worker: int, host: str, source: str) -> None:
        if self.has(worker, host):
            self.crew[worker].service.clear(f"{host}:80", source=source)

    def has(self, worker: int, host: str) -> bool:
        return host in {node.host for node in self.crew[worker].service.nodes}

    @rule(worker=workers)
    def share(self, worker: int) -> None:
        self.crew[worker].round()

    @rule(worker=workers)
    def cut(self, worker: int) -> None:
        self.crew.depot.down.add(f"w{worker}")

    @rule(worker=workers)
    def mend(self, worker: int) -> None:
        self.crew.depot.down.discard(f"w{worker}")

    @rule()
    def wipe(self) -> None:
        self.crew.depot.wipe()

    @rule(worker=workers, size=st.integers(1, 4))
    def change_members(self, worker: int, size: int) -> None:
        self.crew[worker].service.replace([f"http://n{i}:80" for i in range(size)])

    @rule(seconds=st.sampled_from([0.01, 0.3, 1.0, 7.0, 40.0]))
    def pass_time(self, seconds: float) -> None:
        self.crew.clock.advance(seconds)

    @rule(worker=workers)
    def fork(self, worker: int) -> None:
        self.crew[worker].pool.after_fork()

    @rule()
    def all_agree(self) -> None:
        """Once everybody is in reach, a few rounds are enough."""
        self.crew.depot.down.clear()
        self.crew.clock.advance(0.001)
        for member in self.crew:
            member.service.replace([f"http://n{i}:80" for i in range(4)])
        for _ in range(3):
            self.crew.meet()
        one, *others = [member.marks() for member in self.crew]
        for other in others:
            assert other == one

    @invariant()
    def no_pool_is_emptied(self) -> None:
        for member in self.crew:
            self.check_floor(member)

    def check_floor(self, member: Member) -> None:
        peers = member.pool.roster.peers.values()
        left = {node.host for node in member.service.available}
        forbidden = sum(
            any(source in COMMANDS and mark.kind != "weight" for source, mark in peer.marks.items()) for peer in peers
        )
        floor = max(1, math.ceil(KEEP * len(peers)))
        assert len(left) >= min(floor, len(peers) - forbidden)
        if not left:
            try:
                member.service.pick()
            except NoNodeAvailable:
                return
            raise AssertionError("a choice among none")


SharingMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=40)
test_sharing = SharingMachine.TestCase
