"""The transports: a request to a service's name goes to one of its replicas, and to another where that is safe."""

from collections.abc import Callable
from typing import Any

import anyio

from balancemw import BalanceError, Balancer
from balancemw.context import BOUND, leave
from balancemw.errors import in_dialect
from balancemw.exchange import IDEMPOTENT, Destination, services
from balancemw.tries import Terms, first_try
from balancemw.waiting import wait_for_nodes, wait_for_nodes_async
from balancemw_httpx.answer import Answer, AsyncAnswer, release, release_async
from balancemw_httpx.errors import NoNode, TooLate
from balancemw_httpx.hedged import Twofold
from balancemw_httpx.inner import Inner, InnerOfLoops, Options
from balancemw_httpx.libraries import AsyncBaseTransport, BaseTransport, library_of
from balancemw_httpx.sending import Sending, can_hedge, is_plain, plain_response, sending_of, watched
from balancemw_httpx.shortcut import AsyncParts, Parts

Key = Callable[[Any], str | None]

_SCHEMES = frozenset(("http", "https", "ws", "wss"))


class BalancedTransport(BaseTransport):
    """The transport for ``Client(transport=BalancedTransport(balancer))``, of httpx and of httpx2.

    Requests to ``http://<service>/…`` go to the service's replicas, whose urls decide between http and https; all
    others pass untouched. The response, its url, cookies and redirects are those of the url that was asked for.

    One serves any number of clients, of either library, and threads; in ``mounts={"all://<service>": …}`` as well.

    Args:
        balancer: whose services they are.
        key: for services whose strategy goes by key: gives it for a request.
        options: those of the library's own ``HTTPTransport``: ``verify``, ``http2``, ``limits`` … Each service has
            connections of its own, within these limits.

    Raises:
        TypeError: there is no such option.
        ValueError: ``retries``, which the balancer's settings decide.
    """

    def __init__(self, balancer: Balancer, *, key: Key | None = None, **options: Any) -> None:
        self._services = services(balancer)
        self._key = key
        self._inner = Inner("HTTPTransport", Options(options))

    def handle_request(self, request: Any) -> Any:
        """Send `request`, and again where that is safe; of several answers the last is given.

        Raises:
            TransportError: the library's own, of the last try; also, where there was no replica at all, a
                `NoNodeAvailable`, and where the time was up, a `DeadlineExceeded`.
        """
        library = library_of(request)
        destination = _service_of(request, self._services)
        if destination is None:
            return self._inner.to(library, None).handle_request(request)
        terms = destination.repeatable if request.method in IDEMPOTENT else _cautious(request, destination)
        key = None if self._key is None else self._key(request)
        try:
            if terms.pool.special:
                terms = wait_for_nodes(terms)
                if terms.hedged and can_hedge(request, library):
                    return self._hedge(Twofold(request, library, destination, terms, key))
            short = self._inner.short(library, destination.name)
            if short is None or not is_plain(request, library, destination):
                return self._send(sending_of(request, library, destination, terms, key))
            attempt = first_try(terms, key)
            token = BOUND.set(attempt)
            try:
                outgoing = short.first(request, destination, attempt)
                answer = short.pool.handle_request(outgoing)
            except BaseException as error:
                leave(token)
                rest = sending_of(request, library, destination, terms, key, attempt)
                self._fail(rest, short.told(error))
            else:
                attempt.over = True
                response = plain_response(answer, short, request, outgoing, destination, attempt, Answer)
                if response is not None:
                    return response
                response = short.response(answer, Parts(answer.stream, short))
                rest = sending_of(request, library, destination, terms, key, attempt, outgoing.extensions)
                if self._accept(rest, response):
                    return response
            return self._send(rest)
        except BalanceError as error:
            raise in_dialect(error, NoNode, TooLate) from error.__cause__

    def _hedge(self, request: Twofold) -> Any:
        inner = self._inner.to(request.library, request.destination.name)
        sending, outcome = request.send(inner.handle_request)
        if outcome.error is not None:
            self._fail(sending, outcome.error)
        elif self._accept(sending, outcome.result):
            return outcome.result
        return self._send(sending)

    def _send(self, sending: Sending) -> Any:
        inner = self._inner.to(sending.library, sending.destination.name, sending.sni)
        while True:
            attempt = sending.exchange.begin()
            token = BOUND.set(attempt)
            try:
                response = inner.handle_request(sending.outgoing(attempt))
            except BaseException as error:
                leave(token)
                self._fail(sending, error)
            else:
                attempt.over = True
                if self._accept(sending, response):
                    return response

    def _fail(self, sending: Sending, error: BaseException) -> None:
        """Wait until the next try, or raise."""
        wait = sending.fail(error)
        if wait is None:
            raise error
        sending.exchange.pause(wait)

    def _accept(self, sending: Sending, response: Any) -> bool:
        """Whether `response` is the answer to give; if not, it is given back, and the next try is due."""
        wait = sending.take(response, Answer)
        if wait is None:
            return True
        release(response, sending.timeouts)
        sending.exchange.pause(wait)
        return False

    def close(self) -> None:
        """Close all connections."""
        for transport in self._inner.take():
            transport.close()


class AsyncBalancedTransport(AsyncBaseTransport):
    """As `BalancedTransport`, for ``AsyncClient``. One serves any number of event loops."""

    def __init__(self, balancer: Balancer, *, key: Key | None = None, **options: Any) -> None:
        self._services = services(balancer)
        self._key = key
        self._inner = InnerOfLoops(Options(options))

    async def handle_async_request(self, request: Any) -> Any:
        """Send `request`, and again where that is safe; of several answers the last is given.

        Raises:
            TransportError: as for `BalancedTransport`.
        """
        library = library_of(request)
        destination = _service_of(request, self._services)
        if destination is None:
            return await self._inner.here().to(library, None).handle_async_request(request)
        terms = destination.repeatable if request.method in IDEMPOTENT else _cautious(request, destination)
        key = None if self._key is None else self._key(request)
        try:
            if terms.pool.special:
                terms = await wait_for_nodes_async(terms)
                if terms.hedged and can_hedge(request, library):
                    return await self._hedge(Twofold(request, library, destination, terms, key))
            short = self._inner.here().short(library, destination.name)
            if short is None or not is_plain(request, library, destination):
                return await self._send(sending_of(request, library, destination, terms, key))
            attempt = first_try(terms, key)
            token = BOUND.set(attempt)
            timer = watched(attempt)
            try:
                outgoing = short.first(request, destination, attempt)
                answer = await short.pool.handle_async_request(outgoing)
            except BaseException as error:
                leave(token)
                rest = sending_of(request, library, destination, terms, key, attempt)
                rest.timer = timer
                await self._fail(rest, short.told(error))
            else:
                attempt.over = True
                if timer is not None:
                    timer.end()
                response = plain_response(answer, short, request, outgoing, destination, attempt, AsyncAnswer)
                if response is not None:
                    return response
                response = short.response(answer, AsyncParts(answer.stream, short))
                rest = sending_of(request, library, destination, terms, key, attempt, outgoing.extensions)
                if await self._accept(rest, response):
                    return response
            return await self._send(rest)
        except BalanceError as error:
            raise in_dialect(error, NoNode, TooLate) from error.__cause__

    async def _hedge(self, request: Twofold) -> Any:
        inner = self._inner.here().to(request.library, request.destination.name)
        sending, outcome = await request.send_async(inner.handle_async_request)
        if outcome.error is not None:
            await self._fail(sending, outcome.error)
        elif await self._accept(sending, outcome.result):
            return outcome.result
        return await self._send(sending)

    async def _send(self, sending: Sending) -> Any:
        inner = self._inner.here().to(sending.library, sending.destination.name, sending.sni)
        while True:
            attempt = sending.exchange.begin()
            token = BOUND.set(attempt)
            sending.timer = watched(attempt)
            try:
                response = await inner.handle_async_request(sending.outgoing(attempt))
            except BaseException as error:
                leave(token)
                await self._fail(sending, error)
            else:
                attempt.over = True
                if sending.timer is not None:
                    sending.timer.end()
                if await self._accept(sending, response):
                    return response

    async def _fail(self, sending: Sending, error: BaseException) -> None:
        """Wait until the next try, or raise."""
        told = sending.understood(error)
        wait = sending.fail(told)
        if wait is None:
            if told is error:
                raise error
            raise told from error
        if wait:
            await anyio.sleep(wait)

    async def _accept(self, sending: Sending, response: Any) -> bool:
        """Whether `response` is the answer to give; if not, it is given back, and the next try is due."""
        wait = sending.take(response, AsyncAnswer)
        if wait is None:
            return True
        await release_async(response, sending.timeouts)
        if wait:
            await anyio.sleep(wait)
        return False

    async def aclose(self) -> None:
        """Close all connections of this event loop, and have other loops that run close theirs."""
        await self._inner.close()


def _service_of(request: Any, known: Any) -> Destination | None:
    """The service that `request` is for, if it is for one."""
    url = request.url
    destination: Destination | None = known.get(url.host) or known.get(url.raw_host.decode("ascii"))
    return destination if destination is not None and url.scheme in _SCHEMES else None


def _cautious(request: Any, destination: Destination) -> Terms:
    return destination.repeatable if request.headers.get("Idempotency-Key") else destination.once
