"""Balancers to measure: nodes that nobody ever connects to, and no output of their log."""

import logging
from collections.abc import Generator
from contextlib import contextmanager

from balancemw import Balancer


def urls(count: int) -> list[str]:
    """That many different nodes."""
    return [f"http://10.{i >> 16}.{i >> 8 & 255}.{i & 255}:8000" for i in range(count)]


@contextmanager
def balancer_of(count: int, **service: object) -> Generator[Balancer]:
    """A balancer of one service, called "service", with `count` nodes and the settings `service`."""
    with silence(), Balancer({"services": {"service": {"nodes": urls(count), **service}}}) as balancer:
        yield balancer


@contextmanager
def silence() -> Generator[None]:
    """Log records are made, as in an app that keeps a log, but go nowhere."""
    log, handler = logging.getLogger("balancemw"), logging.NullHandler()
    propagate, log.propagate = log.propagate, False
    log.addHandler(handler)
    try:
        yield
    finally:
        log.propagate = propagate
        log.removeHandler(handler)
