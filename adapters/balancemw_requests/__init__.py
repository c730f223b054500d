"""balancemw for requests: ``mount(session, balancer)``."""

from balancemw_requests.adapter import BalancedAdapter
from balancemw_requests.errors import NoNode, TooLate
from balancemw_requests.mounting import mount

__all__ = ["BalancedAdapter", "NoNode", "TooLate", "mount"]
