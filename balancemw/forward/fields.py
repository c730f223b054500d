"""Header fields as they are on the wire: pairs of bytes, in order, repeated ones apart."""

import re
from collections.abc import Iterable

Field = tuple[bytes, bytes]
"""A name, in lower case but where it comes from outside, and a value."""

VIA_NAME = "balancemw"

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110, 5.5; obs-text is opaque, and passed on

_HOP_BY_HOP = frozenset(  # RFC 9110, 7.6.1, and what RFC 2616 and RFC 7540 called so
    (
        *(b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"),
        *(b"proxy-authenticate", b"proxy-authorization", b"proxy-authentication-info", b"http2-settings"),
    )
)

_END_TO_END = frozenset(
    (
        *(b"authorization", b"cookie", b"set-cookie", b"host", b"origin", b"referer", b"user-agent", b"location"),
        *(b"forwarded", b"via", b"x-real-ip", b"x-request-id", b"x-correlation-id", b"traceparent", b"tracestate"),
        *(b"cache-control", b"pragma", b"expires", b"date", b"age", b"vary", b"etag", b"last-modified", b"range"),
        *(b"idempotency-key", b"expect", b"max-forwards", b"retry-after", b"allow", b"link", b"www-authenticate"),
        *(b"strict-transport-security", b"grpc-timeout", b"x-request-timeout-ms"),
    )
)
_END_TO_END_BEGINNINGS = (b"x-forwarded-", b"x-envoy-", b"content-", b"accept", b"access-control-", b"if-", b"sec-")


def sound(name: bytes, value: bytes) -> bool:
    """Whether both have only such bytes as a header may have (RFC 9110, 5.1 and 5.5)."""
    return _TOKEN.fullmatch(name) is not None and _VALUE.fullmatch(value) is not None


def token(word: bytes) -> bool:
    """Whether `word` is a token, as names of headers and methods are."""
    return _TOKEN.fullmatch(word) is not None


def lowered(fields: Iterable[Field]) -> list[Field]:
    """`fields` with their names in lower case, and no blanks around their values."""
    return [(bytes(name).lower(), bytes(value).strip(b" \t")) for name, value in fields]


def values(fields: Iterable[Field], wanted: bytes) -> list[bytes]:
    """The values of the header `wanted`."""
    return [value for name, value in fields if name == wanted]


def listed(fields: Iterable[Field], wanted: bytes) -> list[bytes]:
    """The members of the comma-separated lists in the header `wanted`, empty ones left out."""
    members = [member.strip(b" \t") for value in values(fields, wanted) for member in value.split(b",")]
    return [member for member in members if member]


def this_hop(fields: Iterable[Field]) -> frozenset[bytes]:
    """The names, in lower case, of what is for the next hop alone: what is known for it and what ``Connection`` lists.

    What is known to be meant for the other end stays, although listed: else whoever sends ``Connection: cookie`` or
    ``Connection: x-forwarded-for`` takes away what an earlier proxy put there for the app to rely on.
    """
    named = {member.lower() for member in listed(fields, b"connection")}
    return _HOP_BY_HOP | {name for name in named if not _for_the_end(name)}


def _for_the_end(name: bytes) -> bool:
    return name in _END_TO_END or name.startswith(_END_TO_END_BEGINNINGS)


def appended(fields: list[Field], name: bytes, value: bytes) -> list[Field]:
    """`fields` with `value` at the end of the list in header `name`, which is one field then: some read the first only.

    Args:
        fields: what there is.
        name: of the header.
        value: the member to append.
    """
    so_far = [old for old in values(fields, name) if old]
    others = [field for field in fields if field[0] != name]
    return [*others, (name, b", ".join([*so_far, value]))]


def via(fields: list[Field], version: str) -> list[Field]:
    """`fields` with us added to ``Via`` (RFC 9110, 7.6.3); `version` is that of HTTP in which the message came."""
    return appended(fields, b"via", f"{version} {VIA_NAME}".encode())
