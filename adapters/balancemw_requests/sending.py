"""A request on its way, try after try."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import requests
from requests import PreparedRequest, Response
from urllib3.util import Timeout

from balancemw.context import BOUND, leave
from balancemw.exchange import (
    HEDGE,
    IDEMPOTENT,
    SMALL_BODY,
    TIMEOUT_MS,
    Destination,
    Exchange,
    attempt_headers,
    route_of,
)
from balancemw.fault import Fault, Kind
from balancemw.orca import FORMAT
from balancemw.tries import Terms, Try
from balancemw_requests.answer import follow
from balancemw_requests.body import body_of
from balancemw_requests.limits import Limits
from balancemw_requests.outgoing import Headers, outgoing

_PATIENCE = 0.25  # seconds to read the rest of a response that another one replaces


class Options(NamedTuple):
    """How a request is sent, whatever the node.

    Attributes:
        key: of the call, for strategies that go by key.
        host: what a replica is told to be called.
        timeout: what the caller grants each try.
        stream, verify, cert: as in requests.
    """

    key: str | None
    host: str
    timeout: Timeout | None
    stream: bool
    verify: bool | str
    cert: Any


class Sending:
    """One request, until there is an answer.

    Args:
        request: the caller's.
        destination: where it goes.
        post: sends it once.
        options: how.
    """

    __slots__ = ("_added", "_body", "_destination", "_exchange", "_options", "_post", "_request", "_terms")

    def __init__(
        self, request: PreparedRequest, destination: Destination, post: Callable[..., Response], options: Options
    ) -> None:
        headers = request.headers
        again = request.method in IDEMPOTENT or headers.get("Idempotency-Key")
        self._request = request
        self._destination = destination
        self._post = post
        self._options = options
        self._terms: Terms = destination.repeatable if again else destination.once
        self._exchange = Exchange(destination, self._terms, options.key, route=route_of(request.path_url))
        asks = () if destination.asks and FORMAT in headers else destination.asks
        self._added: Headers = asks if destination.by_node or "Host" in headers else (("Host", options.host), *asks)
        self._body = None if request.body is None else body_of(request, self._progress)

    def send(self) -> Response:
        """Send it until there is an answer to give.

        Raises:
            requests.RequestException: the last try's own.
            BalanceError: there is no node, or no time left.
        """
        if self._terms.hedged and self._body is None:  # what is read as it is sent cannot be on its way twice at once
            outcome = self._exchange.race(self._once, _release)
            if outcome.error is not None:
                self._fail(outcome.error)
            elif self._accept(outcome.result):
                answer: Response = outcome.result
                return answer
        while True:
            attempt = self._exchange.begin()
            token = BOUND.set(attempt)
            try:
                response = self._transmit(attempt)
            except BaseException as error:
                leave(token)
                self._fail(error)
            else:
                attempt.over = True
                if self._accept(response):
                    return response

    def _once(self, attempt: Try, hedge: bool) -> Response:
        token = BOUND.set(attempt)
        try:
            told = attempt_headers(attempt, 1 + hedge, self._request.headers.get(TIMEOUT_MS))
            return self._post_to(attempt, (*told, HEDGE) if hedge else told)
        finally:
            leave(token)

    def _transmit(self, attempt: Try) -> Response:
        return self._post_to(attempt, self._exchange.headers(self._request.headers.get(TIMEOUT_MS)))

    def _post_to(self, attempt: Try, told: Headers) -> Response:
        request, options, node = self._request, self._options, attempt.node
        name, body = self._destination.host_of(node), self._body or request.body
        sent = outgoing(request, node, name, body, (self._added, told))
        return self._post(sent, options.stream, Limits(attempt, options.timeout), options.verify, options.cert)

    def _fail(self, error: BaseException) -> None:
        """Wait until the next try, or raise."""
        if isinstance(error, requests.RequestException):
            error.request = self._request
        body, fault = self._body, None
        if body is not None and body.error is not None:
            fault = Fault(Kind.APPLICATION, "the request's body could not be read")
        wait = self._exchange.fail(error, again=body is None or body.resendable, fault=fault)
        if wait is None or not (body is None or body.rewind()):
            raise error
        self._exchange.pause(wait)

    def _accept(self, response: Response) -> bool:
        """Whether `response` is the answer to give; if not, it is given back, and the next try is due."""
        fault = self._exchange.refuse(response, response.status_code)
        if fault is None:
            follow(response, self._exchange)
            return True
        body = self._body
        wait = self._exchange.replace(response, fault, again=body is None or body.resendable)
        if wait is None or not (body is None or body.rewind()):
            if self._exchange.outer is not None:
                follow(response, self._exchange)
            return True
        _release(response)
        self._exchange.pause(wait)
        return False

    def _progress(self) -> None:
        if self._exchange.progress() <= self._terms.clock():
            raise TimeoutError("the time to send the request is up")


def _release(response: Response) -> None:
    """Give back the connection of a response that another one replaces: read to its end it can serve again."""
    raw: Any = response.raw
    until = time.monotonic() + _PATIENCE
    read, left = getattr(raw, "read1", raw.read), SMALL_BODY
    try:
        if raw.connection is not None and raw.connection.sock is not None:
            raw.connection.sock.settimeout(_PATIENCE)
        while (data := read(4096, decode_content=False)) and left > 0 and time.monotonic() < until:
            left -= len(data)
    except Exception:
        pass
    raw.close()
