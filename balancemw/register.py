"""What is known of the nodes of one service: who they are, what is said of them by whom, and the one lock."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from math import inf
from random import Random
from threading import Lock

from balancemw.events import Events, News
from balancemw.health import Mark
from balancemw.members import Members
from balancemw.node import Node
from balancemw.orca import LoadReport
from balancemw.partners import Partners
from balancemw.peer import Peer
from balancemw.preference import Wishes
from balancemw.roster import Roster
from balancemw.settings import ServiceSettings
from balancemw.standing import Change, Standing
from balancemw.strategies import resolve
from balancemw.traffic import Traffic


class Register:
    """The nodes of a service and the marks against them. Times are numbers on the balancer's clock.

    Args:
        name: the service's name.
        settings: its settings.
        rng: the balancer's random generator.
        events: where news goes.

    Attributes:
        lock: guards everything that changes; held for microseconds, never across I/O or a call of the user's.
        roster: who belongs, by priority.
        must_wait: whether a peer whose time out is over has to wait for its probe; set by what probes.
        edge: when anything is to be done besides choosing.
        overruled: called when an operator has said that a peer is well; set by what has to heed it.
        partners: the other workers' pools of the same service.
        wants_reports: whether the strategy goes by what nodes report of their load, so that they should be asked.
    """

    def __init__(self, name: str, settings: ServiceSettings, *, rng: Random, events: Events) -> None:
        strategy = resolve(settings.strategy.name, settings.strategy.options)
        self.name = name
        self.settings = settings
        self.lock = Lock()
        self.must_wait: Callable[[Peer, float], bool] = lambda _peer, _now: False
        self.overruled: Callable[[Peer, float], object] = lambda _peer, _now: None
        self.partners = Partners()
        self.wants_reports: bool = getattr(strategy(Random(0)), "reports", False)
        ramp = (settings.slow_start.window, settings.slow_start.min_weight)
        wishes = Wishes(settings.zone, settings.subset, rng=rng)
        self.roster = Roster(
            lambda: strategy(rng), keep=settings.ejection.keep, ramp=ramp, rng=rng, wishes=wishes or None
        )
        self._news = News(events, name)
        self._traffic = Traffic(settings.ejection, settings.retry.retry_after_max, rng)
        self._standing = Standing(self.roster, self._traffic, self._news, self.changed)
        self._members = Members(self.roster, self._standing, self._news, self.changed, settings.ejection.window)
        self._again = self.edge = -inf  # when availability has to be derived anew; when anything has to be done
        self.roster.arrange(Peer(node, settings.ejection.window) for node in settings.nodes)

    def after_fork(self) -> None:
        """Begin anew in a child process: its parent's threads and open calls are not its own."""
        self.lock = Lock()
        self._news.pending.clear()
        self._members.forget()
        for peer in self.roster.peers.values():
            peer.reset()
            if peer.past.trial_at is not None:
                peer.past = replace(peer.past, trial_at=None)
        self.partners.after_fork()
        self.roster.renew()
        self.changed()

    def changed(self) -> None:
        """Availability has to be derived anew. Under the lock."""
        self._again = self.edge = -inf

    def mark(self, peer: Peer, mark: Mark, now: float, fault: str | None = None) -> None:
        """Set a mark; kind ``up`` clears the source's own and, from an operator, overrides the others' instead."""
        with self.lock:
            if mark.kind == "up":
                self._standing.up(peer, mark, now)
            else:
                self._standing.put(peer, mark, now, mark.kind, fault)
        self._news.tell()
        if mark.kind == "up" and mark.source == "operator":
            self.overruled(peer, now)

    def clear(self, peer: Peer, source: str, now: float, event: str = "cleared", reason: str = "") -> bool:
        """Remove the mark of `source`; returns whether there was one."""
        with self.lock:
            found = self._standing.drop(peer, source, now)
            if found:
                self._news.note(peer.node.name, event, source, reason)
        self._news.tell()
        return found

    def withdraw(self, peer: Peer, source: str, now: float) -> None:
        """Clear the mark of `source` everywhere: others may know of one that is not known here yet."""
        if not self.clear(peer, source, now):
            with self.lock:
                self.partners.note(peer, source, now)

    def amend(self, source: str, changes: Iterable[Change], now: float) -> None:
        """Change marks that follow from what every worker knows. It is told with the next news, and not here."""
        with self.lock:
            self._standing.amend(source, changes, now)

    def hear(self, peer: Peer, report: LoadReport, now: float) -> None:
        """The node reports its load with the answer to a call that is not given back yet."""
        with self.lock:
            peer.hear(report, now)

    def probe_passed(self, peer: Peer, now: float) -> None:
        """A probe found the node well: if its time out is over, that readmits it."""
        with self.lock:
            self._standing.pass_probe(peer, now)
        self._news.tell()

    def prove(self) -> None:
        """A probe of this service has passed, so that its failures mean something from now on."""
        with self.lock:
            self.partners.prove()

    def share(self, partners: Partners) -> None:
        """Tell `partners` from now on what changes here."""
        self.partners = self._standing.partners = partners

    def adopt(self, peer: Peer, source: str, mark: Mark | None, level: int, now: float) -> None:
        """Another worker has set or cleared (None) the mark of `source`, which it told itself. Under the lock."""
        self._standing.adopt(peer, source, mark, level, now)

    def sum_up(self, now: float) -> None:
        """Tell what is known of failed tries in sum."""
        with self.lock:
            self._news.sum_up(now)
        self._news.tell()

    def tell(self, event: str, source: str, reason: str) -> None:
        """Tell of something that concerns the whole service and changes no mark."""
        with self.lock:
            self._news.note(None, event, source, reason)
        self._news.tell()

    def replace(
        self,
        nodes: Iterable[Node],
        now: float,
        *,
        source: str = "operator",
        reason: str = "",
        claims: Mapping[str, Mark] | None = None,
    ) -> None:
        """Make `nodes` the members; those that stay keep what is known of them, new ones ramp up.

        Args:
            nodes: all of them.
            now: the time.
            source: who says so.
            reason: why those that leave do.
            claims: all marks that `source` sets, by url; it clears the others it had set. None: none are touched.
        """
        with self.lock:
            self._members.replace(tuple(nodes), now, source, reason)
            if claims is not None:
                self._members.claim(claims, now, source)
        self._news.tell()
