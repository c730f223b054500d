"""What every inbound adapter does with a request, whatever its framework: read its time, and answer our two errors."""

import json
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from math import ceil, inf

from balancemw.balancer import Balancer
from balancemw.context import Bound, Request
from balancemw.errors import DeadlineExceeded, NoNodeAvailable
from balancemw.events import LOG

ATTEMPT_COUNT = "x-envoy-attempt-count"

_BLANK = " \t"  # the only blanks around a value (RFC 9110, 5.6.3): what else strip() takes away is not well formed
_DIGITS = 12  # of a number at most: more are not well formed
_GRPC_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])", re.ASCII)
_GRPC_UNITS = {"H": 3600e3, "M": 60e3, "S": 1e3, "m": 1.0, "u": 1e-3, "n": 1e-6}  # milliseconds


@dataclass(frozen=True, slots=True)
class Problem:
    """An answer of type ``application/problem+json`` (RFC 9457).

    Attributes:
        status: the HTTP status.
        headers: names in lower case, and values.
        body: UTF-8 JSON.
    """

    status: HTTPStatus
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Door:
    """Where requests come in: what an adapter reads of each, with all that is the same for all looked up before.

    Args:
        balancer: of the app.
        spell: how the server's mapping of headers names one that is written so, in lower case.
        joined: whether the server joins repeated headers by commas, so that the first part is meant.
    """

    __slots__ = ("_balancer", "_count", "_deadlines", "_joined", "_timeout")

    def __init__(self, balancer: Balancer, spell: Callable[[str], str] = str, *, joined: bool = False) -> None:
        inbound = balancer.settings.inbound
        self._balancer = balancer
        self._timeout = inbound.timeout
        self._deadlines = tuple(
            (spell(name), _grpc_milliseconds if name == "grpc-timeout" else _number)
            for name in inbound.deadline_headers
        )
        self._count = spell(ATTEMPT_COUNT) if inbound.chain_stop else None
        self._joined = joined

    def open(self, told: Callable[[str], str | None]) -> Request:
        """What is known of a request; `told` gives the value of a header by the name that the server has for it.

        The first deadline header that is present and well formed counts; it and ``inbound.timeout`` only ever shorten.
        """
        granted = self._timeout
        for key, read in self._deadlines:
            value = told(key)
            if value is None:
                continue
            milliseconds = read(value)
            if milliseconds is None and self._joined:
                milliseconds = read(value.partition(",")[0])
            if milliseconds is not None:
                seconds = milliseconds / 1000.0
                granted = seconds if granted is None else min(granted, seconds)
                break
        count = None if self._count is None else told(self._count)
        retried = count is not None and _is_retry(count.partition(",")[0] if self._joined else count)
        deadline = None if granted is None else Bound(time.monotonic() + granted)
        return Request(self._balancer, not retried, deadline)


def wsgi_key(name: str) -> str:
    """The name that the environ of WSGI has for a header."""
    return "HTTP_" + name.upper().replace("-", "_")


def _number(value: str) -> int | None:
    """What a header says in decimal digits; None when it is malformed."""
    value = value.strip(_BLANK)
    # A pattern takes thrice the time.
    return int(value) if len(value) <= _DIGITS and value.isascii() and value.isdecimal() else None


def _grpc_milliseconds(value: str) -> float | None:
    found = _GRPC_TIMEOUT.fullmatch(value.strip(_BLANK))
    return int(found[1]) * _GRPC_UNITS[found[2]] if found else None


def _is_retry(value: str) -> bool:
    return value != "1" and (_number(value) or 0) > 1


def conclude(request: Request) -> None:
    """The request has been answered: what it left running, as background tasks, has the time that it needs."""
    if request.deadline is not None:
        request.deadline.until = inf


def problem_of(error: BaseException) -> Problem | None:
    """The answer to an error of ours that the app let through; None for every other error.

    It names no service and no node: what is inside is told to the log, not to the client.
    """
    if isinstance(error, NoNodeAvailable):
        tell(logging.WARNING, HTTPStatus.SERVICE_UNAVAILABLE, error)
        retry_after = str(max(1, ceil(min(error.retry_after, 3600.0))))
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, "No replica of a needed service is available.", retry_after)
    if isinstance(error, DeadlineExceeded):
        tell(logging.INFO, HTTPStatus.GATEWAY_TIMEOUT, error)  # how often is up to the clients, who name the deadlines
        return problem(HTTPStatus.GATEWAY_TIMEOUT, "The time to answer this request is up.")
    return None


def tell(level: int, status: HTTPStatus, error: BaseException, words: str = "") -> None:
    """Log what a request was answered with, and why; `words` in place of what the error says, which may be secret."""
    LOG.log(level, "answered %d: %s", status, "; ".join([words or str(error), *getattr(error, "__notes__", ())]))


def problem(status: HTTPStatus, detail: str, retry_after: str | None = None) -> Problem:
    """The answer with this status; `detail` is a sentence, and goes to whoever asked."""
    told = {"type": "about:blank", "title": status.phrase, "status": int(status), "detail": detail}
    body = json.dumps(told).encode()
    headers = [("content-type", "application/problem+json"), ("content-length", str(len(body)))]
    if retry_after is not None:
        headers.append(("retry-after", retry_after))
    return Problem(status, tuple(headers), body)
