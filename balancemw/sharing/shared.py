"""One pool's part in what is shared: what it has to tell, what others told, and which trials it may make."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256

from balancemw.health import Mark, commanded
from balancemw.partners import NOTHING, Figures, Partners
from balancemw.peer import Peer
from balancemw.pool import Pool
from balancemw.stores import Claim

_Place = tuple[str, str]
"""Url of a node (``""``: the whole service) and source."""

_MOST = 200  # nodes of a service of which workers tell each other the figures; where there are more, of failing ones

_PROOF: _Place = ("", "probe")


class Shared(Partners):
    """What `pool` shares with its like in other workers. Decides only; a `Courier` carries it.

    A change is noted by its place and read when it is carried, so that many changes of one place are carried as one.
    What others say of a place is not heeded while a change of our own waits there: ours will be the later.

    Args:
        pool: whose marks are shared.
        epoch: seconds since the epoch at zero of the balancer's clock.
        changed: called when there is something to carry.

    Attributes:
        worker: who we are to the others.
        alone: whether the others have been out of reach for so long that we act as if there were none.
        news: whether the others should have our figures now and not at the next heartbeat.
        cut_off: whether the store did not answer when last asked: then what is noted may come late.
    """

    def __init__(self, pool: Pool, epoch: float, changed: Callable[[], None]) -> None:
        self.pool = pool
        self.worker = ""
        self.alone = self.cut_off = self.news = False
        self._elsewhere: Mapping[str, Figures] = {}
        self._rows: set[str] = set()  # urls of which others have told failures in a row
        self._epoch = epoch
        self._changed = changed
        self._waiting: dict[_Place, tuple[float, bool]] = {}  # since when, and whether it is late
        self._known: dict[_Place, Claim] = {}
        self._again: dict[_Place, Claim] = {}
        self._granted: set[str] = set()
        self._peers = pool.roster.peers
        self._proof = _proof_of(pool)
        pool.share(self)

    # -- what the pool tells and asks, under its lock

    def note(self, peer: Peer, source: str, now: float) -> None:
        if source == "probe" and self._proof is None:
            return  # nobody here would ever clear it
        self._wait(peer.node.url, source, now)

    def prove(self) -> None:
        if not self.proven:
            self.proven = True
            self._waiting[_PROOF] = (0.0, self.cut_off)
            self._changed()

    def struck(self) -> None:
        self.news = True
        self._changed()

    def elsewhere(self, peer: Peer) -> Figures:
        return self._elsewhere.get(peer.node.url, NOTHING)

    def may_try(self, peer: Peer) -> bool:
        return self.alone or peer.node.url in self._granted

    def after_fork(self) -> None:
        # The parent may never come to tell what waits. Where it does, the same is told twice, which changes nothing.
        self._waiting = {place: (at, True) for place, (at, _) in self._waiting.items()}
        self._again = {place: replace(claim, late=True) for place, claim in self._again.items()}
        self._granted.clear()

    def _wait(self, url: str, source: str, now: float) -> None:
        self._waiting[url, source] = (now, self.cut_off)
        self._changed()

    # -- what is carried out

    def take(self) -> list[Claim]:
        """What is to be told; comes back by `put_back` when that fails."""
        if not self._waiting and not self._again:
            return []
        with self.pool.lock:
            again, self._again = self._again, {}
            waiting, self._waiting = self._waiting, {}
            for place, (at, late) in waiting.items():
                claim = self._claim(place, at, late=late)
                if claim is not None:
                    self._known[place] = replace(claim, late=False)
                    again[place] = claim
        return list(again.values())

    def _claim(self, place: _Place, at: float, *, late: bool) -> Claim | None:
        url, source = place
        key = (self.pool.name, url, source)
        if place == _PROOF:
            proof = Mark("probe", "proven", self._proof or "", 0.0)
            return Claim(key, at + self._epoch, self.worker, proof, late=late)
        peer = self.pool.roster.peers.get(url)
        if peer is None:
            return None  # it has left
        mark, level = peer.marks.get(source), peer.record.level
        return Claim(key, at + self._epoch, self.worker, _shifted(mark, self._epoch), level, late)

    def put_back(self, claims: Iterable[Claim], *, late: bool) -> None:
        """They could not be told; `late`: and others may have said something newer until they can."""
        with self.pool.lock:
            for claim in claims:
                place = claim.key[1:]
                if place not in self._waiting:
                    self._again[place] = replace(claim, late=late or claim.late)
            self._waiting = {place: (at, late or was) for place, (at, was) in self._waiting.items()}

    def retell(self) -> None:
        """The store has forgotten everything: tell it what is known, ours and others', as far as it is the newest."""
        with self.pool.lock:
            for place, claim in self._known.items():
                self._again.setdefault(place, replace(claim, late=True))

    # -- what is carried in

    def adopt(self, claims: Iterable[Claim], now: float) -> None:
        """Take over what others said, in their order."""
        with self.pool.lock:
            for claim in claims:
                place = claim.key[1:]
                if self._known.get(place) != claim and not self._outdone(place, claim):
                    self._known[place] = claim
                    self._apply(place, claim, now)

    def _outdone(self, place: _Place, claim: Claim) -> bool:
        """Whether we have something to tell of the same place that will be the later word."""
        ours = self._again.get(place)
        if place in self._waiting or (ours is not None and not (ours.late and claim.at > ours.at)):
            return True
        self._again.pop(place, None)
        return False

    def welcome(self, now: float) -> None:
        """Apply what is known of nodes that have joined since."""
        peers = self.pool.roster.peers
        if peers is self._peers:
            return
        with self.pool.lock:
            for place, claim in self._known.items():
                new = peers.get(place[0]) is not self._peers.get(place[0])  # also one that had left and is back
                if new and place not in self._waiting:
                    self._apply(place, claim, now)
            self._peers = peers

    def _apply(self, place: _Place, claim: Claim, now: float) -> None:
        url, source = place
        mark = _shifted(claim.mark, -self._epoch)
        if place == _PROOF:  # of what is now asked: a path that was mistyped since proves nothing
            self.proven = self.proven or (mark is not None and mark.reason == self._proof)
            return
        peer = self.pool.roster.peers.get(url)
        if peer is None or (source == "probe" and self._proof is None):
            return
        over = mark is None or mark.expired(now)
        self.pool.adopt(peer, source, None if over else mark, claim.level, now)

    # -- figures

    def figures(self) -> dict[str, list[int]]:
        """By url: calls in flight, calls ended, failures, failures in a row; as far as they matter to others."""
        self.news = False
        peers = self.pool.roster.peers
        shown = [(url, peer) for url, peer in peers.items() if len(peers) <= _MOST or peer.record.consecutive]
        figures = {url: [*peer.figures, peer.record.consecutive] for url, peer in shown[:_MOST]}
        return {url: numbers for url, numbers in figures.items() if any(numbers)}

    def heed(self, others: Iterable[Mapping[str, Sequence[int]]]) -> None:
        """Take in the figures of the other workers."""
        sums: dict[str, Figures] = {}
        rows: dict[str, int] = {}
        for told in others:
            for url, (in_flight, calls, failures, row) in told.items():
                before = sums.get(url, NOTHING)
                sums[url] = (before[0] + in_flight, before[1] + calls, before[2] + failures)
                if row:
                    rows[url] = rows.get(url, 0) + row
        self._elsewhere = sums
        peers = self.pool.roster.peers
        with self.pool.lock:
            for url in self._rows | rows.keys():
                if url in peers:
                    peers[url].record.elsewhere = rows.get(url, 0)
        self._rows = set(rows)

    # -- trials

    def due(self, now: float) -> set[str]:
        """Urls of the nodes whose single trial call is still to be made."""
        roster = self.pool.roster
        marked = [peer for peer in roster.peers.values() if peer.marks]
        if not marked:
            return set()
        with self.pool.lock:
            return {peer.node.url for peer in marked if self._is_due(peer, now)}

    def _is_due(self, peer: Peer, now: float) -> bool:
        out = commanded(peer.marks) is not None
        return not out and self.pool.roster.is_due(peer, now) and not self.pool.must_wait(peer, now)

    def trying(self, url: str, now: float) -> bool:
        """Whether our trial call of the node is under way."""
        peer = self.pool.roster.peers.get(url)
        return peer is not None and peer.past.trial_at is not None and peer.awaits_readmission(now)

    def grant(self, url: str) -> None:
        """The trial call of the node is ours."""
        with self.pool.lock:
            self._granted.add(url)
            self.pool.changed()

    def revoke(self, url: str) -> None:
        """It no longer is."""
        with self.pool.lock:
            self._granted.discard(url)
            self.pool.changed()

    def set_alone(self, *, alone: bool) -> None:
        """Act as if there were no others, or no longer."""
        if alone != self.alone:
            with self.pool.lock:
                self.alone = alone
                self.pool.changed()


def _shifted(mark: Mark | None, by: float) -> Mark | None:
    if mark is None:
        return None
    return replace(mark, since=mark.since + by, until=None if mark.until is None else mark.until + by)


def _proof_of(pool: Pool) -> str | None:
    """What tells one check from another; a digest, as the path may hold a secret. None: nothing is checked."""
    probe = pool.settings.probe
    if probe is None:
        return None
    asked = (probe.kind, probe.path, probe.method, probe.expect)
    return sha256(repr(asked).encode()).hexdigest()[:16]
