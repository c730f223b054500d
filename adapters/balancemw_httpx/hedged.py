"""A request whose first try is made twice if it takes long."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from balancemw.context import BOUND, leave
from balancemw.exchange import Destination, Exchange
from balancemw.race import Outcome
from balancemw.tries import Terms, Try
from balancemw_httpx.answer import release, release_async
from balancemw_httpx.calling_off import call
from balancemw_httpx.handshake import closing
from balancemw_httpx.libraries import Library
from balancemw_httpx.sending import Sending, first, known, no_answer, route, watched
from balancemw_httpx.timeouts import Timeouts


class Twofold:
    """A request that may be on its way twice at once.

    Args:
        request: as the client made it.
        library: whose it is.
        destination: where it goes.
        terms: on which it is sent.
        key: for strategies that go by key.

    Attributes:
        library, destination: the same.
    """

    __slots__ = ("_exchange", "_extensions", "_request", "destination", "library")

    def __init__(self, request: Any, library: Library, destination: Destination, terms: Terms, key: str | None) -> None:
        self._request = request
        self.library = library
        self.destination = destination
        self._exchange = Exchange(destination, terms, key, route=route(request))
        self._extensions: dict[Any, dict[str, Any]] = {}  # by response

    def send(self, handle: Callable[[Any], Any]) -> tuple[Sending, Outcome]:
        """Send it by `handle`; returns also what sends it on, if the outcome is no answer to give."""

        def send(attempt: Try, hedge: bool) -> Any:
            token = BOUND.set(attempt)
            try:
                outgoing = self._outgoing(attempt, hedge)
                response = handle(outgoing)
            finally:
                leave(token)
            self._extensions[response] = outgoing.extensions
            return response

        outcome = self._exchange.race(
            send, lambda response: release(response, self._timeouts(response)), partial(known, self.library)
        )
        return self._sending(outcome), outcome

    async def send_async(self, handle: Callable[[Any], Awaitable[Any]]) -> tuple[Sending, Outcome]:
        """As `send`."""

        async def send(attempt: Try, hedge: bool) -> Any:
            token = BOUND.set(attempt)
            timer = watched(attempt)
            try:
                outgoing = self._outgoing(attempt, hedge)
                if "sni_hostname" in outgoing.extensions:  # by TLS, then
                    outgoing.extensions["trace"] = closing(outgoing.extensions.get("trace"))
                response = await call(handle, outgoing)
            except BaseException as error:
                if timer is not None and timer.end(error):
                    raise no_answer(self.library, attempt) from error
                raise
            finally:
                leave(token)
            if timer is not None:
                timer.end()
            self._extensions[response] = outgoing.extensions
            return response

        async def discard(response: Any) -> None:
            await release_async(response, self._timeouts(response))

        outcome = await self._exchange.race_async(send, discard, partial(known, self.library))
        return self._sending(outcome), outcome

    def _outgoing(self, attempt: Try, hedge: bool) -> Any:
        return first(self._request, self.library, self.destination, attempt, hedge=hedge)

    def _timeouts(self, response: Any) -> Timeouts:
        timeouts: Timeouts = self._extensions.pop(response)["timeout"]
        return timeouts

    def _sending(self, outcome: Outcome) -> Sending:
        extensions = self._extensions.pop(outcome.result, None) if outcome.error is None else None
        if extensions is None:
            extensions = dict(self._request.extensions)
            extensions["timeout"] = Timeouts(extensions.get("timeout") or ())
        return Sending(self._request, self.library, self.destination, self._exchange, extensions)
