"""The answer where a replica gave none."""

import errno
import json
import logging
import socket
from typing import Any

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from balancemw.errors import DeadlineExceeded, NoNodeAvailable, UnknownService
from balancemw.forward import Nonsense, trouble
from balancemw_aiohttp import LastTryFailed

KEY = ConnectionKey("10.0.0.5", 9001, False, True, None, None, None, None)


def connector(error: OSError) -> aiohttp.ClientConnectorError:
    return aiohttp.ClientConnectorError(KEY, error)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (connector(ConnectionRefusedError(errno.ECONNREFUSED, "refused by 10.0.0.5")), 502),
        (aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(-2, "10.0.0.5 not known")), 502),
        (aiohttp.ServerDisconnectedError("10.0.0.5"), 502),
        (aiohttp.ClientOSError(errno.ECONNRESET, "10.0.0.5"), 502),
        (ConnectionResetError(errno.ECONNRESET, "10.0.0.5"), 502),
        (aiohttp.ClientPayloadError("10.0.0.5"), 502),
        (LastTryFailed("10.0.0.5"), 502),
        (Nonsense("a header of 10.0.0.5"), 502),
        (aiohttp.SocketTimeoutError("10.0.0.5"), 504),
        (aiohttp.ConnectionTimeoutError("10.0.0.5"), 504),
        (TimeoutError("10.0.0.5"), 504),
        (DeadlineExceeded("10.0.0.5"), 504),
        (NoNodeAvailable("10.0.0.5"), 503),
        (OSError(errno.EMFILE, "too many open files: 10.0.0.5"), 503),
    ],
)
def test_names_no_node_but_to_the_log(error: Exception, status: int, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "balancemw"):
        found = trouble(error)
    assert found is not None
    assert found.status == status
    headers: dict[str, Any] = dict(found.headers)
    assert headers["content-type"] == "application/problem+json"
    assert json.loads(found.body)["status"] == status
    assert b"10.0.0.5" not in found.body
    assert ("retry-after" in headers) is (status == 503)
    (record,) = caplog.records
    assert f"answered {status}" in record.getMessage()
    assert "10.0.0.5" in record.getMessage()


@pytest.mark.parametrize("error", [TypeError("x"), UnknownService("x"), ValueError("x")])
def test_a_mistake_of_ours_is_not_the_replicas(error: Exception):
    assert trouble(error) is None


def test_the_error_of_a_last_try_is_the_replicas_whatever_it_came_from():
    error = LastTryFailed("503")
    error.__cause__ = aiohttp.ServerDisconnectedError()
    found = trouble(error)
    assert found is not None
    assert found.status == 502
