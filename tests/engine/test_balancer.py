"""The front door: services by name, and which balancer a call goes to."""

import asyncio
import contextvars
import pickle
from pathlib import Path
from typing import Any

import pytest

import balancemw
from balancemw import (
    BalanceError,
    Balancer,
    BalancerNotConfigured,
    Node,
    NoNodeAvailable,
    SettingsError,
    UnknownService,
    balanced,
    configure,
)
from balancemw.balancer import install_lazily
from balancemw.context import Request, enter_request
from tests.engine.stage import Answer


def of(*hosts: str, **more: Any) -> dict[str, Any]:
    return {"services": {"s": {"nodes": [f"http://{host}:80" for host in hosts], **more}}}


@pytest.fixture(autouse=True)
def unconfigured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins in a process that has no balancer of its own."""
    monkeypatch.setattr("balancemw.balancer._provide", None)
    monkeypatch.setattr("balancemw.balancer._process", Request(None))


@balanced("s")
def late(node: Node) -> str:
    return node.host


# -- services


def test_services_by_name():
    balancer = Balancer({"services": {"inventory": {"nodes": ["http://a:1"]}, "prices": {"nodes": ["http://b:1"]}}})
    assert list(balancer.services) == ["inventory", "prices"]
    assert balancer["prices"] is balancer.services["prices"]
    assert balancer["prices"].name == "prices"
    assert [node.url for node in balancer["prices"].nodes] == ["http://b:1"]
    assert "prices" in balancer
    assert "price" not in balancer
    assert repr(balancer) == "<Balancer of inventory, prices>"
    assert repr(balancer["prices"]) == "<Service 'prices': 1 of 1 nodes available>"
    assert repr(Balancer({"services": {}})) == "<Balancer of no services>"


def test_what_services_returns_is_a_copy():
    balancer = Balancer(of("a"))
    dict(balancer.services).clear()
    with pytest.raises((TypeError, AttributeError, KeyError)):
        balancer.services["other"].name  # noqa: B018
    assert "s" in balancer


def test_an_unknown_service_is_a_key_error_with_a_hint():
    balancer = Balancer({"services": {"inventory": {"nodes": ["http://a:1"]}}})
    with pytest.raises(UnknownService) as caught:
        balancer["invetory"]
    assert isinstance(caught.value, KeyError)
    assert isinstance(caught.value, BalanceError)
    assert str(caught.value) == "no service 'invetory'; did you mean 'inventory'? (known: inventory)"
    with pytest.raises(UnknownService, match=r"^no service 'x'$"):
        Balancer({"services": {}})["x"]


def test_settings_come_from_a_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "balancemw.toml"
    file.write_text('[services.inventory]\nnodes = ["http://a:1"]\n')
    assert list(Balancer(file).services) == list(Balancer(str(file)).services) == ["inventory"]
    monkeypatch.setenv("BALANCEMW_SETTINGS", str(file))
    assert list(Balancer().services) == ["inventory"]
    assert list(Balancer(of("a")).services) == ["s"]


def test_wrong_settings_are_refused():
    with pytest.raises(SettingsError) as caught:
        Balancer({"services": {"s": {"nodes": ["ftp://a"], "timeuot": 3}}})
    assert isinstance(caught.value, ValueError)
    assert len(caught.value.problems) == 2


def test_settings_and_balancers_do_not_share_what_happens():
    settings = balancemw.Settings.load(of("a", "b"))
    one, other = Balancer(settings), Balancer(settings)
    one["s"].mark("a:80", "down", reason="maintenance")
    assert [len(each["s"].available) for each in (one, other)] == [1, 2]


# -- whose call it is


def test_bound_late_a_call_needs_a_balancer():
    with pytest.raises(BalancerNotConfigured, match="configure") as caught:
        late()
    assert isinstance(caught.value, RuntimeError)
    assert isinstance(caught.value, BalanceError)


def test_the_processs_own_balancer_is_the_one_configured_last():
    first = configure(of("a"))
    assert isinstance(first, Balancer)
    assert late() == "a"
    configure(of("b"))
    assert late() == "b"


def test_the_processs_own_balancer_may_be_made_when_it_is_asked_for():
    made = []

    def provide() -> Balancer:
        made.append(Balancer(of("provided")))
        return made[-1]

    install_lazily(provide)
    assert made == []
    assert late() == "provided"
    configure(of("a"))
    assert late() == "a"
    install_lazily(provide)
    assert late() == "provided"


def test_a_configuration_that_fails_leaves_the_former_one():
    configure(of("a"))
    with pytest.raises(SettingsError):
        configure({"services": {"s": {"nodes": ["http://a:port"]}}})
    assert late() == "a"


def test_the_balancer_of_the_current_request_comes_first():
    def serve() -> str:
        enter_request(Request(Balancer(of("request"))))
        return late()

    assert contextvars.copy_context().run(serve) == "request"
    configure(of("process"))
    assert contextvars.copy_context().run(serve) == "request"
    assert late() == "process"


def test_two_apps_in_one_process_do_not_disturb_each_other():
    async def serve(host: str) -> list[str]:
        enter_request(Request(Balancer(of(host))))
        found = []
        for _ in range(20):
            await asyncio.sleep(0)
            found.append(late())
        return found

    async def flow() -> list[list[str]]:
        return await asyncio.gather(*(serve(host) for host in "abc"))

    assert asyncio.run(flow()) == [["a"] * 20, ["b"] * 20, ["c"] * 20]


def test_a_late_call_of_a_service_that_its_balancer_lacks():
    configure({"services": {"other": {"nodes": ["http://a:1"]}}})
    with pytest.raises(UnknownService):
        late()


def test_a_late_function_does_what_it_was_told_with_every_balancer():
    sent = []

    @balanced("s", idempotent=True, attempts=2)
    def fail(node: Node) -> Answer:
        sent.append(node.host)
        return Answer(503)

    for hosts in (("a", "b", "c"), ("d", "e", "f")):
        configure(of(*hosts, retry={"backoff": 0}))
        fail()
    assert len(sent) == 4
    assert set(sent[:2]) < {"a", "b", "c"}
    assert set(sent[2:]) < {"d", "e", "f"}


def test_wrong_wishes_are_refused_where_they_are_written():
    with pytest.raises(ValueError, match="timeout"):
        balanced("s", timeout=-1)


async def test_a_late_async_function_alike():
    @balanced("s")
    async def call(node: Node) -> str:
        await asyncio.sleep(0)
        return node.host

    with pytest.raises(BalancerNotConfigured):
        await call()
    configure(of("a"))
    assert await call() == "a"


# -- the errors


@pytest.mark.parametrize(
    ("error", "base"),
    [
        (SettingsError, ValueError),
        (UnknownService, KeyError),
        (NoNodeAvailable, Exception),
        (balancemw.DeadlineExceeded, TimeoutError),
        (BalancerNotConfigured, RuntimeError),
    ],
)
def test_every_error_is_one_of_ours_and_what_the_field_expects(error: type[Exception], base: type[Exception]):
    assert issubclass(error, BalanceError)
    assert issubclass(error, base)


def test_nodes_survive_pickling_but_a_node_of_settings_stays_itself():
    node = Balancer(of("a"))["s"].nodes[0]
    assert pickle.loads(pickle.dumps(node)) == node
    assert str(node) == node.url == "http://a:80"


def test_all_public_names_are_there():
    assert set(balancemw.__all__) >= {
        "BalanceError",
        "Balancer",
        "BalancerNotConfigured",
        "DeadlineExceeded",
        "NoNodeAvailable",
        "Node",
        "RetryPolicy",
        "Service",
        "Settings",
        "SettingsError",
        "UnknownService",
        "balanced",
        "configure",
        "deadline",
        "remaining",
    }
    assert all(hasattr(balancemw, name) for name in balancemw.__all__)
