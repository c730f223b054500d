"""A try ends when the answer's body is read, closed, dropped or broken off; an endless one is judged by its head."""

import gc
from collections.abc import Callable
from threading import Event
from typing import Any

import pytest

from balancemw import Balancer
from tests.adapters.httpx_callers import FLAVOURS, Counts, Flavour, balanced, caller, connections, counts
from tests.adapters.scripted import Request, scripted

pytestmark = pytest.mark.parametrize("flavour", FLAVOURS, ids=str)


def in_two(between: Event, *head: str) -> Callable[[Request], None]:
    """Answers the second half of the body when it is let."""

    def act(request: Request) -> None:
        request.say("HTTP/1.1 200 OK\r\n" + "".join(f"{line}\r\n" for line in head) + "Content-Length: 10\r\n\r\nfirst")
        between.wait()
        request.say("after")

    return act


def test_it_is_in_flight_until_it_has_been_read(flavour: Flavour) -> None:
    between = Event()
    with scripted() as [replica]:
        replica.act = in_two(between)
        balancer = balanced([replica])
        with caller(flavour, balancer) as client:
            response = client.open("http://inventory/")
            parts = client.parts(response)
            assert next(parts) == b"first"
            assert counts(balancer) == Counts(0, 0, 1)
            between.set()
            assert b"".join(parts) == b"after"
            assert counts(balancer) == Counts(1, 0, 0)
            client.close(response)
            assert counts(balancer) == Counts(1, 0, 0)
            client.get("http://inventory/")
            assert replica.connections == 1


@pytest.mark.parametrize("begun", [False, True])
def test_a_reader_who_has_had_enough_ends_it_well(flavour: Flavour, begun: bool) -> None:
    between = Event()
    with scripted() as [replica]:
        replica.act = in_two(between)
        balancer = balanced([replica])
        with caller(flavour, balancer) as client:
            response = client.open("http://inventory/")
            parts = client.parts(response)
            if begun:
                next(parts)
            client.close(response)
            assert counts(balancer) == Counts(1, 0, 0)
            assert connections(client) == []
        between.set()


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # that is what it is about
def test_an_answer_that_is_dropped_ends_with_the_next_request(flavour: Flavour) -> None:
    between = Event()
    with scripted() as [replica]:
        replica.plan.append(in_two(between))
        balancer = balanced([replica])
        with caller(flavour, balancer) as client:
            client.open("http://inventory/")
            gc.collect()
            client.get("http://inventory/")
            assert counts(balancer) == Counts(2, 0, 0)
        between.set()


def test_a_body_that_breaks_off_counts_against_the_replica(flavour: Flavour) -> None:
    with scripted() as [replica]:
        replica.act = lambda request: (
            request.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst"),
            setattr(request, "close_connection", True),
        )
        balancer = balanced([replica])
        with caller(flavour, balancer) as client:
            response = client.open("http://inventory/")
            parts = client.parts(response)
            assert next(parts) == b"first"
            with pytest.raises(flavour.module.RemoteProtocolError):
                next(parts)
            assert counts(balancer) == Counts(1, 1, 0)
            client.close(response)
            assert counts(balancer) == Counts(1, 1, 0)


def test_a_body_that_stands_still_counts_against_the_replica(flavour: Flavour) -> None:
    between = Event()
    with scripted() as [replica]:
        replica.act = in_two(between)
        balancer = balanced([replica])
        timeout = flavour.module.Timeout(5.0, read=0.5)
        with caller(flavour, balancer, timeout=timeout) as client:
            with pytest.raises(flavour.module.ReadTimeout):
                client.get("http://inventory/")
            assert counts(balancer) == Counts(1, 1, 0)
            assert connections(client) == []
        between.set()


def test_the_time_of_a_try_does_not_bound_its_body(flavour: Flavour) -> None:
    between = Event()

    class Clock:
        now = 0.0

        def __call__(self) -> float:
            return self.now

    clock = Clock()
    with scripted() as [replica]:
        replica.act = in_two(between)
        with caller(flavour, balanced([replica], clock=clock), timeout=None) as client:
            response = client.open("http://inventory/")
            clock.now += 100.0
            between.set()
            assert client.read(response) == b"firstafter"


def nodes(balancer: Balancer) -> Any:
    status: Any = balancer.status()
    return status["services"]["inventory"]["nodes"][0]


def test_an_event_stream_is_judged_by_its_head(flavour: Flavour) -> None:
    between = Event()
    with scripted() as [replica]:
        replica.act = in_two(between, "Content-Type: text/event-stream; charset=utf-8")
        balancer = balanced([replica])
        with caller(flavour, balancer) as client:
            response = client.open("http://inventory/")
            assert counts(balancer) == Counts(1, 0, 1)
            latency = nodes(balancer)["latency_ms"]
            between.set()
            assert client.read(response) == b"firstafter"
            assert counts(balancer) == Counts(1, 0, 0)
            assert nodes(balancer)["latency_ms"] == latency


def test_an_upgraded_connection_belongs_to_the_caller(flavour: Flavour) -> None:
    def upgrade(request: Request) -> None:
        request.say("HTTP/1.1 101 Switching\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
        request.say(request.rfile.readline().upper())
        request.close_connection = True

    with scripted() as [replica]:
        replica.act = upgrade
        balancer = balanced([replica])
        headers = {"Connection": "Upgrade", "Upgrade": "echo"}
        with caller(flavour, balancer) as client:
            response = client.open("http://inventory/", headers=headers)
            stream = response.extensions["network_stream"]
            assert counts(balancer) == Counts(1, 0, 1)
            client.run(stream.write(b"hello\n", timeout=5))
            assert client.run(stream.read(100, timeout=5)) == b"HELLO\n"
            client.close(response)
            assert counts(balancer) == Counts(1, 0, 0)


@pytest.mark.parametrize("status", [204, 304, 200])
def test_an_answer_without_a_body_ends_too(flavour: Flavour, status: int) -> None:
    with scripted() as [replica]:
        replica.act = lambda request: request.answer(status, b"")
        balancer = balanced([replica])
        with caller(flavour, balancer) as client:
            client.request("HEAD", "http://inventory/")
            client.get("http://inventory/")
            assert replica.connections == 1
        assert counts(balancer) == Counts(2, 0, 0)
