"""Which exceptions are known, and that no other can do harm."""

import asyncio
import importlib
import inspect
import socket

import httpx
import httpx2
import pytest
import requests

from balancemw.fault import Kind, classify
from balancemw.verdict.clients import _RULES, find


def kind(error: BaseException) -> Kind:
    fault = classify(None, error)
    assert fault is not None
    return fault.kind


def raised(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


# -- exceptions that nobody knows


class OwnError(Exception):
    pass


class OwnConnectionError(ConnectionError):
    pass


class OwnRequestsError(requests.ConnectionError):
    pass


class Unreadable(OSError):
    errno = property(lambda self: 1 / 0)  # type: ignore[assignment]
    response = property(lambda self: 1 / 0)

    def __str__(self) -> str:
        raise OwnError


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OwnError(), Kind.APPLICATION),
        (OwnConnectionError(), Kind.RESET),
        (OwnRequestsError(), Kind.RESET),
        (raised(OwnError(), ConnectionRefusedError()), Kind.APPLICATION),
        (raised(OwnConnectionError(), requests.ConnectionError()), Kind.APPLICATION),
        (raised(OwnRequestsError(), ConnectionResetError()), Kind.APPLICATION),
        (raised(RuntimeError(), httpx.ConnectError("x")), Kind.APPLICATION),
        (raised(TimeoutError(), httpx.ReadTimeout("x")), Kind.APPLICATION),
        (raised(TimeoutError(), asyncio.CancelledError()), Kind.TIMEOUT),  # asyncio.timeout()
        (Unreadable(), Kind.APPLICATION),
    ],
)
def test_an_exception_of_the_functions_own(error, expected):
    assert kind(error) is expected


def test_a_name_that_cannot_even_be_looked_up():
    with pytest.raises(UnicodeError) as wrong:
        socket.create_connection(("a" * 64 + ".invalid", 80))
    assert kind(wrong.value) is Kind.APPLICATION


def test_wrapped_in_circles():
    one, other = requests.ConnectionError(), requests.ConnectionError()
    one.args, other.args = (other,), (one,)
    assert kind(one) is Kind.RESET


def test_types_made_for_every_call_are_not_kept_for_ever():
    for number in range(1100):
        assert find(type(f"Error{number}", (ConnectionError,), {})).foreign
    assert kind(ConnectionRefusedError()) is Kind.REFUSED


# -- the tables fit what is installed

MODULES = {
    "builtins": ["builtins"],
    "socket": ["socket"],
    "ssl": ["ssl"],
    "asyncio": ["asyncio.exceptions"],
    "concurrent": ["concurrent.futures"],
    "http": ["http.client"],
    "urllib": ["urllib.error"],
    "urllib3": ["urllib3.exceptions", "urllib3.util.ssl_match_hostname"],
    "requests": ["requests.exceptions"],
    "aiohttp": ["aiohttp", "aiohttp.client_exceptions", "aiohttp.http_exceptions"],
    "httpx": ["httpx"],
    "httpx2": ["httpx2"],
    "httpcore": ["httpcore"],
    "httpcore2": ["httpcore2"],
}
OTHERS = {"asyncio.exceptions", "concurrent.futures", "urllib3.util.ssl_match_hostname"}  # no clients
ONLY_HTTPX = {"HTTPStatusError", "TooManyRedirects", "DecodingError", "HTTPError"}
NOT_OF_THE_NODE = {
    "InvalidURL",
    "CookieConflict",
    "ProxySchemeUnsupported",
    "ConnectionNotAvailable",
    "WSMessageTypeError",
}


def test_every_name_in_the_tables_exists():
    missing = [
        (root, name)
        for root, name in _RULES
        if not any(hasattr(importlib.import_module(module), name) for module in MODULES[root])
    ]
    assert {(root, name) for root, name in missing if root not in ("httpcore", "httpcore2")} == set()
    assert {name for _, name in missing} <= ONLY_HTTPX


@pytest.mark.parametrize(
    "name",
    sorted({name for names in MODULES.values() for name in names if "." in name or name.startswith("http")} - OTHERS),
)
def test_every_exception_of_a_client_is_known(name: str):
    module = importlib.import_module(name)
    types = [one for _, one in inspect.getmembers(module, inspect.isclass) if issubclass(one, Exception)]
    unknown = {
        one.__name__
        for one in types
        if one.__module__.partition(".")[0] == name.partition(".")[0]
        and not issubclass(one, Warning | httpx.StreamError | httpx2.StreamError)
        and find(one).rule is None
    }
    assert unknown <= NOT_OF_THE_NODE
