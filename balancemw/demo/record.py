"""Writes down every failed try, one JSON object a line, for the demo to count: the journal tells of them in sum."""

import json
import os
from dataclasses import asdict

from balancemw import Balancer
from balancemw.journal import Event

VARIABLE = "BALANCEMW_DEMO_FAILURES"
"""The environment variable that names the file."""


def record(balancer: Balancer) -> None:
    """Append the failed tries of `balancer` to the file named in the environment; other workers may do the same."""
    file = os.open(os.environ[VARIABLE], os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)

    def write(event: Event) -> None:
        if event.event == "failed":
            os.write(file, (json.dumps(asdict(event)) + "\n").encode())

    balancer.subscribe(write)
