"""Errors of one route do not condemn the node behind it; errors of the node do."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancemw import Node
from balancemw.exchange import route_of
from balancemw.routes import ANY, Routes
from tests.engine.stage import FAULTS, Answer, Stage


class Site:
    """A service with two functions that call it, ``stock`` and ``price``; each node does its own with each."""

    def __init__(self, **settings: object) -> None:
        self.stage = Stage(3, retry={"attempts": 1}, **settings)
        self.does: dict[tuple[str, str], object] = {}
        call = self.stage.balancer.call

        @call("s")
        def stock(node: Node) -> object:
            return self._answer("stock", node)

        @call("s")
        def price(node: Node) -> object:
            return self._answer("price", node)

        self.functions = {"stock": stock, "price": price}

    def _answer(self, route: str, node: Node) -> object:
        self.stage.clock.advance(0.01)
        outcome = FAULTS[str(self.does[node.host, route])]() if (node.host, route) in self.does else Answer()
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def calls(self, count: int, part: float = 0.5, seed: int = 1) -> None:
        """So many calls, that part of them of ``stock``."""
        rng = Random(seed)
        for _ in range(count):
            try:
                self.functions["stock" if rng.random() < part else "price"]()
            except Exception:
                continue

    def state(self) -> str:
        return self.stage.states()["n0"]


@pytest.mark.parametrize("part", [0.3, 0.5, 0.8])
def test_errors_of_one_route_do_not_condemn_the_node(part: float):
    site = Site()
    site.does["n0", "stock"] = "server_error"
    site.calls(600, part)
    assert site.state() == "up"
    assert site.stage.told("n0")["success_rate"] < 0.8
    (event,) = site.stage.happened("spared")
    assert (event.node, event.source, event.fault) == ("n0:80", "traffic", "server_error")
    assert ".stock failed, but of all others" in event.reason
    assert event.reason.endswith("did well: the node stays")


def test_errors_of_all_routes_do():
    site = Site()
    site.does = {("n0", "stock"): "server_error", ("n0", "price"): "server_error"}
    site.calls(100)
    assert site.state() == "ejected"
    assert site.stage.happened("spared") == []


def test_errors_of_the_only_route_do():
    site = Site()
    site.does["n0", "stock"] = "server_error"
    site.calls(60, 1.0)
    assert site.state() == "ejected"


def test_a_node_whose_other_routes_fail_later_goes_later():
    site = Site()
    site.does["n0", "stock"] = "server_error"
    site.calls(600)
    assert site.state() == "up"
    site.does["n0", "price"] = "server_error"
    site.calls(1500)  # 15 s
    assert site.state() == "ejected"


@pytest.mark.parametrize("kind", ["reset", "timeout", "unavailable"])
def test_failures_of_the_node_count_whatever_the_route(kind: str):
    site = Site()
    site.does["n0", "stock"] = kind
    site.calls(300, 0.7)
    assert site.state() == "ejected"


def test_failures_of_the_node_beside_errors_of_a_route_count_against_it():
    site = Site(ejection={"consecutive": 0})
    site.does = {("n0", "stock"): "server_error", ("n0", "price"): "reset"}
    site.calls(300)
    assert site.state() == "ejected"


def test_what_all_nodes_get_wrong_is_not_told():
    site = Site()
    for host in ("n0", "n1", "n2"):
        site.does[host, "stock"] = "server_error"
    site.calls(300)
    assert set(site.stage.states().values()) == {"up"}
    assert site.stage.happened("spared") == []


def test_a_new_fault_after_a_while_is_told_again_and_a_well_node_is_not_counted():
    site = Site()
    for _ in range(2):
        site.does["n0", "stock"] = "server_error"
        site.calls(600)
        site.does.clear()
        site.calls(1500)
        peer = site.stage.service.pool.roster.find("n0:80")
        assert peer.routes is None
        assert not peer.watched
    assert len(site.stage.happened("spared")) == 2


@given(st.lists(st.tuples(st.text(max_size=3), st.floats(0, 1), st.booleans()), max_size=300))
def test_counts_stay_bounded_and_whole(calls: list[tuple[str, float, bool]]):
    routes, now = Routes(10.0, 0.0), 0.0
    for route, wait, failed in calls:
        now += wait
        routes.count(route, now, failed=failed)
    held = [*routes._now.values(), *routes._before.values()]
    assert len(routes._now) <= 65
    assert all(0 <= failed <= total for total, failed in held)
    assert sum(total for total, _ in held) <= len(calls)


@pytest.mark.parametrize(
    ("path", "route"),
    [("/stock/1", "stock"), ("/stock", "stock"), ("/stock?x=/y", "stock"), ("/", ""), ("", ""), ("?x", ""), ("*", "")],
)
def test_the_route_of_a_request_is_its_first_segment(path: str, route: str):
    assert route_of(path) == route


def test_routes_beyond_the_bound_count_together():
    routes = Routes(10.0, 0.0)
    for number in range(100):
        routes.count(f"r{number}", 0.0, failed=number == 99)
    assert len(routes._now) == 65
    assert routes._now[ANY] == [36, 1]


def test_the_benefit_of_doubt_ends_with_enough_calls():
    routes = Routes(10.0, 0.0)
    routes.count("stock", 0.0, failed=True)
    assert routes.exonerate(9, 1, 0.8, enough=5)  # eight went well before anyone counted: of which route, who knows
    for _ in range(4):
        routes.count("stock", 0.0, failed=True)
    assert not routes.exonerate(13, 5, 0.8, enough=5)
