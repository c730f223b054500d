"""The transports: a request to a service's name goes to one of its replicas, and to another where that is safe."""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from balancemw import BalanceError, Balancer
from balancemw.call import leave
from balancemw.context import BOUND
from balancemw.exchange import Destination, in_dialect, services
from balancemw_httpx.answer import Answer, AsyncAnswer, release, release_async
from balancemw_httpx.errors import NoNode, TooLate
from balancemw_httpx.inner import Inner, InnerOfLoops, Options
from balancemw_httpx.libraries import AsyncBaseTransport, BaseTransport, library_of
from balancemw_httpx.sending import Sending

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
        sending = Sending(request, library, destination, None if self._key is None else self._key(request))
        inner = self._inner.to(library, destination.name, sending.sni)
        try:
            return self._send(sending, inner.handle_request)
        except BalanceError as error:
            raise in_dialect(error, NoNode, TooLate) from error.__cause__

    def _send(self, sending: Sending, send: Callable[[Any], Any]) -> Any:
        while True:
            attempt = sending.exchange.begin()
            token = BOUND.set(attempt)
            try:
                response = send(sending.outgoing(attempt))
            except BaseException as error:
                leave(token)
                wait = sending.fail(error)
                if wait is None:
                    raise
            else:
                BOUND.reset(token)
                wait = sending.take(response, Answer)
                if wait is None:
                    return response
                release(response, sending.timeouts)
            if wait:
                sending.sleep(wait)

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
        sending = Sending(request, library, destination, None if self._key is None else self._key(request))
        inner = self._inner.here().to(library, destination.name, sending.sni)
        try:
            return await self._send(sending, inner.handle_async_request)
        except BalanceError as error:
            raise in_dialect(error, NoNode, TooLate) from error.__cause__

    async def _send(self, sending: Sending, send: Callable[[Any], Awaitable[Any]]) -> Any:
        await sending.exchange.expect()
        while True:
            attempt = sending.exchange.begin()
            token = BOUND.set(attempt)
            sending.watch(attempt)
            try:
                response = await send(sending.outgoing(attempt))
            except BaseException as error:
                leave(token)
                told = sending.understood(error)
                wait = sending.fail(told)
                if wait is None:
                    if told is error:
                        raise
                    raise told from error
            else:
                BOUND.reset(token)
                sending.unwatch()
                wait = sending.take(response, AsyncAnswer)
                if wait is None:
                    return response
                await release_async(response, sending.timeouts)
            if wait:
                await anyio.sleep(wait)

    async def aclose(self) -> None:
        """Close all connections of this event loop, and have other loops that run close theirs."""
        await self._inner.close()


def _service_of(request: Any, known: Any) -> Destination | None:
    """The service that `request` is for, if it is for one."""
    url = request.url
    destination: Destination | None = known.get(url.host) or known.get(url.raw_host.decode("ascii"))
    return destination if destination is not None and url.scheme in _SCHEMES else None
