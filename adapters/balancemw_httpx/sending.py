"""One request on its way, try after try: all that is the same with and without ``await``."""

from math import inf
from typing import Any

from balancemw.exchange import Destination, Exchange, none_free, route_of
from balancemw.fault import Fault, Kind
from balancemw.presence import STATE
from balancemw.routes import ANY
from balancemw.self_reports import hear
from balancemw.timeouts import Watch, watch
from balancemw.tries import Terms, Try
from balancemw_httpx.answer import Answer, AsyncAnswer
from balancemw_httpx.libraries import Library
from balancemw_httpx.outgoing import Origin, Raw, told
from balancemw_httpx.shortcut import Shortcut
from balancemw_httpx.timeouts import Timeouts
from balancemw_httpx.upload import Upload, is_short

# The libraries' own timeouts come first: they know whether anything had been sent. Ours are for an answer that drips.
# On a loop that lags they must not fall together: a task cancelled while httpcore gives a connection back loses it to
# the pool, as what shields that from cancelling by anyio does not shield it from asyncio.
_GRACE = 0.5

_SHORT = 5  # digits of a Content-Length up to which a body is read in no time

_STATE, _EVENTS = STATE.encode(), b"text/event-stream"


def is_plain(request: Any, library: Library, destination: Destination) -> bool:
    """Whether a request is what most are: its try is told from it by url, headers and timeouts alone."""
    return not destination.by_node and can_hedge(request, library)


def can_hedge(request: Any, library: Library) -> bool:
    """Whether it can be on its way twice at once: a body that is read as it is sent cannot."""
    extensions = request.extensions
    return "sni_hostname" not in extensions and "target" not in extensions and is_short(request, library)


def first(request: Any, library: Library, destination: Destination, attempt: Try, *, hedge: bool = False) -> Any:
    """A request that can be hedged as its first try or its hedge sends it by a transport."""
    extensions = dict(request.extensions)
    extensions["timeout"] = timeouts = Timeouts(extensions.get("timeout") or ())
    timeouts.bound = attempt
    origin = library.origin(attempt.node.url)
    if origin.parts[0] == b"https":
        extensions["sni_hostname"] = destination.host_of(attempt.node)
    raw = told(request.headers, attempt, destination.asks, 1 + hedge, hedge=hedge)
    if _names_node(request, destination):
        raw = _naming(origin, raw)
    return library.outgoing(request, origin, raw, request.stream, extensions)


def _names_node(request: Any, destination: Destination) -> bool:
    """Whether a replica is to be called by its own name: the caller has not named it otherwise."""
    named: bool = destination.by_node and request.headers.get("Host") == request.url.netloc.decode("ascii")
    return named


def _naming(origin: Origin, raw: Raw) -> Raw:
    return [(name, origin.url.netloc if name.lower() == b"host" else value) for name, value in raw]


def plain_response(
    answer: Any,
    short: Shortcut,
    request: Any,
    outgoing: Any,
    destination: Destination,
    attempt: Try,
    body: type[Answer | AsyncAnswer],
) -> Any:
    """The response to a first try that a pool has answered; None: there is more to it than that it is to be read.

    As `Sending.take`, for most answers and with one look at their headers.

    Args:
        answer: the pool's.
        short: the way to the pool.
        request: as the client made it.
        outgoing: as the try has sent it.
        destination: where it went.
        attempt: the try.
        body: what the answer's becomes.
    """
    status = answer.status
    if status not in destination.good or status == 101:
        return None
    headers = {name.lower(): value for name, value in answer.headers}
    if _STATE in headers or headers.get(b"content-type", b"").startswith(_EVENTS):
        return None
    length = headers.get(b"content-length", b"")
    stream = body(answer.stream, destination.once.pool, attempt, route(request) if attempt.peer.watched else ANY, short)
    if not length or len(length) > _SHORT:
        stream.read_on(long=length.isdigit())
    response = short.response(answer, stream)
    if destination.asks:
        hear(destination.once.pool, attempt.peer, response.headers.get, attempt.clock)
    outgoing.extensions["timeout"].bound = None  # the body's time is the caller's affair, or that of what is around it
    if attempt.outer is not None:
        stream.bound_by(attempt.outer, outgoing.extensions["timeout"], answer.extensions)
    return response


def watched(attempt: Try) -> Watch | None:
    """What cuts the running task off when the try's time is up, wherever it is then."""
    return None if attempt.until == inf else watch(attempt.until + _GRACE, attempt.clock)


def no_answer(library: Library, attempt: Try) -> BaseException:
    """What cutting off a try means, as the library's own error."""
    seconds = attempt.clock() - attempt.started
    late: BaseException = library.read_timeout(f"no answer from {attempt.node.name} within {seconds:.3g} s")
    return late


def known(library: Library, attempt: Try, error: BaseException) -> Fault | None:
    """What is known of a try's error that it does not say itself."""
    return none_free(attempt) if isinstance(error, library.pool_timeout) else None


def sending_of(
    request: Any,
    library: Library,
    destination: Destination,
    terms: Terms,
    key: str | None,
    attempt: Try | None = None,
    extensions: dict[str, Any] | None = None,
) -> "Sending":
    """What sends a request that is no plain one, or whose first try, `attempt` with `extensions`, was not all."""
    exchange = Exchange(destination, terms, key, attempt, route=route(request))
    if extensions is None:
        extensions = dict(request.extensions)
        extensions["timeout"] = Timeouts(extensions.get("timeout") or ())
    return Sending(request, library, destination, exchange, extensions)


def route(request: Any) -> str:
    """What a request counts as where failures of one route are told from those of a node."""
    return route_of(request.url.raw_path.decode("ascii", "replace"))


class Sending:
    """One request of a client's, which itself is left as it is, when it is more than a plain one that is answered well.

    Args:
        request: as the client made it.
        library: whose it is.
        destination: where it goes.
        exchange: its tries.
        extensions: of the request, with `Timeouts`; those of the first try, where that was answered.

    Attributes:
        library, destination, exchange: the same.
        sni: the TLS name that the caller asks for, if any.
        timeouts: those of its operations.
        timer: what cuts a try off, if anything does.
    """

    __slots__ = (
        "_extensions",
        "_names_node",
        "_request",
        "_upload",
        "destination",
        "exchange",
        "library",
        "sni",
        "timeouts",
        "timer",
    )

    def __init__(
        self, request: Any, library: Library, destination: Destination, exchange: Exchange, extensions: dict[str, Any]
    ) -> None:
        self._request = request
        self.library = library
        self.destination = destination
        self.exchange = exchange
        self.timer: Watch | None = None
        self.timeouts: Timeouts = extensions["timeout"]
        self._extensions = extensions
        self.sni: str | None = request.extensions.get("sni_hostname")
        self._names_node = _names_node(request, destination)
        self._upload = None if is_short(request, library) else Upload(request.stream, library, self._progress)

    def outgoing(self, attempt: Try) -> Any:
        """The request of a try."""
        request, extensions = self._request, self._extensions
        origin = self.library.origin(attempt.node.url)
        raw = told(request.headers, attempt, self.destination.asks, self.exchange.number)
        if self._names_node:
            raw = _naming(origin, raw)
        if origin.parts[0] == b"https":
            extensions["sni_hostname"] = self.sni or self.destination.host_of(attempt.node)
        if "target" in request.extensions:  # takes the place of the url's path
            target = request.extensions["target"]
            extensions["target"] = origin.prefix + target if target.startswith(b"/") else target
        self.timeouts.bound = attempt
        body = request.stream if self._upload is None else self._upload
        return self.library.outgoing(request, origin, raw, body, extensions)

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
        return known(self.library, self.exchange.attempt, error)

    def understood(self, error: BaseException) -> BaseException:
        """`error`, with which a try that was watched has ended, or the library's own if it is but the cutting off."""
        if self.timer is None or not self.timer.end(error):
            return error
        return no_answer(self.library, self.exchange.attempt)

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
        self.timeouts.bound = None  # how long the body may take is the caller's affair, or that of what is around it
        if fault is None or exchange.outer is not None:
            response.stream = body = answer(response.stream, *exchange.hand_over())
            self._follow(response, body)
        return None

    def _follow(self, response: Any, body: Answer | AsyncAnswer) -> None:
        if response.status_code == 101:
            body.stream()
            return
        if response.headers.get("Content-Type", "").startswith("text/event-stream"):
            body.stream()
        else:
            length = response.headers.get("Content-Length", "")
            if not length or len(length) > _SHORT:
                body.read_on(long=length.isdigit())
        if self.exchange.outer is not None:
            body.bound_by(self.exchange.outer, self.timeouts, response.extensions)
