"""Who may ask, what there is to be asked for, and the form of every answer."""

import hmac
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from balancemw.admin import orders
from balancemw.admin.message import BODILESS, LONGEST_BODY, Asked
from balancemw.admin.orders import Refused
from balancemw.balancer import Balancer
from balancemw.inbound import PROBLEM, problem_document
from balancemw.reply import Reply

Answer = Callable[[Balancer, Asked, bytes], object]

_BEARER = re.compile(r"bearer +([!-~]+) *", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Route:
    path: re.Pattern[str]
    methods: tuple[str, ...]
    answer: Answer


_ROUTES = (
    _Route(re.compile(r"/status/?"), BODILESS, orders.status),
    _Route(re.compile(r"/events/?"), BODILESS, orders.events),
    _Route(re.compile(r"/services/[^/]+/nodes/.+", re.DOTALL), ("POST",), orders.node),
    _Route(re.compile(r"/alerts/?"), ("POST",), orders.alerts),
)


class Admin:
    """Answers what is asked at or below ``admin.path``. Blocks for no longer than it takes to compute the answer.

    Args:
        balancer: whose surface it is; its settings have an ``admin.token``.
    """

    def __init__(self, balancer: Balancer) -> None:
        self._balancer = balancer
        self._path = balancer.settings.admin.path
        self._token = (balancer.settings.admin.token or "").encode()

    def below(self, path: str) -> str | None:
        """The part of `path`, which begins where the app is mounted, that is below ours; None: it is the app's."""
        if path == self._path or path.startswith(self._path + "/"):
            return path[len(self._path) :]
        return None

    def gate(self, asked: Asked) -> Reply | None:
        """The answer to what need not be read to be refused; None: read its body and go on to `answer`."""
        if not self._knows_token(asked.header("authorization")):
            challenge = ("www-authenticate", 'Bearer realm="balancemw"')
            return _refusal(HTTPStatus.UNAUTHORIZED, "A valid bearer token is needed.", challenge)
        route = _route(asked.path)
        if route is None:
            return _refusal(HTTPStatus.NOT_FOUND, "There is nothing here.")
        if asked.method not in route.methods:
            allow = ("allow", ", ".join(route.methods))
            return _refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"Here is only {allow[1]}.", allow)
        length = asked.header("content-length") or ""
        if asked.has_body and length.isdecimal() and (len(length) > 18 or int(length) > LONGEST_BODY):
            return self.too_long()
        return None

    def answer(self, asked: Asked, body: bytes) -> Reply:
        """The answer to what `gate` has let pass.

        Args:
            asked: the request.
            body: all of it, or its first ``LONGEST_BODY + 1`` bytes; empty for GET.
        """
        route = _route(asked.path)
        if route is None or len(body) > LONGEST_BODY:
            return self.too_long()
        try:
            return _reply(HTTPStatus.OK, route.answer(self._balancer, asked, body))
        except Refused as refused:
            return _refusal(refused.status, str(refused))

    @staticmethod
    def too_long() -> Reply:
        """The answer to a body that is too long."""
        return _refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A body has at most {LONGEST_BODY} bytes.")

    def _knows_token(self, authorization: str | None) -> bool:
        found = _BEARER.fullmatch(authorization or "")
        return hmac.compare_digest(found[1].encode() if found else b"", self._token) and bool(self._token)


def admin_of(balancer: Balancer) -> Admin | None:
    """The admin surface of `balancer`, or None if its settings have no ``admin.token``."""
    return Admin(balancer) if balancer.settings.admin.token else None


def _route(path: str) -> _Route | None:
    return next((route for route in _ROUTES if route.path.fullmatch(path)), None)


def _refusal(status: HTTPStatus, detail: str, *headers: tuple[str, str]) -> Reply:
    return _reply(status, problem_document(status, detail), *headers, kind=PROBLEM)


def _reply(status: HTTPStatus, content: object, *headers: tuple[str, str], kind: str = "application/json") -> Reply:
    body = json.dumps(content, allow_nan=False, default=str).encode()
    usual = (
        ("content-type", kind),
        ("content-length", str(len(body))),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    )
    return Reply(status, (*usual, *headers), body)
