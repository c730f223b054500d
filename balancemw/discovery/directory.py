"""What a source has said of a service's nodes, and what its pool makes of it. It only decides; others do the asking."""

from collections.abc import Sequence

from balancemw.discovery.found import Found
from balancemw.health import Mark
from balancemw.pool import Pool

NO_NODE = "it names no node"


class Directory:
    """Brings the answers of one source into a pool. An answer is believed as a whole or not at all.

    A source that fails, or names no node, leaves the pool as it is: what was known last is better than nothing.

    Args:
        pool: of the service.
        what: the source, in words.
    """

    def __init__(self, pool: Pool, what: str) -> None:
        self._pool = pool
        self._what = what
        self._failure = ""  # why it says nothing now, as it was told last
        self._empty = False
        self.expect()

    @property
    def known(self) -> int:
        """How many nodes there are."""
        return len(self._pool.roster.peers)

    def expect(self) -> None:
        """It is going to be asked: where no node is known, calls wait for the first answer."""
        self._pool.seek(not self.known)
        self._pool.roster.absence = f"{self._what} has not answered yet"

    def give_up(self) -> None:
        """Nobody asks it any more, so nobody need wait for an answer."""
        self._pool.seek(False)

    def hear(self, found: Sequence[Found] | None, now: float) -> None:
        """It named these nodes; None: those of last time."""
        if found is None and self._empty:
            return
        self._empty = found is not None and not found
        if self._empty:
            self.miss(NO_NODE)
            return
        if found is not None:
            self._take(found, now)
        self._pool.seek(False)
        self._pool.roster.absence = ""
        if self._failure:
            self._failure = ""
            self._pool.tell("discovery_recovered", "discovery", f"{self._what} names {_nodes(self.known)}")

    def _take(self, found: Sequence[Found], now: float) -> None:
        by_url: dict[str, Found] = {}
        for each in found:
            by_url.setdefault(each.node.url, each)
        claims = {
            url: Mark("discovery", each.kind, each.reason, now, None, each.weight)
            for url, each in by_url.items()
            if each.kind
        }
        nodes = [each.node for each in by_url.values()]
        reason = f"{self._what} names it no longer"
        self._pool.replace(nodes, now, source="discovery", reason=reason, claims=claims)

    def miss(self, reason: str, *, again: bool = False) -> None:
        """It failed to answer, for that reason. `again`: tell so even if the same was told last."""
        self._pool.seek(False)
        known = self.known
        self._pool.roster.absence = f"{self._what}: {reason}"
        if reason != self._failure or again:
            self._failure = reason
            left = f"the {_nodes(known)} known stay" if known > 1 else "the one node known stays" if known else ""
            told = f"{self._what}: {reason}; {left or 'no node is known, and calls fail'}"
            self._pool.tell("discovery_failed", "discovery", told)


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"
