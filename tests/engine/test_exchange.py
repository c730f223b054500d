"""One request of a client's over all its tries, as the adapters drive it."""

import gc
from math import inf
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancemw import Balancer, DeadlineExceeded, NoNodeAvailable, UnknownService, deadline
from balancemw.errors import in_dialect
from balancemw.exchange import Destination, Exchange, milliseconds, services
from balancemw.reading import Reading
from tests.engine.clock import FakeClock

NODES = ["http://10.0.0.1:8000", "http://10.0.0.2:8000"]


class NoNode(NoNodeAvailable, LookupError):
    pass


class TooLate(DeadlineExceeded):
    pass


def made(**service: Any) -> tuple[Balancer, FakeClock]:
    clock = FakeClock()
    service = {"nodes": NODES, "retry": {"backoff": 0}, **service}
    return Balancer({"services": {"Inventory": service}}, clock=clock, sleep=clock.advance), clock


def exchange_of(balancer: Balancer, method: str = "GET", key: str | None = None) -> Exchange:
    destination = services(balancer)["inventory"]
    return Exchange(destination, destination.terms(method, key))


def nodes_of(balancer: Balancer) -> list[dict[str, Any]]:
    status: Any = balancer.status()
    return status["services"]["Inventory"]["nodes"]


def total(balancer: Balancer, what: str) -> int:
    return sum(node[what] for node in nodes_of(balancer))


def response(status: int, **headers: str) -> Any:
    return SimpleNamespace(status=status, headers={name.replace("_", "-"): value for name, value in headers.items()})


class TestDestination:
    def test_services_go_by_their_names_in_lower_case(self):
        balancer, _ = made()
        assert services(balancer).keys() == {"inventory"}
        assert services(balancer)["inventory"].name == "Inventory"

    @pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"])
    def test_methods_that_do_no_harm_twice(self, method: str):
        destination = services(made()[0])["inventory"]
        assert destination.terms(method, None) is destination.repeatable

    @pytest.mark.parametrize("method", ["POST", "PATCH", "CONNECT", "get"])
    def test_all_others_need_a_key(self, method: str):
        destination = services(made()[0])["inventory"]
        assert destination.terms(method, None) is destination.once
        assert destination.terms(method, "") is destination.once
        assert destination.terms(method, "k1") is destination.repeatable

    def test_whose_name_a_replica_goes_by(self):
        balancer, _ = made()
        node = balancer["Inventory"].nodes[0]
        assert services(balancer)["inventory"].host_of(node) == "Inventory"
        assert services(made(host_header="node")[0])["inventory"].host_of(node) == "10.0.0.1"

    def test_a_status_may_be_a_failure_by_the_settings(self):
        destination = Destination(made(retry={"statuses": [204, 503]})[0]["Inventory"])
        assert [destination.accepts(status) for status in (200, 204, 302, 404, 503)] == [
            True,
            False,
            True,
            False,
            False,
        ]


class TestHeaders:
    def test_the_try_and_its_time(self):
        balancer, _ = made(attempt_timeout=2.5)
        exchange = exchange_of(balancer)
        exchange.begin()
        assert exchange.headers() == (("x-envoy-attempt-count", "1"), ("x-request-timeout-ms", "2500"))
        exchange.fail(ConnectionResetError(), again=True)
        exchange.begin()
        assert exchange.headers()[0] == ("x-envoy-attempt-count", "2")

    def test_no_time_where_nothing_bounds_it(self):
        balancer, _ = made(timeout=None, attempt_timeout=None)
        exchange = exchange_of(balancer)
        assert exchange.begin().until == inf
        assert exchange.headers() == (("x-envoy-attempt-count", "1"),)

    @pytest.mark.parametrize(
        ("granted", "told"), [(None, "3000"), ("20", "20"), ("9999", "3000"), ("soon", "3000"), ("-1", "3000")]
    )
    def test_what_the_caller_says_counts_if_it_is_less(self, granted: str | None, told: str):
        balancer, _ = made(attempt_timeout=3)
        assert milliseconds(exchange_of(balancer).begin(), granted) == told


class TestTries:
    def test_a_whole_answer_at_the_first_try(self):
        balancer, clock = made()
        exchange = exchange_of(balancer)
        exchange.begin()
        assert exchange.refuse(response(200), 200) is None
        assert total(balancer, "in_flight") == 1
        clock.advance(0.5)
        exchange.end()
        exchange.end()
        exchange.break_off(ConnectionResetError())
        assert [total(balancer, what) for what in ("in_flight", "calls", "failures")] == [0, 1, 0]
        assert max(node["latency_ms"] or 0 for node in nodes_of(balancer)) == 500

    def test_what_may_have_arrived_is_tried_again_only_if_it_does_no_harm_and_can_be_sent(self):
        balancer, _ = made()
        for method, again, expected in (("GET", True, 0.0), ("GET", False, None), ("POST", True, None)):
            exchange = exchange_of(balancer, method)
            exchange.begin()
            assert exchange.fail(ConnectionResetError(), again=again) == expected

    def test_a_further_try_goes_elsewhere_and_its_error_tells_of_the_first(self):
        balancer, _ = made()
        exchange = exchange_of(balancer, "POST")
        first = exchange.begin().node
        assert exchange.fail(ConnectionRefusedError(), again=True) == 0.0
        assert exchange.begin().node != first
        error = ConnectionResetError("lost")
        assert exchange.fail(error, again=True) is None
        assert [note.partition(":")[0] for note in error.__notes__] == [first.host]
        assert total(balancer, "in_flight") == 0

    def test_a_refused_answer_is_replaced_until_the_tries_are_used_up(self):
        balancer, _ = made()
        exchange = exchange_of(balancer)
        waits = []
        for _ in range(3):
            exchange.begin()
            fault = exchange.refuse(response(503), 503)
            assert fault is not None
            waits.append(exchange.replace(response(503), fault, again=True))
        assert waits == [0.0, 0.0, None]
        assert total(balancer, "failures") == 3

    def test_a_refused_answer_is_the_answer_where_the_body_cannot_be_sent_again(self):
        exchange = exchange_of(made()[0])
        exchange.begin()
        fault = exchange.refuse(response(502), 502)
        assert fault is not None
        assert exchange.replace(response(502), fault, again=False) is None

    def test_a_given_first_try_is_gone_on_with(self):
        balancer, _ = made()
        first = exchange_of(balancer).begin()
        destination = services(balancer)["inventory"]
        exchange = Exchange(destination, destination.repeatable, None, first)
        assert (exchange.attempt, exchange.number) == (first, 1)
        exchange.fail(ConnectionResetError(), again=True)
        assert exchange.begin().node != first.node

    def test_waiting_is_the_balancer_s(self):
        balancer, clock = made()
        before = clock()
        exchange = exchange_of(balancer)
        exchange.pause(0.25)
        exchange.pause(0.0)
        assert clock() == before + 0.25


class TestBodies:
    def test_one_that_breaks_off_counts_against_the_node(self):
        balancer, _ = made()
        exchange = exchange_of(balancer)
        exchange.begin()
        exchange.break_off(ConnectionResetError())
        exchange.end()
        assert [total(balancer, what) for what in ("in_flight", "failures")] == [0, 1]

    def test_one_that_the_caller_gave_up_counts_against_nobody(self):
        balancer, _ = made()
        exchange = exchange_of(balancer)
        exchange.begin()
        exchange.break_off(GeneratorExit())
        assert [total(balancer, what) for what in ("in_flight", "failures")] == [0, 0]

    @pytest.mark.parametrize("error", [None, ConnectionResetError()])
    def test_a_stream_is_judged_by_its_head_and_ages_no_node(self, error: Exception | None):
        balancer, clock = made(nodes=NODES[:1])
        exchange = exchange_of(balancer)
        exchange.begin()
        clock.advance(0.1)
        exchange.stream()
        peer = next(iter(balancer["Inventory"].pool.roster.peers.values()))
        assert (peer.in_flight, peer.streams) == (1, 1)
        clock.advance(0.5)
        assert peer.cost(clock()) == pytest.approx(0.1 * 2)  # not the age of the stream
        clock.advance(600.0)
        exchange.break_off(error) if error else exchange.end()
        assert [total(balancer, what) for what in ("in_flight", "failures", "calls")] == [0, 0, 1]
        assert nodes_of(balancer)[0]["latency_ms"] == pytest.approx(100)

    @pytest.mark.parametrize(("long", "latency"), [(False, 20_100), (True, 100)])
    def test_one_that_is_being_read_ages_no_node(self, long: bool, latency: int):
        balancer, clock = made(nodes=NODES[:1])
        exchange, other = exchange_of(balancer), exchange_of(balancer)
        exchange.begin()
        clock.advance(0.1)
        exchange.read_on(long=long)
        peer = next(iter(balancer["Inventory"].pool.roster.peers.values()))
        assert (peer.in_flight, peer.waiting, peer.age(clock())) == (1, 0, 0.0)
        clock.advance(10.0)
        other.begin()
        clock.advance(10.0)
        assert (peer.in_flight, peer.waiting) == (2, 1)
        assert peer.age(clock()) == pytest.approx(10.0)
        exchange.end()
        assert (peer.in_flight, peer.waiting) == (1, 1)
        assert peer.age(clock()) == pytest.approx(10.0)
        assert nodes_of(balancer)[0]["latency_ms"] == pytest.approx(latency)
        other.fail(ConnectionResetError(), again=False)
        assert (peer.in_flight, peer.waiting) == (0, 0)

    def test_a_long_one_that_breaks_off_counts_against_the_node(self):
        balancer, _ = made(nodes=NODES[:1])
        exchange = exchange_of(balancer)
        exchange.begin()
        exchange.read_on(long=True)
        exchange.break_off(ConnectionResetError())
        assert [total(balancer, what) for what in ("in_flight", "calls", "failures")] == [0, 1, 1]

    def test_one_that_the_garbage_collector_finds_under_the_lock_ends_with_the_next_look(self):
        balancer, clock = made(nodes=NODES[:1])

        class Answer:
            def __init__(self) -> None:
                self.exchange = exchange_of(balancer)
                self.exchange.begin()
                self.itself = self

            def __del__(self) -> None:
                self.exchange.abandon()

        answer = Answer()
        clock.advance(0.2)
        with balancer["Inventory"].pool.lock:
            del answer
            gc.collect()  # would wait for this very thread
        clock.advance(5.0)
        assert [total(balancer, what) for what in ("in_flight", "calls")] == [0, 1]
        assert nodes_of(balancer)[0]["latency_ms"] == pytest.approx(200)  # as of when it was found

    def test_one_that_is_found_broken_counts_against_the_node(self):
        balancer, _ = made()
        exchange = exchange_of(balancer)
        exchange.begin()
        exchange.abandon(ConnectionResetError())
        exchange.abandon()
        assert [total(balancer, what) for what in ("in_flight", "failures")] == [0, 1]


class TestTime:
    def test_a_long_body_moves_the_end_of_its_try_and_of_its_call(self):
        balancer, clock = made(timeout=1.0, attempt_timeout=0.5)
        exchange = exchange_of(balancer)
        began = exchange.begin().started
        for _ in range(10):
            clock.advance(0.4)
            assert exchange.progress() == clock() + 0.5
        assert clock() > began + 3.0
        assert exchange.fail(ConnectionResetError(), again=True) == 0.0
        exchange.begin()
        clock.advance(0.4)
        exchange.progress()
        clock.advance(0.9)
        assert exchange.fail(ConnectionResetError(), again=True) == 0.0

    def test_a_bound_from_outside_does_not_move(self):
        balancer, _ = made(timeout=9.0, attempt_timeout=8.0)
        with deadline(2.0):
            exchange = exchange_of(balancer)
            attempt = exchange.begin()
            assert exchange.progress() - attempt.started <= 2.0

    def test_the_end_of_all_time_is_told_in_the_client_s_words(self):
        balancer, clock = made(timeout=1.0)
        exchange = exchange_of(balancer)
        exchange.begin()
        clock.advance(2.0)
        late = TimeoutError("too slow")
        with pytest.raises(DeadlineExceeded) as caught:
            exchange.fail(late, again=True)
        told = in_dialect(caught.value, NoNode, TooLate)
        assert type(told) is TooLate
        assert told.__cause__ is late
        assert told.__notes__ == caught.value.__notes__


class TestDialect:
    def test_no_node(self):
        balancer, _ = made()
        for node in balancer["Inventory"].nodes:
            balancer["Inventory"].mark(node, "down", reason="a test", ttl=30)
        with pytest.raises(NoNodeAvailable) as caught:
            exchange_of(balancer).begin()
        told = in_dialect(caught.value, NoNode, TooLate)
        assert type(told) is NoNode
        assert (str(told), told.retry_after) == (str(caught.value), caught.value.retry_after)

    def test_what_is_neither_stays(self):
        error = UnknownService("x")
        assert in_dialect(error, NoNode, TooLate) is error


@given(
    st.lists(st.sampled_from(["ok", "late", "reset", "503", "refused", "half", "stream", "lost", "gone"]), max_size=40)
)
def test_whatever_happens_nothing_stays_in_flight(ends: list[str]):
    balancer, clock = made()
    for end in ends:
        exchange = exchange_of(balancer)
        exchange.begin()
        clock.advance(0.01)
        if end in ("ok", "half", "long", "long half", "stream", "lost"):
            if end == "stream":
                exchange.stream()
            elif end.startswith("long"):
                exchange.read_on(long=True)
            {"ok": exchange.end, "long": exchange.end, "stream": exchange.end, "lost": exchange.abandon}.get(
                end, lambda exchange=exchange: exchange.break_off(ConnectionResetError())
            )()
        elif end == "503":
            fault = exchange.refuse(response(503), 503)
            assert fault is not None
            exchange.replace(response(503), fault, again=False)
        else:
            error: BaseException = {"reset": ConnectionResetError, "refused": ConnectionRefusedError}.get(
                end, TimeoutError if end == "late" else GeneratorExit
            )()
            exchange.fail(error, again=False)
    assert total(balancer, "in_flight") == 0
    assert total(balancer, "calls") == len(ends)


def test_an_answer_that_has_been_judged_is_read_without_another_word():
    balancer, _ = made()
    exchange = exchange_of(balancer)
    attempt = exchange.begin()
    reading = Reading(balancer["Inventory"].pool, attempt, "stock")
    reading.end()
    before = nodes_of(balancer)
    for late in (reading.read_on, reading.stream, reading.end):
        late()
    reading.break_off(OSError())
    assert nodes_of(balancer) == before
    assert (total(balancer, "calls"), total(balancer, "failures"), total(balancer, "in_flight")) == (1, 0, 0)
