"""What a balancer knows, as plain data for status pages and machines."""

from balancemw.peer import Peer
from balancemw.pool import Pool


def service_status(pool: Pool, now: float, epoch: float) -> dict[str, object]:
    """One service; `epoch`: seconds since the epoch at zero of the balancer's clock, which reads `now`."""
    pool.available(now)  # derive what is due before telling it
    budget = pool.budget
    hedging = pool.hedging
    with pool.lock:
        nodes = [_node_status(pool, peer, now, epoch) for peer in pool.roster.peers.values()]
    status: dict[str, object] = {
        "strategy": pool.settings.strategy.name,
        "nodes": nodes,
        "budget": {
            "calls": budget.called(),
            "retries": budget.spent(),
            "allowed": budget.allowed(),
            "refused": budget.refused,
            "share": budget.share,
            "floor": budget.floor,
        },
    }
    if hedging is not None:
        delay = hedging.delay
        status["hedge"] = {
            "delay_ms": None if delay is None else delay * 1000.0,
            "hedges": hedging.hedges,
            "wins": hedging.wins,
        }
    return status


def _node_status(pool: Pool, peer: Peer, now: float, epoch: float) -> dict[str, object]:
    node, record = peer.node, peer.record
    slow_start = pool.settings.slow_start
    trying = peer.past.trial_at is not None or (pool.roster.is_due(peer, now) and not pool.waits(peer, now))
    here, elsewhere = peer.figures, pool.partners.elsewhere(peer)
    in_flight, calls, failures = (own + others for own, others in zip(here, elsewhere, strict=True))
    return {
        "url": node.url,
        "name": node.name,
        "state": peer.state(trying),
        "weight": peer.weight * peer.eased * peer.ramp(now, slow_start.window, slow_start.min_weight),
        "zone": node.zone,
        "priority": node.priority,
        "in_flight": in_flight,
        "latency_ms": peer.latency * 1000.0 if peer.latency else None,
        "success_rate": record.success_rate(now),
        "calls": calls,
        "failures": failures,
        "marks": peer.shown_marks(epoch),
    }
