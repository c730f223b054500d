"""Load reports: asked for and heard at the head of the answer, where the service's strategy goes by them."""

from typing import Any

import pytest

from balancemw import Balancer
from balancemw.orca import LoadReport
from tests.clients.conduct import answer, chunked
from tests.clients.preserves import ALL, balanced_only, only
from tests.clients.replica import Conduct, serving
from tests.clients.site import SERVICE, Site
from tests.engine.heedful import HEEDFUL

ASK = "endpoint-load-metrics-format"
SAID = "Endpoint-Load-Metrics: TEXT rps_fractional=5.0, eps=0.5, named_metrics.in_flight=3.0"
REPORT = LoadReport(rps_fractional=5.0, eps=0.5, named_metrics={"in_flight": 3.0})


def opened(site: Site, *conducts: Conduct, **settings: object) -> tuple[Any, Balancer]:
    """A session with a service whose replica does this, one after the other, and goes by what it reports."""
    for conduct in conducts:
        site.replica.on("*", conduct)
    site.serve(SERVICE, site.replica, **{"strategy": HEEDFUL, **settings})
    balancer = site.balancer()
    return site.stack.enter_context(site.opened(balancer)), balancer


def heard(balancer: Balancer, number: int = 0) -> LoadReport | None:
    return list(balancer[SERVICE].pool.roster.peers.values())[number].report


@only(*ALL)
@balanced_only
@pytest.mark.parametrize(
    "conduct",
    [
        answer(200, b"ok", SAID),
        answer(204, b"", SAID),
        answer(404, b"", SAID),
        answer(500, b"failed", SAID),
        answer(200, b"x" * 200_000, SAID),
        chunked(b"a", b"b", fields=[SAID]),
        answer(200, b"data: x\n\n", "Content-Type: text/event-stream", SAID),
        answer(200, b"ok", "x-balancemw-state: up", SAID),
        answer(
            200, b"ok", 'endpoint-load-metrics: JSON {"rps_fractional":5,"eps":0.5,"named_metrics":{"in_flight":3}}'
        ),
    ],
)
def test_it_is_asked_for_and_heard(site: Site, conduct: Conduct) -> None:
    session, balancer = opened(site, conduct)
    session.get("/a")
    assert site.replica.last.all(ASK) == ["text"]
    assert heard(balancer) == REPORT


@only(*ALL)
@balanced_only
@pytest.mark.parametrize("settings", [{}, {"host_header": "node"}])
def test_with_a_body_that_is_long_too(site: Site, settings: dict[str, object]) -> None:
    session, balancer = opened(site, answer(200, b"ok", SAID), **settings)
    session.post("/a", content=b"x" * 300_000)
    assert site.replica.last.all(ASK) == ["text"]
    assert heard(balancer) == REPORT


@only(*ALL)
@balanced_only
@pytest.mark.parametrize("strategy", ["round_robin", "peak_ewma"])
def test_a_strategy_that_does_not_go_by_it_asks_for_nothing_and_hears_nothing(site: Site, strategy: str) -> None:
    session, balancer = opened(site, answer(200, b"ok", SAID), strategy=strategy)
    session.get("/a")
    assert site.replica.last.all(ASK) == []
    assert heard(balancer) is None


@only(*ALL)
@balanced_only
@pytest.mark.parametrize("name", [ASK, "Endpoint-Load-Metrics-Format"])
def test_what_the_caller_asks_for_itself_stands(site: Site, name: str) -> None:
    session, balancer = opened(site, answer(200, b"ok", SAID))
    got = session.get("/a", headers={name: "json"})
    assert site.replica.last.all(ASK) == ["json"]
    assert heard(balancer) == REPORT
    assert got.all("endpoint-load-metrics") == [SAID.partition(": ")[2]]


@only(*ALL)
@balanced_only
def test_every_try_asks_and_is_heard_even_when_it_fails(site: Site) -> None:
    with serving(answer(200, b"second", SAID.replace("3.0", "4.0"))) as second:
        site.replica.on("*", answer(503, b"busy", SAID))
        site.serve(SERVICE, site.replica, {"url": second.url, "priority": 1}, strategy=HEEDFUL)
        balancer = site.balancer()
        with site.opened(balancer) as session:
            assert session.get("/a").content == b"second"
        assert [request.all(ASK) for request in (site.replica.last, second.last)] == [["text"], ["text"]]
    assert heard(balancer) == REPORT
    assert heard(balancer, 1) == LoadReport(rps_fractional=5.0, eps=0.5, named_metrics={"in_flight": 4.0})


@only(*ALL)
@balanced_only
@pytest.mark.parametrize(
    "said", ["", "TEXT eps=nan", "BIN AAAA", "JSON {", "TEXT eps=1, x=" + "1" * 5000, "TEXT \xe9=1"]
)
def test_nonsense_is_no_report_and_no_failure(site: Site, said: str) -> None:
    session, balancer = opened(site, answer(200, b"ok", f"endpoint-load-metrics: {said}"))
    assert session.get("/a").content == b"ok"
    assert heard(balancer) is None
