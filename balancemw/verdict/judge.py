"""From an exception that came out of a call to what it says of the node."""

import re
from typing import NamedTuple

from balancemw.verdict.clients import SYSTEM, Rule, find
from balancemw.verdict.kinds import UNSENT, Kind
from balancemw.verdict.phases import BEFORE, Phase, phase_of, sent_before
from balancemw.verdict.reading import attribute, message
from balancemw.verdict.system import os_error


class Verdict(NamedTuple):
    """What an exception says of a failed attempt.

    Attributes:
        kind: the kind of fault, unless there is a `response`.
        by: the exception that decided it.
        later: it struck a later request than the first that the client sent for this call.
        answered: the node gave a whole answer.
        response: an object whose status decides instead, if it has one.
    """

    kind: Kind
    by: BaseException
    answered: bool = False
    response: object = None
    later: bool = False


class _Answer(NamedTuple):
    status: int


def judge(error: BaseException) -> Verdict:
    """What `error` says of the node, as it came out of the call. Never raises."""
    found, cause = find(type(error)), error.__cause__
    if found.rule is None:
        return Verdict(Kind.APPLICATION, error, response=attribute(error, "response") if cause is None else None)
    if cause is not None and (found.foreign or (not found.client and find(type(cause)).client)):
        return Verdict(Kind.APPLICATION, error)  # the function raised it from a client's error: it has dealt with that
    verdict, links = _open(error)
    if verdict.kind in UNSENT and any(sent_before(link, _unsent) for link in links):
        kind = Kind.TIMEOUT if verdict.kind is Kind.CONNECT_TIMEOUT else Kind.RESET
        return verdict._replace(kind=kind, later=True)
    return verdict


def _unsent(error: BaseException) -> bool:
    return _open(error)[0].kind in UNSENT


def _open(error: BaseException) -> tuple[Verdict, list[BaseException]]:
    """The verdict on `error`, and the exceptions that were looked at for it, outermost first."""
    links: list[BaseException] = []
    phase, so_far = Phase.UNKNOWN, Verdict(Kind.APPLICATION, error)
    link: BaseException | None = error
    while link is not None and len(links) < 10:  # no client nests so deep: it is a circle
        links.append(link)
        phase = _narrow(phase, phase_of(link))
        rule = find(type(link)).rule
        if rule is None:
            break
        kind = rule.look(link, phase) if rule.look else None
        if kind is not None or rule.inside is None:
            response = _response(link) if kind is None and rule.carries else None
            return Verdict(kind or rule.kind, link, rule.answered, response), links
        if rule is not SYSTEM:  # that has no opinion: what it is wrapped in has
            so_far = Verdict(rule.kind, link)
        phase = _narrow(phase, rule.inside)
        link = _inner(link, rule, phase)
    if phase in BEFORE and so_far.kind in (Kind.REFUSED, Kind.APPLICATION):
        so_far = so_far._replace(kind=Kind.TLS if phase is Phase.HANDSHAKE else Kind.REFUSED)
    return so_far, links


def _narrow(phase: Phase, proven: Phase) -> Phase:
    """What is known once `proven` is known too; that there never was a connection is not taken back."""
    if proven is Phase.UNKNOWN or (phase in BEFORE and proven is not Phase.HANDSHAKE):
        return phase
    return proven


def _inner(error: BaseException, rule: Rule, phase: Phase) -> BaseException | None:
    """The exception that `error` wraps: one that it was given, else one that it was raised from."""
    candidates: tuple[object, ...]
    if rule is SYSTEM:  # anyio sums up its attempts to connect in one OSError; any other says itself what it is
        candidates = (error.__cause__,) if phase in BEFORE else ()
    else:
        given = tuple(attribute(error, name) for name in ("reason", "os_error", "original_error"))
        candidates = (*given, *error.args, error.__cause__, error.__context__ if phase in BEFORE else None)
    inner = next((one for one in candidates if isinstance(one, BaseException)), None)
    if isinstance(inner, BaseExceptionGroup):  # several addresses were tried: ours is the fault only if it is of all
        tries: tuple[BaseException, ...] = inner.exceptions
        return next((one for one in tries if os_error(one, phase) is not Kind.APPLICATION), tries[0])
    return inner


def _response(error: BaseException) -> object:
    """What has the status of the response that `error` is about: `error` itself unless it carries another."""
    response = attribute(error, "response")
    if response is not None:
        return response
    repeated = re.fullmatch(r"too many (\d{3}) error responses", message(error))  # urllib3 gave up on a status
    return _Answer(int(repeated[1])) if repeated else error
