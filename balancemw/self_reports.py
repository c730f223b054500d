"""What nodes say of themselves in their answers: how much they have to do, and that they are going.

One that is going gets no new calls, until it shows that it is back.
"""

from collections.abc import Callable
from math import inf
from typing import Any

from balancemw.context import Clock
from balancemw.health import GOING, Mark
from balancemw.orca import found
from balancemw.peer import Peer
from balancemw.pool import Pool
from balancemw.presence import STATE, time_to_go

_MARGIN = 2.5  # seconds that a node gets beyond those for which it goes on serving: for two, gunicorn's kept
# connections still serve, and new ones are accepted by the kernel and then reset
_UNTOLD = 10.0  # seconds until a node that does not say for how long is asked again
_LONGEST = 3600.0  # seconds for which a node is taken at its word


def listen(pool: Pool, peer: Peer, response: object, clock: Clock) -> None:
    """Heed what the node says of itself in the headers of a response."""
    try:
        headers: Any = getattr(response, "headers", None)
        said = None if headers is None else headers.get(STATE)
        report = found(headers.get) if headers is not None and pool.wants_reports else None
    except Exception:  # of somebody's own
        return
    if report is not None:
        pool.hear(peer, report, clock())
    if said:
        heed(pool, peer, str(said), clock())


def hear(pool: Pool, peer: Peer, header: Callable[[str], object], clock: Clock) -> None:
    """Have the pool know the report in a response whose headers `header` gives, if there is one."""
    report = found(header)
    if report is not None:
        pool.hear(peer, report, clock())


def heed(pool: Pool, peer: Peer, said: str, now: float) -> None:
    """The node has said of itself `said`.

    The last good node is not let go: it serves as long as it can, and it may well be that no other comes.
    """
    left = time_to_go(said)
    if left is None or not pool.has_fresh(now, (peer,)):
        return
    until = now + (_UNTOLD if left == inf else min(left + _MARGIN, _LONGEST))
    former = peer.marks.get("self")
    if former is not None and former.kind == "drain" and (former.until is None or former.until > until - _MARGIN):
        return
    pool.mark(peer, Mark("self", "drain", GOING, now, until), now)
