"""Writes down what a balancer tells, one JSON object a line, for the demo to show."""

import json
import os
from dataclasses import asdict

from balancemw import Balancer
from balancemw.events import Event

VARIABLE = "BALANCEMW_DEMO_EVENTS"
"""The environment variable that names the file."""


def record(balancer: Balancer) -> None:
    """Append every event of `balancer` to the file named in the environment."""
    file = os.open(os.environ[VARIABLE], os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)

    def write(event: Event) -> None:
        os.write(file, (json.dumps(asdict(event)) + "\n").encode())

    balancer.subscribe(write)
