import urllib.error
from email.message import Message
from http import HTTPStatus
from types import SimpleNamespace
from typing import Any

import aiohttp
import httpx
import httpx2
import pytest
import requests
import urllib3
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from balancemw.fault import Fault, Kind, classify

POOL: Any = "pool"
REAL: Any = SimpleNamespace(real_url="http://h/")


def answer(status: object, headers: object = None) -> Any:
    return SimpleNamespace(status=status, headers=headers)


def fault_of(error: BaseException) -> Fault:
    fault = classify(None, error)
    assert fault is not None
    return fault


# -- what follows from a kind

AT_ONCE = {Kind.REFUSED, Kind.DNS, Kind.TLS}
UNSENT = AT_ONCE | {Kind.CONNECT_TIMEOUT}
COUNTS = UNSENT | {Kind.TIMEOUT, Kind.RESET, Kind.PROTOCOL, Kind.UNAVAILABLE}
IF_IDEMPOTENT = {Kind.TIMEOUT, Kind.RESET, Kind.PROTOCOL}
IF_CONFIGURED = {Kind.OVERLOAD, Kind.UNAVAILABLE, Kind.SERVER_ERROR}


@pytest.mark.parametrize("one", Kind)
def test_what_follows(one: Kind):
    fault = Fault(one)
    assert fault.unsent == (one in UNSENT)
    assert fault.ejects_at_once == (one in AT_ONCE)
    assert fault.counts == (one in COUNTS)
    assert fault.lowers_success_rate == (one in COUNTS | {Kind.SERVER_ERROR})
    assert fault.may_retry(False) == (one in UNSENT)
    assert fault.may_retry(True) == (one in UNSENT | IF_IDEMPOTENT)
    assert Fault(one, retry_status=True).may_retry(True) == (one in UNSENT | IF_IDEMPOTENT | IF_CONFIGURED)
    assert Fault(one, retry_status=True).may_retry(False) == (one in UNSENT)


# -- responses


@pytest.mark.parametrize(
    ("status", "headers", "expected", "retried", "retried_if_idempotent"),
    [
        (429, {}, Kind.OVERLOAD, True, True),
        (503, {"Retry-After": "3"}, Kind.OVERLOAD, False, True),
        (503, {"Retry-After": "soon"}, Kind.UNAVAILABLE, False, True),
        (502, {"Retry-After": "3"}, Kind.UNAVAILABLE, False, True),
        (504, {}, Kind.UNAVAILABLE, False, True),
        (500, {}, Kind.SERVER_ERROR, False, False),
        (599, {}, Kind.SERVER_ERROR, False, False),
        (HTTPStatus.BAD_GATEWAY, {}, Kind.UNAVAILABLE, False, True),
    ],
)
def test_responses_that_failed(status, headers, expected, retried, retried_if_idempotent):
    fault = classify(answer(status, headers), None)
    assert fault is not None
    assert (fault.kind, fault.status, fault.answered) == (expected, status, True)
    assert fault.may_retry(False) == retried
    assert fault.may_retry(True) == retried_if_idempotent
    assert fault.reason.startswith(str(int(status)))


@pytest.mark.parametrize("status", [200, 301, 404, 499, 600, 0, -1, True, "503", 503.0, None])
def test_no_fault(status):
    assert classify(answer(status), None) is None


def test_a_status_may_go_by_either_name():
    flask = SimpleNamespace(status="503 SERVICE UNAVAILABLE", status_code=503)
    assert classify(flask, None) == Fault(Kind.UNAVAILABLE, "503 Service Unavailable", 503, None, True, True)
    assert classify("503", None) is None


class Guarded:
    status_code = 503

    @property
    def status(self) -> int:
        raise RuntimeError("not yet")


def test_a_status_that_cannot_be_read_is_none():
    fault = classify(Guarded(), None)
    assert fault is not None
    assert fault.status == 503


def test_the_settings_say_what_is_retried():
    teapot = classify(answer(418), None, statuses=frozenset({418, 500}))
    broken = classify(answer(500), None, statuses=frozenset({418, 500}))
    resting = classify(answer(503, {"Retry-After": "1"}), None, statuses=frozenset({502}))
    assert teapot == Fault(Kind.UNAVAILABLE, "418 I'm a Teapot", 418, None, True, True)
    assert broken is not None
    assert resting is not None
    assert (broken.kind, broken.may_retry(True), broken.may_retry(False)) == (Kind.SERVER_ERROR, True, False)
    assert (resting.kind, resting.may_retry(True)) == (Kind.OVERLOAD, False)


NOW = 784111777.0  # Sun, 06 Nov 1994 08:49:37 GMT


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        (" 1.5 ", 1.5),
        (7, 7),
        (b"7", 7),
        ("-3", 0),
        ("Sun, 06 Nov 1994 08:49:47 GMT", 10),
        ("Sunday, 06-Nov-94 08:49:47 GMT", 10),
        ("Sun Nov  6 08:49:47 1994", 10),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0),
        *((bad, None) for bad in ("", "soon", "nan", "inf", "1e3", "1_0", "٣", "1, 2", "9" * 400)),
        ("Sun, 06 Nov 1994 08:49:47 +99999999999999999999", None),
    ],
)
def test_retry_after(value, seconds):
    fault = classify(answer(429, {"rEtRy-AfTeR": value}), None, wall=lambda: NOW)
    assert fault is not None
    assert fault.retry_after == seconds


def test_headers_of_every_make():
    message = Message()
    message["Retry-After"] = "5"
    makes = [
        message,
        {"retry-after": "5"},
        CIMultiDict({"Retry-After": "5"}),
        httpx.Headers({"Retry-After": "5"}),
        requests.structures.CaseInsensitiveDict({"Retry-After": "5"}),
        urllib3.HTTPHeaderDict({"Retry-After": "5"}),
    ]
    for headers in makes:
        fault = classify(answer(503, headers), None)
        assert fault is not None
        assert fault.retry_after == 5


@given(st.integers() | st.sampled_from([429, 500, 502, 503]), st.dictionaries(st.text(), st.text()), st.text())
def test_no_response_makes_it_raise(status, headers, retry_after):
    fault = classify(answer(status, headers | {"Retry-After": retry_after}), None)
    assert fault is None or fault.retry_after is None or fault.retry_after >= 0


# -- exceptions that carry a response


def http_error(status: int, headers: dict[str, str]) -> list[Exception]:
    message = Message()
    for name, value in headers.items():
        message[name] = value
    carried: Any = answer(status, headers)
    return [
        requests.HTTPError("x", response=carried),
        aiohttp.ClientResponseError(REAL, (), status=status, headers=CIMultiDict(headers)),
        httpx.HTTPStatusError("x", request=POOL, response=carried),
        httpx2.HTTPStatusError("x", request=POOL, response=carried),
        urllib.error.HTTPError("http://h/", status, "x", message, None),
    ]


def test_a_response_that_was_raised():
    for error in http_error(503, {"Retry-After": "5"}):
        assert classify(None, error) == Fault(Kind.OVERLOAD, "503 Service Unavailable", 503, 5.0, True, True)
    for error in http_error(500, {}):
        assert fault_of(error).kind is Kind.SERVER_ERROR
    for error in http_error(404, {}):
        fault = fault_of(error)
        assert (fault.kind, fault.status, fault.answered) == (Kind.APPLICATION, 404, True)
        retried = classify(None, error, statuses=frozenset({404}))
        assert retried is not None
        assert (retried.kind, retried.retry_status) == (Kind.UNAVAILABLE, True)


class ApiError(Exception):
    """As libraries on top of a client raise it."""

    def __init__(self, response: object) -> None:
        self.response = response


def test_a_response_on_an_exception_of_the_functions_own():
    assert fault_of(ApiError(answer(503))).kind is Kind.UNAVAILABLE
    assert fault_of(ApiError(answer(404))) == Fault(
        Kind.APPLICATION, "ApiError: namespace(status=404, headers=None)", 404, answered=True
    )
    assert fault_of(ApiError({"status": 503})).answered is False
    dealt_with = ApiError(answer(503))
    dealt_with.__cause__ = requests.ConnectionError()
    assert fault_of(dealt_with).kind is Kind.APPLICATION


def test_a_status_that_urllib3_gave_up_on():
    reason = urllib3.exceptions.ResponseError("too many 503 error responses")
    error = requests.exceptions.RetryError(urllib3.exceptions.MaxRetryError(POOL, "/", reason))
    assert fault_of(error) == Fault(Kind.UNAVAILABLE, "503 Service Unavailable", 503, None, True, True)


def test_an_answer_that_the_function_could_not_use_is_an_answer():
    html = aiohttp.ContentTypeError(REAL, (), status=200, message="unexpected mimetype: text/html")
    for error in (html, requests.JSONDecodeError("Expecting value", "", 0), aiohttp.TooManyRedirects(REAL, ())):
        fault = fault_of(error)
        assert (fault.kind, fault.answered) == (Kind.APPLICATION, True)
    assert fault_of(requests.exceptions.InvalidJSONError("x")).answered is False  # of the request


def test_an_error_page_instead_of_json_is_judged_by_its_status():
    page = aiohttp.ContentTypeError(REAL, (), status=503, message="unexpected mimetype: text/html")
    assert fault_of(page).kind is Kind.UNAVAILABLE


# -- words


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("", "ValueError"),
        ("[Errno 111] Connection refused", "ValueError: [Errno 111] Connection refused"),
        ("one\r\ntwo\x1b[31m\u202ethree\ud800", "ValueError: one two [31m three"),
        ("url: /stock?token=s3cret (Caused by x)", "ValueError: url: /stock?… (Caused by x)"),
        ("to http://user:s3cret@host:80/p failed", "ValueError: to http://***@host:80/p failed"),
        ("to http://s3cret@host/p?key=s3cret failed", "ValueError: to http://***@host/p?… failed"),
        ("to user:s3cret@host failed", "ValueError: to ***@host failed"),
        ("http://host/p?mail=a@b&key=s3cret", "ValueError: http://…"),
        ("http://user:s3?cret@host/", "ValueError: http://…"),
        ("user:s3?cret@host", "ValueError: …"),
        ("'/p?q=a b&key=s3cret' (found ' ')", "ValueError: '/p?… b&… (found ' ')"),
        ("why? a & b", "ValueError: why? a & b"),
        ("x" * 300, "ValueError: " + "x" * 187 + "…"),
        ("x " * 990 + "https://user:s3cret" + "t" * 100 + "@host", "ValueError: " + "x " * 93 + "x…"),
    ],
)
def test_reasons_tell_no_secrets(message: str, words: str):
    assert fault_of(ValueError(message)).reason == words


@given(st.text() | st.from_regex(r"https?://[a-z]+:s3cret@h/p\?k=s3cret", fullmatch=True))
def test_every_reason_is_one_short_line(message: str):
    reason = fault_of(ConnectionError(message)).reason
    assert len(reason) <= 200
    assert reason.isprintable()
    assert "s3cret" not in reason
