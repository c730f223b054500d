"""balancemw for httpx and httpx2: ``Client(transport=BalancedTransport(balancer))``, and the same with ``Async``."""

from balancemw_httpx.errors import NoNode, TooLate
from balancemw_httpx.transport import AsyncBalancedTransport, BalancedTransport

__all__ = ["AsyncBalancedTransport", "BalancedTransport", "NoNode", "TooLate"]
