"""One request on its way, try after try: all that is the same with and without ``await``."""

from math import inf
from typing import Any

from balancemw.call import Try
from balancemw.exchange import IDEMPOTENT, TIMEOUT_MS, Destination, Exchange, route_of
from balancemw.fault import Fault, Kind
from balancemw.timeouts import Watch, watch
from balancemw_httpx.answer import Answer, AsyncAnswer
from balancemw_httpx.libraries import Library
from balancemw_httpx.timeouts import Timeouts
from balancemw_httpx.upload import Upload, is_short

# The libraries' own timeouts come first: they know whether anything had been sent. Ours are for an answer that drips.
# On a loop that lags they must not fall together: a task cancelled while httpcore gives a connection back loses it to
# the pool, as what shields that from cancelling by anyio does not shield it from asyncio.
_GRACE = 0.5

_NEARLY = 0.02  # seconds that a timeout of theirs may come before the time is up

_SHORT = 5  # digits of a Content-Length up to which a body is read in no time


class Sending:
    """One request of a client's, which itself is left as it is.

    Args:
        request: as the client made it.
        library: whose it is.
        destination: where it goes.
        key: for strategies that go by key.

    Attributes:
        exchange: its tries.
        sleep: waits between them.
        sni: the TLS name that the caller asks for, if any.
        timeouts: those of its operations.
        timer: what cuts a try off, if anything does.
    """

    __slots__ = (
        "_destination",
        "_extensions",
        "_granted",
        "_library",
        "_names_node",
        "_request",
        "_upload",
        "exchange",
        "sleep",
        "sni",
        "timeouts",
        "timer",
    )

    def __init__(self, request: Any, library: Library, destination: Destination, key: str | None) -> None:
        self._request = request
        self._library = library
        self._destination = destination
        headers, extensions = request.headers, dict(request.extensions)
        idempotency_key = None if request.method in IDEMPOTENT else headers.get("Idempotency-Key")
        terms = destination.terms(request.method, idempotency_key)
        self.exchange = Exchange(
            destination, terms, key, route=route_of(request.url.raw_path.decode("ascii", "replace"))
        )
        self.sleep = terms.sleep
        self.timer: Watch | None = None
        self.timeouts = extensions["timeout"] = Timeouts(extensions.get("timeout") or {})
        self._extensions = extensions
        self.sni: str | None = extensions.get("sni_hostname")
        self._names_node = destination.by_node and headers.get("Host") == request.url.netloc.decode("ascii")
        self._granted: str | None = headers.get(TIMEOUT_MS)
        self._upload = None if is_short(request, library) else Upload(request.stream, library, self._progress)

    def outgoing(self, attempt: Try) -> Any:
        """The request of a try."""
        request, node, extensions = self._request, attempt.node, self._extensions
        url = self._library.at(node.url, request.url.raw_path)
        headers = self._library.headers(request.headers)
        for name, value in self.exchange.headers(self._granted):
            headers[name] = value
        if self._names_node:
            headers["Host"] = url.netloc.decode("ascii")
        if url.scheme == "https":
            extensions["sni_hostname"] = self.sni or self._destination.host_of(node)
        if "target" in request.extensions:  # takes the place of the url's path
            prefix, target = self._library.at(node.url, b"").raw_path.rstrip(b"/"), request.extensions["target"]
            extensions["target"] = prefix + target if target.startswith(b"/") else target
        self.timeouts.bound = attempt
        return self._library.request(
            request.method,
            url,
            headers=headers,
            stream=request.stream if self._upload is None else self._upload,
            extensions=extensions,
        )

    def watch(self, attempt: Try) -> None:
        """Have the running task cut off when the try's time is up, wherever it is then."""
        self.timer = None if attempt.until == inf else watch(attempt.until + _GRACE, attempt.clock)

    def unwatch(self) -> None:
        """The try has an answer in time."""
        if self.timer is not None:
            self.timer.end()

    def _progress(self) -> None:
        until = self.exchange.progress()
        if self.timer is not None:
            self.timer.until = until + _GRACE

    @property
    def _resendable(self) -> bool:
        return self._upload is None or self._upload.resendable

    def fail(self, error: BaseException) -> float | None:
        """The try failed with `error`; returns the seconds until the next one, or None when there is none.

        Raises:
            DeadlineExceeded: the time is up.
        """
        return self.exchange.fail(error, again=self._resendable, fault=self._fault(error))

    def _fault(self, error: BaseException) -> Fault | None:
        """What is known of it that the error does not say."""
        if self._upload is not None and self._upload.error is error:
            return Fault(Kind.APPLICATION, "the request's own body raised it")
        if isinstance(error, self._library.pool_timeout):  # so many connections we allow ourselves: no node's fault
            attempt = self.exchange.attempt
            over = attempt.deadline - attempt.clock() < _NEARLY
            return Fault(Kind.DEADLINE if over else Kind.APPLICATION, "no connection became free in time")
        return None

    def understood(self, error: BaseException) -> BaseException:
        """`error`, with which a try that was watched has ended, or the library's own if it is but the cutting off."""
        if self.timer is None or not self.timer.end(error):
            return error
        attempt = self.exchange.attempt
        seconds = attempt.clock() - attempt.started
        late: BaseException = self._library.read_timeout(f"no answer from {attempt.node.name} within {seconds:.3g} s")
        return late

    def take(self, response: Any, answer: type[Answer | AsyncAnswer]) -> float | None:
        """The seconds until the next try, if `response` is to be replaced; None: it is the answer to give.

        Args:
            response: of the try.
            answer: what its body becomes.
        """
        exchange, status = self.exchange, response.status_code
        fault = exchange.refuse(response, status)
        if fault is not None:
            wait = exchange.replace(response, fault, again=self._resendable)
            if wait is not None:
                return wait
        else:
            if status == 101 or response.headers.get("Content-Type", "").startswith("text/event-stream"):
                exchange.stream()
            else:
                length = response.headers.get("Content-Length", "")
                if not length or len(length) > _SHORT:
                    exchange.read_on(long=length.isdigit())
            response.stream = answer(response.stream, exchange)
        self.timeouts.bound = None  # how long the body may take is the caller's affair
        return None
