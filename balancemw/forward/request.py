"""The head of a request, from how a client sent it to how a replica gets it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus

from balancemw.forward.fields import VIA_NAME, Field, appended, listed, lowered, sound, this_hop, token, values, via
from balancemw.forward.refusal import Refused
from balancemw.orca import FORMAT

_DIGITS = re.compile(rb"[0-9]{1,18}")
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+;=%-]*(:[0-9]*)?|\[[0-9A-Fa-f:.]+\](:[0-9]*)?")
_ADDRESS = re.compile(r"[0-9A-Fa-f.:]+", re.ASCII)
_LOOP = 16

# Said anew by us, by the client that sends the request on, or by the server that has dealt with it.
_OURS = frozenset((b"host", b"content-length", b"x-request-timeout-ms", b"x-envoy-attempt-count", FORMAT.encode()))

# A reader that makes variables of headers, as WSGI and CGI do, takes X_Forwarded_For for X-Forwarded-For.
_DISGUISED = re.compile(
    rb"content-length|transfer-encoding|host|connection|forwarded|via|cookie|authorization|proxy-authorization"
    rb"|x-(forwarded|envoy|real|request)-.*"
)

_HANDSHAKE = frozenset(b"sec-websocket-" + name for name in (b"key", b"version", b"extensions", b"protocol", b"accept"))


@dataclass(frozen=True, slots=True)
class Visit:
    """How a request came to us.

    Attributes:
        client: the address of who sent it; None where there is none, as behind a unix socket.
        scheme: ``"http"`` or ``"https"``, also for websockets.
        version: of HTTP, such as ``"1.1"``.
        prefix: what is taken off the path before the request is passed on; ``""``: nothing.
    """

    client: str | None
    scheme: str
    version: str = "1.1"
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Head:
    """What is sent on, but for ``Host``, ``Content-Length`` and ``Transfer-Encoding``, which the sender says.

    Attributes:
        fields: the headers, in their order.
        host: ``Host`` as the client wrote it, or None.
        length: bytes of the body, as declared; None: not declared.
        chunked: whether a body of unknown length follows. In HTTP/2 and later a body may follow without any word.
    """

    fields: list[Field]
    host: bytes | None
    length: int | None
    chunked: bool


def request_head(method: str, fields: Iterable[Field], visit: Visit, *, websocket: bool = False) -> Head:
    """What a replica gets of the head of a request.

    Args:
        method: of the request.
        fields: its headers.
        visit: how it came to us.
        websocket: it opens a websocket: leave out what belongs to the handshake.

    Raises:
        Refused: two readers could take it for different requests.
    """
    got = lowered(fields)
    _check(method, got)
    length, chunked = _framing(got, visit.version)
    host = _host(got)
    if sum(member.endswith(VIA_NAME.encode()) for member in listed(got, b"via")) >= _LOOP:
        raise Refused("The request has been forwarded in a circle.", HTTPStatus.LOOP_DETECTED)
    gone = this_hop(got) | _OURS | (_HANDSHAKE if websocket else frozenset())
    kept = [(name, value) for name, value in got if name not in gone and not _expects_more(name, value)]
    if visit.version >= "2":
        kept = _one_cookie(kept)
    return Head(via(_told(kept, visit, host), visit.version), host, length, chunked)


def _check(method: str, fields: list[Field]) -> None:
    if not token(method.encode("utf-8", "replace")):
        raise Refused("The request's method is not a token.")
    if method.upper() == "CONNECT":
        raise Refused("Tunnels are not offered.", HTTPStatus.NOT_IMPLEMENTED)
    for name, value in fields:
        if not sound(name, value):
            raise Refused("A header of the request has characters that no header has.")
        if b"_" in name and _DISGUISED.fullmatch(name.replace(b"_", b"-")):
            raise Refused("A header of the request, with underscores, could be taken for another.")


def _framing(fields: list[Field], version: str) -> tuple[int | None, bool]:
    """The declared length, and whether the body is chunked (RFC 9112, 6)."""
    lengths = {length.strip(b" \t") for value in values(fields, b"content-length") for length in value.split(b",")}
    if len(lengths) > 1 or not all(_DIGITS.fullmatch(length) for length in lengths):
        raise Refused("The request's Content-Length is not one number.")
    codings = [coding.lower() for value in values(fields, b"transfer-encoding") for coding in value.split(b",")]
    if not codings:
        return (int(lengths.pop()), False) if lengths else (None, False)
    if lengths:
        raise Refused("The request has both Content-Length and Transfer-Encoding.")
    if version < "1.1":
        raise Refused("HTTP/1.0 has no Transfer-Encoding.")
    if [coding.strip(b" \t") for coding in codings] != [b"chunked"]:
        raise Refused("The only transfer coding that is understood is 'chunked'.", HTTPStatus.NOT_IMPLEMENTED)
    return None, True


def _host(fields: list[Field]) -> bytes | None:
    hosts = values(fields, b"host")
    if len(hosts) > 1 or not all(_HOST.fullmatch(host) for host in hosts):
        raise Refused("The request's Host is not one host.")
    return hosts[0] if hosts else None


def _expects_more(name: bytes, value: bytes) -> bool:
    """``Expect: 100-continue`` is between the client and our server, which has told it to go on, or will."""
    return name == b"expect" and value.lower() == b"100-continue"


def _one_cookie(fields: list[Field]) -> list[Field]:
    """HTTP/2 may divide ``Cookie``; HTTP/1.1 may not (RFC 9113, 8.2.3)."""
    cookies = values(fields, b"cookie")
    if len(cookies) < 2:
        return fields
    rest = [field for field in fields if field[0] != b"cookie"]
    return [*rest, (b"cookie", b"; ".join(cookies))]


def _told(fields: list[Field], visit: Visit, host: bytes | None) -> list[Field]:
    """`fields` with where the request came from, behind what earlier proxies said: the last member is ours."""
    if visit.client and _ADDRESS.fullmatch(visit.client):
        fields = appended(fields, b"x-forwarded-for", visit.client.encode())
    fields = appended(fields, b"x-forwarded-proto", visit.scheme.encode("ascii", "replace"))
    if host:
        fields = appended(fields, b"x-forwarded-host", host)
    if visit.prefix:
        fields = appended(fields, b"x-forwarded-prefix", visit.prefix.encode("ascii"))
    return appended(fields, b"forwarded", _forwarded(visit, host))


def _forwarded(visit: Visit, host: bytes | None) -> bytes:
    """One member of ``Forwarded`` (RFC 7239)."""
    client = visit.client if visit.client and _ADDRESS.fullmatch(visit.client) else "unknown"
    node = f'"[{client}]"' if ":" in client else client
    member = f"for={node}".encode()
    if host:
        member += b";host=" + (host if token(host) else b'"' + host + b'"')
    return member + b";proto=" + visit.scheme.encode("ascii", "replace")
