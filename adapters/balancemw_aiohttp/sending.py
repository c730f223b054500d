"""A request that needs more than a first try with a complete answer: tries, long bodies, and answers that stream."""

import asyncio
from math import inf

import aiohttp
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse
from yarl import URL

from balancemw.context import BOUND, Bound, leave
from balancemw.exchange import SMALL_BODY, Destination, Exchange, route_of
from balancemw.reading import Reading
from balancemw.timeouts import Watch, watch
from balancemw.tries import Terms, Try
from balancemw_aiohttp.address import Address
from balancemw_aiohttp.body import Body
from balancemw_aiohttp.cutoff import bound_by
from balancemw_aiohttp.errors import conclusive, known, no_answer

_PATIENCE = 1.0  # seconds to read the rest of a response that another one replaces


def sending_of(
    handler: ClientHandlerType,
    request: ClientRequest,
    url: URL,
    destination: Destination,
    terms: Terms,
    key: str | None,
    attempt: Try | None = None,
) -> "Sending":
    """What sends a request to `url`, as its caller wrote it, if its first try is not all, `attempt` if it was made."""
    exchange = Exchange(destination, terms, key, attempt, route=route_of(url.raw_path))
    return Sending(handler, exchange, Address(request, url, destination))


class Sending:
    """One request on its way, try after try.

    Args:
        handler: sends the request.
        exchange: its tries.
        address: where each goes.
    """

    __slots__ = ("_address", "_body", "_exchange", "_handler", "_request", "_timer")

    def __init__(self, handler: ClientHandlerType, exchange: Exchange, address: Address) -> None:
        self._request = address.request
        self._handler = handler
        self._exchange = exchange
        self._address = address
        self._body = Body(address.request, self._progress)
        self._timer: Watch | None = None

    async def send(self) -> ClientResponse:
        """Send it until there is an answer to give.

        Raises:
            aiohttp.ClientError: the last try's own.
            BalanceError: there is no node, or no time left.
        """
        try:
            while True:
                attempt = self._exchange.begin()
                self._address.set(attempt.node)
                self._request.response = None  # by which is known whether it has been sent
                self._request.headers.update(self._exchange.headers(self._address.granted))
                token = BOUND.set(attempt)
                self._timer = None if attempt.until == inf else watch(attempt.until, attempt.clock)
                try:
                    response = await self._handler(self._request)
                except BaseException as error:
                    leave(token)
                    await self._fail(error)
                else:
                    BOUND.reset(token)
                    if self._timer is not None:
                        self._timer.end()
                    if await self._accept(response):
                        return response
        finally:
            self._body.leave()

    async def go_on(self, error: BaseException, timer: Watch | None) -> ClientResponse:
        """As `send`, when a first try has ended with `error`."""
        self._timer = timer
        await self._fail(error)
        return await self.send()

    async def take(self, response: ClientResponse) -> ClientResponse:
        """As `send`, when a first try has brought `response`."""
        return response if await self._accept(response) else await self.send()

    async def _fail(self, error: BaseException) -> None:
        """Wait until the next try, or raise."""
        raised = self._understood(error)
        fault = known(self._exchange.attempt, raised)
        wait = self._exchange.fail(raised, again=self._body.resendable, fault=fault)
        if wait is None:
            last = conclusive(raised, self._request.method)
            raise last from last.__cause__ if last is error or last.__cause__ else error
        await self._stop_writing()
        await asyncio.sleep(wait)

    def _understood(self, error: BaseException) -> BaseException:
        if self._timer is None or not self._timer.end(error):
            return error
        late = no_answer(self._exchange.attempt, self._request, error)
        late.__cause__ = error
        return late

    async def _accept(self, response: ClientResponse) -> bool:
        """Whether `response` is the answer to give; if not, it is given back, and the next try is due."""
        fault = self._exchange.refuse(response, response.status)
        if fault is None:
            follow(response, self._exchange, self._exchange.outer)
            return True
        wait = self._exchange.replace(response, fault, again=self._body.resendable)
        if wait is None:
            bound_by(self._exchange.outer, response, self._exchange)
            return True
        await release(response)
        await self._stop_writing()
        await asyncio.sleep(wait)
        return False

    def _progress(self) -> None:
        until = self._exchange.progress()
        if self._timer is not None:
            self._timer.until = until

    async def _stop_writing(self) -> None:
        """Have the former try's writer end: two at once would share the body."""
        self._request.terminate()
        await self._request.close()


def follow(response: ClientResponse, reading: Reading, outer: Bound | None) -> None:
    """Let the try end with the response's body, which `outer` bounds."""
    connection = response.connection
    if connection is None:  # all of it is here
        reading.end()
        return
    upgraded = response.status == 101
    length = response.content_length
    if length is None or length > SMALL_BODY:
        if upgraded or response.headers.get("Content-Type", "").startswith("text/event-stream"):
            reading.stream()
        else:
            reading.read_on(long=length is not None)

    content = response.content  # not the response, which is to go when nobody holds it any more

    def given_up() -> None:
        if content.is_eof() and not upgraded:  # of which `reading` is told where it is noticed
            return
        error = content.exception()
        closed = type(error) is aiohttp.ClientConnectionError  # by its reader
        reading.abandon(None if closed else error)

    if not upgraded:
        content.on_eof(reading.end)  # in the event loop; while it may be the garbage collector that gives up
    connection.add_callback(given_up)
    if outer is not None:
        bound_by(outer, response, reading)


async def release(response: ClientResponse) -> None:
    """Give back the connection of a response that another one replaces: read to its end it can serve again."""
    length = response.content_length
    try:
        if response.connection is not None and length is not None and length <= SMALL_BODY:
            async with asyncio.timeout(_PATIENCE):
                await response.read()
    except (aiohttp.ClientError, OSError):
        pass
    finally:
        response.close()
