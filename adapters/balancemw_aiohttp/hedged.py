"""A request whose first try is made twice if it takes long."""

from copy import copy
from math import inf

from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
from aiohttp.helpers import TimerNoop

from balancemw.context import BOUND, leave
from balancemw.exchange import HEDGE, Destination, Exchange, attempt_headers, route_of
from balancemw.timeouts import watch
from balancemw.tries import Terms, Try
from balancemw_aiohttp.address import Address
from balancemw_aiohttp.body import is_short
from balancemw_aiohttp.errors import known, no_answer
from balancemw_aiohttp.sending import Sending, release


def can_hedge(request: ClientRequest) -> bool:
    """Whether it can be on its way twice at once: a body that is read as it is sent cannot."""
    return is_short(request.body) and "Expect" not in request.headers


async def send_hedged(
    handler: ClientHandlerType, request: ClientRequest, destination: Destination, terms: Terms, key: str | None
) -> ClientResponse:
    """Send `request` until there is an answer to give.

    Args:
        handler: sends a request.
        request: as the client made it.
        destination: where it goes.
        terms: on which it is sent.
        key: for strategies that go by key.

    Raises:
        aiohttp.ClientError: the last try's own.
        BalanceError: there is no node, or no time left.
    """
    exchange = Exchange(destination, terms, key, route=route_of(request.url.raw_path))
    first = Address(request, request.url, destination)
    second = Address(_twin(request), request.url, destination)

    async def send(attempt: Try, hedge: bool) -> ClientResponse:
        address = second if hedge else first
        address.set(attempt.node)
        address.request.headers.update(attempt_headers(attempt, 1 + hedge, address.granted))
        if hedge:
            address.request.headers.update((HEDGE,))
        token = BOUND.set(attempt)
        timer = None if attempt.until == inf else watch(attempt.until, attempt.clock)
        try:
            response = await handler(address.request)
        except BaseException as error:
            if timer is not None and timer.end(error):
                raise no_answer(attempt, address.request, error) from error
            raise
        finally:
            leave(token)
        if timer is not None:
            timer.end()
        return response

    outcome = await exchange.race_async(send, release, known)
    sending = Sending(handler, exchange, first)
    if outcome.error is not None:
        return await sending.go_on(outcome.error, None)
    return await sending.take(outcome.result)


def _twin(request: ClientRequest) -> ClientRequest:
    """The same request once more, before either is sent: the state of being sent is kept in it."""
    twin = copy(request)
    twin.headers = request.headers.copy()
    vars(twin)["_timer"] = TimerNoop()  # the session's keeps a stack of tasks, and must not see two of them take turns
    return twin
