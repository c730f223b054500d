"""balancemw for requests: ``mount(session, balancer)``."""

try:
    from balancemw_requests.adapter import BalancedAdapter
    from balancemw_requests.errors import NoNode, TooLate
    from balancemw_requests.mounting import mount
except ModuleNotFoundError as error:
    if error.name != "requests":
        raise
    raise ModuleNotFoundError(
        "balancemw_requests needs requests: pip install 'balancemw[requests]'", name="requests"
    ) from None

__all__ = ["BalancedAdapter", "NoNode", "TooLate", "mount"]
