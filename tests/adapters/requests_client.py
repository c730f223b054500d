"""A session of requests with our adapter, and what its balancer knows."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import requests

from balancemw import Balancer
from balancemw_requests import mount
from tests.adapters.replicas import Replica

Replicas = Callable[[int], list[Replica]]


def balancer_of(*nodes: str, **service: Any) -> Balancer:
    return Balancer({"services": {"inventory": {"nodes": list(nodes), **service}}})


@contextmanager
def session_of(balancer: Balancer, **options: Any) -> Iterator[requests.Session]:
    with requests.Session() as session:
        mount(session, balancer, **options)
        yield session


def state_of(balancer: Balancer) -> list[dict[str, Any]]:
    status: Any = balancer.status()
    return status["services"]["inventory"]["nodes"]


def in_flight(balancer: Balancer) -> int:
    return sum(node["in_flight"] for node in state_of(balancer))
