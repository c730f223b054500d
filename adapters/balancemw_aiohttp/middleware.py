"""The middleware: a request to a service's name goes to one of its replicas, and to another where that is safe."""

from collections.abc import Callable
from math import inf

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
from multidict import istr

from balancemw import BalanceError, Balancer
from balancemw.context import BOUND, leave
from balancemw.errors import in_dialect
from balancemw.exchange import IDEMPOTENT, route_of, services
from balancemw.presence import STATE as _STATE
from balancemw.reading import Reading
from balancemw.routes import ANY
from balancemw.self_reports import hear
from balancemw.tries import first_try
from balancemw.waiting import wait_for_nodes_async
from balancemw_aiohttp.address import direct
from balancemw_aiohttp.body import is_short
from balancemw_aiohttp.errors import NoNode, TooLate
from balancemw_aiohttp.hedged import can_hedge, send_hedged
from balancemw_aiohttp.sending import follow, sending_of

STATE = istr(_STATE)

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
        url = request.url
        destination = self._services.get(url.raw_host or "")
        if destination is None:
            return await handler(request)
        repeatable = request.method in IDEMPOTENT or request.headers.get("Idempotency-Key")
        terms = destination.repeatable if repeatable else destination.once
        key = None if self._key is None else self._key(request)
        body = request.body
        try:
            if terms.pool.special:
                terms = await wait_for_nodes_async(terms)
                if terms.hedged and can_hedge(request):
                    return await send_hedged(handler, request, destination, terms, key)
            # What every request pays for is here, and the rest in `Sending`.
            if (body and not is_short(body)) or destination.by_node or request.proxy is not None:
                return await sending_of(handler, request, url, destination, terms, key).send()
            attempt = first_try(terms, key)
            direct(request, url, destination, attempt)
            token = BOUND.set(attempt)
            watched = attempt.until < inf and attempt.watch()
            try:
                response = await handler(request)
            except BaseException as error:
                leave(token)
                sending = sending_of(handler, request, url, destination, terms, key, attempt)
                return await sending.go_on(error, attempt if watched else None)
            attempt.over = True
            if watched:
                attempt.end()
            if response.status in destination.good and STATE not in response.headers:
                if destination.asks:
                    hear(terms.pool, attempt.peer, response.headers.get, attempt.clock)
                route = route_of(url.raw_path) if attempt.peer.watched else ANY
                if response.connection is None:  # all of it is here
                    terms.pool.succeed(attempt.peer, attempt.started, attempt.clock(), route)
                else:
                    follow(response, Reading(terms.pool, attempt, route), attempt.outer)
                return response
            return await sending_of(handler, request, url, destination, terms, key, attempt).take(response)
        except BalanceError as error:
            raise in_dialect(error, NoNode, TooLate) from error.__cause__
