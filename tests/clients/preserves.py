"""What an adapter that nobody notices must preserve: the list, and how a test says which line of it it holds.

Each line is held for each client by a test marked ``@preserves(line)``, without an adapter and through it, unless the
line says why a client has no such thing.
"""

from collections.abc import Callable, Iterable
from typing import Any

from tests.clients.drivers.every import DRIVERS

ALL = tuple(DRIVERS)
HTTPX = tuple(name for name in ALL if name.startswith("httpx"))
SYNC = tuple(name for name in ALL if not DRIVERS[name].asynchronous)
ASYNC = tuple(name for name in ALL if DRIVERS[name].asynchronous)


def preserves(line: str, clients: Iterable[str] = ()) -> Callable[[Any], Any]:
    """The test holds this line of the list, and is for these clients; none named: for all."""
    assert line in PRESERVED, f"not in the list: {line!r}"

    def mark(test: Any) -> Any:
        test.preserves = (*getattr(test, "preserves", ()), line)
        return only(*clients)(test) if clients else test

    return mark


def balanced_only(test: Any) -> Any:
    """What only an adapter can do, right or wrong."""
    test.modes = (True,)
    return test


def only(*clients: str) -> Callable[[Any], Any]:
    """The test is for these clients, whatever it holds."""

    def mark(test: Any) -> Any:
        test.clients = clients
        return test

    return mark


def clients_of(test: Any) -> tuple[str, ...]:
    return getattr(test, "clients", ALL)


def mode_of(test: Any) -> tuple[bool, ...]:
    return getattr(test, "modes", (False, True))


# -- the list: each line, and the clients that have no such thing, with the reason


def _not(reason: str, *clients: str) -> dict[str, str]:
    return dict.fromkeys(clients, reason)


PRESERVED: dict[str, dict[str, str]] = {
    # urls
    "path, query and percent-encoding reach the replica byte for byte": {},
    "parameters given apart from the url are added to it as ever": {},
    "a fragment stays with the caller and is never sent": {},
    "user and password in the url become the Authorization header": {},
    "the host of a service is known in any case, and with any port": {},
    "a host that only looks like a service is left alone": {},
    "hosts that are no services are left alone, IPv6 addresses among them": {},
    "a session's base url may be a service": _not("has no base url", "requests"),
    # requests
    "every method reaches the replica as it is": {},
    "header names keep their case": {},
    "repeated headers are all sent": _not("takes one value per name", "requests"),
    "a Host header of the caller's own is sent instead of the service's name": {},
    "the client's own default headers and user agent are sent": {},
    "headers of the session and of the request are merged as ever": {},
    "an answer to HEAD has headers and no body": {},
    "Expect: 100-continue waits for the replica": _not("sends the body without waiting", "requests", *HTTPX),
    "answers that are not final are passed over": {},
    # answers
    "the response is of the client's own class": {},
    "status, reason, header order, case and duplicates are as the replica sent them": {},
    "the response's url is the one that was asked for": {},
    "the response tells the request that was made: method, url, headers": {},
    "the time that the answer took is told": _not("does not tell it", "aiohttp"),
    "the charset decides how text is decoded": {},
    "json is parsed": {},
    "204 and 304 have no body, and an empty body is empty": {},
    "chunked bodies are put together": {},
    "gzip and deflate are decoded, and can be left as they are": {},
    "large headers come through": {},
    "an error status becomes the client's own exception when asked for, and names the url that was asked for": {},
    "urls and messages name the service, not the replica's address": {},
    # redirects
    "relative, absolute and protocol-relative redirects lead to the service again": {},
    "history tells every step by its own url": {},
    "redirects are not followed when not asked for, and the next step is told": {},
    "301, 302 and 303 turn POST into GET, 307 and 308 repeat it with its body": {},
    "too many redirects are the client's own exception": {},
    "a redirect leads out of the service, into another one, and back": {},
    "credentials are dropped when a redirect leads to another origin, and kept within one": {},
    # cookies
    "cookies are stored for the service's name, also those of a redirect, and sent again": {},
    "path, domain and secure decide where a cookie is sent": {},
    "a service's cookies never go to the replica's own address": {},
    "cookies of the session and of the request are sent together": {},
    # authentication
    "basic authentication": {},
    "digest authentication, challenge and all": {},
    "netrc is looked up by the service's name": {},
    "an authentication of the caller's own sees the request and may change it": _not(
        "has middlewares for that", "aiohttp"
    ),
    # bodies
    "every body that the client takes arrives whole": {},
    "an upload flows while it is made": {},
    "a download flows while it is sent": {},
    "text and lines can be read from a stream": {},
    "a stream that is closed early closes its connection": {},
    # connections
    "a connection is used again": {},
    "a connection is not used again when the replica says so": {},
    "requests run at once, each with its own answer": {},
    "the client's own limit of connections holds": _not("has no such limit unless asked to block", "requests"),
    "closing the client closes its connections": {},
    "a closed client says so": _not("can be used again", "requests"),
    "one session serves many threads": _not("a session belongs to one event loop", *ASYNC),
    "one balancer serves several event loops": _not("knows no event loops", *SYNC),
    "a session can be pickled and copied": _not("cannot be", "aiohttp", *HTTPX),
    "a response can be pickled": _not("cannot be", "aiohttp"),
    "websockets are opened through the session": _not("has no websockets", "requests", *HTTPX),
    "proxies of the environment are never used for a service, and for others as ever": {},
    # time
    "a timeout of the request, in every form that the client takes": {},
    "a timeout of the session": _not("has none", "requests"),
    "the total time is one for the whole call, and nothing is sent after it": _not(
        "has no total timeout", "requests", *HTTPX
    ),
    "a call that is cancelled ends at once, and nothing is sent after it": _not("cannot be cancelled", *SYNC),
    # exceptions
    "nobody listens: the client's own exception": {},
    "no connection in time: the client's own exception": {},
    "no answer in time: the client's own exception": {},
    "no connection to be had from the pool in time: the client's own exception": _not("waits without end", "requests"),
    "the replica closes or resets instead of answering: the client's own exception": {},
    "an answer that is no HTTP: the client's own exception": {},
    "a body that breaks off or stalls: the client's own exception": {},
    "a body that is not what its header says: the client's own exception": {},
    "json that is none: the client's own exception": {},
    "a url that is none: the client's own exception": {},
    # what users hang in
    "hooks and traces see one request, by the url that was asked for": {},
    # TLS
    "the certificate is verified for the service's name": {},
    "a certificate of another name is refused, also where another service has a connection open": {},
    "a certificate that nobody vouches for is refused": {},
    "a certificate of the client's own is presented": {},
}
