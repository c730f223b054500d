"""What the client adapters share: which hosts are services, and one request of a client's over all its tries.

An adapter only translates. It asks `services` whether a host is one, makes an `Exchange` of the request, sends it to
the node of each try that `begin` gives, and says how that went: `fail` and `replace` answer whether there is another
try, `end` or `break_off` says that the body of the answer has been read, or has not come to its end.

Where calls are hedged, `race` and `race_async` take the place of `begin` and of sending for the first try: they make
two of it if it takes long, and leave the one that answers as if it had been the only one.

A first try that is answered well needs no `Exchange`: a `Try`, given back to its pool, is enough, or a `Reading`, as
long as its answer is being read.
"""

from collections.abc import Awaitable, Callable, Mapping
from math import inf
from typing import Any

from balancemw.balancer import Balancer
from balancemw.call import Call
from balancemw.context import current_bound, time_left
from balancemw.fault import Fault, Kind, classify
from balancemw.inbound import ATTEMPT_COUNT
from balancemw.node import Node
from balancemw.pool import Pool
from balancemw.race import Known, Outcome, Race, nothing
from balancemw.racing import race_async, race_sync
from balancemw.reading import Reading
from balancemw.routes import ANY
from balancemw.self_reports import listen
from balancemw.service import CallOptions, Service
from balancemw.tries import Terms, Try, first_try
from balancemw.waiting import wait_for_nodes

TIMEOUT_MS = "x-request-timeout-ms"

HEDGE = ("x-envoy-is-timeout-retry", "true")
"""What a hedge says of itself, besides that it is the second try."""

IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"))
"""Methods that do no harm when they are carried out twice (RFC 9110, 9.2.2)."""

SMALL_BODY = 65536
"""Bytes of a replaced response that are read so that its connection can serve again; beyond it is closed. A longer
answer takes as long as its size and its reader make it."""

_NEARLY = 0.02  # seconds that a client's own timeout may come before the time is up


class Destination:
    """A service as the client adapters see it.

    Attributes:
        name: of the service.
        by_node: whether a replica is called by its own name rather than by the service's.
        once, repeatable: on which terms a request is sent, if doing it twice may do harm and if not.
        asks: what a request carries to ask for a load report, unless its caller does already; nothing where the
            service's strategy does not go by them.
        good: the statuses of responses that are certainly no failure, which is all that most need to be asked.
    """

    __slots__ = ("asks", "by_node", "good", "name", "once", "repeatable")

    def __init__(self, service: Service) -> None:
        settings = service.pool.settings
        self.name = service.name
        self.by_node = settings.host_header == "node"
        self.asks = tuple(service.request_headers.items())
        self.good = frozenset(range(400)) - frozenset(settings.retry.statuses)
        self.once = service.terms(CallOptions(idempotent=False))
        self.repeatable = service.terms(CallOptions(idempotent=True))

    def terms(self, method: str, idempotency_key: str | None) -> Terms:
        """On which terms a request is sent; `method` in capitals."""
        return self.repeatable if method in IDEMPOTENT or idempotency_key else self.once

    def accepts(self, status: int) -> bool:
        """Whether a response of this status is certainly no failure."""
        return status in self.good

    def host_of(self, node: Node) -> str:
        """The name by which a replica is called, which its certificate must be for."""
        return node.host if self.by_node else self.name


def services(balancer: Balancer) -> Mapping[str, Destination]:
    """The services by their names as hosts, which is in lower case."""
    return {name.lower(): Destination(service) for name, service in balancer.services.items()}


def milliseconds(attempt: Try, granted: str | None = None) -> str | None:
    """How long a try may take as it begins, for `TIMEOUT_MS`; None: unbounded. `granted` counts if it is less."""
    if attempt.until == inf:
        return granted
    left = int((attempt.until - attempt.started) * 1000.0) or 1
    if granted is not None and granted.isascii() and granted.isdigit() and len(granted) < 13:
        left = min(left, int(granted))
    return str(left)


def attempt_headers(attempt: Try, number: int, granted: str | None = None) -> tuple[tuple[str, str], ...]:
    """What the replica is told of a try, the `number`-th of its request: see `Exchange.headers`."""
    count = (ATTEMPT_COUNT, str(number))
    left = milliseconds(attempt, granted)
    return (count,) if left is None else (count, (TIMEOUT_MS, left))


def none_free(attempt: Try) -> Fault:
    """What it means that a client allows itself so many connections, and a try ended waiting for one: no node's fault.

    Either the call's time ran out over it, or the client's own did.
    """
    over = attempt.deadline - attempt.clock() < _NEARLY
    return Fault(Kind.DEADLINE if over else Kind.APPLICATION, "no connection became free in time")


def route_of(path: str) -> str:
    """What a request counts as where failures of one route are told from those of a node: its first segment.

    ``/stock/1`` and ``/stock/2`` are one route. `path` as on the wire, with or without a query.
    """
    return path.split("?", 1)[0].split("/", 2)[1] if path.startswith("/") else ANY


class Exchange(Reading):
    """One request, and its tries until there is an answer. Not shared between threads or tasks, but for its end.

    Args:
        destination: where it goes.
        terms: on which terms, of the destination.
        key: for strategies that go by key.
        attempt: its first try, where that was made already.
        route: of the request, see `route_of`.

    Attributes:
        attempt: the try under way, or the one whose answer is being read.
        number: how many tries have begun.
        outer: what bounds the request from outside, and the reading of its answer too.
    """

    __slots__ = (
        "_call",
        "_destination",
        "_key",
        "_terms",
        "attempt",
        "number",
        "outer",
    )

    attempt: Try

    def __init__(
        self,
        destination: Destination,
        terms: Terms,
        key: str | None = None,
        attempt: Try | None = None,
        *,
        route: str = ANY,
    ) -> None:
        super().__init__(terms.pool, None, route)
        self.number = 0
        self._destination = destination
        self._terms = terms
        self._key = key
        self.outer = current_bound()
        self._call: Call | None = None
        if attempt is not None:
            self._start(attempt)

    def begin(self) -> Try:
        """The next try.

        Raises:
            NoNodeAvailable: there is nothing to send to.
            DeadlineExceeded: the time is up.
        """
        if self._call is not None:
            return self._start(self._call.begin())
        if self._terms.pool.special:
            self._terms = wait_for_nodes(self._terms)
        return self._start(first_try(self._terms, self._key))

    def _start(self, attempt: Try) -> Try:
        self.attempt = attempt
        self._open = [attempt]
        self.number += 1
        return attempt

    def headers(self, granted: str | None = None) -> tuple[tuple[str, str], ...]:
        """What the replica is told: which try this is, and how many milliseconds it may take, if anything bounds it.

        `granted`: what the caller says already of the latter; it counts if it is less.
        """
        return attempt_headers(self.attempt, self.number, granted)

    def progress(self) -> float:
        """Part of a long request body has been sent: the settings' times bound how long nothing happens, not the whole.

        What bounds it from outside, an inbound request's deadline for one, does not move. Returns when the try must be
        over now.
        """
        attempt, terms = self.attempt, self._terms
        now = attempt.clock()
        left = time_left(self.outer)
        attempt.deadline = now + (terms.timeout if left is None else min(terms.timeout, left))
        attempt.until = min(now + terms.attempt_timeout, attempt.deadline)
        if self._call is not None:
            self._call.deadline = attempt.deadline
        return attempt.until

    # -- two tries at once

    def race(
        self, send: Callable[[Try, bool], Any], discard: Callable[[Any], object], known: Known = nothing
    ) -> Outcome:
        """The first try of a request that may be hedged; returns how the one ended that answers, still to be judged.

        Args:
            send: sends a try, the hedge if so told, in any thread, and twice at once.
            discard: gives back a response that is not the answer.
            known: what is known of errors, as for `fail`.

        Raises:
            NoNodeAvailable: there is nothing to send to.
            DeadlineExceeded: the time is up.
        """
        race = self._race(known)
        outcome = race_sync(
            race, lambda attempt: send(attempt, attempt is not race.first), discard, self._terms.threads
        )
        return self._settle(race, outcome)

    async def race_async(
        self, send: Callable[[Try, bool], Awaitable[Any]], discard: Callable[[Any], Awaitable[object]], known: Known
    ) -> Outcome:
        """As `race`; both tries are made by the running event loop, and whichever is not needed is cancelled."""
        race = self._race(known)
        outcome = await race_async(race, lambda attempt: send(attempt, attempt is not race.first), discard)
        return self._settle(race, outcome)

    def _race(self, known: Known) -> Race:
        first = self.begin()
        self._open = []  # the race has them
        return Race(self._remember(first), self._terms, self._key, first, known)

    def _settle(self, race: Race, outcome: Outcome) -> Outcome:
        self.attempt = outcome.attempt
        self._open = [outcome.attempt]
        self.number = 1 if race.second is None else 2
        return outcome

    # -- how a try ended

    def fail(self, error: BaseException, *, again: bool, fault: Fault | None = None) -> float | None:
        """The try failed with `error`; returns the seconds until the next one, or None when there is none.

        Args:
            error: of the client's.
            again: whether the request's body can be sent again, as a whole.
            fault: what is known of it that the error does not say.

        Raises:
            DeadlineExceeded: the time is up.
        """
        attempt = self._take()
        call = self._remember(attempt)
        fault = call.fail(attempt, fault or call.judge(attempt, None, error) or Fault(Kind.APPLICATION), error)
        wait = call.delay(fault, None, error) if again else None
        if wait is None:
            call.tell(error)
        return wait

    def refuse(self, response: object, status: int) -> Fault | None:
        """What is wrong with a response, by its head; None: nothing is, and its body is to be read."""
        attempt = self.attempt
        listen(self._terms.pool, attempt.peer, response, attempt.clock)
        if self._destination.accepts(status):
            return None
        return classify(response, None, statuses=self._terms.pool.settings.retry.statuses)

    def hand_over(self) -> tuple[Pool, Try | None, str]:
        """The try whose answer is to be read, as `Reading` takes it, for another one to end; None: it has ended."""
        return self._pool, self._taken(), self._route

    def replace(self, response: object, fault: Fault, *, again: bool) -> float | None:
        """The response failed by `fault`; returns the seconds until the next try, or None: it is the answer to give.

        `again`: whether the request's body can be sent again, as a whole.

        Raises:
            DeadlineExceeded: the time is up.
        """
        attempt = self._take()
        call = self._remember(attempt)
        fault = call.fail(attempt, fault, None)
        return call.delay(fault, response, None) if again else None

    def pause(self, seconds: float) -> None:
        """Wait until the next try of a sync request."""
        if seconds:
            self._terms.sleep(seconds)

    def _take(self) -> Try:
        return self._open.pop()

    def _remember(self, attempt: Try) -> Call:
        if self._call is None:
            self._call = Call(self._terms, self._key, attempt, self._route)
        return self._call
