"""The exceptions of the HTTP clients, and what each of them says of the node.

Known are aiohttp, requests, urllib3, httpx, httpx2 (with httpcore, httpcore2) and the standard library. None is
imported: a type is recognised by the first part of its module's name and by its own name, most specific base first.
Clients wrap exceptions in exceptions; a wrapper is opened as long as what is inside is known too.

Source: the clients' code, and the exceptions that local servers provoke from aiohttp 3.14, requests 2.34, urllib3 2.8,
httpx 0.28 and httpx2 2.16 in the tests.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from balancemw.verdict.kinds import Kind
from balancemw.verdict.phases import BEFORE, Phase, phase_of
from balancemw.verdict.reading import attribute, message
from balancemw.verdict.system import behind_proxy, os_error, tls_error, tls_lost


@dataclass(frozen=True, slots=True)
class Rule:
    """What is known of a type of exception."""

    kind: Kind  # when nothing more precise is found
    look: Callable[[BaseException, Phase], Kind | None] | None = None  # a closer look; None: no opinion
    inside: Phase | None = None  # it may hold an exception that knows better, and proves this phase for it
    answered: bool = False
    carries: bool = False  # a response, by whose status it is judged


# -- closer looks


def _aiohttp_garbage(error: BaseException, _: Phase) -> Kind | None:
    # aiohttp reports an answer that it cannot parse as if it were a response of status 400.
    bases = type(error.__cause__).__mro__
    return Kind.PROTOCOL if any(base.__name__ == "HttpProcessingError" for base in bases) else None


def _aiohttp_ours(error: BaseException, _: Phase) -> Kind | None:
    ours = (
        "Connector is closed",
        "Connection closed",
        "Cannot follow redirect",
        "Cannot initialize",
        "Failed to send bytes",  # the body we gave it raised
    )
    return Kind.APPLICATION if message(error).startswith(ours) else None


def _aiohttp_os(error: BaseException, _: Phase) -> Kind | None:
    # Its errno may be OpenSSL's number, not the system's: only the cause can tell.
    return os_error(error, Phase.SENT) if error.__cause__ is None else None


def _aiohttp_chunks(error: BaseException, _: Phase) -> Kind:
    return Kind.RESET if "Not enough data" in message(error) else Kind.PROTOCOL


def _aiohttp_proxy(error: BaseException, _: Phase) -> Kind:
    status = attribute(error, "status")
    return behind_proxy(unreachable=isinstance(status, int) and status >= 500)


def _httpx_proxy(error: BaseException, _: Phase) -> Kind:
    return behind_proxy(unreachable=message(error).startswith(("5", "Proxy Server could not connect")))


def _httpx_protocol(error: BaseException, _: Phase) -> Kind | None:
    lost = ("Server disconnected", "peer closed connection", "<ConnectionTerminated", "<StreamReset")
    return Kind.RESET if message(error).startswith(lost) else None


def _urllib3_chunk(error: BaseException, _: Phase) -> Kind:
    return Kind.PROTOCOL if attribute(error, "length") else Kind.RESET


def _urllib3_fingerprint(error: BaseException, _: Phase) -> Kind | None:
    return Kind.TLS if message(error).startswith("Fingerprints did not match") else None


def _urllib3_timeout(error: BaseException, _: Phase) -> Kind:
    # A handshake that takes too long is a "read time-out" too.
    early = error.__cause__ is not None and phase_of(error.__cause__) in BEFORE
    return Kind.CONNECT_TIMEOUT if early else Kind.TIMEOUT


# -- the tables

_OURS = Rule(Kind.APPLICATION)  # the caller's own mistake or decision
_HEARD = Rule(Kind.APPLICATION, answered=True)
_STATUS = Rule(Kind.APPLICATION, carries=True)
_DNS = Rule(Kind.DNS)
_TLS = Rule(Kind.TLS)
_NO_CONNECTION = Rule(Kind.CONNECT_TIMEOUT)
_TIMEOUT = Rule(Kind.TIMEOUT)
_LOST = Rule(Kind.RESET)
_GARBAGE = Rule(Kind.PROTOCOL)
_UNCLEAR = Rule(Kind.RESET, inside=Phase.UNKNOWN)
_BROKEN = Rule(Kind.RESET, inside=Phase.SENT)
_CONNECTING = Rule(Kind.REFUSED, inside=Phase.CONNECTING)
_RESOLVING = Rule(Kind.DNS, inside=Phase.CONNECTING)
_LATE = Rule(Kind.TIMEOUT, inside=Phase.UNKNOWN)
_REFERS = Rule(Kind.APPLICATION, inside=Phase.UNKNOWN)
_TLS_LOST = Rule(Kind.RESET, look=tls_lost)
SYSTEM = Rule(Kind.APPLICATION, look=os_error, inside=Phase.UNKNOWN)

_STANDARD = ("builtins", "asyncio", "concurrent", "http", "socket", "ssl", "urllib")
_HTTPX = ("httpx", "httpx2", "httpcore", "httpcore2")

_TABLE: tuple[tuple[str, Rule, str], ...] = (
    ("builtins", SYSTEM, "OSError"),
    ("socket", _DNS, "gaierror"),
    ("ssl", _TLS, "SSLCertVerificationError"),
    ("ssl", _TLS_LOST, "SSLEOFError SSLZeroReturnError SSLSyscallError"),
    ("ssl", Rule(Kind.PROTOCOL, look=tls_error), "SSLError"),
    ("asyncio", _LOST, "IncompleteReadError"),
    ("concurrent", Rule(Kind.CANCELLED), "CancelledError"),
    ("http", _LOST, "RemoteDisconnected IncompleteRead"),
    ("http", _OURS, "NotConnected InvalidURL ImproperConnectionState UnknownTransferEncoding UnimplementedFileMode"),
    ("http", _GARBAGE, "HTTPException"),
    ("urllib", _STATUS, "HTTPError"),
    ("urllib", _LOST, "ContentTooShortError"),
    ("urllib", _REFERS, "URLError"),
    ("urllib3", _NO_CONNECTION, "ConnectTimeoutError EmptyPoolError"),
    ("urllib3", _CONNECTING, "NewConnectionError"),
    ("urllib3", _RESOLVING, "NameResolutionError"),
    ("urllib3", _TLS, "CertificateError"),
    ("urllib3", Rule(Kind.PROTOCOL, look=_urllib3_fingerprint, inside=Phase.UNKNOWN), "SSLError"),
    ("urllib3", Rule(Kind.TIMEOUT, look=_urllib3_timeout), "TimeoutError"),
    ("urllib3", _BROKEN, "ProtocolError"),
    ("urllib3", _LOST, "IncompleteRead"),
    ("urllib3", Rule(Kind.RESET, look=_urllib3_chunk), "InvalidChunkLength"),
    ("urllib3", _GARBAGE, "DecodeError InvalidHeader HeaderParsingError"),
    ("urllib3", _REFERS, "ProxyError"),
    ("urllib3", Rule(Kind.APPLICATION, answered=True, carries=True), "ResponseError"),
    ("urllib3", _OURS, "PoolError LocationValueError TimeoutStateError UnrewindableBodyError"),
    ("urllib3", _OURS, "BodyNotHttplibCompatible ResponseNotChunked HostChangedError"),
    ("urllib3", _UNCLEAR, "HTTPError MaxRetryError"),
    ("requests", _STATUS, "HTTPError TooManyRedirects"),
    ("requests", Rule(Kind.APPLICATION, answered=True, carries=True), "JSONDecodeError"),
    ("requests", _NO_CONNECTION, "ConnectTimeout"),
    ("requests", _LATE, "Timeout"),
    ("requests", _GARBAGE, "ContentDecodingError"),
    ("requests", _REFERS, "InvalidHeader ProxyError"),
    ("requests", Rule(Kind.PROTOCOL, inside=Phase.UNKNOWN), "SSLError"),
    ("requests", _OURS, "URLRequired MissingSchema InvalidSchema InvalidURL InvalidJSONError"),
    ("requests", _OURS, "StreamConsumedError UnrewindableBodyError"),
    ("requests", _UNCLEAR, "RequestException"),
    ("aiohttp", Rule(Kind.APPLICATION, look=_aiohttp_garbage, carries=True), "ClientResponseError"),
    ("aiohttp", _HEARD, "TooManyRedirects InvalidUrlRedirectClientError NonHttpUrlRedirectClientError"),
    ("aiohttp", Rule(Kind.REFUSED, look=_aiohttp_proxy), "ClientHttpProxyError"),
    ("aiohttp", _RESOLVING, "ClientConnectorDNSError"),
    ("aiohttp", Rule(Kind.TLS, inside=Phase.HANDSHAKE), "ClientSSLError"),
    ("aiohttp", _TLS, "ServerFingerprintMismatch"),
    ("aiohttp", _CONNECTING, "ClientConnectorError"),
    ("aiohttp", Rule(Kind.RESET, look=_aiohttp_os, inside=Phase.SENT), "ClientOSError"),
    ("aiohttp", _NO_CONNECTION, "ConnectionTimeoutError"),
    ("aiohttp", _TIMEOUT, "ServerTimeoutError"),
    ("aiohttp", _LOST, "ClientConnectionResetError ServerConnectionError ContentLengthError"),
    ("aiohttp", Rule(Kind.RESET, look=_aiohttp_ours, inside=Phase.SENT), "ClientConnectionError ClientPayloadError"),
    ("aiohttp", Rule(Kind.RESET, look=_aiohttp_chunks), "TransferEncodingError"),
    ("aiohttp", _GARBAGE, "HttpProcessingError WebSocketError"),
    ("aiohttp", _OURS, "InvalidURL NonHttpUrlClientError RedirectClientError UploadAbortedError"),
    ("aiohttp", _UNCLEAR, "ClientError"),
    *((root, _STATUS, "HTTPStatusError") for root in _HTTPX),
    *((root, _HEARD, "TooManyRedirects") for root in _HTTPX),
    *((root, _CONNECTING, "ConnectError") for root in _HTTPX),
    *((root, _NO_CONNECTION, "ConnectTimeout PoolTimeout") for root in _HTTPX),
    *((root, _TIMEOUT, "TimeoutException") for root in _HTTPX),
    *((root, _BROKEN, "NetworkError") for root in _HTTPX),
    *((root, Rule(Kind.PROTOCOL, look=_httpx_protocol), "RemoteProtocolError") for root in _HTTPX),
    *((root, _GARBAGE, "ProtocolError DecodingError") for root in _HTTPX),
    *((root, _OURS, "LocalProtocolError UnsupportedProtocol") for root in _HTTPX),
    *((root, Rule(Kind.APPLICATION, look=_httpx_proxy), "ProxyError") for root in _HTTPX),
    *((root, _UNCLEAR, "HTTPError") for root in _HTTPX),
)
_RULES = {(root, name): rule for root, rule, names in _TABLE for name in names.split()}
_ROOTS = frozenset(root for root, _ in _RULES)


# -- the search


class Found(NamedTuple):
    """What was found for a type of exception."""

    rule: Rule | None
    foreign: bool  # the type is none of the clients' own, at most a base of it is
    client: bool  # it is an exception of a client that is not in the standard library


_found: dict[type[BaseException], Found] = {}


def find(kind: type[BaseException]) -> Found:
    """What is known of exceptions of type `kind`. A repeat costs a dict lookup."""
    found = _found.get(kind)
    if found is None:
        if len(_found) >= 1000:  # a function may make a new type for every call
            _found.clear()
        found = _found[kind] = _search(kind)
    return found


def _search(kind: type[BaseException]) -> Found:
    foreign = _root(kind) not in _ROOTS and not _root(kind).startswith("balancemw_")  # an adapter's are its client's
    for base in kind.__mro__:
        rule = _RULES.get((_root(base), base.__name__))
        if rule is not None:
            return Found(rule, foreign, _root(base) not in _STANDARD)
    return Found(None, foreign, False)


def _root(kind: type) -> str:
    return str(kind.__module__).partition(".")[0]
