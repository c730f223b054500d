"""A service: a name that stands for its replicas."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import inf
from random import Random

from balancemw.arguments import check_key, check_number
from balancemw.attempts import Attempts
from balancemw.context import Clock
from balancemw.health import Mark, check_mark, check_source
from balancemw.node import Node
from balancemw.orca import ASK
from balancemw.pool import Pool
from balancemw.retry import FullJitter, RetryPolicy
from balancemw.settings import parse_nodes
from balancemw.threads import Threads
from balancemw.tries import Terms

Key = str | Callable[..., object] | None

_TIMEOUT = "timeout is a number of seconds above 0"


@dataclass(frozen=True, slots=True)
class CallOptions:
    """What a caller asks for where the service's settings would say otherwise; see `Balancer.call`."""

    idempotent: bool = False
    timeout: float | None = None
    attempts: int | None = None
    retry: RetryPolicy | None = None

    def __post_init__(self) -> None:
        if self.idempotent is not True and self.idempotent is not False:
            raise TypeError(f"idempotent is True or False, not {self.idempotent!r:.80}")
        if self.timeout is not None:
            check_number(_TIMEOUT, self.timeout)
            if not 0 < self.timeout < inf:
                raise ValueError(f"{_TIMEOUT}, not {self.timeout!r}")
        if self.retry is not None and not isinstance(self.retry, RetryPolicy):
            raise TypeError(f"retry is a RetryPolicy, such as RetryPolicy(attempts=3), not {self.retry!r:.80}")
        if self.attempts is not None and self.retry is not None:
            raise ValueError("attempts= and retry= say the same thing: give one of them")
        if self.attempts is not None:
            RetryPolicy(self.attempts)


class Service:
    """The replicas of one service. Made by `Balancer`; safe from any thread and any event loop.

    Attributes:
        name: as in the settings.
        pool: the engine room; not part of the public interface.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        clock: Clock,
        rng: Random,
        sleep: Callable[[float], object] = time.sleep,
        threads: Threads | None = None,
        housekeeping: Callable[[], object] = lambda: None,
    ) -> None:
        self.name = pool.name
        self.pool = pool
        self._clock = clock
        self._sleep = sleep
        self._threads = threads
        self._housekeeping = housekeeping
        retry = pool.settings.retry
        self._jitter = FullJitter(retry.backoff, retry.backoff_max, rng)

    def __repr__(self) -> str:
        return f"<Service {self.name!r}: {len(self.available)} of {len(self.nodes)} nodes available>"

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes, in the order of the settings."""
        return tuple(peer.node for peer in self.pool.roster.peers.values())

    @property
    def available(self) -> tuple[Node, ...]:
        """The nodes that calls may go to now."""
        return self.pool.available(self._clock())

    @property
    def request_headers(self) -> Mapping[str, str]:
        """What requests to its nodes had better carry: it asks for load reports, if the strategy goes by them.

        The client adapters send it by themselves, and it need not be sent at all.
        """
        return ASK if self.pool.wants_reports else {}

    def terms(self, options: CallOptions) -> Terms:
        """On which terms a function with these options calls this service."""
        settings = self.pool.settings
        policy = options.retry or RetryPolicy(options.attempts or settings.retry.attempts)
        timeout = settings.timeout if options.timeout is None else options.timeout
        each = settings.attempt_timeout
        return Terms(
            pool=self.pool,
            clock=self._clock,
            idempotent=options.idempotent,
            timeout=inf if timeout is None else timeout,
            attempt_timeout=inf if each is None else each,
            policy=policy,
            jitter=self._jitter,
            sleep=self._sleep,
            threads=self._threads,
            hedged=settings.hedge is not None
            and options.idempotent
            and (policy.stop is not None or policy.attempts > 1),
        )

    def attempts(
        self,
        *,
        idempotent: bool = False,
        key: str | None = None,
        timeout: float | None = None,
        attempts: int | None = None,
        retry: RetryPolicy | None = None,
    ) -> Attempts:
        """The tries of one call: ``for attempt in service.attempts(): with attempt as node: …``; ``async for`` alike.

        Args:
            idempotent: whether sending it twice does no harm.
            key: for strategies that go by key.
            timeout: seconds for the whole call; None: the service's.
            attempts: tries in all; None: the service's.
            retry: a policy of one's own instead of `attempts`.

        Raises:
            TypeError, ValueError: one of them makes no sense.
        """
        check_key(key, callables=False)
        return Attempts(self.terms(CallOptions(idempotent, timeout, attempts, retry)), key)

    def pick(self, key: str | None = None, exclude: Iterable[Node | str] = ()) -> Node:
        """A choice without a call: nothing is counted, and nobody learns how it went.

        Args:
            key: for strategies that go by key.
            exclude: nodes, urls or names to pass over while others are available.

        Raises:
            NoNodeAvailable: there is no node, or all are forbidden.
            LookupError: `exclude` names a node that does not exist.
        """
        excluded = {self.pool.roster.find(node) for node in exclude} if exclude else ()
        return self.pool.pick(self._clock(), key, excluded).node

    def find(self, node: Node | str) -> Node:
        """The node that is called so, by its name or its url.

        Raises:
            LookupError: there is none, or more than one.
        """
        return self.pool.roster.find(node).node

    def mark(
        self,
        node: Node | str,
        kind: str,
        *,
        source: str = "operator",
        reason: str,
        ttl: float | None = None,
        weight: float | None = None,
    ) -> None:
        """Make a claim about a node, in place of the source's former one.

        Args:
            node: the node, its url or its name.
            kind: ``down`` or ``drain`` (no new calls), ``weight`` (a factor on its weight), or ``up``, which clears
                the source's own mark and, from an operator, overrides what others hold against the node.
            source: ``operator``, ``alert``, ``discovery``, ``self``, ``probe`` or ``traffic``.
            reason: why, in words, for those who look later.
            ttl: seconds after which the mark ends by itself; None: when it is cleared.
            weight: for kind ``weight``: above 0 and up to 10.

        Raises:
            TypeError, ValueError: the mark makes no sense.
            LookupError: there is no such node.
        """
        check_mark(kind, source, weight, ttl)
        self._housekeeping()  # first: what a process notes before it notices that it was forked is lost
        now = self._clock()
        mark = Mark(source, kind, reason, now, None if ttl is None else now + ttl, weight)
        self.pool.mark(self.pool.roster.find(node), mark, now)

    def clear(self, node: Node | str, *, source: str = "operator") -> None:
        """Withdraw the mark of `source`, if it has one.

        Raises:
            ValueError: there is no such source.
            LookupError: there is no such node.
        """
        check_source(source)
        self._housekeeping()
        self.pool.withdraw(self.pool.roster.find(node), source, self._clock())

    def replace(self, nodes: Iterable[object]) -> None:
        """Make `nodes` the service's nodes: urls, mappings as in the settings, or `Node` objects.

        Those that stay keep what is known of them, new ones take up their share by degrees, and calls in flight to
        those that leave go on.

        Raises:
            SettingsError: some of them are not nodes; then nothing is changed.
        """
        self.pool.replace(parse_nodes(nodes), self._clock())
