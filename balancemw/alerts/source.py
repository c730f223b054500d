"""Asks Alertmanager what is firing: at start-up, when what was told before is lost, and from time to time after."""

import asyncio
import json
import re
from base64 import b64encode
from collections.abc import Callable
from math import inf
from random import Random

import aiohttp

from balancemw.alerts.desk import Desk
from balancemw.alerts.payload import Listed, Malformed, read_listed
from balancemw.checks import NotMade, in_thread
from balancemw.events import News
from balancemw.settings import AlertSettings

_TIMEOUT = 10.0  # seconds for one question
_LARGEST = 16 * 1024 * 1024  # bytes of an answer
_SOON = 15.0  # seconds after which a question that failed is asked again
_SPREAD = 0.1  # share of the interval by which workers keep out of step


class Inquiry:
    """The questions to one Alertmanager; an errand of the monitor.

    An alert that it had listed and lists no more, twice in a row, has been resolved, and the message of it was lost.
    Once is not enough: an Alertmanager that restarts knows nothing until Prometheus has told it anew.

    Args:
        settings: with a `url`.
        desk: takes what it answers.
        news: where it is told that it does not answer.
        clock: the balancer's.
        rng: spreads the questions.

    Attributes:
        next_due: when to ask next, on the balancer's clock; infinity: a question is under way.
    """

    def __init__(
        self, settings: AlertSettings, desk: Desk, *, news: News, clock: Callable[[], float], rng: Random
    ) -> None:
        self.next_due = -inf
        self._url = f"{settings.url}/api/v2/alerts"
        self._receiver = settings.receiver
        self._interval = settings.interval
        self._authorization = _authorization(settings)
        self._desk = desk
        self._news = news
        self._clock = clock
        self._rng = rng
        self._missed: set[str] = set()  # listed before, and not at the last question
        self._failing = False

    def __repr__(self) -> str:
        return "asking Alertmanager"

    def begin(self) -> None:
        """Ask soon."""
        self.next_due = -inf

    async def run(self, session: aiohttp.ClientSession) -> None:
        """Ask once."""
        self.next_due = inf
        pause = min(_SOON, self._interval)
        try:
            listed = await self._ask(session)
        except (aiohttp.ClientError, OSError, TimeoutError, Malformed, NotMade) as error:
            self._fail(error)
        else:
            self._succeed(listed)
            pause = self._interval
        finally:
            self.next_due = self._clock() + pause * self._rng.uniform(1.0 - _SPREAD, 1.0)

    async def _ask(self, session: aiohttp.ClientSession) -> tuple[Listed, ...]:
        query = {"active": "true", "silenced": "true", "inhibited": "true", "unprocessed": "true"}
        if self._receiver is not None:
            query["receiver"] = re.escape(self._receiver)
        headers = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "balancemw"}
        if self._authorization is not None:
            headers["authorization"] = self._authorization
        async with (
            asyncio.timeout(_TIMEOUT),
            session.get(self._url, params=query, headers=headers, allow_redirects=False, middlewares=()) as answer,
        ):
            if answer.status != 200:
                raise Malformed(f"it answered with status {answer.status}")
            body = bytearray()
            async for chunk in answer.content.iter_any():
                body += chunk
                if len(body) > _LARGEST:
                    raise Malformed(f"its answer is longer than {_LARGEST} bytes")
        return await in_thread(lambda: _read(bytes(body)))

    def _succeed(self, listed: tuple[Listed, ...]) -> None:
        there = {each.alert.fingerprint for each in listed}
        missing = self._desk.listed() - there
        gone, self._missed = missing & self._missed, missing
        self._desk.reconcile(listed, gone, self._clock())
        if self._failing:
            self._failing = False
            self._news.note(None, "alertmanager_found", "alert", "Alertmanager answers again")
            self._news.tell()

    def _fail(self, error: Exception) -> None:
        if self._failing:
            return
        self._failing = True
        what = str(error) if isinstance(error, Malformed) else type(error).__name__  # a client's words may show the url
        reason = f"Alertmanager cannot be asked what is firing: {what}; what is known holds until its lease ends"
        self._news.note(None, "alertmanager_lost", "alert", reason)
        self._news.tell()


def _authorization(settings: AlertSettings) -> str | None:
    if settings.token is not None:
        return f"Bearer {settings.token}"
    if settings.user is None:
        return None
    return "Basic " + b64encode(f"{settings.user}:{settings.password}".encode()).decode()


def _read(body: bytes) -> tuple[Listed, ...]:
    try:
        document = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise Malformed("its answer is no JSON") from None
    return read_listed(document)
