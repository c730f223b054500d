"""balancemw: existing Flask, Django and Starlette apps call replicas of services, and fail over."""

from balancemw.attempts import Attempt
from balancemw.balancer import Balancer, configure
from balancemw.context import deadline, remaining
from balancemw.errors import (
    BalanceError,
    BalancerNotConfigured,
    DeadlineExceeded,
    NoNodeAvailable,
    SettingsError,
    UnknownService,
)
from balancemw.journal import Event
from balancemw.late_binding import balanced
from balancemw.node import Node
from balancemw.presence import drain
from balancemw.retry import RetryPolicy
from balancemw.service import Service
from balancemw.settings import Settings

__version__ = "0.1.0"

__all__ = [
    "Attempt",
    "BalanceError",
    "Balancer",
    "BalancerNotConfigured",
    "DeadlineExceeded",
    "Event",
    "NoNodeAvailable",
    "Node",
    "RetryPolicy",
    "Service",
    "Settings",
    "SettingsError",
    "UnknownService",
    "balanced",
    "configure",
    "deadline",
    "drain",
    "remaining",
]
