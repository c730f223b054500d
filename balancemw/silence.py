"""Who accepts calls and never answers: seen by the age of the open calls, before the first of them times out.

Counting failures is blind to such a node for as long as an attempt may take. Its open calls are not: several of them,
all far older than this node or its peers usually take, and no answer at all meanwhile. nginx (``least_time …
inflight``) and rest.li let that age into the load score, as `balancemw.load` does; here it is beyond doubt.
"""

from collections.abc import Iterator, Sequence
from math import exp

from balancemw.peer import Peer

SEVERAL = 3
"""Calls that must wait at a node: one or two may be of a kind that takes long."""

LEAST = 1.0
"""Seconds that they must have waited, and no answer come, however quick the service is."""

_TIMES_USUAL = 10.0  # of the peers' latency now, open calls included: a dependency that stalls all is nobody's fault
_TIMES_LONGEST = 2.0  # of the longest answer of late
_FADES = 300.0  # seconds in which the longest answer loses all but 1/e


class Silence:
    """Listens to the nodes of one tier. Runs under the pool's lock."""

    def __init__(self) -> None:
        self._since: dict[Peer, float] = {}  # when calls were first seen to wait that have had no answer since

    def silent(self, peers: Sequence[Peer], now: float) -> Iterator[tuple[Peer, str]]:
        """Those of `peers`, the available ones, that have fallen silent, and why that is certain."""
        since = {peer: self._since.get(peer, now) for peer in peers if peer.in_flight > peer.streams}
        self._since = {peer: begun if peer.heard_at < begun else now for peer, begun in since.items()}
        for peer, begun in self._since.items():
            if peer.waiting < SEVERAL or "traffic" in peer.marks:
                continue
            # Calls come all the while, so that half of the time is as long as they have waited on average.
            age, quiet = peer.age(now), now - peer.heard_at
            waited = min(quiet, max(age, min(now - begun, 2.0 * age)))
            if waited >= LEAST and waited >= _patience(peer, peers, now):
                heard = f"none for {quiet:.1f} s" if peer.heard_at else "none ever"
                yield peer, f"{peer.waiting} calls have waited for {age:.1f} s on average, and of answers came {heard}"


def _patience(peer: Peer, peers: Sequence[Peer], now: float) -> float:
    """Seconds that calls to `peer` may take before that is out of all proportion."""
    others = [other for other in peers if other is not peer]
    usual = _middle([max(other.latency, other.age(now)) for other in others])
    longest = max(peer.longest, _middle([other.longest for other in others]))
    return max(_TIMES_USUAL * usual, _TIMES_LONGEST * longest)


def fade(peers: Sequence[Peer], seconds: float) -> None:
    """So much time has passed: what took long once must not excuse everything for ever."""
    left = exp(-seconds / _FADES)
    for peer in peers:
        if peer.longest:
            peer.longest *= left


def _middle(values: list[float]) -> float:
    """The median, of two the higher: who would be compared with one sick node alone is given the benefit of doubt."""
    return sorted(values)[len(values) // 2] if values else float("inf")
