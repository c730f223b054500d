"""What an inbound request brings along, and how our own errors are answered."""

import json
import logging
from collections.abc import Mapping
from math import inf

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from balancemw import Balancer, DeadlineExceeded, NoNodeAvailable, SettingsError, UnknownService
from balancemw.context import Request, time_left
from balancemw.inbound import Door, conclude, problem_of
from tests.engine.clock import FakeClock
from tests.engine.stage import TimedRequest

MILLISECONDS = "x-request-timeout-ms"
ENVOY = "x-envoy-expected-rq-timeout-ms"
GRPC = "grpc-timeout"
COUNT = "x-envoy-attempt-count"
NOW = 0.0


@pytest.fixture(autouse=True)
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("balancemw.inbound.monotonic", FakeClock(NOW))


def opened(headers: Mapping[str, str], **inbound: object) -> Request:
    balancer = Balancer({"services": {"s": {"nodes": ["http://a:1"]}}, "inbound": inbound})
    request = Request(None)
    Door(balancer).open(request, headers.get)
    assert request.balancer is balancer
    return request


def granted(headers: Mapping[str, str], **inbound: object) -> float | None:
    """Seconds that a request with these headers has; None when nothing bounds it."""
    until = opened(headers, **inbound).until
    return None if until == inf else until - NOW


class TestDeadline:
    @pytest.mark.parametrize("headers", [{}, {"x-other": "5"}, {"timeout": "5"}])
    def test_nothing_bounds_a_request_that_brings_nothing(self, headers: Mapping[str, str]):
        assert granted(headers) is None

    @pytest.mark.parametrize("name", [MILLISECONDS, ENVOY])
    @pytest.mark.parametrize(
        ("value", "seconds"),
        [("1500", 1.5), ("1", 0.001), ("0", 0.0), ("007", 0.007), (" 250\t", 0.25), ("999999999999", 999999999.999)],
    )
    def test_milliseconds(self, name: str, value: str, seconds: float):
        assert granted({name: value}) == pytest.approx(seconds)

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            ("2H", 7200.0),
            ("3M", 180.0),
            ("4S", 4.0),
            ("5m", 0.005),
            ("6u", 6e-6),
            ("700000n", 7e-4),
            ("99999999H", 99999999 * 3600.0),
            ("0S", 0.0),
            (" 4S ", 4.0),
        ],
    )
    def test_grpc(self, value: str, seconds: float):
        assert granted({GRPC: value}) == pytest.approx(seconds, abs=1e-9)

    @pytest.mark.parametrize("name", [MILLISECONDS, ENVOY])
    @pytest.mark.parametrize(
        "value",
        [
            *("", " ", "-1", "+1", "1.5", "1e3", "0x10", "1_000", "1 000", "1,2", "1500ms", "inf", "nan", "5S", "15;2"),
            *("\uff11\uff15", "\u0661\u0665", "²", "1" * 13, "1\n", "\n1", "\xa01", "1\x1f", "1\x00"),
        ],
    )
    def test_malformed_milliseconds_are_ignored(self, name: str, value: str):
        assert granted({name: value}) is None
        assert granted({name: value}, timeout=3) == 3.0

    @pytest.mark.parametrize(
        "value",
        [
            *("", "S", "5", "5s", "5h", "5 S", "-5S", "+5S", "1.5S", "123456789S", "5SS", "5mS"),
            *("\uff15S", "5S\n", "\xa05S", "5S,5S"),
        ],
    )
    def test_malformed_grpc_is_ignored(self, value: str):
        assert granted({GRPC: value}) is None

    def test_the_first_header_in_the_order_of_the_settings_counts(self):
        headers = {GRPC: "3S", ENVOY: "2000", MILLISECONDS: "9000"}
        assert granted(headers) == 9.0
        assert granted(headers, deadline_headers=[GRPC, MILLISECONDS]) == 3.0
        assert granted(headers, deadline_headers=[]) is None

    def test_one_that_is_malformed_makes_way_for_the_next(self):
        assert granted({MILLISECONDS: "soon", ENVOY: "2000", GRPC: "3S"}) == 2.0
        assert granted({MILLISECONDS: "soon", ENVOY: "later", GRPC: "3S"}) == 3.0

    def test_other_names(self):
        assert granted({"x-budget": "700"}, deadline_headers=["X-Budget"]) == 0.7
        assert granted({"x-budget": "4S"}, deadline_headers=["X-Budget"]) is None
        assert granted({"grpc-timeout": "4S"}, deadline_headers=["Grpc-Timeout"]) == 4.0

    @pytest.mark.parametrize(("value", "seconds"), [("1000", 1.0), ("5000", 3.0), ("0", 0.0)])
    def test_a_header_can_only_shorten(self, value: str, seconds: float):
        assert granted({MILLISECONDS: value}, timeout=3) == seconds

    def test_without_a_header_the_settings_bound_it(self):
        assert granted({}, timeout=3) == 3.0

    @given(st.text(max_size=14) | st.from_regex(r"[0-9]{1,13}[HMSmun]?", fullmatch=True), st.sampled_from([None, 5.0]))
    @example("9" * 400, None)
    def test_no_value_breaks_anything_or_grants_more_than_the_settings(self, value: str, timeout: float | None):
        headers = dict.fromkeys((MILLISECONDS, ENVOY, GRPC, COUNT), value)
        seconds = granted(headers, timeout=timeout)
        assert seconds is None or seconds >= 0.0
        assert timeout is None or (seconds is not None and seconds <= timeout)


class TestChain:
    @pytest.mark.parametrize("value", ["2", "3", " 2 ", "02", "100"])
    def test_a_retry_makes_no_retries(self, value: str):
        assert not opened({COUNT: value}).retries_allowed

    @pytest.mark.parametrize(
        "value", ["1", "0", "", "two", "-2", "+2", "2.0", "\uff12", "2\n", "\xa02", "2,3", "9" * 13]
    )
    def test_a_first_attempt_may_and_what_is_malformed_is_ignored(self, value: str):
        assert opened({COUNT: value}).retries_allowed

    def test_without_the_header(self):
        assert opened({}).retries_allowed

    def test_it_can_be_turned_off(self):
        assert opened({COUNT: "2"}, chain_stop=False).retries_allowed

    def test_it_does_not_hide_the_deadline(self):
        request = opened({COUNT: "2", MILLISECONDS: "500"})
        assert (request.retries_allowed, request.until) == (False, NOW + 0.5)


class TestConclude:
    def test_what_goes_on_after_the_answer_has_the_time_it_needs(self):
        clock = FakeClock()
        request = TimedRequest("a balancer", clock() + 1.0, clock)
        assert time_left(request) == 1.0
        conclude(request)
        assert time_left(request) is None

    def test_without_a_deadline_there_is_nothing_to_do(self):
        request = Request("a balancer")
        conclude(request)
        assert time_left(request) is None


class TestProblems:
    def test_no_node(self):
        problem = problem_of(NoNodeAvailable("service 'inventory' has no node", retry_after=7.2))
        assert problem is not None
        headers = dict(problem.headers)
        assert problem.status == 503
        assert headers["content-type"] == "application/problem+json"
        assert headers["retry-after"] == "8"
        assert headers["content-length"] == str(len(problem.body))
        assert json.loads(problem.body) == {
            "type": "about:blank",
            "title": "Service Unavailable",
            "status": 503,
            "detail": "No replica of a needed service is available.",
        }

    def test_deadline(self):
        problem = problem_of(DeadlineExceeded("the time to call service 'inventory' is up"))
        assert problem is not None
        assert problem.status == 504
        assert "retry-after" not in dict(problem.headers)
        assert json.loads(problem.body) == {
            "type": "about:blank",
            "title": "Gateway Timeout",
            "status": 504,
            "detail": "The time to answer this request is up.",
        }

    @pytest.mark.parametrize(
        ("seconds", "header"),
        [(0.0, "1"), (-5.0, "1"), (1.0, "1"), (1.001, "2"), (3600.0, "3600"), (1e9, "3600"), (inf, "3600")],
    )
    def test_retry_after_is_a_whole_number_within_an_hour(self, seconds: float, header: str):
        problem = problem_of(NoNodeAvailable("none", seconds))
        assert problem is not None
        assert dict(problem.headers)["retry-after"] == header

    @pytest.mark.parametrize(
        "error", [NoNodeAvailable("s3cr3t is down"), DeadlineExceeded("calling s3cr3t")], ids=["no node", "deadline"]
    )
    def test_what_is_inside_is_told_to_the_log_and_not_to_the_client(
        self, error: Exception, caplog: pytest.LogCaptureFixture
    ):
        error.add_note("s3cr3t:80: refused")
        with caplog.at_level(logging.INFO, "balancemw"):
            problem = problem_of(error)
        assert problem is not None
        assert "s3cr3t" not in repr(problem)
        assert caplog.messages == [f"answered {problem.status.value}: {error}; s3cr3t:80: refused"]
        assert caplog.records[0].levelno == (logging.WARNING if problem.status == 503 else logging.INFO)

    @pytest.mark.parametrize(
        "error",
        [TimeoutError(), ConnectionRefusedError(), UnknownService("x"), SettingsError(["x"]), KeyboardInterrupt()],
    )
    def test_all_other_errors_are_the_apps(self, error: BaseException, caplog: pytest.LogCaptureFixture):
        assert problem_of(error) is None
        assert caplog.records == []
