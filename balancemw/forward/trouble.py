"""The answer where a replica gave none."""

import logging
from http import HTTPStatus

from balancemw.fault import Kind, classify
from balancemw.forward.response import Nonsense
from balancemw.inbound import problem, problem_of, tell
from balancemw.reply import Reply
from balancemw.verdict.reading import in_words

_LATE = (Kind.TIMEOUT, Kind.CONNECT_TIMEOUT, Kind.DEADLINE)


def trouble(error: Exception) -> Reply | None:
    """The answer to what went wrong before a replica's answer was there; None: the mistake is in our own house.

    503 where there was no replica to ask, 504 where none answered in time, 502 where what came was no answer. None of
    them names a service or a node: that is told to the log.
    """
    found = problem_of(error)
    if found is not None:
        return found
    kind = _kind(error)
    if kind is Kind.APPLICATION:
        if not isinstance(error, OSError):
            return None
        status, detail = HTTPStatus.SERVICE_UNAVAILABLE, "No connection can be made at the moment."
        tell(logging.ERROR, status, error, in_words(error))
        return problem(status, detail, "1")
    late = kind in _LATE
    status = HTTPStatus.GATEWAY_TIMEOUT if late else HTTPStatus.BAD_GATEWAY
    tell(logging.WARNING, status, error, in_words(error))
    return problem(status, "No replica answered in time." if late else "No replica gave an answer.")


def _kind(error: Exception) -> Kind:
    if isinstance(error, Nonsense):
        return Kind.PROTOCOL
    fault = classify(None, error)
    return Kind.APPLICATION if fault is None else fault.kind
