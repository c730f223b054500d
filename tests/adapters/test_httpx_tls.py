"""TLS to replicas that are known by their address: the certificate must be for the service's name."""

import ssl
from collections.abc import Iterator
from typing import Any

import pytest
import trustme

from balancemw import Balancer
from tests.adapters.httpx_callers import FLAVOURS, Counts, Flavour, balanced, caller, counts
from tests.adapters.scripted import Scripted, answering, scripted

each = pytest.mark.parametrize("flavour", FLAVOURS, ids=str)

CA = trustme.CA()


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    CA.configure_trust(context)
    return context


def certified(*names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CA.issue_cert(*names).configure_cert(context)
    return context


@pytest.fixture
def inventory() -> Iterator[Scripted]:
    with scripted(tls=certified("inventory")) as [replica]:
        yield replica


@each
def test_the_certificate_is_for_the_service(flavour: Flavour, inventory: Scripted) -> None:
    with caller(flavour, balanced([inventory]), verify=trusting()) as client:
        for scheme in ("http", "https"):
            assert client.get(f"{scheme}://inventory/").status_code == 200
        assert inventory.names == ["inventory"]
        assert inventory.seen[0].headers["host"] == "inventory"


@each
def test_another_s_certificate_is_refused(flavour: Flavour) -> None:
    with scripted(tls=certified("orders", "127.0.0.1")) as [replica]:
        balancer = balanced([replica], retry={"attempts": 1})
        with caller(flavour, balancer, verify=trusting()) as client, pytest.raises(flavour.module.ConnectError):
            client.get("http://inventory/")
        assert replica.seen == []
        assert counts(balancer) == Counts(1, 1, 0)


@each
def test_another_s_certificate_is_refused_on_a_connection_that_is_open(flavour: Flavour, inventory: Scripted) -> None:
    services: Any = {name: {"nodes": [inventory.url], "retry": {"attempts": 1}} for name in ("inventory", "orders")}
    balancer = Balancer({"services": services})
    with caller(flavour, balancer, verify=trusting()) as client:
        client.get("http://inventory/")
        with pytest.raises(flavour.module.ConnectError):
            client.get("http://orders/")
        with pytest.raises(flavour.module.ConnectError):
            client.get("http://inventory/", extensions={"sni_hostname": "nobody"})
        client.get("http://inventory/")
    assert inventory.names == ["inventory", "orders", "nobody"]
    assert inventory.connections == 1


@each
def test_the_replica_s_own_name_if_wished(flavour: Flavour) -> None:
    with scripted(tls=certified("127.0.0.1")) as [replica]:
        balancer = balanced([replica], host_header="node")
        with caller(flavour, balancer, verify=trusting()) as client:
            assert client.get("http://inventory/").status_code == 200
        assert replica.seen[0].headers["host"] == f"127.0.0.1:{replica.port}"


@each
def test_a_service_may_have_replicas_with_and_without(flavour: Flavour, inventory: Scripted) -> None:
    with scripted() as [plain], caller(flavour, balanced([plain, inventory]), verify=trusting()) as client:
        plain.act = answering(503)
        assert client.get("https://inventory/").status_code == 200
        assert [len(plain.seen), len(inventory.seen)] == [1, 1]


@each
def test_nobody_is_trusted_who_is_not_meant_to_be(flavour: Flavour, inventory: Scripted) -> None:
    distrusted = pytest.raises(flavour.module.ConnectError, match="CERTIFICATE_VERIFY_FAILED")
    with caller(flavour, balanced([inventory], retry={"attempts": 1}), verify=True) as client, distrusted:
        client.get("http://inventory/")


@each
def test_no_verification_if_wished(flavour: Flavour) -> None:
    with scripted(tls=certified("orders")) as [replica], caller(flavour, balanced([replica]), verify=False) as client:
        assert client.get("http://inventory/").status_code == 200
