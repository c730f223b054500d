"""Whose certificate a replica shows to requests."""

import ssl
from contextlib import nullcontext
from pathlib import Path

import pytest
import requests
import trustme

from balancemw import Balancer
from tests.adapters.http_server import answering, certified, tell
from tests.adapters.requests_client import in_flight, session_of


@pytest.fixture
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def bundle(ca: trustme.CA, tmp_path: Path) -> str:
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return str(tmp_path / "ca.pem")


def of(url: str, **service: object) -> Balancer:
    settings = {"nodes": [url], "retry": {"attempts": 1}, **service}
    return Balancer({"services": {"inventory": settings, "billing": settings}})


def test_a_replica_by_ip_shows_a_certificate_for_the_service_also_on_a_kept_connection(
    ca: trustme.CA, bundle: str
) -> None:
    names: list[str | None] = []
    context = certified(ca, "inventory")
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    with answering(tell, context) as url, session_of(balancer := of(url)) as session:
        for scheme in ("https", "http", "https"):  # the nodes' urls decide
            assert session.get(f"{scheme}://inventory/", verify=bundle).ok
            with pytest.raises(requests.exceptions.SSLError):
                session.get(f"{scheme}://billing/", verify=bundle)
    assert in_flight(balancer) == 0
    assert names.count("inventory") == 1
    assert set(names) == {"inventory", "billing"}
    nodes = [node for each in balancer.status()["services"].values() for node in each["nodes"]]  # type: ignore[attr-defined]
    assert [node["failures"] for node in nodes] == [0, 3]


@pytest.mark.parametrize(
    ("certificate", "host_header", "accepted"),
    [("127.0.0.1", "node", True), ("127.0.0.1", "service", False), ("inventory", "node", False)],
)
def test_the_certificate_is_for_the_name_by_which_a_replica_is_called(
    certificate: str, host_header: str, accepted: bool, ca: trustme.CA, bundle: str
) -> None:
    refused = nullcontext() if accepted else pytest.raises(requests.exceptions.SSLError)
    with (
        answering(tell, certified(ca, certificate)) as url,
        session_of(of(url, host_header=host_header)) as session,
        refused,
    ):
        assert session.get("https://inventory/", verify=bundle).ok


def test_an_unknown_authority_is_refused_and_its_replica_leaves_the_pool(ca: trustme.CA) -> None:
    with answering(tell, certified(ca, "inventory")) as bad, answering(tell) as good:
        balancer = Balancer({"services": {"inventory": {"nodes": [bad, good], "strategy": "round_robin"}}})
        with session_of(balancer) as session:
            assert all(session.post("https://inventory/", data=b"x").ok for _ in range(4))
        assert balancer["inventory"].available == (balancer["inventory"].nodes[1],)


def test_what_the_environment_trusts_is_trusted(ca: trustme.CA, bundle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", bundle)
    with answering(tell, certified(ca, "inventory")) as url, session_of(of(url)) as session:
        assert session.get("https://inventory/").ok
        with pytest.raises(requests.exceptions.SSLError):
            session.get("https://billing/")


def test_client_certificates_are_shown_and_are_no_other_caller_s(ca: trustme.CA, bundle: str, tmp_path: Path) -> None:
    context = certified(ca, "inventory")
    context.verify_mode = ssl.CERT_REQUIRED
    ca.configure_trust(context)
    mine = ca.issue_cert("client")
    mine.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "client.pem"))
    with answering(tell, context) as url, session_of(of(url)) as session:
        assert session.get("https://inventory/", verify=bundle, cert=str(tmp_path / "client.pem")).ok
        with pytest.raises(requests.ConnectionError):
            session.get("https://inventory/", verify=bundle)
