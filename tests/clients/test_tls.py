"""Replicas are called by their address, and are who the service's name says."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.clients.conduct import answer
from tests.clients.preserves import HTTPX, only, preserves
from tests.clients.replica import Replica, serving
from tests.clients.site import SERVICE, Site

CA, UNKNOWN = trustme.CA(), trustme.CA()


@dataclass
class Secure:
    """A replica with a certificate.

    Attributes:
        names: that clients have asked for in their handshakes.
    """

    replica: Replica
    names: list[str | None] = field(default_factory=list)


@contextmanager
def secure(*names: str, by: trustme.CA = CA, client: trustme.CA | None = None) -> Iterator[Secure]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    by.issue_cert(*names).configure_cert(context)
    if client is not None:
        client.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    with serving(answer(200, b"ok"), tls=context) as replica:
        seen = Secure(replica)
        context.sni_callback = lambda _, name, __: seen.names.append(name)
        yield seen


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    CA.cert_pem.write_to_path(str(path))
    return str(path)


@preserves("the certificate is verified for the service's name")
def test_right(site: Site, bundle: str) -> None:
    with secure(SERVICE) as server:
        site.serve(SERVICE, server.replica)
        session = site.session(trust=bundle)
        url = site.url_of(SERVICE, server.replica) + "/a"
        for _ in range(2):
            got = session.get(url)
            assert (got.content, got.url) == (b"ok", url)
        assert server.names == [SERVICE]
        assert server.replica.last.get("Host") == url.split("/")[2]


@preserves("the certificate is verified for the service's name")
@pytest.mark.parametrize("name", ["pricing", "127.0.0.1"])
def test_wrong(site: Site, bundle: str, name: str) -> None:
    with secure(name) as server:
        site.serve(SERVICE, server.replica)
        with pytest.raises(site.driver.errors.certificate):
            site.session(trust=bundle).get(site.url_of(SERVICE, server.replica) + "/a")
        assert server.replica.requests == []


@preserves("a certificate of another name is refused, also where another service has a connection open")
def test_two_services_at_one_address(site: Site, bundle: str) -> None:
    with secure(SERVICE) as server:
        for name in (SERVICE, "pricing"):
            site.serve(name, server.replica)
        ours, others = (site.url_of(name, server.replica) + "/a" for name in (SERVICE, "pricing"))
        session = site.session(trust=bundle)
        assert session.get(ours).content == b"ok"
        with pytest.raises(site.driver.errors.certificate):
            session.get(others)
        assert session.get(ours).content == b"ok"
        assert {request.get("Host").partition(":")[0] for request in server.replica.requests} == {SERVICE}


@preserves("a certificate of another name is refused, also where another service has a connection open")
def test_two_services_that_share_a_certificate(site: Site, bundle: str) -> None:
    with secure(SERVICE, "pricing") as server:
        for name in (SERVICE, "pricing"):
            site.serve(name, server.replica)
        session = site.session(trust=bundle)
        for name in (SERVICE, "pricing", SERVICE):
            assert session.get(site.url_of(name, server.replica) + "/a").content == b"ok"
        assert sorted(server.names) == [SERVICE, "pricing"]


@preserves("a certificate that nobody vouches for is refused")
def test_unknown(site: Site, bundle: str) -> None:
    with secure(SERVICE, by=UNKNOWN) as server:
        site.serve(SERVICE, server.replica)
        with pytest.raises(site.driver.errors.certificate):
            site.session(trust=bundle).get(site.url_of(SERVICE, server.replica) + "/a")
        assert server.replica.requests == []


@preserves("a certificate that nobody vouches for is refused")
@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_unless_nobody_cares(site: Site) -> None:
    with secure("whoever", by=UNKNOWN) as server:
        site.serve(SERVICE, server.replica)
        of_session: dict[str, Any] = {"trust": False} if site.driver.name in HTTPX else {}
        of_request = {"aiohttp": {"ssl": False}, "requests": {"verify": False}}.get(site.driver.name, {})
        session = site.session(**of_session)
        assert session.get(site.url_of(SERVICE, server.replica) + "/a", **of_request).content == b"ok"


@preserves("the certificate is verified for the service's name")
@only("requests")
def test_a_bundle_of_the_environment(site: Site, bundle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", bundle)
    with secure(SERVICE) as server:
        site.serve(SERVICE, server.replica)
        assert site.session().get(site.url_of(SERVICE, server.replica) + "/a").content == b"ok"


@preserves("a certificate of the client's own is presented")
def test_of_the_client(site: Site, bundle: str, tmp_path: Path) -> None:
    issued = CA.issue_cert("client")
    issued.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "client.pem"))
    with secure(SERVICE, client=CA) as server:
        site.serve(SERVICE, server.replica)
        url = site.url_of(SERVICE, server.replica) + "/a"
        with site.opened(trust=bundle, certificate=str(tmp_path / "client.pem")) as session:
            assert session.get(url).content == b"ok"
        with site.opened(trust=bundle) as session, pytest.raises((site.driver.errors.root, OSError)):
            session.get(url)
