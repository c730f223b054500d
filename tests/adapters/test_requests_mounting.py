"""What a session is given: where the adapter is mounted, what becomes of copies, and how many connections it keeps."""

import copy
import gc
import pickle
import threading
import weakref
from collections.abc import Callable
from contextlib import ExitStack

import pytest
import requests
from requests import PreparedRequest
from requests.adapters import HTTPAdapter

from balancemw import Balancer, BalancerNotConfigured, UnknownService
from balancemw import balancer as process
from balancemw_requests import BalancedAdapter, NoNode, mount
from tests.adapters.http_server import Got, Told, answering, tell
from tests.adapters.requests_client import balancer_of, session_of


def by_id(request: PreparedRequest) -> str | None:
    return request.headers.get("X-Id")


class Elsewhere(HTTPAdapter):
    """Stands for the world outside."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def send(self, request: PreparedRequest, *args: object, **kwargs: object) -> requests.Response:
        self.asked.append(str(request.url))
        response = requests.Response()
        response.status_code, response.url, response.request = 204, str(request.url), request
        response.raw = None
        response._content = b""
        return response


@pytest.mark.parametrize(
    "url",
    [
        "http://inventory/",
        "HTTP://INVENTORY/",
        "http://inventory:8080/a",
        "https://inventory",
        "http://inventory?a=b",
        "http://joe:s%40cret@Inventory:8080/a",
        "http://joe@inventory/",
        "http://evil.example@inventory/",
    ],
)
def test_requests_to_a_service_go_to_a_replica(url: str) -> None:
    with answering(tell) as node, session_of(balancer_of(node)) as session:
        told = session.get(url).json()
        assert told["headers"]["x-envoy-attempt-count"] == "1"
        assert told["headers"]["Host"] in ("inventory", "inventory:8080")
        assert told["headers"].get("Authorization", "").startswith("Basic " if "joe:" in url else "")


def test_a_redirect_to_nothing_but_the_service_s_name_stays_with_it() -> None:
    def answer(got: Got) -> Told:
        return Told(status=302, headers=(("Location", "http://inventory"),)) if got.path == "/in" else tell(got)

    with answering(answer) as url, session_of(balancer_of(url)) as session:
        assert session.get("http://inventory/in").json()["path"] == "/"


@pytest.mark.parametrize(
    "url",
    [
        "http://inventory.evil.example/x",
        "http://inventory2/",
        "http://x.inventory/",
        "http://inventory@evil.example/",
        "http://other/",
    ],
)
def test_requests_to_other_hosts_are_left_to_the_session(url: str) -> None:
    with requests.Session() as session:
        session.mount("http://", elsewhere := Elsewhere())
        mount(session, balancer_of("http://127.0.0.1:1"))
        assert session.get_adapter(url) is elsewhere
        assert session.get(url).ok
    assert elsewhere.asked


def test_a_name_that_is_a_user_s_is_no_service() -> None:
    def answer(got: Got) -> Told:
        return tell(got)

    with answering(answer) as url, session_of(balancer_of("http://127.0.0.1:1")) as session:
        told = session.get(url.replace("http://", "http://inventory:secret@")).json()
    assert "x-envoy-attempt-count" not in told["headers"]
    assert told["headers"]["Authorization"].startswith("Basic ")


def test_a_service_s_name_is_found_whatever_its_case() -> None:
    with answering(tell) as url, requests.Session() as session:
        mount(session, Balancer({"services": {"Inventory": {"nodes": [url]}}}))
        assert session.get("http://inventory/").ok
        assert session.get("http://INVENTORY/").ok


def test_mounting_again_replaces_the_adapter_and_lets_go_of_its_connections() -> None:
    with answering(tell) as url, requests.Session() as session:
        balancer = balancer_of(url)
        first = mount(session, balancer)
        session.get("http://inventory/")
        number = len(session.adapters)
        second = mount(session, balancer, pool_maxsize=3)
        assert session.get_adapter("http://inventory/") is second
        assert len(session.adapters) == number
        assert not first.poolmanager.pools.keys()
        assert session.get("http://inventory/").ok


def test_two_balancers_may_serve_one_session() -> None:
    with answering(tell) as url, requests.Session() as session:
        first = mount(session, balancer_of(url))
        mount(session, Balancer({"services": {"billing": {"nodes": [url + "/bills"]}}}))
        assert session.get("http://inventory/a").json()["path"] == "/a"
        assert session.get("http://billing/a").json()["path"] == "/bills/a"
        assert first in session.adapters.values()


def test_an_adapter_may_be_mounted_by_hand_and_in_two_sessions() -> None:
    with answering(tell) as url:
        adapter = BalancedAdapter(balancer_of(url))
        for _ in range(2):
            with requests.Session() as session:  # which closes it, as requests does
                session.mount("http://", adapter)
                assert session.get("http://inventory/").json()["headers"]["Host"] == "inventory"
                assert session.get(url).json()["headers"]["Host"] == url.removeprefix("http://")


def test_what_only_the_settings_decide_is_no_option() -> None:
    with requests.Session() as session, pytest.raises(TypeError, match="max_retries"):
        mount(session, balancer_of("http://127.0.0.1:1"), max_retries=3)


# -- copies


def pickled(session: requests.Session) -> requests.Session:
    twin: requests.Session = pickle.loads(pickle.dumps(session))
    return twin


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, pickled])
def test_a_copy_of_a_session_has_the_same_balancer(copied: Callable[[requests.Session], requests.Session]) -> None:
    with answering(tell) as url:
        balancer = balancer_of(url)
        with session_of(balancer) as session, copied(session) as twin:
            assert twin.get("http://inventory/").ok
            balancer["inventory"].mark(url, "down", reason="a test")
            with pytest.raises(NoNode):
                twin.get("http://inventory/")


def test_where_its_balancer_is_not_a_pickled_session_takes_the_one_that_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(tell) as url:
        balancer = balancer_of("http://127.0.0.1:1")
        with session_of(balancer, key=by_id, pool_maxsize=2) as session:
            session.cookies.set("a", "b", domain="inventory.local")
            told = pickle.dumps(session)
        del balancer, session
        gc.collect()  # as in another process
        with pickle.loads(told) as other:
            with pytest.raises(BalancerNotConfigured):
                other.get("http://inventory/")
            monkeypatch.setattr(process._process, "balancer", Balancer({"services": {"inventor": {"nodes": [url]}}}))
            with pytest.raises(UnknownService, match="did you mean 'inventor'"):
                other.get("http://inventory/")
            monkeypatch.setattr(process._process, "balancer", balancer_of(url))
            assert other.get("http://inventory/").json()["headers"]["Cookie"] == "a=b"
            assert other.get_adapter("http://inventory/")._key is by_id


def test_a_session_that_nobody_keeps_is_gone() -> None:
    session = requests.Session()
    mount(session, balancer_of("http://127.0.0.1:1"))
    gone = weakref.ref(session)
    del session
    assert gone() is None


def test_responses_and_errors_can_be_pickled() -> None:
    with answering(tell) as url:
        balancer = balancer_of(url)
        with session_of(balancer) as session:
            response = pickle.loads(pickle.dumps(session.get("http://inventory/a", stream=True)))
            assert (response.url, response.json()["path"]) == ("http://inventory/a", "/a")
            balancer["inventory"].mark(url, "down", reason="a test", ttl=60.0)
            with pytest.raises(NoNode) as caught:
                session.get("http://inventory/")
    error = pickle.loads(pickle.dumps(caught.value))
    assert (type(error), str(error), error.retry_after) == (NoNode, str(caught.value), caught.value.retry_after)


# -- connections


def test_connections_to_many_replicas_are_kept() -> None:
    number = 24  # more pools than requests keeps by itself
    with ExitStack() as stack:
        connection = lambda _: Told(str(threading.get_ident()).encode())  # noqa: E731  each has a thread
        urls = [stack.enter_context(answering(connection)) for _ in range(number)]
        session = stack.enter_context(session_of(balancer_of(*urls, strategy="round_robin")))
        rounds = [[session.get("http://inventory/").text for _ in range(number)] for _ in range(3)]
    assert rounds[0] == rounds[1] == rounds[2]
    assert len(set(rounds[0])) == number


def test_the_number_of_pools_can_be_bounded() -> None:
    urls = [f"http://127.0.0.1:{port}" for port in range(1, 101)]
    pools = BalancedAdapter(balancer_of(*urls), pool_connections=5).poolmanager
    for url in urls:
        pools.get(url, lambda url=url: pools.connection_from_url(url))
    assert len(pools.pools) == 5
    assert len(pools._known) <= 32


def test_connections_to_replicas_that_left_are_not_kept_for_long() -> None:
    balancer = balancer_of("http://127.0.0.1:1")
    pools = BalancedAdapter(balancer).poolmanager
    for port in range(2, 400):
        balancer["inventory"].replace([f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port + 1}"])
        for each in balancer["inventory"].nodes:
            pools.connection_from_url(each.url)
    assert len(pools.pools) <= 17


def test_closed_sessions_may_be_used_again() -> None:
    with answering(tell) as url, session_of(balancer_of(url)) as session:
        assert session.get("http://inventory/").ok
        session.close()
        assert session.get("http://inventory/").ok
