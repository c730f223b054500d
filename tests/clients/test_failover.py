"""What an adapter is for: the rules that all of them share, held for each."""

from collections.abc import Iterator
from typing import Any

import pytest

from balancemw import Balancer, DeadlineExceeded, NoNodeAvailable, deadline
from tests.clients.conduct import answer, closes, hangs, resets_after
from tests.clients.preserves import ALL, balanced_only, only
from tests.clients.replica import Conduct, Replica, serving
from tests.clients.site import SERVICE, Address, Site

pytestmark = pytest.mark.usefixtures("second")


@pytest.fixture
def second(site: Site) -> Iterator[Replica]:
    """The next to be asked, after `site.replica`."""
    with serving(answer(200, b"second")) as second:
        site.serve(SERVICE, site.replica, {"url": second.url, "priority": 1})
        yield second


def node_of(balancer: Balancer, number: int) -> dict[str, Any]:
    status: Any = balancer.status()
    return status["services"][SERVICE]["nodes"][number]


BUSY = answer(503, b"busy")
ASKED_TO_WAIT = answer(503, b"busy", "Retry-After: 1")


@only(*ALL)
@balanced_only
@pytest.mark.parametrize("conduct", [BUSY, ASKED_TO_WAIT, answer(502), answer(504), closes, resets_after])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_what_may_be_repeated_goes_to_the_next(site: Site, second: Replica, conduct: Conduct, method: str) -> None:
    site.replica.on("*", conduct)
    got = site.session().request(method, "/a?x=1")
    assert (got.status, got.content, got.url) == (200, b"" if method == "HEAD" else b"second", site.base + "/a?x=1")
    assert [request.target for request in second.requests] == ["/a?x=1"]
    assert len(site.replica.requests) == 1


@only(*ALL)
@balanced_only
@pytest.mark.parametrize("method", ["POST", "PATCH", "PURGE"])
def test_what_may_not_be_repeated_is_not(site: Site, second: Replica, method: str) -> None:
    site.replica.on("/busy", BUSY)
    site.replica.on("/lost", closes)
    session = site.session()
    got = session.request(method, "/busy", content=b"work")
    assert (got.status, got.content) == (503, b"busy")
    with pytest.raises(site.driver.errors.disconnected):
        session.request(method, "/lost", content=b"work")
    assert second.requests == []
    assert len(site.replica.requests) == 2


@only(*ALL)
@balanced_only
@pytest.mark.parametrize("conduct", [BUSY, closes])
def test_a_key_makes_it_repeatable(site: Site, second: Replica, conduct: Conduct) -> None:
    site.replica.on("*", conduct)
    got = site.session().post("/a", content=b"work", headers={"Idempotency-Key": "1"})
    assert (got.content, second.last.body, second.last.get("Idempotency-Key")) == (b"second", b"work", "1")


@only(*ALL)
@balanced_only
def test_refused_before_any_work_was_done(site: Site, second: Replica) -> None:
    site.replica.on("*", answer(429, b"later"))
    assert site.session().post("/a", content=b"work").content == b"second"


@only(*ALL)
@balanced_only
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nobody_listens(site: Site, second: Replica, closed: Address, method: str) -> None:
    site.serve(SERVICE, closed, {"url": second.url, "priority": 1})
    assert site.session().request(method, "/a").content == b"second"


@only(*ALL)
@balanced_only
def test_the_last_answer_is_handed_over(site: Site) -> None:
    site.serve(SERVICE, site.replica)
    site.replica.on("*", answer(503, b"first"), answer(502, b"second"), answer(504, b"third", "X-A: 1"))
    got = site.session().get("/a")
    assert (got.status, got.content, got.all("X-A"), got.url) == (504, b"third", ["1"], site.base + "/a")
    assert [request.get("x-envoy-attempt-count") for request in site.replica.requests] == ["1", "2", "3"]
    assert got.history == []


@only(*ALL)
@balanced_only
def test_the_last_exception_is_raised_and_tells_of_the_others(site: Site, second: Replica) -> None:
    site.replica.on("*", BUSY)
    second.on("*", closes)
    site.serve(SERVICE, site.replica, {"url": second.url, "priority": 1}, retry={"attempts": 2})
    with pytest.raises(site.driver.errors.lost) as failed:
        site.session().get("/a")
    notes = getattr(failed.value, "__notes__", [])
    assert len(notes) == 1
    assert notes[0].startswith(f"127.0.0.1:{site.replica.port}: unavailable")


@only(*ALL)
@balanced_only
@pytest.mark.parametrize("size", [0, 4, 60_000])
def test_the_connection_of_a_replaced_answer_is_used_again(site: Site, size: int) -> None:
    site.serve(SERVICE, site.replica)
    site.replica.on("*", answer(503, b"x" * size), answer(200, b"ok"))
    assert site.session().get("/a").content == b"ok"
    assert [request.connection for request in site.replica.requests] == [1, 1]


@only(*ALL)
@balanced_only
def test_a_large_replaced_answer_blocks_nobody(site: Site) -> None:
    site.serve(SERVICE, site.replica)
    site.replica.on("*", answer(503, b"x" * 2_000_000), answer(503, b"x" * 2_000_000), answer(200, b"ok"))
    session = site.session(limit=1)
    assert session.get("/a").content == b"ok"
    assert session.get("/b").content == b"ok"


@only(*ALL)
@balanced_only
def test_the_time_that_is_left_is_told(site: Site) -> None:
    site.serve(SERVICE, site.replica, timeout=40, attempt_timeout=30)
    session = site.session()
    session.get("/a")
    with deadline(9.0):
        session.get("/a")
    session.get("/a", headers={"x-request-timeout-ms": "50"})
    first, second, third = (int(request.get("x-request-timeout-ms")) for request in site.replica.requests)
    assert 9_000 < first <= 30_000
    assert 1 <= second <= 9_000
    assert third <= 50
    assert all(len(request.all("x-request-timeout-ms")) == 1 for request in site.replica.requests)


@only(*ALL)
@balanced_only
def test_no_node(site: Site) -> None:
    site.serve(SERVICE, site.replica)
    balancer = site.balancer()
    (node,) = balancer[SERVICE].nodes
    balancer[SERVICE].mark(node, "down", reason="maintenance")
    with site.opened(balancer) as session:
        with pytest.raises(NoNodeAvailable) as none:
            session.get("/a")
        assert isinstance(none.value, site.driver.errors.root)
    assert site.replica.requests == []


@only(*ALL)
@balanced_only
def test_the_time_from_outside_is_up(site: Site, second: Replica) -> None:
    site.replica.on("*", hangs)
    session = site.session()
    with deadline(0.2), pytest.raises(DeadlineExceeded) as late:
        session.get("/a")
    assert isinstance(late.value, site.driver.errors.root)
    assert second.requests == []


@only(*ALL)
@balanced_only
def test_the_time_of_the_call_is_up(site: Site, second: Replica) -> None:
    site.serve(SERVICE, site.replica, {"url": second.url, "priority": 1}, timeout=0.2)
    site.replica.on("*", hangs)
    with pytest.raises(DeadlineExceeded) as late:
        site.session().get("/a")
    assert isinstance(late.value, site.driver.errors.root)
    assert second.requests == []


@only(*ALL)
@balanced_only
def test_by_the_nodes_own_name(site: Site) -> None:
    site.serve(SERVICE, site.replica, host_header="node")
    got = site.session().get("/a")
    assert site.replica.last.get("Host") == f"127.0.0.1:{site.replica.port}"
    assert got.url == site.base + "/a"


@only(*ALL)
@balanced_only
def test_what_is_known_of_the_nodes(site: Site) -> None:
    site.replica.on("/busy", BUSY)
    balancer = site.balancer()
    with site.opened(balancer) as session:
        for path in ("/a", "/busy", "/b"):
            session.get(path)
    first, second = (node_of(balancer, number) for number in (0, 1))
    assert (first["calls"], first["failures"]) == (3, 1)
    assert (second["calls"], second["failures"]) == (1, 0)


@only(*ALL)
@balanced_only
def test_no_budget_no_second_try(site: Site, second: Replica) -> None:
    retry = {"budget": 0, "budget_floor": 0}
    site.serve(SERVICE, site.replica, {"url": second.url, "priority": 1}, retry=retry)
    site.replica.on("*", BUSY)
    assert site.session().get("/a").content == b"busy"
    assert second.requests == []
