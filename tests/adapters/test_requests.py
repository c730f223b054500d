"""The adapter for requests, against real servers. What all clients must preserve is in tests/clients."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from requests.auth import HTTPDigestAuth
from urllib3.util import Timeout

from balancemw import DeadlineExceeded, NoNodeAvailable, deadline
from balancemw.context import REQUEST, Request
from balancemw_requests import NoNode, TooLate
from tests.adapters.failing_server import serving, steps
from tests.adapters.http_server import Got, Told, answering, tell
from tests.adapters.replicas import free_port
from tests.adapters.requests_client import Replicas, balancer_of, in_flight, session_of, state_of
from tests.adapters.watching import eventually

# -- where it goes


def test_the_url_stays_the_callers_and_the_node_s_prefix_is_put_before_the_path() -> None:
    with answering(tell) as url, session_of(balancer_of(url + "/v1")) as session:
        response = session.get("http://Inventory:8080/a%2Fb/?x=1+2&y=%20#part")
    told = response.json()
    assert told["path"] == "/v1/a%2Fb/?x=1+2&y=%20"
    assert told["headers"]["Host"] == "inventory:8080"
    assert response.url == response.request.url == "http://inventory:8080/a%2Fb/?x=1+2&y=%20#part"
    assert "x-envoy-attempt-count" not in response.request.headers


def test_with_host_header_node_a_replica_sees_its_own_name_unless_the_caller_names_another() -> None:
    with answering(tell) as url, session_of(balancer_of(url, host_header="node")) as session:
        assert session.get("http://inventory/").json()["headers"]["Host"] == url.removeprefix("http://")
        answer = session.get("http://inventory/", headers={"host": "shop.test"})
        assert answer.json()["headers"]["host"] == "shop.test"


def test_the_port_that_goes_without_saying_is_not_said() -> None:
    with answering(tell) as url, session_of(balancer_of(url)) as session:
        for logical in ("http://inventory:80/", "https://inventory:443/", "https://inventory/"):
            assert session.get(logical).json()["headers"]["Host"] == "inventory"


def test_cookies_and_redirects_are_those_of_the_service() -> None:
    def answer(got: Got) -> Told:
        if got.path == "/in":
            return Told(status=302, headers=(("Location", "/shelf"), ("Set-Cookie", "seen=1")))
        if got.path == "/shelf":
            return Told(status=307, headers=(("Location", f"http://{got.headers['Host']}/end"),))
        return tell(got)

    with answering(answer) as url, session_of(balancer_of(url)) as session:
        response = session.post("http://inventory/in", data=b"x", auth=("ann", "secret"))
        assert [each.url for each in response.history] == ["http://inventory/in", "http://inventory/shelf"]
        assert response.url == "http://inventory/end"
        assert response.json()["headers"]["Cookie"] == "seen=1"
        assert response.json()["headers"]["Authorization"].startswith("Basic ")
        assert [cookie.domain for cookie in session.cookies] == ["inventory.local"]


def test_the_environment_s_proxy_is_not_asked_and_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(got: Got) -> Told:
        return Told(status=302, headers=(("Location", "/end"),)) if got.path == "/in" else tell(got)

    monkeypatch.setenv("HTTP_PROXY", f"http://user:secret@127.0.0.1:{free_port()}")
    with answering(answer) as url, session_of(balancer_of(url)) as session:
        told = session.get("http://inventory/in").json()
    assert "Proxy-Authorization" not in told["headers"]


def test_a_replica_is_told_which_try_it_is_and_how_long_it_may_take() -> None:
    seen = []

    def answer(got: Got) -> Told:
        seen.append((got.headers["x-envoy-attempt-count"], got.headers.get_all("X-Request-Timeout-Ms")))
        return Told(status=200 if len(seen) % 2 == 0 else 503)

    with answering(answer) as url, session_of(balancer_of(url, attempt_timeout=4.0)) as session:
        for headers in ({}, {"X-Request-Timeout-Ms": "250"}):
            assert session.get("http://inventory/", headers=headers).status_code == 200
    assert seen == [("1", ["4000"]), ("2", ["4000"]), ("1", ["250"]), ("2", ["250"])]


def test_a_key_chooses_the_node(replicas: Replicas) -> None:
    balancer = balancer_of(*(each.url for each in replicas(3)), strategy="consistent_hash")
    with session_of(balancer, key=lambda request: request.headers.get("X-Id")) as session:
        for key in ("a", "b", "c", "d"):
            assert len({session.get("http://inventory/", headers={"X-Id": key}).text for _ in range(3)}) == 1


def test_an_answer_to_a_challenge_goes_to_the_service_too() -> None:
    def answer(got: Got) -> Told:
        if "Authorization" not in got.headers:
            return Told(status=401, headers=(("WWW-Authenticate", 'Digest realm="shop", nonce="1", qop="auth"'),))
        return tell(got)

    with answering(answer) as url, session_of(balancer_of(url)) as session:
        response = session.post("http://inventory/a", data=b"x", auth=HTTPDigestAuth("ann", "secret"))
    assert response.json()["headers"]["Authorization"].startswith("Digest ")
    assert response.json()["body"] == "x"
    assert [each.status_code for each in response.history] == [401]


def test_the_response_s_request_is_the_callers(replicas: Replicas) -> None:
    (replica,) = replicas(1)
    with session_of(balancer_of(replica.url)) as session:
        request = session.prepare_request(requests.Request("GET", "http://inventory/"))
        assert session.send(request).request is request


# -- tries


def test_what_a_dead_replica_never_saw_goes_to_another_even_a_post(replicas: Replicas) -> None:
    dead, alive = replicas(2)
    dead.kill()
    balancer = balancer_of(dead.url, alive.url)
    with session_of(balancer) as session:
        for number in range(4):
            assert session.post("http://inventory/", b"x", headers={"X-Id": str(number)}).text == alive.name
    assert alive.counts() == {str(number): 1 for number in range(4)}
    assert in_flight(balancer) == 0


@pytest.mark.parametrize(("method", "tries"), [("GET", 3), ("PUT", 3), ("POST", 1)])
def test_what_may_have_arrived_is_sent_again_only_if_that_does_no_harm(
    method: str, tries: int, replicas: Replicas
) -> None:
    (replica,) = replicas(1)
    replica.reset()
    balancer = balancer_of(replica.url)
    with session_of(balancer) as session, pytest.raises(requests.ConnectionError) as caught:
        session.request(method, "http://inventory/", data=b"x")
    assert replica.received == tries
    assert len(getattr(caught.value, "__notes__", ())) == tries - 1
    assert caught.value.request is not None
    assert caught.value.request.url == "http://inventory/"
    assert in_flight(balancer) == 0


def test_an_idempotency_key_makes_a_post_repeatable(replicas: Replicas) -> None:
    bad, good = replicas(2)
    bad.reset()
    with session_of(balancer_of(bad.url, good.url)) as session:
        for number in range(4):
            answer = session.post("http://inventory/", b"x", headers={"idempotency-key": str(number)})
            assert answer.text == good.name


def test_the_last_response_is_given_when_statuses_used_up_the_tries(replicas: Replicas) -> None:
    one, two = replicas(2)
    one.status(503)
    two.status(503)
    balancer = balancer_of(one.url, two.url)
    with session_of(balancer) as session:
        response = session.get("http://inventory/")
        assert (response.status_code, response.text) in ((503, one.name), (503, two.name))
        with pytest.raises(requests.HTTPError):
            response.raise_for_status()
    assert one.received + two.received == 3
    assert in_flight(balancer) == 0


def test_a_replaced_response_gives_its_connection_back() -> None:
    connections = []

    def script(peer: object) -> None:
        connections.append(peer)
        steps(*["hear", "HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nsick"] * 20)(peer)  # type: ignore[arg-type]

    with serving(script) as (bad, _), answering(lambda _: Told(b"well")) as good:
        calm = {"consecutive": 0, "success_rate": 0}
        balancer = balancer_of(f"http://{bad}", good, ejection=calm, strategy="round_robin")
        with session_of(balancer) as session:
            assert [session.get("http://inventory/").text for _ in range(16)] == ["well"] * 16
    assert len(connections) == 1
    assert in_flight(balancer) == 0


def test_a_replaced_response_that_does_not_end_holds_nothing_up() -> None:
    endless = steps("hear", "HTTP/1.1 503 No\r\nContent-Length: 1000\r\n\r\nsick", "hold")
    with serving(endless) as (bad, _), answering(lambda _: Told(b"well")) as good:
        balancer = balancer_of(f"http://{bad}", good, strategy="round_robin")
        with session_of(balancer) as session:
            assert [session.get("http://inventory/").text for _ in range(4)] == ["well"] * 4
    assert in_flight(balancer) == 0


def test_no_node_is_an_error_of_ours_and_of_requests() -> None:
    balancer = balancer_of("http://127.0.0.1:1")
    balancer["inventory"].mark("127.0.0.1:1", "down", reason="a test", ttl=7.0)
    with session_of(balancer) as session, pytest.raises(NoNode, match="is down") as caught:
        session.get("http://inventory/")
    assert isinstance(caught.value, NoNodeAvailable)
    assert isinstance(caught.value, requests.ConnectionError)
    assert caught.value.retry_after > 1.0
    assert caught.value.response is None
    assert caught.value.request is not None


def test_a_request_that_is_a_retry_itself_is_not_multiplied(replicas: Replicas) -> None:
    (replica,) = replicas(1)
    replica.status(503)
    balancer = balancer_of(replica.url)
    token = REQUEST.set(Request(balancer, retries_allowed=False))
    try:
        with session_of(balancer) as session:
            assert session.get("http://inventory/").status_code == 503
    finally:
        REQUEST.reset(token)
    assert replica.received == 1


def test_retries_are_bounded_by_the_budget(replicas: Replicas) -> None:
    (replica,) = replicas(1)
    replica.status(503)
    balancer = balancer_of(replica.url, retry={"budget": 0.2, "budget_floor": 0})
    with session_of(balancer) as session:
        for _ in range(20):
            session.get("http://inventory/")
    assert replica.received <= 24


# -- time


def test_an_attempt_s_time_ends_it_and_the_next_replica_is_asked(replicas: Replicas) -> None:
    hung, good = replicas(2)
    hung.hang()
    balancer = balancer_of(hung.url, good.url, attempt_timeout=0.6, strategy="round_robin")
    with session_of(balancer) as session:
        for _ in range(2):
            assert session.get("http://inventory/").text == good.name
        ends: list[object] = []
        for _ in range(2):
            try:
                ends.append(session.post("http://inventory/").text)
            except requests.ReadTimeout as error:
                ends.append(str(error))
    (waited,) = (str(end).partition("read timeout=")[2].rstrip(")") for end in ends if end != good.name)
    assert float(waited) <= 0.6
    assert in_flight(balancer) == 0


@pytest.mark.parametrize(
    "timeout", [0.2, (None, 0.2), (5.0, 0.2), Timeout(read=0.2), Timeout(total=0.5), Timeout(total=0.5, read=9.0)]
)
def test_the_caller_s_timeout_counts_for_each_try_if_it_is_shorter(timeout: object, replicas: Replicas) -> None:
    (hung,) = replicas(1)
    hung.hang()
    balancer = balancer_of(hung.url, retry={"attempts": 2})
    with session_of(balancer) as session, pytest.raises(requests.ReadTimeout) as caught:
        session.get("http://inventory/", timeout=timeout)  # type: ignore[arg-type]
    eventually(lambda: hung.received >= 2)  # it may still have to read what was given up
    assert hung.received == 2
    assert len(caught.value.__notes__) == 1


@pytest.mark.parametrize("timeout", [0, -1, (1, 2, 3), "soon", (0, 1)])
def test_a_timeout_that_is_none_is_refused_as_requests_does(timeout: object) -> None:
    balancer = balancer_of("http://127.0.0.1:1")
    with session_of(balancer) as session, pytest.raises(ValueError, match=r"[Tt]imeout"):
        session.get("http://inventory/", timeout=timeout)  # type: ignore[arg-type]
    assert state_of(balancer)[0]["calls"] == in_flight(balancer) == 0


def test_no_connection_in_time_sends_the_request_elsewhere_even_a_post(replicas: Replicas) -> None:
    (good,) = replicas(1)
    with socket.socket() as full:  # its backlog is: the kernel drops whoever else wants to connect
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        balancer = balancer_of(f"http://127.0.0.1:{full.getsockname()[1]}", good.url, strategy="round_robin")
        with session_of(balancer) as session:
            for _ in range(2):
                assert session.post("http://inventory/", timeout=(0.2, 5.0)).text == good.name
        for each in waiting:
            each.close()
    assert in_flight(balancer) == 0


def test_the_end_of_the_whole_time_is_an_error_of_ours_and_of_requests(replicas: Replicas) -> None:
    (hung,) = replicas(1)
    hung.hang()
    balancer = balancer_of(hung.url)
    with session_of(balancer) as session:
        with deadline(0.3), pytest.raises(TooLate) as caught:
            session.get("http://inventory/")
        with deadline(0.0), pytest.raises(DeadlineExceeded):
            session.get("http://inventory/")
    assert isinstance(caught.value, requests.Timeout)
    assert isinstance(caught.value.__cause__, requests.ReadTimeout)
    assert caught.value.request is not None
    assert any("deadline" in note for note in caught.value.__notes__)
    eventually(lambda: hung.received)
    assert hung.received == 1
    assert in_flight(balancer) == 0


# -- threads


def test_threads_share_a_session(replicas: Replicas) -> None:
    good, bad, dead = replicas(3)
    bad.status(503)
    dead.kill()
    balancer = balancer_of(good.url, bad.url, dead.url, retry={"budget_floor": 1000})
    together = threading.Barrier(8)
    with session_of(balancer) as session, ThreadPoolExecutor(8) as pool:

        def ask(number: int) -> set[str]:
            together.wait()
            return {session.get("http://inventory/", params={"id": f"{number}-{i}"}).text for i in range(25)}

        assert set().union(*pool.map(ask, range(8))) == {good.name}
    assert good.counts() == {f"{number}-{i}": 1 for number in range(8) for i in range(25)}
    assert in_flight(balancer) == 0


def test_one_prepared_request_may_be_sent_by_many_threads_and_is_what_it_was() -> None:
    with answering(tell) as url, session_of(balancer_of(url)) as session, ThreadPoolExecutor(4) as pool:
        request = session.prepare_request(requests.Request("POST", "http://inventory/a", data=b"x"))
        before = dict(vars(request), headers=dict(request.headers))
        told = [each.json() for each in pool.map(lambda _: session.send(request), range(20))]
        assert dict(vars(request), headers=dict(request.headers)) == before
    assert all(each["headers"]["x-envoy-attempt-count"] == "1" and each["body"] == "x" for each in told)
