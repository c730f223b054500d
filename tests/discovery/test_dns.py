"""The addresses of a name, asked of a real name server."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from dns.name import LabelTooLong

from balancemw import Node, NoNodeAvailable
from balancemw.discovery import resolver
from balancemw.discovery.found import Answer, Source, SourceError
from balancemw.errors import SettingsError
from balancemw.settings import Settings, sources
from balancemw.settings import discovery as module
from tests.adapters.replicas import free_port
from tests.adapters.watching import Replicas, eventually
from tests.discovery.dnsmasq import name_server
from tests.discovery.finding import asking, finding, settings_of

Ask = Callable[[], Awaitable[Answer]]


def dns(server: Any, name: str = "shop.test", **options: Any) -> dict[str, Any]:
    return {"kind": "dns", "name": name, "port": 8000, "nameservers": [server.address], "timeout": 2, **options}


async def once(_source: Source, ask: Ask) -> Answer:
    return await ask()


async def failing(_source: Source, ask: Ask) -> str:
    with pytest.raises(SourceError) as caught:
        await ask()
    return str(caught.value)


def found(answer: Answer) -> list[Node]:
    assert answer.found is not None
    return [each.node for each in answer.found]


def test_every_address_of_both_families_is_a_node():
    with name_server("host-record=shop.test,10.0.0.2,fd00::2", "host-record=shop.test,10.0.0.1") as server:
        nodes = found(asking(once, **dns(server)))
    assert [node.url for node in nodes] == ["http://10.0.0.1:8000", "http://10.0.0.2:8000", "http://[fd00::2]:8000"]
    assert {node.metadata["server_hostname"] for node in nodes} == {"shop.test"}


def test_the_options_shape_the_nodes():
    options = {"scheme": "https", "prefix": "/v1/", "weight": 2, "zone": "z", "priority": 3, "metadata": {"a": 1}}
    with name_server("host-record=shop.test,10.0.0.2,fd00::2") as server:
        (node,) = found(asking(once, **dns(server, records=["A"], **options)))
    assert node == Node("https://10.0.0.2:8000/v1", 2, "z", 3, {"server_hostname": "shop.test", "a": 1})


def test_without_a_port_it_is_the_schemes():
    with name_server("host-record=shop.test,10.0.0.2") as server:
        (node,) = found(asking(once, **dns(server, port=None)))
    assert (node.url, node.port) == ("http://10.0.0.2", 80)


@pytest.mark.parametrize(("ttl", "good_for"), [(7, 7), (1, 2), (900, 60)])
def test_an_answer_is_good_for_as_long_as_it_says_within_bounds(ttl: int, good_for: float):
    with name_server("host-record=shop.test,10.0.0.2,fd00::2", ttl=ttl) as server:
        assert asking(once, **dns(server, ttl_min=2, ttl_max=60)).good_for == good_for


@pytest.mark.parametrize(("name", "why"), [("nobody.test", "no such name"), ("outside.example", "REFUSED")])
def test_an_error_in_the_answer_is_a_failure(name: str, why: str):
    with name_server() as server:
        assert why in asking(failing, **dns(server, name))


def test_so_is_no_answer():
    options = {"kind": "dns", "name": "shop.test", "nameservers": [f"127.0.0.1:{free_port()}"], "timeout": 0.3}
    assert asking(failing, **options) == "no answer within 0.3 s"


def test_a_name_without_addresses_names_nobody():
    with name_server("txt-record=shop.test,hello") as server:
        assert asking(once, **dns(server)).found == ()


def test_a_type_of_record_that_fails_keeps_what_it_said_last():
    with name_server("host-record=shop.test,10.0.0.1,fd00::2", ttl=60) as server:

        async def work(source: Source, ask: Ask) -> tuple[list[str], float, list[str]]:
            before = await ask()
            resolver: Any = vars(source)["_resolver"]
            genuine = resolver.ask

            async def broken(name: str, kind: str) -> Any:
                if kind == "AAAA":
                    raise SourceError("SERVFAIL")
                return await genuine(name, kind)

            resolver.ask = broken
            after = await ask()
            return [node.url for node in found(before)], after.good_for, [node.url for node in found(after)]

        before, good_for, after = asking(work, **dns(server))
    assert before == after == ["http://10.0.0.1:8000", "http://[fd00::2]:8000"]
    assert good_for == 5.0


def test_short_names_and_servers_of_the_system_are_tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Any):
    """What resolv.conf says is used, its search domains included."""
    import dns.resolver

    with name_server("host-record=shop.corp.test,10.0.0.9") as server:
        host, _, port = server.address.partition(":")
        conf = tmp_path / "resolv.conf"
        conf.write_text(f"nameserver {host}\nsearch corp.test\n")
        genuine = dns.resolver.BaseResolver.read_resolv_conf

        def read(self: Any, _path: Any) -> None:
            genuine(self, str(conf))
            self.port = int(port)

        monkeypatch.setattr(dns.resolver.BaseResolver, "read_resolv_conf", read)
        (node,) = found(asking(once, kind="dns", name="shop", records=["A"], timeout=2))
    assert node.host == "10.0.0.9"


# -- in a balancer


def test_a_pool_follows_the_name_and_outlives_its_server():
    both = ("host-record=shop.test,127.0.0.1", "host-record=shop.test,127.0.0.2")
    with name_server(*both) as server, finding(dns(server, timeout=1)) as shop:
        shop.until_urls("http://127.0.0.1:8000", "http://127.0.0.2:8000")
        server.serve("host-record=shop.test,127.0.0.2", "host-record=shop.test,127.0.0.3")
        shop.until_urls("http://127.0.0.2:8000", "http://127.0.0.3:8000")
        assert {each.source for each in shop.events("added") + shop.events("removed")} == {"discovery"}
        assert shop.wait_for("removed").reason == "dns shop.test names it no longer"
        before = len(shop.events("discovery_failed"))  # a server that takes long to begin anew is one that is away
        server.stop()
        failed = shop.wait_for("discovery_failed", before + 1)
        assert failed.source == "discovery"
        assert failed.reason == "dns shop.test: no answer within 1 s; the 2 nodes known stay"
        server.serve("txt-record=shop.test,hello")
        told = shop.wait_for("discovery_failed", before + 2)
        assert told.reason.startswith("dns shop.test: it names no node;")
        assert shop.urls() == ["http://127.0.0.2:8000", "http://127.0.0.3:8000"]
        server.serve("host-record=shop.test,127.0.0.4")
        shop.until_urls("http://127.0.0.4:8000")
        assert shop.wait_for("discovery_recovered").reason == "dns shop.test names 1 node"


def test_calls_go_to_what_the_name_stands_for(replicas: Replicas):
    import urllib.request

    (replica,) = replicas(1)
    with name_server("host-record=shop.test,127.0.0.1") as server, finding(dns(server, port=replica.port)) as shop:

        @shop.balancer.call("s")
        def stock(node: Node) -> bytes:
            with urllib.request.urlopen(node.url, timeout=5) as response:
                body: bytes = response.read()
                return body

        assert stock() == b"replica-0"  # the first call of all: it waits for the answer


def test_without_an_answer_the_first_calls_fail_with_the_reason():
    with name_server() as server, finding(dns(server, "nobody.test")) as shop:
        with pytest.raises(NoNodeAvailable, match=r"'s' has no node: dns nobody.test: there is no such name") as caught:
            shop.balancer.call("s")(lambda node: node)()
        assert 0 < caught.value.retry_after <= 5
        server.serve("host-record=nobody.test,127.0.0.1")
        eventually(shop.available)
        assert asyncio.run(_call(shop.balancer)).host == "127.0.0.1"


async def _call(balancer: Any) -> Node:
    async def call(node: Node) -> Node:
        return node

    result: Node = await balancer.call("s")(call)()
    return result


def test_a_missing_library_is_told_at_the_start_by_the_name_of_its_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"s.discovery.kind: 'dns' needs dnspython: pip install 'balancemw\[dns\]'"):
        Settings.load({"services": {"s": {"discovery": {"kind": "dns", "name": "shop.test"}}}})


@pytest.mark.parametrize("server", ["127.0.0.1", "::1", "[::1]", "[::1]:5353", "127.0.0.1:53"])
def test_servers_are_written_with_or_without_a_port(server: str):
    from balancemw.discovery.resolver import _server

    assert settings_of(kind="dns", name="a", nameservers=[server]).nameservers == (server,)
    assert _server(server).answer_port() in (53, 5353)
    assert isinstance(settings_of(kind="dns", name="a"), sources.DnsSettings)


def test_a_mistake_of_ours_is_no_answer_of_a_server(monkeypatch: pytest.MonkeyPatch):
    async def ask(*_: object) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(resolver.Resolver, "ask", ask)
    with pytest.raises(ZeroDivisionError):
        asking(once, kind="dns", name="shop.test", port=1)


def test_what_the_systems_resolver_says_beside_the_known_is_told(monkeypatch: pytest.MonkeyPatch):
    made = list[bool]()

    class System:
        def __init__(self, *, configure: bool) -> None:
            made.append(configure)

        async def resolve(self, _name: str, kind: str, *, search: bool, **_: object) -> Any:
            raise LabelTooLong if search else AssertionError

    monkeypatch.setattr(resolver.dns.asyncresolver, "Resolver", System)
    assert "cannot be looked up: A DNS label is > 63" in asking(failing, kind="dns", name="shop.test", port=1)
    assert set(made) == {True}
