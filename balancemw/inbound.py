"""What every inbound adapter does with a request, whatever its framework: read its time, and answer our two errors."""

import json
import logging
import re
from collections.abc import Callable
from http import HTTPStatus
from math import ceil, inf
from time import monotonic

from balancemw.balancer import Balancer
from balancemw.context import Request
from balancemw.errors import DeadlineExceeded, NoNodeAvailable
from balancemw.events import LOG
from balancemw.orca import FORMAT
from balancemw.reply import Reply

ATTEMPT_COUNT = "x-envoy-attempt-count"

PROBLEM = "application/problem+json"
"""The type of answers that say what is wrong (RFC 9457)."""

_BLANK = " \t"  # the only blanks around a value (RFC 9110, 5.6.3): what else strip() takes away is not well formed
_DIGITS = 12  # of a number at most: more are not well formed
_GRPC = "grpc-timeout"
_GRPC_TIMEOUT = re.compile(r"([0-9]{1,8})([HMSmun])", re.ASCII)
_GRPC_UNITS = {"H": 3600e3, "M": 60e3, "S": 1e3, "m": 1.0, "u": 1e-3, "n": 1e-6}  # milliseconds


class Door:
    """Where requests come in: what an adapter reads of each, with all that is the same for all looked up before.

    Args:
        balancer: of the app.
        spell: how the server's mapping of headers names one that is written so, in lower case.
        joined: whether the server joins repeated headers by commas, so that the first part is meant.

    Attributes:
        presence: of the app.
    """

    __slots__ = ("_balancer", "_deadlines", "_joined", "_keys", "_timeout", "presence")

    def __init__(self, balancer: Balancer, spell: Callable[[str], str] = str, *, joined: bool = False) -> None:
        inbound = balancer.settings.inbound
        self.presence = balancer.presence
        self._balancer = balancer
        self._timeout = inf if inbound.timeout is None else inbound.timeout
        names = inbound.deadline_headers
        self._deadlines = [(spell(name), _grpc_milliseconds if name == _GRPC else _number) for name in names]
        first = names[0] if names and names[0] != _GRPC else ""  # no header is called so
        self._keys = tuple(map(spell, (first, ATTEMPT_COUNT if inbound.chain_stop else "", FORMAT)))
        self._joined = joined

    def open(self, request: Request, told: Callable[[str], str | None]) -> None:
        """Write into `request` what is known of it, and count it in: `Meter.leave` is to be called when it is served.

        The first deadline header that is present and well formed counts; it and ``inbound.timeout`` only ever shorten.

        Args:
            request: all that its constructor would do is done here.
            told: gives the value of a header by the name that the server has for it.
        """
        now = monotonic()
        value, count, asked = map(told, self._keys)
        if value is not None and value.isdecimal() and value.isascii() and len(value) <= _DIGITS:  # as nearly all are
            granted = float(value) / 1000.0
            if granted > self._timeout:
                granted = self._timeout
        else:
            granted = self._granted(told)
        request.until = now + granted
        request.over = False
        request.balancer = self._balancer
        request.retries_allowed = count is None or count == "1" or not self._is_retry(count)
        presence = self.presence  # what follows is `Meter.enter`, in place
        request.note = presence.note(now, asked) if now >= presence.edge or asked is not None else None
        next(presence.arrivals)

    def _granted(self, told: Callable[[str], str | None]) -> float:
        """Seconds that the headers and the settings grant, whatever the headers are like."""
        for key, read in self._deadlines:
            value = told(key)
            if value is None:
                continue
            milliseconds = read(value)
            if milliseconds is None and self._joined:
                milliseconds = read(value.partition(",")[0])
            if milliseconds is not None:
                return min(self._timeout, milliseconds / 1000.0)
        return self._timeout

    def _is_retry(self, count: str) -> bool:
        return (_number(count.partition(",")[0] if self._joined else count) or 0) > 1


def wsgi_key(name: str) -> str:
    """The name that the environ of WSGI has for a header."""
    return "HTTP_" + name.upper().replace("-", "_")


def _number(value: str) -> int | None:
    """What a header says in decimal digits; None when it is malformed."""
    value = value.strip(_BLANK)
    return int(value) if len(value) <= _DIGITS and value.isascii() and value.isdecimal() else None


def _grpc_milliseconds(value: str) -> float | None:
    found = _GRPC_TIMEOUT.fullmatch(value.strip(_BLANK))
    return int(found[1]) * _GRPC_UNITS[found[2]] if found else None


def conclude(request: Request) -> None:
    """The request has been answered: what it left running, as background tasks, has the time that it needs."""
    request.until = inf


def problem_of(error: BaseException) -> Reply | None:
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


def problem(status: HTTPStatus, detail: str, retry_after: str | None = None) -> Reply:
    """An answer of type `PROBLEM` with this status; `detail` is a sentence, and goes to whoever asked."""
    body = json.dumps(problem_document(status, detail)).encode()
    headers = [("content-type", PROBLEM), ("content-length", str(len(body)))]
    if retry_after is not None:
        headers.append(("retry-after", retry_after))
    return Reply(status, tuple(headers), body)


def problem_document(status: HTTPStatus, detail: str) -> dict[str, object]:
    """The members of a document of type `PROBLEM`."""
    return {"type": "about:blank", "title": status.phrase, "status": int(status), "detail": detail}
