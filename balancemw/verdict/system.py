"""The errors of the operating system and of TLS: what each says of the node, given how far the connection had come."""

import errno
import re

from balancemw.verdict.kinds import Kind
from balancemw.verdict.phases import BEFORE, Phase
from balancemw.verdict.reading import attribute, message

_LOCAL = frozenset(
    number
    for name in ("EMFILE", "ENFILE", "EADDRNOTAVAIL", "EAFNOSUPPORT", "ENOBUFS", "ENOMEM", "EACCES", "EPERM")
    if (number := getattr(errno, name, None)) is not None
)
"""Out of files, ports or memory, or not allowed to: no other node would do better."""

_UNREACHABLE = frozenset(
    number
    for name in ("ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "EHOSTDOWN", "ENETDOWN")
    if (number := getattr(errno, name, None)) is not None
)
_LOST = frozenset({errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED, errno.ESHUTDOWN})


def os_error(error: BaseException, phase: Phase) -> Kind | None:
    """The kind of an `OSError` raised in `phase`; None when it says nothing."""
    numbers = _numbers(error)
    if numbers and numbers <= _LOCAL:
        return Kind.APPLICATION
    if isinstance(error, TimeoutError) or numbers == {errno.ETIMEDOUT}:
        return Kind.CONNECT_TIMEOUT if phase in BEFORE else Kind.TIMEOUT
    if isinstance(error, ConnectionRefusedError) or numbers & _UNREACHABLE:
        # A connection reports "unreachable" too, once TCP has given up on what was sent over it.
        return Kind.RESET if phase is Phase.SENT else Kind.REFUSED
    lost = isinstance(error, ConnectionError) or bool(numbers & _LOST)
    if phase in BEFORE and (lost or numbers):
        return Kind.TLS if phase is Phase.HANDSHAKE else Kind.REFUSED
    if lost:
        return Kind.RESET
    if numbers:
        return Kind.APPLICATION
    tunnel = re.match(r"Tunnel connection failed: (\d)", message(error))  # http.client: a proxy's answer to CONNECT
    return behind_proxy(unreachable=tunnel[1] == "5") if tunnel else None


def _numbers(error: BaseException) -> set[int]:
    """Its errno; of an error that sums up several attempts to connect, those that its text names."""
    number = attribute(error, "errno")
    if isinstance(number, int):
        return {number}
    return {int(found) for found in re.findall(r"\[Errno (\d{1,5})\]", message(error))}


def behind_proxy(*, unreachable: bool) -> Kind:
    """The kind of a proxy's refusal to connect us: one that only wants a password is no fault of the node's."""
    return Kind.REFUSED if unreachable else Kind.APPLICATION


_HANDSHAKE_ONLY = frozenset(
    {
        "CERTIFICATE_VERIFY_FAILED",
        "DH_KEY_TOO_SMALL",
        "HTTP_REQUEST",
        "NO_CIPHERS_AVAILABLE",
        "NO_PROTOCOLS_AVAILABLE",
        "NO_SHARED_CIPHER",
        "SSLV3_ALERT_HANDSHAKE_FAILURE",
        "TLSV1_ALERT_INSUFFICIENT_SECURITY",
        "TLSV1_ALERT_NO_APPLICATION_PROTOCOL",
        "TLSV1_ALERT_PROTOCOL_VERSION",
        "TLSV1_UNRECOGNIZED_NAME",
        "UNKNOWN_PROTOCOL",
        "UNSAFE_LEGACY_RENEGOTIATION_DISABLED",
        "UNSUPPORTED_PROTOCOL",
        "WRONG_SSL_VERSION",
        "WRONG_VERSION_NUMBER",
    }
)
"""OpenSSL's reasons of a failed handshake; believed only where the traceback tells nothing, since the first is also
said of plain text on an agreed connection."""

_OUR_FILES = frozenset({"PEM", "X509", "ASN1"})
"""OpenSSL's libraries that complain of a certificate or key which cannot be read."""


def tls_error(error: BaseException, phase: Phase) -> Kind:
    """The kind of an `ssl.SSLError` raised in `phase`."""
    reason, library = str(attribute(error, "reason")), str(attribute(error, "library"))
    if phase in BEFORE or (phase is Phase.UNKNOWN and reason in _HANDSHAKE_ONLY):
        return Kind.TLS
    if library in _OUR_FILES or reason == "PEM_LIB":
        return Kind.APPLICATION
    return Kind.PROTOCOL


def tls_lost(_: BaseException, phase: Phase) -> Kind:
    """The kind of an end of the connection that TLS did not announce."""
    return Kind.TLS if phase in BEFORE else Kind.RESET
