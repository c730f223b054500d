"""From the labels of an alert to nodes, by explicit rules. A label is only ever looked up: it names no one new."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from balancemw.node import Node
from balancemw.peer import Peer
from balancemw.pool import Pool
from balancemw.settings import MatchRule

Target = tuple[Pool, Peer]
Index = Mapping[str, Sequence[Peer]]

_REMEMBERED = 10_000  # label sets


class Matcher:
    """Finds the nodes that alerts are about.

    Args:
        rules: tried in turn, until one leads to a node.
        pools: of all services.

    Attributes:
        labels: the names of those that the rules look at.
        version: another number after nodes have come or left; `look_around` sees to it.
    """

    def __init__(self, rules: Iterable[MatchRule], pools: Iterable[Pool]) -> None:
        self._rules = tuple(rules)
        self._pools = tuple(pools)
        self.labels = sorted({name for rule in self._rules for name in (rule.node, rule.service, *rule.where)})
        self.version = 0
        self._members: tuple[object, ...] = ()
        self._indexes: dict[tuple[str, str], Index] = {}
        self._found: dict[tuple[str | None, ...], tuple[Target, ...]] = {}

    def find(self, labels: Mapping[str, str]) -> tuple[Target, ...]:
        """The nodes that an alert with these labels is about; empty when it is about none of ours."""
        self.look_around()
        key = tuple(labels.get(name) for name in self.labels)
        found = self._found.get(key)
        if found is None:
            found = next((targets for rule in self._rules if (targets := self._by_rule(rule, labels))), ())
            if len(self._found) >= _REMEMBERED:  # someone makes labels up
                self._found.clear()
            self._found[key] = found
        return found

    def look_around(self) -> None:
        """Forget what was found if nodes have come or left since."""
        members = tuple(pool.roster.peers for pool in self._pools)
        if len(members) != len(self._members) or any(a is not b for a, b in zip(members, self._members, strict=True)):
            self._members = members
            self.version += 1
            self._indexes.clear()
            self._found.clear()

    def _by_rule(self, rule: MatchRule, labels: Mapping[str, str]) -> tuple[Target, ...]:
        value = labels.get(rule.node)
        if not value or any(labels.get(name) != wanted for name, wanted in rule.where.items()):
            return ()
        service = labels.get(rule.service) if rule.service else None
        if rule.by == "host":
            value = _host(value)
        pools = [pool for pool in self._pools if service in (None, pool.name)]
        return tuple((pool, peer) for pool in pools for peer in self._index(pool, rule.by).get(value, ()))

    def _index(self, pool: Pool, by: str) -> Index:
        index = self._indexes.get((pool.name, by))
        if index is None:
            index = self._indexes[pool.name, by] = _indexed(pool.roster.peers.values(), by)
        return index


def _indexed(peers: Iterable[Peer], by: str) -> Index:
    index: defaultdict[str, list[Peer]] = defaultdict(list)
    for peer in peers:
        for value in _values(peer.node, by):
            index[value].append(peer)
    return index


def _values(node: Node, by: str) -> Iterable[str]:
    if by == "name":
        return {node.name, node.url}
    if by == "host":
        return (node.host,)
    value = node.metadata.get(by.removeprefix("metadata."))
    return () if value is None else (str(value),)


def _host(value: str) -> str:
    """``10.0.0.1`` out of ``10.0.0.1:9100``, ``::1`` out of ``[::1]:9100``."""
    host, colon, port = value.rpartition(":")
    if colon and port.isdecimal() and (":" not in host or host.endswith("]")):
        value = host
    return value.removeprefix("[").removesuffix("]").lower()
