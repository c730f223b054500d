"""balancemw for requests: ``mount(session, balancer)``."""

from balancemw_requests.adapter import BalancedAdapter, mount
from balancemw_requests.errors import NoNode, TooLate

__all__ = ["BalancedAdapter", "NoNode", "TooLate", "mount"]
