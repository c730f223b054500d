"""Every client seen the same way, so that one test can hold for all of them."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, NamedTuple

from balancemw import Balancer


class Times(NamedTuple):
    """Seconds; None: as long as it takes."""

    connect: float | None = 20.0
    read: float | None = 20.0
    total: float | None = None
    pool: float | None = 20.0


DEFAULTS: dict[str, Any] = {"times": Times(), "follow": True}
Call = tuple[str, Any, dict[str, Any]]


@dataclass
class Answer:
    """What a client makes of an answer.

    Attributes:
        raw: the client's own response.
        url: where the client says that it came from.
        asked_url, asked_headers: of the request that the client says it answers.
        text: decodes the body.
        json: parses it.
    """

    raw: Any
    status: int
    reason: str
    url: str
    headers: list[tuple[str, str]]
    asked_method: str
    asked_url: str
    asked_headers: Mapping[str, str]
    cookies: Callable[[], dict[str, str]]
    history: list["Answer"]
    text: Callable[[], str]
    json: Callable[[], Any]
    check: Callable[[], Any]
    content: bytes = b""

    def all(self, name: str) -> list[str]:
        return [value for each, value in self.headers if each.lower() == name.lower()]


@dataclass(frozen=True)
class Errors:
    """The client's own exceptions, by what went wrong; None: it has none of the kind."""

    root: type[Exception]
    refused: type[Exception]
    connect_timeout: type[Exception]
    read_timeout: type[Exception]
    pool_timeout: type[Exception] | None
    disconnected: type[Exception]
    reset: type[Exception]
    lost: type[Exception] | tuple[type[Exception], ...]
    nonsense: type[Exception]
    broken_body: type[Exception]
    reading_timeout: type[Exception]
    decoding: type[Exception]
    invalid_json: type[Exception]
    invalid_url: type[Exception]
    redirects: type[Exception]
    status: type[Exception]
    certificate: type[Exception]


class Driver:
    """What to know of a client.

    Attributes:
        name: for people.
        asynchronous: its calls are awaited.
        errors: its exceptions.
        counts_bytes: it notices when there are fewer of them than was said.
    """

    name: str
    asynchronous: bool
    counts_bytes = True
    errors: Errors
    response: type

    def make(self, balancer: Balancer | None, **own: Any) -> Any:
        """The client's session; `own` are its options, and some that all have.

        ``trust`` is a file of certificates, or False: trust everybody; ``certificate`` a file with one's own; ``limit``
        the number of connections; ``mounted`` the only host that is balanced, where the client knows such a thing.
        """
        raise NotImplementedError

    def options(self, **options: Any) -> dict[str, Any]:
        """The client's own options for `content`, `times`, `follow` and `auth`; others pass."""
        raise NotImplementedError

    def send(self, raw: Any, method: str, url: str, own: dict[str, Any]) -> Any:
        """Start a request and return the response at its headers, its body unread."""
        raise NotImplementedError

    def read(self, response: Any) -> Any:
        raise NotImplementedError

    def chunks(self, response: Any) -> Any:
        """Of the decoded body, as they come."""
        raise NotImplementedError

    def lines(self, response: Any) -> Any:
        raise NotImplementedError

    def close(self, response: Any) -> Any:
        raise NotImplementedError

    def shut(self, raw: Any) -> Any:
        raise NotImplementedError

    def view(self, response: Any, wait: Callable[[Any], Any], *, step: bool = False) -> Answer:
        """What there is to see of a response; `step`: it was on the way to another."""
        raise NotImplementedError

    def url(self, url: str) -> Any:
        """The url as the client takes it to be final, every byte of it."""
        return url


def tls(trust: str | bool | None, certificate: str | None) -> ssl.SSLContext:
    """For clients that take a context. Not the system's certificates: to load them takes longer than most tests."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if trust is False:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    elif trust:
        context.load_verify_locations(trust)
    if certificate:
        context.load_cert_chain(certificate)
    return context


@dataclass
class Session:
    """A session of some client; every method waits for its result."""

    driver: Driver
    raw: Any
    base: str
    runner: asyncio.Runner | None

    def wait(self, value: Any) -> Any:
        if self.runner is None:
            return value

        async def outcome() -> Any:
            return await value

        return self.runner.run(outcome(), context=copy_context())

    def place(self, url: Any) -> Any:
        return self.base + url if isinstance(url, str) and url.startswith("/") else url

    def request(self, method: str, url: Any, **options: Any) -> Answer:
        """Send a request and read the whole answer; a url that begins with a slash is below `base`."""
        own = self.driver.options(**{**DEFAULTS, **options})
        if self.runner is None:
            response, content = self._whole(method, url, own)
        else:
            response, content = self.wait(self._whole_async(method, url, own))
        answer = self.driver.view(response, self.wait)
        answer.content = content
        return answer

    def get(self, url: Any, **options: Any) -> Answer:
        return self.request("GET", url, **options)

    def post(self, url: Any, **options: Any) -> Answer:
        return self.request("POST", url, **options)

    def _whole(self, method: str, url: Any, own: dict[str, Any], unread: bool = False) -> tuple[Any, bytes]:
        response = self.driver.send(self.raw, method, self.place(url), own)
        try:
            return response, b"" if unread else self.driver.read(response)
        finally:
            self.driver.close(response)

    async def _whole_async(self, method: str, url: Any, own: dict[str, Any], unread: bool = False) -> tuple[Any, bytes]:
        response = await self.driver.send(self.raw, method, self.place(url), own)
        try:
            return response, b"" if unread else await self.driver.read(response)
        finally:
            await self.driver.close(response)

    @contextmanager
    def stream(self, method: str, url: Any, **options: Any) -> Iterator["Stream"]:
        """Send a request and leave the body to be read."""
        own = self.driver.options(**{**DEFAULTS, **options})
        response = self.wait(self.driver.send(self.raw, method, self.place(url), own))
        try:
            yield Stream(self, response)
        finally:
            self.wait(self.driver.close(response))

    def together(self, *calls: Call, workers: int = 0) -> list[Any]:
        """All at once, or as many as there are workers: the bodies of the answers, or the exceptions.

        A call is a method, a url and options; ``unread``: close the answer without reading it.
        """
        workers = workers or len(calls)
        if self.runner is None:
            with ThreadPoolExecutor(workers) as threads:
                return list(threads.map(self._outcome, calls))
        return self.wait(self._outcomes(calls, workers))

    def _outcome(self, call: Call) -> Any:
        method, url, options = call
        unread = options.pop("unread", False)
        try:
            return self._whole(method, url, self.driver.options(**{**DEFAULTS, **options}), unread)[1]
        except Exception as error:
            return error

    async def _outcomes(self, calls: Sequence[Call], workers: int) -> list[Any]:
        outcomes: list[Any] = [None] * len(calls)
        left = iter(enumerate(calls))

        async def work() -> None:
            for number, (method, url, options) in left:
                unread = options.pop("unread", False)
                own = self.driver.options(**{**DEFAULTS, **options})
                try:
                    outcomes[number] = (await self._whole_async(method, url, own, unread))[1]
                except Exception as error:
                    outcomes[number] = error

        async with asyncio.TaskGroup() as tasks:
            for _ in range(workers):
                tasks.create_task(work())
        return outcomes

    def close(self) -> None:
        self.wait(self.driver.shut(self.raw))


class Stream:
    """An answer whose body is being read."""

    def __init__(self, session: Session, response: Any) -> None:
        self.session, self.raw = session, response
        self._chunks: Iterator[bytes] | None = None

    @property
    def answer(self) -> Answer:
        return self.session.driver.view(self.raw, self.session.wait)

    def take(self, size: int) -> bytes:
        """The next chunks, until there are that many bytes."""
        if self._chunks is None:  # to be kept: a client may close the response when it is dropped
            self._chunks = self.each(self.session.driver.chunks(self.raw))
        taken = b""
        while len(taken) < size:
            taken += next(self._chunks)
        return taken

    def rest(self) -> bytes:
        """The chunks that are left."""
        return b"".join(self._chunks or ())

    def lines(self) -> Iterator[str]:
        return self.each(self.session.driver.lines(self.raw))

    def read(self) -> bytes:
        return self.session.wait(self.session.driver.read(self.raw))

    def each(self, iterator: Any) -> Iterator[Any]:
        if isinstance(iterator, AsyncIterator):
            end = object()
            while (item := self.session.wait(anext(iterator, end))) is not end:
                yield item
        else:
            yield from iterator
