"""The middleware: a request to a service's name goes to one of its replicas, and to another where that is safe."""

from collections.abc import Callable
from math import inf

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse

from balancemw import BalanceError, Balancer
from balancemw.call import Terms, Try, leave
from balancemw.context import BOUND
from balancemw.exchange import IDEMPOTENT, Destination, Exchange, in_dialect, milliseconds, services
from balancemw.timeouts import watch
from balancemw_aiohttp.address import COUNT, TIMEOUT, Address
from balancemw_aiohttp.body import is_short
from balancemw_aiohttp.errors import NoNode, TooLate
from balancemw_aiohttp.sending import Sending

Key = Callable[[ClientRequest], str | None]


def balance(balancer: Balancer, *, key: Key | None = None) -> "Balance":
    """The middleware for ``ClientSession(middlewares=[balance(balancer)])``.

    Requests to ``http://<service>/…`` go to the service's replicas, whose urls decide between http and https; all
    others pass untouched. The response, its url, cookies and redirects are those of the url that was asked for.

    Args:
        balancer: whose services they are.
        key: for services whose strategy goes by key: gives it for a request.
    """
    return Balance(balancer, key)


class Balance:
    """A client middleware of aiohttp's. One serves any number of sessions and event loops."""

    def __init__(self, balancer: Balancer, key: Key | None = None) -> None:
        self._services = services(balancer)
        self._key = key

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Send `request`, and again where that is safe; of several answers the last is given.

        Raises:
            aiohttp.ClientError: the last try's own; also, where there was no replica at all, a `NoNodeAvailable`, and
                where the time was up, a `DeadlineExceeded`.
        """
        destination = self._services.get(request.url.raw_host or "")
        if destination is None:
            return await handler(request)
        again = request.method in IDEMPOTENT or request.headers.get("Idempotency-Key")
        terms = destination.repeatable if again else destination.once
        key = None if self._key is None else self._key(request)
        try:
            if is_short(request.body):
                return await _send(request, handler, destination, terms, key)
            exchange = Exchange(destination, terms, key)
            return await Sending(request, handler, exchange, Address(request, destination)).send()
        except BalanceError as error:
            raise in_dialect(error, NoNode, TooLate) from error.__cause__


async def _send(
    request: ClientRequest, handler: ClientHandlerType, destination: Destination, terms: Terms, key: str | None
) -> ClientResponse:
    """Send what is sent in no time; all but an answer that is complete at once is left to `Sending`."""
    attempt = Try(terms, key)
    address = Address(request, destination)
    address.set(attempt.node)
    headers = request.headers
    headers[COUNT] = "1"
    left = milliseconds(attempt, address.granted)
    if left is not None:
        headers[TIMEOUT] = left
    token = BOUND.set(attempt)
    timer = None if attempt.until == inf else watch(attempt.until, attempt.clock)
    try:
        response = await handler(request)
    except BaseException as error:
        leave(token)
        sending = Sending(request, handler, Exchange(destination, terms, key, attempt), address)
        return await sending.go_on(error, timer)
    BOUND.reset(token)
    if timer is not None:
        timer.end()
    if response.connection is None and destination.accepts(response.status):
        terms.pool.succeed(attempt.peer, attempt.started, attempt.clock())
        return response
    sending = Sending(request, handler, Exchange(destination, terms, key, attempt), address)
    return await sending.take(response)
