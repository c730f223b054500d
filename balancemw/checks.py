"""The active checks themselves: http, tcp, and a callable of the user's. Coroutines, for the monitor's event loop."""

import asyncio
import inspect
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from ipaddress import ip_address
from threading import Thread
from typing import Any, NamedTuple, TypeVar, cast

import aiohttp

from balancemw.fault import Kind, classify
from balancemw.node import Node
from balancemw.presence import STATE
from balancemw.settings import ProbeSettings
from balancemw.verdict.reading import status_in_words

T = TypeVar("T")

_MOST_BODY = 65536  # bytes read of an answer: enough to notice that it breaks off, and a bound on what a check costs


class NotMade(Exception):
    """A check could not be made, for want of something on our side. It says nothing of the node."""


class Outcome(NamedTuple):
    """What a check found: `reason` (in words) and `fault` only of one that failed; `said`: by the node, of itself."""

    passed: bool
    reason: str = ""
    fault: Kind | None = None
    said: str = ""


class Check:
    """How the nodes of one service are checked.

    Args:
        settings: its ``probe`` settings.
        service: its name, which nodes get as ``Host``, as with calls, and for which one addressed by IP must have a
            certificate; "": its nodes go by their own.
    """

    def __init__(self, settings: ProbeSettings, service: str = "") -> None:
        self._settings = settings
        self._service = service
        self._since: dict[str, float] = {}  # when the callable was called that has not returned yet, by the node's url

    async def __call__(self, node: Node, session: aiohttp.ClientSession) -> Outcome:
        """Check `node` once, within the settings' timeout.

        Raises:
            NotMade: the check says nothing of the node.
        """
        call = self._settings.call
        if call is not None:
            return await self._ask(node, call)
        way = self._http(node, session) if self._settings.kind == "http" else _tcp(node)
        limit = asyncio.timeout(self._settings.timeout)
        try:
            async with limit:
                return await way
        except (OSError, ValueError, aiohttp.ClientError) as error:
            if limit.expired():
                return self._too_late()
            failure = _failure(error)
            if failure.fault is Kind.APPLICATION and isinstance(error, OSError):  # out of files or ports, for instance
                raise NotMade(failure.reason) from error
            return failure

    def _too_late(self) -> Outcome:
        return Outcome(False, f"no answer within {self._settings.timeout:g} s", Kind.TIMEOUT)

    async def _http(self, node: Node, session: aiohttp.ClientSession) -> Outcome:
        settings, service = self._settings, self._service
        async with session.request(
            settings.method,
            node.url + settings.path,
            headers={"Host": service} if service else None,
            allow_redirects=False,
            server_hostname=service if service and _is_address(node.host) else None,
        ) as answer:
            status, said = answer.status, answer.headers.get(STATE, "")
            if not any(low <= status <= high for low, high in settings.expect):
                fault = classify(answer, None)
                reason = f"{status_in_words(status)}, expected {self._expected()}"
                return Outcome(False, reason, fault.kind if fault else None, said)
            left = _MOST_BODY
            while chunk := await answer.content.read(left):
                left -= len(chunk)
        return Outcome(True, said=said)

    def _expected(self) -> str:
        return ", ".join(f"{low}-{high}" if low < high else f"{low}" for low, high in self._settings.expect)

    # -- a callable of the user's: may do anything, may hang, and cannot be trusted to end when it is told to

    async def _ask(self, node: Node, call: Callable[[Node], object]) -> Outcome:
        since = self._since.get(node.url)
        if since is not None:
            reason = f"it was called {time.monotonic() - since:.1f} s ago and has not returned"
            return Outcome(False, reason, Kind.TIMEOUT)
        asked = asyncio.ensure_future(self._answer(node, call))
        asked.add_done_callback(take_error)
        await asyncio.wait({asked}, timeout=self._settings.timeout)
        if not asked.done():
            asked.cancel()
            return self._too_late()
        return Outcome(False, "it was cancelled", Kind.CANCELLED) if asked.cancelled() else asked.result()

    async def _answer(self, node: Node, call: Callable[[Node], object]) -> Outcome:
        try:
            answer = call(node) if inspect.iscoroutinefunction(call) else await self._called(node, call)
            if inspect.isawaitable(answer):
                answer = await self._awaited(node, answer)
            return Outcome(True) if answer else Outcome(False, f"it returned {answer!r:.80}")
        except (NotMade, asyncio.CancelledError):
            raise
        except BaseException as error:  # SystemExit too: it must not end the monitor
            return _failure(error)

    async def _called(self, node: Node, call: Callable[[Node], object]) -> object:
        def work() -> object:
            try:
                return call(node)
            finally:
                self._since.pop(node.url, None)  # here and not below, where nobody may be waiting any more

        self._since[node.url] = time.monotonic()
        try:
            return await in_thread(work)
        except NotMade:
            self._since.pop(node.url, None)
            raise

    async def _awaited(self, node: Node, answer: Awaitable[object]) -> object:
        self._since[node.url] = time.monotonic()
        try:
            return await answer
        finally:
            self._since.pop(node.url, None)

    def after_fork(self) -> None:
        """Begin anew in a child process: the calls that hang in the parent do not hang here."""
        self._since.clear()


async def _tcp(node: Node) -> Outcome:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(asyncio.Protocol, node.host, node.port)
    transport.abort()
    return Outcome(True)


def _is_address(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _failure(error: BaseException) -> Outcome:
    fault = classify(None, error)
    return Outcome(False, fault.reason, fault.kind) if fault else Outcome(False, repr(error))


# -- what checks run on


def open_session() -> aiohttp.ClientSession:
    """A session for checks: each makes a connection of its own, as new calls would, and none remembers anything."""
    connector = aiohttp.TCPConnector(
        limit=0, force_close=True, use_dns_cache=False, resolver=aiohttp.ThreadedResolver()
    )  # the monitor limits how many are made at a time, before their time begins to run
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        headers={"User-Agent": "balancemw-probe"},
        auto_decompress=False,
        trust_env=False,
    )


async def in_thread(function: Callable[[], T]) -> T:
    """Run what blocks in a daemon thread: unlike an executor's, it does not keep the process from ending if it hangs.

    Raises:
        NotMade: no thread could be had.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()

    def work() -> None:
        try:
            told: tuple[Any, BaseException | None] = (function(), None)
        except BaseException as error:
            told = (None, error)
        try:
            loop.call_soon_threadsafe(_settle, future, told)
        except RuntimeError:  # nobody waits any more: the loop is closed
            pass

    try:
        Thread(target=work, name="balancemw-check", daemon=True).start()
    except RuntimeError as error:
        raise NotMade(str(error)) from error
    result, raised = await future
    if raised is not None:
        raise raised
    return cast(T, result)


def take_error(done: "asyncio.Future[Any]") -> None:
    """Whoever waited may have gone: an error that nobody takes would be logged."""
    if not done.cancelled():
        done.exception()


def _settle(future: "asyncio.Future[T]", result: T) -> None:
    if not future.done():
        future.set_result(result)


class Loop(asyncio.SelectorEventLoop):
    """An event loop that looks names up in daemon threads, one at a time for each name, and leaves no socket open."""

    def __init__(self) -> None:
        super().__init__()
        self._lookups: dict[object, asyncio.Task[Any]] = {}

    def close(self) -> None:
        """As the base class's. Connections that are being made, or still wait for a goodbye, would be left open."""
        if not self.is_closed():
            transports: Mapping[int, asyncio.Transport] = vars(self)["_transports"]
            for transport in tuple(transports.values()):
                transport.abort()
            self.run_until_complete(asyncio.sleep(0))  # what is aborted is closed in the loop's next turn
        super().close()

    async def getaddrinfo(self, host: Any, port: Any, **how: int) -> Any:
        """As the base class's; a caller that goes away leaves the lookup to those who ask next."""
        asked = (host, port, *sorted(how.items()))
        lookup = self._lookups.get(asked)
        if lookup is None:
            lookup = self._lookups[asked] = self.create_task(in_thread(lambda: socket.getaddrinfo(host, port, **how)))
            lookup.add_done_callback(lambda done: self._found(asked, done))
        return await asyncio.shield(lookup)

    def _found(self, asked: object, lookup: "asyncio.Task[Any]") -> None:
        del self._lookups[asked]
        take_error(lookup)
