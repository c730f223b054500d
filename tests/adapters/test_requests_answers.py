"""When a try of requests' ends: with its body, once, however that came about."""

import gc
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import requests

from balancemw import Balancer, deadline
from tests.adapters.failing_server import serving, steps
from tests.adapters.http_server import Told, Write, answering
from tests.adapters.requests_client import Replicas, balancer_of, in_flight, session_of, state_of

CHUNKED = (("Transfer-Encoding", "chunked"),)


@pytest.fixture(params=["length", "chunked", "close"])
def held(request: pytest.FixtureRequest) -> Iterator[tuple[str, threading.Event]]:
    """A server that says "one", and "two" when it is told to go on; in each way that a body can be framed."""
    go_on = threading.Event()
    frame: Callable[[bytes], bytes] = lambda part: part  # noqa: E731
    headers: tuple[tuple[str, str], ...] = ()
    end = b""
    if request.param == "chunked":
        frame, headers, end = (lambda part: b"%x\r\n%s\r\n" % (len(part), part)), CHUNKED, b"0\r\n\r\n"
    elif request.param == "length":
        headers = (("Content-Length", "6"),)

    def stream(write: Write) -> None:
        write(frame(b"one"))
        go_on.wait(60)
        write(frame(b"two") + end)

    with answering(lambda _: Told(headers=headers, stream=stream)) as url:
        yield url, go_on
        go_on.set()


@pytest.fixture
def busy(held: tuple[str, threading.Event]) -> Iterator[tuple[Balancer, requests.Session, threading.Event]]:
    url, go_on = held
    balancer = balancer_of(url)
    with session_of(balancer) as session:
        yield balancer, session, go_on
    assert in_flight(balancer) == 0
    assert state_of(balancer)[0]["failures"] == 0


def get(session: requests.Session) -> requests.Response:
    return session.get("http://inventory/", stream=True)


def test_a_try_lasts_until_the_body_is_read(busy) -> None:
    balancer, session, go_on = busy
    response = get(session)
    parts = response.iter_content(3)
    assert next(parts) == b"one"
    assert (in_flight(balancer), state_of(balancer)[0]["calls"]) == (1, 0)
    go_on.set()
    assert list(parts) == [b"two"]
    assert (in_flight(balancer), state_of(balancer)[0]["calls"]) == (0, 1)
    response.close()
    del parts, response
    gc.collect()
    assert state_of(balancer)[0]["calls"] == 1


def read_raw(response: requests.Response) -> bytes:
    return response.raw.read()


def read_raw_by_parts(response: requests.Response) -> bytes:
    return b"".join(iter(lambda: response.raw.read(2), b""))


def read_raw_into(response: requests.Response) -> bytes:
    buffer, whole = bytearray(4), b""
    while size := response.raw.readinto(buffer):
        whole += buffer[:size]
    return whole


def read_lines(response: requests.Response) -> bytes:
    return b"\n".join(response.iter_lines())


def drain(response: requests.Response) -> bytes:
    response.raw.drain_conn()
    return b"onetwo"


@pytest.mark.parametrize("read", [read_raw, read_raw_by_parts, read_raw_into, read_lines, drain])
def test_however_the_body_is_read_the_try_ends_with_it(read: Callable[[requests.Response], bytes], busy) -> None:
    balancer, session, go_on = busy
    response = get(session)
    assert in_flight(balancer) == 1
    go_on.set()
    assert read(response) == b"onetwo"
    assert (in_flight(balancer), state_of(balancer)[0]["calls"]) == (0, 1)


@pytest.mark.parametrize("part", [0, 3])
def test_a_reader_who_has_enough_ends_it(part: int, busy) -> None:
    balancer, session, _ = busy
    with get(session) as response:
        if part:
            next(response.iter_content(part))
    assert (in_flight(balancer), state_of(balancer)[0]["calls"]) == (0, 1)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # its socket may be found first
@pytest.mark.parametrize("begun", [False, True])
def test_an_answer_that_nobody_keeps_ends_it(begun: bool, busy) -> None:
    balancer, session, _ = busy
    response = get(session)
    if begun:
        next(response.iter_content(3))
    response.itself = response  # type: ignore[attr-defined]  # only the garbage collector finds it
    del response
    gc.collect()
    assert (in_flight(balancer), state_of(balancer)[0]["calls"]) == (0, 1)


@pytest.mark.parametrize("held", ["chunked"], indirect=True)
def test_parts_that_nobody_asks_for_any_more_end_it(busy) -> None:
    balancer, session, _ = busy
    response = get(session)
    parts = response.iter_content(3)
    next(parts)
    parts.close()  # at which urllib3 closes the connection; of other framings it does not
    assert in_flight(balancer) == 0
    response.close()


def test_what_the_garbage_collector_finds_under_the_pool_s_lock_ends_later(busy) -> None:
    balancer, session, go_on = busy
    response = get(session)
    with balancer["inventory"].pool.lock:
        del response  # would wait for this very thread
    assert in_flight(balancer) == 0
    go_on.set()
    assert session.get("http://inventory/").text == "onetwo"
    assert in_flight(balancer) == 0


def test_a_session_that_does_not_stream_reads_it_at_once(busy) -> None:
    balancer, session, go_on = busy
    go_on.set()
    response = session.get("http://inventory/")
    assert (in_flight(balancer), response.text) == (0, "onetwo")
    assert type(response.raw).__module__ == "urllib3.response"


@pytest.mark.parametrize("status", [200, 204, 304, 404, 500])
@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_an_answer_without_a_body_has_ended(method: str, status: int) -> None:
    with answering(lambda _: Told(status=status)) as url:
        balancer = balancer_of(url)
        with session_of(balancer) as session:
            response = session.request(method, "http://inventory/", stream=True)
            assert response.status_code == status
            assert in_flight(balancer) == 0


# -- bodies that break off


BROKEN = {
    "length": "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none",
    "chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n6\r\ntw",
    "no chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n",
    "bad chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\nnonsense\r\n",
    "garbage": "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\none",
}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("how", BROKEN)
def test_a_body_that_breaks_off_counts_against_the_node_and_is_not_tried_again(how: str, streamed: bool) -> None:
    with serving(steps("hear", BROKEN[how])) as (server, seen):
        balancer = balancer_of(f"http://{server}")
        with session_of(balancer) as session, suppress(requests.RequestException):  # urllib3 before 2.0 bears some
            list(session.get("http://inventory/", stream=streamed).iter_content(2))
        assert len(seen) == 1
    assert in_flight(balancer) == 0
    assert (state_of(balancer)[0]["calls"], state_of(balancer)[0]["failures"]) == (1, 1)


def test_a_body_that_stops_coming_is_a_timeout_of_the_node_s() -> None:
    with serving(steps("hear", "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none", "hold")) as (server, _):
        balancer = balancer_of(f"http://{server}", attempt_timeout=0.3)
        with session_of(balancer) as session, pytest.raises(requests.ConnectionError, match="timed out"):
            session.get("http://inventory/")
        assert in_flight(balancer) == 0
    assert state_of(balancer)[0]["failures"] == 1


def test_a_reader_s_mistake_is_not_the_node_s(busy) -> None:
    balancer, session, go_on = busy
    response = get(session)
    with pytest.raises(TypeError):
        response.raw.read("all")
    go_on.set()
    response.close()  # urllib3 before 2.0 has done so already
    assert in_flight(balancer) == 0


def test_a_body_may_take_longer_than_a_try() -> None:
    def stream(write: Write) -> None:
        for _ in range(6):
            write(b"x")
            time.sleep(0.2)

    with answering(lambda _: Told(stream=stream)) as url:
        balancer = balancer_of(url, attempt_timeout=0.8, timeout=0.9)
        with session_of(balancer) as session, deadline(30.0):
            assert session.get("http://inventory/").text == "xxxxxx"
    assert state_of(balancer)[0]["failures"] == 0


# -- bodies without an end


def test_an_event_stream_is_in_flight_and_has_no_latency() -> None:
    closing = threading.Event()

    def stream(write: Write) -> None:
        write(b"data: 1\n\n")
        closing.wait(60)

    headers = (("Content-Type", "text/event-stream; charset=utf-8"),)
    with answering(lambda _: Told(headers=headers, stream=stream)) as url:
        balancer = balancer_of(url)
        with session_of(balancer) as session, get(session) as response:
            lines = response.iter_lines(chunk_size=1)
            assert next(lines) == b"data: 1"
            assert (in_flight(balancer), state_of(balancer)[0]["calls"]) == (1, 1)
            closing.set()
            assert list(lines) == [b""]
            assert (in_flight(balancer), state_of(balancer)[0]["calls"]) == (0, 1)


# -- all of it


def test_nothing_is_left_of_many_requests_to_bad_replicas(replicas: Replicas) -> None:
    good, reset, half, sick = replicas(4)
    reset.reset()
    half.half()
    sick.status(503)
    calm = {"consecutive": 0, "success_rate": 0}
    balancer = balancer_of(*(each.url for each in (good, reset, half, sick)), ejection=calm, strategy="round_robin")
    with session_of(balancer, pool_maxsize=2) as session:
        ends = set()
        for number in range(300):
            try:
                ends.add(session.get("http://inventory/", stream=number % 2 == 0).text)
            except requests.RequestException as error:
                ends.add(type(error).__name__)
        adapter = session.get_adapter("http://inventory/")
        pools = adapter.poolmanager.pools  # type: ignore[attr-defined]
        places = {pools[key].pool.qsize() for key in pools.keys()}  # noqa: SIM118  it is no mapping that can be iterated
    assert places == {2}  # all of them are there again
    assert good.name in ends
    assert in_flight(balancer) == 0
