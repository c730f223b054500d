"""What the apps under test call: functions without a network, so that a test is about the adapter alone."""

from typing import Any

from balancemw import Balancer, Node, balanced, remaining

TRIES: list[str] = []
"""The nodes that `fail` was tried on."""


def settings(*ports: int, **inbound: Any) -> dict[str, Any]:
    """Settings of service ``inventory`` at these ports of this machine, without waits between tries."""
    nodes = [f"http://127.0.0.1:{port}" for port in ports or (7001, 7002, 7003)]
    service = {"nodes": nodes, "retry": {"backoff": 0, "backoff_max": 0}}
    return {"services": {"inventory": service}, "inbound": inbound}


def without_nodes(**inbound: Any) -> Balancer:
    """A balancer whose only node an operator has taken out."""
    balancer = Balancer(settings(7001, **inbound))
    balancer["inventory"].mark("127.0.0.1:7001", "down", reason="maintenance")
    return balancer


@balanced("inventory", idempotent=True)
def ask(node: Node) -> str:
    return node.name


@balanced("inventory", idempotent=True)
async def ask_async(node: Node) -> str:
    return node.name


@balanced("inventory", idempotent=True)
def fail(node: Node) -> str:
    TRIES.append(node.name)
    raise ConnectionResetError("reset by the replica")


def within(low: float, high: float) -> str:
    """Whether a call made now would have between that many seconds: ``yes``, or what it would have."""
    left = measure()
    return "yes" if left is not None and low < left <= high else repr(left)


@balanced("inventory", idempotent=True)
def measure(node: Node) -> float | None:
    return remaining()
