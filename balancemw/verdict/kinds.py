"""The kinds of fault, and what they have in common."""

from enum import StrEnum


class Kind(StrEnum):
    """What is said of a failed attempt. Values are the words that logs, metrics and the journal use."""

    REFUSED = "refused"
    DNS = "dns"
    TLS = "tls"
    CONNECT_TIMEOUT = "connect_timeout"
    TIMEOUT = "timeout"
    RESET = "reset"
    PROTOCOL = "protocol"
    OVERLOAD = "overload"
    UNAVAILABLE = "unavailable"
    SERVER_ERROR = "server_error"
    DEADLINE = "deadline"
    CANCELLED = "cancelled"
    APPLICATION = "application"


AT_ONCE = frozenset({Kind.REFUSED, Kind.DNS, Kind.TLS})
"""The node cannot be reached at all."""

UNSENT = AT_ONCE | {Kind.CONNECT_TIMEOUT}
"""Provably nothing of the request was sent, so no node can have begun to work on it."""

AMBIGUOUS = frozenset({Kind.TIMEOUT, Kind.RESET, Kind.PROTOCOL})
"""The request may have been sent and even carried out."""

COUNTING = UNSENT | AMBIGUOUS | {Kind.UNAVAILABLE}
"""Failures of the node's own that count towards ejection when they come in a row."""

RESPONSES = frozenset({Kind.OVERLOAD, Kind.UNAVAILABLE, Kind.SERVER_ERROR})
"""The node answered, with a status that says it could not do what was asked."""
