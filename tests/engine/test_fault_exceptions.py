"""What each known exception means. The real ones, out of real clients, are in tests/adapters/test_fault_real.py."""

import asyncio
import concurrent.futures
import errno
import http.client
import socket
import ssl
import urllib.error
from types import SimpleNamespace
from typing import Any

import aiohttp
import httpx
import httpx2
import pytest
import requests
import urllib3
from aiohttp import http_exceptions

from balancemw.errors import BalanceError, DeadlineExceeded, NoNodeAvailable
from balancemw.fault import Fault, Kind, classify

POOL: Any = "pool"


def fault_of(error: BaseException) -> Fault:
    fault = classify(None, error)
    assert fault is not None
    return fault


def kind(error: BaseException) -> Kind:
    return fault_of(error).kind


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise error from cause
    except BaseException as caught:
        return caught


def tls(reason: str, library: str = "SSL") -> ssl.SSLError:
    error = ssl.SSLError(1, f"[{library}: {reason}]")
    error.reason, error.library = reason, library
    return error


# -- exceptions: of the standard library


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (asyncio.CancelledError(), Kind.CANCELLED),
        (GeneratorExit(), Kind.CANCELLED),
        (KeyboardInterrupt(), Kind.CANCELLED),
        (SystemExit(1), Kind.CANCELLED),
        (concurrent.futures.CancelledError(), Kind.CANCELLED),
        (DeadlineExceeded("up"), Kind.DEADLINE),
        (BalanceError("x"), Kind.APPLICATION),
        (NoNodeAvailable("x"), Kind.APPLICATION),
        (ValueError("x"), Kind.APPLICATION),
        (ExceptionGroup("x", [ConnectionRefusedError()]), Kind.APPLICATION),
        (ConnectionRefusedError(), Kind.REFUSED),
        (OSError(errno.EHOSTUNREACH, "No route to host"), Kind.REFUSED),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), Kind.REFUSED),
        (OSError("Multiple exceptions: [Errno 111] Connect call failed, [Errno 99] Cannot assign"), Kind.REFUSED),
        (OSError(f"Multiple exceptions: [Errno {errno.EMFILE}] Too many, [Errno {errno.EMFILE}]"), Kind.APPLICATION),
        (socket.gaierror(socket.EAI_NONAME, "unknown"), Kind.DNS),
        (TimeoutError(), Kind.TIMEOUT),
        (OSError(errno.ETIMEDOUT, "Connection timed out"), Kind.TIMEOUT),
        (ConnectionResetError(), Kind.RESET),
        (BrokenPipeError(), Kind.RESET),
        (ConnectionAbortedError(), Kind.RESET),
        (asyncio.IncompleteReadError(b"", 1), Kind.RESET),
        *((OSError(getattr(errno, name), "x"), Kind.APPLICATION) for name in ("EMFILE", "ENFILE", "EADDRNOTAVAIL")),
        *((OSError(getattr(errno, name), "x"), Kind.APPLICATION) for name in ("ENOBUFS", "ENOMEM", "EACCES", "EPERM")),
        (FileNotFoundError(errno.ENOENT, "x"), Kind.APPLICATION),
        (OSError("x"), Kind.APPLICATION),
        (OSError("Tunnel connection failed: 502 Bad Gateway"), Kind.REFUSED),
        (OSError("Tunnel connection failed: 407 Proxy Authentication Required"), Kind.APPLICATION),
        (ssl.SSLCertVerificationError("x"), Kind.TLS),
        (tls("WRONG_VERSION_NUMBER"), Kind.TLS),
        (tls("DECRYPTION_FAILED_OR_BAD_RECORD_MAC"), Kind.PROTOCOL),
        (tls("NO_START_LINE", "PEM"), Kind.APPLICATION),
        (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), Kind.RESET),
        (http.client.RemoteDisconnected("x"), Kind.RESET),
        (http.client.IncompleteRead(b""), Kind.RESET),
        (http.client.BadStatusLine("x"), Kind.PROTOCOL),
        (http.client.LineTooLong("x"), Kind.PROTOCOL),
        (http.client.CannotSendRequest(), Kind.APPLICATION),
        (http.client.InvalidURL("x"), Kind.APPLICATION),
        (urllib.error.URLError(ConnectionRefusedError()), Kind.REFUSED),
        (urllib.error.URLError(OSError(errno.EMFILE, "x")), Kind.APPLICATION),
        (urllib.error.URLError("unknown url type: gopher"), Kind.APPLICATION),
        (urllib.error.ContentTooShortError("x", POOL), Kind.RESET),
    ],
)
def test_the_standard_library(error, expected):
    assert kind(error) is expected


# -- exceptions: of the clients

NEW: Any = urllib3.exceptions.NewConnectionError
KEY: Any = SimpleNamespace(host="h", port=80, ssl=True, is_ssl=True)
REAL: Any = SimpleNamespace(real_url="http://h/")


def gave_up(reason: Exception | None) -> Exception:
    return urllib3.exceptions.MaxRetryError(POOL, "/", reason)


def unconnected(cause: BaseException) -> BaseException:
    return raised(NEW(POOL, "x"), cause)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (gave_up(unconnected(ConnectionRefusedError())), Kind.REFUSED),  # type: ignore[arg-type]
        (gave_up(unconnected(OSError(errno.EMFILE, "x"))), Kind.APPLICATION),  # type: ignore[arg-type]
        (gave_up(None), Kind.RESET),
        (NEW(POOL, "x"), Kind.REFUSED),
        (urllib3.exceptions.NameResolutionError("h", POOL, socket.gaierror(-2, "x")), Kind.DNS),
        (urllib3.exceptions.ConnectTimeoutError(), Kind.CONNECT_TIMEOUT),
        (urllib3.exceptions.EmptyPoolError(POOL, "x"), Kind.CONNECT_TIMEOUT),
        (urllib3.exceptions.ReadTimeoutError(POOL, "/", "x"), Kind.TIMEOUT),
        (urllib3.exceptions.ProtocolError("aborted", ConnectionResetError()), Kind.RESET),
        (urllib3.exceptions.ProtocolError("aborted", OSError(errno.EHOSTUNREACH, "x")), Kind.RESET),
        (urllib3.exceptions.ProtocolError("aborted", OSError("x")), Kind.RESET),
        (urllib3.exceptions.ProtocolError("aborted", OSError(errno.ENOBUFS, "x")), Kind.APPLICATION),
        (urllib3.exceptions.ProtocolError("aborted", http.client.BadStatusLine("x")), Kind.PROTOCOL),
        (urllib3.exceptions.InvalidChunkLength(SimpleNamespace(tell=int, length_remaining=1), b""), Kind.RESET),  # type: ignore[arg-type]
        (urllib3.exceptions.SSLError("Fingerprints did not match."), Kind.TLS),
        (urllib3.exceptions.SSLError(tls("BAD_RECORD_TYPE")), Kind.PROTOCOL),
        (urllib3.exceptions.SSLError(tls("PEM_LIB")), Kind.APPLICATION),
        (urllib3.exceptions.ProxyError("x", NEW(POOL, "x")), Kind.REFUSED),
        (urllib3.exceptions.ProxyError("x", OSError("Tunnel connection failed: 403 No")), Kind.APPLICATION),
        (urllib3.exceptions.ClosedPoolError(POOL, "x"), Kind.APPLICATION),
        (urllib3.exceptions.LocationParseError("x"), Kind.APPLICATION),
        (requests.ConnectionError("x"), Kind.RESET),
        (requests.ConnectionError(urllib3.exceptions.ClosedPoolError(POOL, "x")), Kind.APPLICATION),
        (requests.ConnectionError(urllib3.exceptions.ReadTimeoutError(POOL, "/", "x")), Kind.TIMEOUT),
        (requests.ConnectTimeout("x"), Kind.CONNECT_TIMEOUT),
        (requests.ReadTimeout("x"), Kind.TIMEOUT),
        (requests.exceptions.SSLError(urllib3.exceptions.SSLError(ssl.SSLCertVerificationError())), Kind.TLS),
        (requests.exceptions.ChunkedEncodingError("x"), Kind.RESET),
        (requests.exceptions.ContentDecodingError("x"), Kind.PROTOCOL),
        (
            requests.exceptions.RetryError(gave_up(urllib3.exceptions.ResponseError("too many redirects"))),
            Kind.APPLICATION,
        ),
        (requests.exceptions.InvalidHeader("x"), Kind.APPLICATION),
        (requests.exceptions.InvalidHeader(urllib3.exceptions.InvalidHeader("x")), Kind.PROTOCOL),
        (requests.exceptions.MissingSchema("x"), Kind.APPLICATION),
        (requests.TooManyRedirects("x"), Kind.APPLICATION),
        (requests.HTTPError("x"), Kind.APPLICATION),
        (aiohttp.ClientConnectorError(KEY, ConnectionRefusedError(errno.ECONNREFUSED, "x")), Kind.REFUSED),
        (aiohttp.ClientConnectorError(KEY, OSError(errno.EADDRNOTAVAIL, "x")), Kind.APPLICATION),
        (aiohttp.ClientConnectorError(KEY, OSError(errno.ETIMEDOUT, "x")), Kind.CONNECT_TIMEOUT),
        (aiohttp.ClientConnectorDNSError(KEY, OSError(None, "no data")), Kind.DNS),
        (aiohttp.ClientConnectorDNSError(KEY, OSError(errno.EMFILE, "x")), Kind.APPLICATION),
        (aiohttp.ClientConnectorCertificateError(KEY, ssl.SSLCertVerificationError(1, "x")), Kind.TLS),
        (aiohttp.ClientConnectorSSLError(KEY, tls("BAD_RECORD_TYPE")), Kind.TLS),
        (aiohttp.ServerFingerprintMismatch(b"", b"", "h", 80), Kind.TLS),
        (aiohttp.ConnectionTimeoutError(), Kind.CONNECT_TIMEOUT),
        (aiohttp.SocketTimeoutError(), Kind.TIMEOUT),
        (aiohttp.ServerDisconnectedError(), Kind.RESET),
        (aiohttp.ClientConnectionResetError("Cannot write to closing transport"), Kind.RESET),
        (aiohttp.ClientOSError(errno.EHOSTUNREACH, "x"), Kind.RESET),
        (aiohttp.ClientOSError(errno.EMFILE, "x"), Kind.APPLICATION),
        (raised(aiohttp.ClientOSError(1, "[SSL: X]"), tls("BAD_RECORD_TYPE")), Kind.PROTOCOL),
        (raised(aiohttp.ClientOSError(1, "[SSL: X]"), ssl.SSLZeroReturnError()), Kind.RESET),
        (aiohttp.ClientConnectionError("x"), Kind.RESET),
        (aiohttp.ClientConnectionError("Connector is closed."), Kind.APPLICATION),
        (raised(aiohttp.ClientConnectionError("Failed to send bytes …"), ValueError()), Kind.APPLICATION),
        (aiohttp.ClientPayloadError("Response payload is not completed"), Kind.RESET),
        (raised(aiohttp.ClientPayloadError("x"), http_exceptions.TransferEncodingError("bad")), Kind.PROTOCOL),
        (aiohttp.ClientPayloadError("Cannot follow redirect with a consumed request body."), Kind.APPLICATION),
        (aiohttp.ClientHttpProxyError(REAL, (), status=407), Kind.APPLICATION),
        (aiohttp.ClientHttpProxyError(REAL, (), status=502), Kind.REFUSED),
        (aiohttp.InvalidURL("x"), Kind.APPLICATION),
        (aiohttp.TooManyRedirects(REAL, ()), Kind.APPLICATION),
        *(
            (module.__dict__[name]("x"), expected)
            for module in (httpx, httpx2)
            for name, expected in {
                "ConnectError": Kind.REFUSED,
                "ConnectTimeout": Kind.CONNECT_TIMEOUT,
                "PoolTimeout": Kind.CONNECT_TIMEOUT,
                "ReadTimeout": Kind.TIMEOUT,
                "WriteTimeout": Kind.TIMEOUT,
                "ReadError": Kind.RESET,
                "RemoteProtocolError": Kind.PROTOCOL,
                "LocalProtocolError": Kind.APPLICATION,
                "UnsupportedProtocol": Kind.APPLICATION,
                "DecodingError": Kind.PROTOCOL,
                "TooManyRedirects": Kind.APPLICATION,
                "InvalidURL": Kind.APPLICATION,
                "TransportError": Kind.RESET,
            }.items()
        ),
        (httpx.RemoteProtocolError("<ConnectionTerminated error_code:0>"), Kind.RESET),
        (httpx.ProxyError("502 Bad Gateway"), Kind.REFUSED),
        (httpx.ProxyError("407 Proxy Authentication Required"), Kind.APPLICATION),
        (raised(httpx.ConnectError("x"), tls("BAD_RECORD_TYPE")), Kind.TLS),
        (raised(httpx.ReadError("x"), tls("WRONG_VERSION_NUMBER")), Kind.PROTOCOL),
    ],
)
def test_the_clients(error, expected):
    assert kind(error) is expected


@pytest.mark.parametrize(
    ("tries", "expected"),
    [
        ([OSError(errno.EADDRNOTAVAIL, "::1"), ConnectionRefusedError(errno.ECONNREFUSED, "127.0.0.1")], Kind.REFUSED),
        ([OSError(errno.EMFILE, "x"), OSError(errno.EMFILE, "x")], Kind.APPLICATION),
    ],
)
def test_several_addresses_were_tried(tries, expected):
    summary = raised(
        OSError("All connection attempts failed"), ExceptionGroup("multiple connection attempts failed", tries)
    )
    assert kind(raised(httpx.ConnectError("x"), summary)) is expected
