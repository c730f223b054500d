"""Who is a member of a service, and what becomes of what is known of those that leave it."""

from collections.abc import Callable, Mapping, Sequence

from balancemw.events import News
from balancemw.health import Mark
from balancemw.node import Node
from balancemw.peer import Peer
from balancemw.roster import Roster
from balancemw.standing import Standing

_MEMORY = 300.0
"""Seconds for which a node that its source no longer names is remembered: a source that flaps readmits nobody."""


class Members:
    """Changes the members of one service. Everything runs under the pool's lock.

    Args:
        roster: whose members they are.
        standing: sets their marks.
        news: where changes are noted.
        changed: called when availability has to be derived anew.
        window: seconds over which the traffic of a node is judged.
    """

    def __init__(
        self, roster: Roster, standing: Standing, news: News, changed: Callable[[], None], window: float
    ) -> None:
        self._roster = roster
        self._standing = standing
        self._news = news
        self._changed = changed
        self._window = window
        self._left: dict[str, tuple[float, Peer]] = {}
        self._found = False  # whether discovery has spoken

    def replace(self, nodes: Sequence[Node], now: float, source: str, reason: str) -> None:
        """Make `nodes` the members. `source` says so, and `reason` is why those that leave do."""
        former = self._roster.peers
        discovered = source == "discovery"
        late = bool(former) and (self._found or not discovered)  # a process that starts has none that could be spared
        self._found = self._found or discovered
        if [peer.node for peer in former.values()] == list(nodes):
            return
        self._left = {url: left for url, left in self._left.items() if now < left[0] + _MEMORY}
        peers = [self._member(node, now, source, late) for node in nodes]
        staying = set(peers)
        for url, peer in former.items():
            if peer not in staying:
                self._news.note(peer.node.name, "removed", source, reason)
                if discovered:
                    self._left[url] = now, peer
        self._roster.arrange(peers)
        self._changed()

    def _member(self, node: Node, now: float, source: str, late: bool) -> Peer:
        peer = self._roster.peers.get(node.url)
        if peer is not None:
            peer.become(node)
            return peer
        _, peer = self._left.pop(node.url, (0.0, None)) if source == "discovery" else (0.0, None)
        if peer is None:
            peer = Peer(node, self._window)
        else:
            peer.become(node)
        self._news.note(node.name, "added", source)
        if late:
            self._roster.returned(peer, now)
        return peer

    def claim(self, claims: Mapping[str, Mark], now: float, source: str) -> None:
        """Let `claims`, by url, be all the marks that `source` has set."""
        for url, peer in self._roster.peers.items():
            mark, former = claims.get(url), peer.marks.get(source)
            if mark is None:
                if self._standing.drop(peer, source, now):
                    self._news.note(peer.node.name, "cleared", source)
            elif former is None or (mark.kind, mark.reason, mark.weight) != (former.kind, former.reason, former.weight):
                self._standing.put(peer, mark, now, mark.kind)

    def forget(self) -> None:
        """Forget those that have left, as a forked process does: their open calls are its parent's."""
        self._left.clear()
