"""One service on a fake clock, with replicas that do as they are told."""

import contextvars
import http.client
import random
import socket
import ssl
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import httpx
import requests

from balancemw import Balancer, DeadlineExceeded, Event, Node, Service
from balancemw.context import Clock, Request
from tests.engine.clock import FakeClock

Outcome = Callable[[], object]
"""Makes what a replica does with a call: an exception to raise, or a result to return."""


class Answer:
    """A response, as HTTP clients give it."""

    def __init__(self, status: int = 200, **headers: str) -> None:
        self.status_code = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.closed = False

    def close(self) -> None:
        self.closed = True


class TimedRequest(Request):
    """An inbound request that is due on a clock of the test's own."""

    __slots__ = ("clock",)

    def __init__(self, balancer: object, until: float, clock: Clock) -> None:
        self.clock = clock
        super().__init__(balancer, until=until)


# One way at least to see each kind of fault, as clients and the standard library raise it.
FAULTS: Mapping[str, Outcome] = {
    "refused": lambda: ConnectionRefusedError(111, "Connection refused"),
    "dns": lambda: socket.gaierror(-2, "Name or service not known"),
    "tls": lambda: ssl.SSLCertVerificationError(1, "certificate verify failed"),
    "connect_timeout": lambda: requests.ConnectTimeout("no connection in time"),
    "timeout": lambda: httpx.ReadTimeout("no answer in time"),
    "reset": lambda: ConnectionResetError(104, "Connection reset by peer"),
    "protocol": lambda: http.client.BadStatusLine("nonsense"),
    "overload 429": lambda: Answer(429, Retry_After="7"),
    "overload 503": lambda: Answer(503, Retry_After="7"),
    "unavailable": lambda: Answer(503),
    "server_error": lambda: Answer(500),
    "deadline": lambda: TimeoutError("the whole call's time is up"),  # if it is; else a timeout
    "cancelled": KeyboardInterrupt,
    "application": lambda: KeyError("no such product"),
}


def refused() -> object:
    return FAULTS["refused"]()


def reset() -> object:
    return FAULTS["reset"]()


def unavailable() -> object:
    return Answer(503)


class OpenCall:
    """A call of one try that is under way, as in a task of its own, until it is ended."""

    def __init__(self, service: Service, **wishes: Any) -> None:
        self._context = contextvars.copy_context()
        self._attempt = next(iter(service.attempts(attempts=1, **wishes)))
        self.node = self._context.run(self._attempt.__enter__)

    def end(self, does: Outcome = Answer) -> None:
        """End it with an exception or a result."""
        outcome = does()
        error = outcome if isinstance(outcome, BaseException) else None
        if error is None:
            self._context.run(self._attempt.observe, outcome)
        with suppress(DeadlineExceeded):
            self._context.run(self._attempt.__exit__, type(error) if error else None, error, None)


class Stage:
    """A balancer of one service ``s`` whose nodes are called n0, n1 …

    Args:
        nodes: how many, or what stands under ``nodes`` in the settings.
        seed: of the random generator.
        strategy: of the service; in turn unless a test is about another.
        whole: settings beside the service's.
        settings: more of the service's settings.

    Attributes:
        does: what each node does, by host; others answer 200.
        takes: seconds that an answer takes.
        sent: hosts of the replicas that calls reached, in order.
        events: all that was told to listeners.
    """

    def __init__(
        self,
        nodes: int | Sequence[object] = 3,
        *,
        seed: int = 1,
        clock: FakeClock | None = None,
        strategy: object = "round_robin",
        whole: Mapping[str, object] | None = None,
        **settings: object,
    ) -> None:
        self.clock = clock or FakeClock()
        listed = [f"http://n{i}:80" for i in range(nodes)] if isinstance(nodes, int) else nodes
        own = {"services": {"s": {"nodes": listed, "strategy": strategy, **settings}}}
        rng = random.Random(seed)
        self.balancer = Balancer({**own, **(whole or {})}, clock=self.clock, rng=rng, sleep=self.clock.sleep)
        self.service: Service = self.balancer["s"]
        self.does: dict[str, Outcome] = {}
        self.takes = 0.01
        self.sent: list[str] = []
        self.events: list[Event] = []
        self.balancer.subscribe(self.events.append)

    def replica(self, node: Node) -> object:
        """What a call to `node` comes to."""
        self.sent.append(node.host)
        self.clock.advance(self.takes)
        outcome = self.does.get(node.host, Answer)()
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def call(self, **wishes: Any) -> object:
        """One balanced call."""
        return self.balancer.call("s", **wishes)(self.replica)()

    def calls(self, count: int, **wishes: Any) -> Counter[str]:
        """Many calls, whatever comes of them; returns how many tries each host saw."""
        before = len(self.sent)
        balanced = self.balancer.call("s", **wishes)(self.replica)
        for _ in range(count):
            try:
                balanced()
            except Exception:
                continue
        return Counter(self.sent[before:])

    def open(self, **wishes: Any) -> OpenCall:
        """A call that has begun."""
        return OpenCall(self.service, **wishes)

    def open_on(self, host: str, **wishes: Any) -> OpenCall:
        """A call that has begun on that host; what goes elsewhere succeeds at once."""
        for _ in range(1000):
            call = self.open(**wishes)
            if call.node.host == host:
                return call
            call.end()
        raise AssertionError(f"no call goes to {host}")

    def fails(self, host: str, kind: str, times: int = 1) -> None:
        """Calls to `host` that end in that fault, one after the other; other hosts are well."""
        for _ in range(times):
            call = self.open_on(host, timeout=2.0 if kind == "deadline" else None)
            self.clock.advance(2.0 if kind == "deadline" else 0.01)
            call.end(FAULTS[kind])

    def put_out(self, host: str = "n0") -> None:
        """Let `host` be ejected."""
        self.fails(host, "refused")
        assert self.states()[host] == "ejected"

    def time_out(self, host: str = "n0") -> float:
        """Seconds for which `host` was ejected."""
        (mark,) = self.told(host)["marks"]
        assert mark["kind"] == "ejected"
        return round(mark["until"] - mark["since"], 4)  # both are seconds since 1970: what is behind that is noise

    def all(self, does: Outcome) -> None:
        """Let every node do the same."""
        self.does = {node.host: does for node in self.service.nodes}

    def told(self, host: str) -> dict[str, Any]:
        """The node's part of the status."""
        nodes = self.status()["nodes"]
        return next(each for each in nodes if each["name"].startswith(f"{host}:"))

    def status(self) -> dict[str, Any]:
        """The service's part of the status."""
        services: Any = self.balancer.status()["services"]
        return services["s"]

    def states(self) -> dict[str, str]:
        """The state of every node, by host."""
        return {each["name"].partition(":")[0]: each["state"] for each in self.status()["nodes"]}

    def in_flight(self) -> int:
        """Calls open now, of all nodes together."""
        return sum(each["in_flight"] for each in self.status()["nodes"])

    def available(self) -> set[str]:
        """Hosts that calls may go to."""
        return {node.host for node in self.service.available}

    def happened(self, event: str) -> list[Event]:
        """The events of that name."""
        return [each for each in self.events if each.event == event]
