"""balancemw for aiohttp's client: ``ClientSession(middlewares=[balance(balancer)])``."""

from balancemw_aiohttp.errors import LastTryFailed, NoNode, TooLate
from balancemw_aiohttp.middleware import Balance, balance

__all__ = ["Balance", "LastTryFailed", "NoNode", "TooLate", "balance"]
