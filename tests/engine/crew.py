"""Workers of one service on a fake clock, who meet in a store that is kept in memory."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from threading import Event as Wake
from typing import Any

from balancemw import Event
from balancemw.sharing.contact import Contact
from balancemw.sharing.courier import Courier
from balancemw.sharing.shared import Shared
from balancemw.stores import Claim, Cursor, Page, StoreError
from balancemw.stores.claim import Key, read_claim
from tests.engine.clock import FakeClock
from tests.engine.stage import Stage


class Depot:
    """A store as all see it: what `Store` says, in the plainest way.

    Attributes:
        down: the holders, by worker, for whom it is out of reach.
        asked: leases asked for, by holder and name.
    """

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.down: set[str] = set()
        self._generations = count(1)
        self.journal: list[Event] = []
        self.wipe()

    def wipe(self) -> None:
        """It forgets everything."""
        self.generation = str(next(self._generations))
        self.revision = 0
        self.claims: dict[Key, tuple[int, Claim]] = {}
        self.leases: dict[str, tuple[str, float]] = {}
        self.workers: dict[str, tuple[float, str]] = {}
        self.journal.clear()
        self._posted: set[tuple[str, int]] = set()


class View:
    """What one worker sees of a depot; a `Store`."""

    def __init__(self, depot: Depot, worker: str) -> None:
        self._depot = depot
        self._worker = worker

    def _reach(self) -> Depot:
        if self._worker in self._depot.down:
            raise StoreError("out of reach")
        return self._depot

    def exchange(self, claims: Sequence[Claim], cursor: Cursor) -> Page:
        depot = self._reach()
        anew, lost = cursor.generation != depot.generation, set()
        for claim in () if anew else claims:
            there = depot.claims.get(claim.key)
            if there is not None and 0.0 < there[1].at - claim.at < claim.yields:
                lost.add(claim.key)
                continue
            depot.revision += 1
            stored = read_claim(claim.key, claim.text())
            assert stored == replace(claim, late=False, level=claim.level if claim.mark else 0)
            depot.claims[claim.key] = (depot.revision, stored)
        since = 0 if anew else cursor.revision
        rows = sorted(depot.claims.items(), key=lambda row: row[1][0])
        found = [claim for key, (revision, claim) in rows if revision > since or key in lost]
        return Page(Cursor(depot.generation, depot.revision), found, anew=anew)

    def append(self, writer: str, entries: Sequence[tuple[int, Event]], above: int) -> None:
        depot = self._reach()
        for number, event in entries:
            if (writer, number) not in depot._posted:
                depot._posted.add((writer, number))
                last = max(above, depot.journal[-1].id if depot.journal else 0)
                depot.journal.append(replace(event, id=last + 1))

    def read(self, after: int, limit: int) -> list[Event]:
        return [event for event in self._reach().journal if event.id > after][-limit:]

    def hold(self, name: str, holder: str, ttl: float) -> bool:
        depot = self._reach()
        owner, until = depot.leases.get(name, (holder, 0.0))
        if owner != holder and until > depot.clock():
            return False
        depot.leases[name] = (holder, depot.clock() + ttl)
        return True

    def release(self, name: str, holder: str) -> None:
        depot = self._reach()
        if depot.leases.get(name, ("", 0.0))[0] == holder:
            del depot.leases[name]

    def beat(self, worker: str, ttl: float, figures: str) -> list[str]:
        depot = self._reach()
        depot.workers[worker] = (depot.clock() + ttl, figures)
        depot.workers = {name: seen for name, seen in depot.workers.items() if seen[0] > depot.clock()}
        return [figures for _, figures in depot.workers.values()]

    def figures(self) -> list[str]:
        depot = self._reach()
        return [figures for until, figures in depot.workers.values() if until > depot.clock()]

    def leave(self, worker: str) -> None:
        self._reach().workers.pop(worker, None)

    def wait(self, wake: Wake, seconds: float) -> bool:
        raise AssertionError("nobody waits on a fake clock")

    def close(self) -> None:
        pass


class Member(Stage):
    """A worker of the crew; what it has to do with the others happens in `round`."""

    def __init__(
        self, name: str, depot: Depot, clock: FakeClock, nodes: int | Sequence[object], **settings: Any
    ) -> None:
        super().__init__(nodes, seed=sum(name.encode()), clock=clock, **{"slow_start": {"window": 0}, **settings})
        self.balancer.close()  # nothing goes on behind the fake clock's back
        events, pool = self.balancer._events, self.service.pool
        events.journal.share()
        self.name = name
        self.depot = depot
        self.pool = pool
        self.shared = Shared(pool, 1_700_000_000.0, lambda: None)
        self.contact = Contact(clock)
        self.courier = Courier(name, [self.shared], events=events, clock=clock, contact=self.contact, real=clock)

    def round(self) -> bool:
        """One round of sharing; returns whether the store was there."""
        self.contact.asks()
        try:
            self.courier.round(View(self.depot, self.name), changed=True)
        except StoreError:
            self.courier.fail(told=self.contact.failed())
            return False
        self.contact.answered()
        self.courier.recover()
        return True

    def end(self) -> None:
        """The worker ends in good order."""
        self.courier.farewell(View(self.depot, self.name))

    def marks(self) -> dict[tuple[str, str], tuple[object, ...]]:
        """What is held against the nodes, by host and source."""
        self.pool.available(self.clock())
        return {
            (peer.node.host, source): (mark.kind, mark.reason, mark.until and round(mark.until, 3), mark.weight)
            for peer in self.pool.roster.peers.values()
            for source, mark in peer.marks.items()
        }


class Crew:
    """Some workers and their depot.

    Attributes:
        clock: the one they all go by.
        members: the workers.
    """

    def __init__(self, size: int = 2, nodes: int | Sequence[object] = 3, **settings: Any) -> None:
        self.clock = FakeClock()
        self.depot = Depot(self.clock)
        self.members = [Member(f"w{i}", self.depot, self.clock, nodes, **settings) for i in range(size)]

    def __iter__(self) -> Any:
        return iter(self.members)

    def __getitem__(self, place: int) -> Member:
        return self.members[place]

    def meet(self, seconds: float = 0.0) -> None:
        """Let that much time pass, in which all keep in touch; without any, once all know what each knows."""
        end = self.clock() + seconds
        while True:
            for _ in range(2):
                for member in self.members:
                    member.round()
            if self.clock() >= end:
                return
            self.clock.now = min(end, self.clock() + 0.05)
