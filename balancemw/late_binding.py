"""The decorator of functions that learn only when they are called which balancer is theirs."""

from balancemw.arguments import check_service
from balancemw.balancer import Balancer, current
from balancemw.decorator import Decorator, as_decorator
from balancemw.retry import RetryPolicy
from balancemw.service import CallOptions, Key
from balancemw.tries import Terms


def balanced(
    name: str,
    *,
    idempotent: bool = False,
    key: Key = None,
    timeout: float | None = None,
    attempts: int | None = None,
    retry: RetryPolicy | None = None,
) -> Decorator:
    """As `Balancer.call`, bound late: at each call, to the balancer of the current request or else the process's own.

    Raises:
        TypeError, ValueError: an argument makes no sense.
        BalancerNotConfigured: at the call, when there is none.
        UnknownService: at the call, when it has no such service.
    """
    check_service(name, "balanced")
    options = CallOptions(idempotent, timeout, attempts, retry)
    bound: tuple[Balancer | None, Terms | None] = (None, None)  # the last balancer seen; replaced whole, so no lock

    def terms() -> Terms:
        nonlocal bound
        balancer = current()
        known, found = bound
        if known is not balancer or found is None:
            found = balancer[name].terms(options)
            bound = (balancer, found)
        return found

    return as_decorator(terms, key)
