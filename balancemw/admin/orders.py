"""What each path of the admin surface does: plain data in, plain data out, and a reason where it is refused."""

import json
from collections.abc import Mapping
from dataclasses import fields
from http import HTTPStatus
from typing import Any, NoReturn
from urllib.parse import parse_qsl

from balancemw.admin.message import Asked
from balancemw.alerts import Malformed
from balancemw.balancer import Balancer
from balancemw.errors import did_you_mean
from balancemw.journal import Event
from balancemw.settings.words import one_line

MOST_EVENTS = 1000
"""Events in one answer."""

ACTIONS = ("drain", "down", "up", "weight")
_KEYS = ("action", "weight", "reason", "ttl")
_LONGEST_REASON = 500


class Refused(Exception):
    """The request is not obeyed, and nothing has changed; the message says why.

    Attributes:
        status: the HTTP status.
    """

    def __init__(self, message: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(message)
        self.status = status


def status(balancer: Balancer, _asked: Asked, _body: bytes) -> object:
    """``GET /status``."""
    return balancer.status()


def events(balancer: Balancer, asked: Asked, _body: bytes) -> object:
    """``GET /events?after=N&limit=M``: what is in the journal, oldest first."""
    after, limit = _window(asked.query)
    return {"events": [_shown(event) for event in balancer.journal.after(after, limit)]}


def _shown(event: Event) -> Mapping[str, object]:
    return {field.name: getattr(event, field.name) for field in fields(event)} | {"evidence": dict(event.evidence)}


def _window(query: str) -> tuple[int, int]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True, max_num_fields=8) if query else []
    except ValueError:
        raise Refused("The query is not well formed.") from None
    given = dict(pairs)
    for key in given:
        if key not in ("after", "limit"):
            raise Refused(f"Unknown parameter {key!r}{did_you_mean(key, ('after', 'limit'))}.")
    if len(given) < len(pairs):
        raise Refused("A parameter is given twice.")
    limit = _number("limit", given.get("limit", str(MOST_EVENTS)))
    if not 1 <= limit <= MOST_EVENTS:
        raise Refused(f"limit is a number from 1 to {MOST_EVENTS}.")
    return _number("after", given.get("after", "0")), limit


def _number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise Refused(f"{name} is a whole number, 0 or above.")
    return int(text)


def node(balancer: Balancer, asked: Asked, body: bytes) -> object:
    """``POST /services/<service>/nodes/<name>``: an operator's order for a node; answers with its status."""
    name, _, node_name = asked.path.removeprefix("/services/").partition("/nodes/")
    try:
        service = balancer[name]
        found = service.find(node_name)
    except LookupError as error:  # as `UnknownService` is one
        raise Refused(str(error), HTTPStatus.NOT_FOUND) from None
    order = _order(_json(body))
    try:
        service.mark(found, **order)
    except ValueError as error:
        raise Refused(str(error)) from None
    services: Any = balancer.status()["services"]
    return next((each for each in services[name]["nodes"] if each["url"] == found.url), {})


def _order(document: object) -> dict[str, Any]:
    """The arguments of `Service.mark`."""
    if not isinstance(document, dict):
        _refuse('expected an object such as {"action": "drain", "reason": "update"}')
    for key in document:
        if key not in _KEYS:
            _refuse(f"unknown key {key!r}{did_you_mean(key, _KEYS)}")
    action = document.get("action")
    if action not in ACTIONS:
        _refuse(f"action: expected one of {', '.join(ACTIONS)}")
    weight, ttl = _positive(document, "weight"), _positive(document, "ttl")
    if action == "up" and ttl is not None:
        _refuse("ttl: an action 'up' takes effect at once and does not end")
    return {"kind": action, "reason": _reason(document.get("reason")), "ttl": ttl, "weight": weight}


def _positive(document: Mapping[str, Any], key: str) -> float | None:
    value = document.get(key)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1e12:
        _refuse(f"{key}: expected a number above 0")
    return float(value)


def _reason(value: object) -> str:
    if value is None or value == "":
        return "no reason given"
    if not isinstance(value, str) or len(value) > _LONGEST_REASON:
        _refuse(f"reason: expected a string of at most {_LONGEST_REASON} characters")
    return one_line(value)


def alerts(balancer: Balancer, _asked: Asked, body: bytes) -> object:
    """``POST /alerts``: a webhook of Alertmanager, version 4; answers how many alerts were of which sort."""
    try:
        return balancer.receive_alerts(_json(body))
    except Malformed as error:
        raise Refused(str(error)) from None


def _json(body: bytes) -> object:
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Refused("The body is not JSON in UTF-8.") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and the infinities are no JSON


def _refuse(reason: str) -> NoReturn:
    raise Refused(reason)
