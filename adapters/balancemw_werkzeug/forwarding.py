"""Requests below a route's prefix, sent on to a replica whole, over urllib3: the WSGI side of `balancemw.forward`."""

from collections.abc import Iterable
from http import HTTPStatus
from wsgiref.types import StartResponse, WSGIEnvironment

from urllib3 import BaseHTTPResponse

from balancemw import Balancer
from balancemw.context import BOUND, leave
from balancemw.exchange import SMALL_BODY, Destination, Exchange, route_of, services
from balancemw.fault import Fault, Kind
from balancemw.forward import (
    Field,
    Head,
    Match,
    Nonsense,
    Outside,
    Refused,
    Routes,
    Visit,
    bodiless,
    query_of,
    request_head,
    response_head,
    trouble,
)
from balancemw.inbound import problem
from balancemw_werkzeug.answer import give
from balancemw_werkzeug.inflow import ClientGone, Inflow
from balancemw_werkzeug.outflow import Outflow
from balancemw_werkzeug.request_line import fields_of, raw_path, root_of, version_of
from balancemw_werkzeug.wire import Wire


class Forwarding:
    """The routes of one app.

    Args:
        balancer: whose settings name them, and whose services they lead to.
    """

    def __init__(self, balancer: Balancer) -> None:
        settings = balancer.settings
        self._routes = Routes(settings.routes)
        known = services(balancer)
        self._ways = {route.service: _Way(known[route.service.lower()]) for route in settings.routes.values()}

    def answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes] | None:
        """The answer to a request below a prefix: a replica's, or why there is none. None: the request is the app's."""
        try:
            match = self._routes.match(raw_path(environ), root_of(environ))
            if match is None:
                return None
            return _Forward(self._ways[match.route.service], match, environ).answer(start_response)
        except Refused as refused:
            return give(refused.problem, environ, start_response)
        except ClientGone as gone:
            return give(problem(HTTPStatus.BAD_REQUEST, str(gone)), environ, start_response)
        except Exception as error:
            found = trouble(error)
            if found is None:
                raise
            return give(found, environ, start_response)


class _Way:
    """A service and the connections to its replicas."""

    def __init__(self, destination: Destination) -> None:
        self.destination = destination
        self.wire = Wire(destination)


class _Forward:
    """One request on its way, try after try."""

    def __init__(self, way: _Way, match: Match, environ: WSGIEnvironment) -> None:
        fields = fields_of(environ)
        self._method: str = environ["REQUEST_METHOD"]
        self._visit = Visit(
            environ.get("REMOTE_ADDR") or None, environ["wsgi.url_scheme"], version_of(environ), match.prefix
        )
        self._head: Head = request_head(self._method, fields, self._visit)
        self._way = way
        self._match = match
        query = query_of(environ.get("QUERY_STRING", "").encode("latin-1"))
        self._target = (match.path or "/") + (f"?{query}" if query else "")
        key = next((value.decode("latin-1") for name, value in self._head.fields if name == b"idempotency-key"), None)
        destination = way.destination
        self._exchange = Exchange(destination, destination.terms(self._method, key), route=route_of(self._target))
        self._inflow = Inflow(environ, self._head, match.route.body_limit, self._exchange.progress)

    def answer(self, start_response: StartResponse) -> Iterable[bytes]:
        response, fields = self._send()
        body = Outflow(response, self._exchange, empty=bodiless(self._method, response.status))
        reason = response.reason or ""
        head = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]
        start_response(f"{response.status} {reason if reason.isprintable() else ''}", head)
        return body

    def _outside(self) -> Outside:
        host = None if self._head.host is None else self._head.host.decode("latin-1")
        node = self._exchange.attempt.node.url
        return Outside(self._visit.scheme, host, self._match.prefix, self._way.destination.name, node)

    def _send(self) -> tuple[BaseHTTPResponse, list[Field]]:
        exchange = self._exchange
        while True:
            attempt = exchange.begin()
            token = BOUND.set(attempt)
            try:
                response, fields = self._ask()
            except BaseException as error:
                leave(token)
                gone = isinstance(error, ClientGone)
                wait = exchange.fail(error, again=not gone and self._inflow.replayable, fault=_fault(error))
                if wait is None:
                    raise
            else:
                BOUND.reset(token)
                failure = exchange.refuse(response, response.status)
                if failure is None:
                    return response, fields
                wait = exchange.replace(response, failure, again=self._inflow.replayable)
                if wait is None:
                    return response, fields
                _release(response)
            exchange.pause(wait)

    def _ask(self) -> tuple[BaseHTTPResponse, list[Field]]:
        """An answer, and what of its head the client gets."""
        attempt = self._exchange.attempt
        fields = [*self._head.fields]
        told = (*self._exchange.headers(), *self._way.destination.asks)
        fields += [(name.encode(), value.encode()) for name, value in told]
        if self._head.length is not None:
            fields.append((b"content-length", str(self._head.length).encode()))
        response = self._way.wire.ask(attempt, self._method, self._target, fields, self._inflow.body())
        try:
            return response, response_head(response.status, _pairs(response), self._outside(), _version(response))
        except BaseException:
            response.close()
            raise


def _fault(error: BaseException) -> Fault | None:
    """What is known of an error that is none of urllib3's."""
    if isinstance(error, ClientGone):
        return Fault(Kind.CANCELLED, "the client went away with its request half sent")
    return Fault(Kind.PROTOCOL, str(error)) if isinstance(error, Nonsense) else None


def _pairs(response: BaseHTTPResponse) -> list[tuple[bytes, bytes]]:
    headers = response.headers
    return [(name.encode("latin-1"), value.encode("latin-1")) for name in headers for value in headers.getlist(name)]


def _version(response: BaseHTTPResponse) -> str:
    return "1.0" if response.version == 10 else "1.1"


def _release(response: BaseHTTPResponse) -> None:
    """Give back the connection of a response that another one replaces: read to its end it can serve again."""
    length = response.headers.get("content-length", "")
    if length.isdigit() and int(length) <= SMALL_BODY:
        response.drain_conn()
    else:
        response.close()
