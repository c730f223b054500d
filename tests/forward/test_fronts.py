"""What each kind of front has to get right for itself, with a route that takes every path of the app."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.adapters.http_server import answering, certified, tell
from tests.forward.stage import Server, replicas, serving
from tests.forward.test_http import ask

TOKEN = "a-token-of-the-tests"


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module", params=["h11", "wsgi", "flask", "django", "django-asgi"])
def front(request: pytest.FixtureRequest, ca: trustme.CA, tmp_path_factory: Any) -> Iterator[Server]:
    bundle: Path = tmp_path_factory.mktemp("tls") / "ca.pem"
    ca.cert_pem.write_to_path(str(bundle))
    with replicas("") as (replica,), answering(tell, certified(ca, "billing")) as secure:
        settings = {
            "services": {
                "inventory": {"nodes": [replica.url]},
                "billing": {"nodes": [secure]},
                "other": {"nodes": [secure]},
            },
            "routes": {"/": "inventory", "/billing": "billing", "/other": "other"},
            "admin": {"token": TOKEN},
        }
        with serving(settings, request.param, SSL_CERT_FILE=str(bundle)) as server:
            yield server


def status(front: Server) -> dict[str, Any]:
    answer = ask(front, "/_balancer/status", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status == 200
    found: dict[str, Any] = json.loads(answer.content)["services"]  # type: ignore[attr-defined]
    return found


def test_the_admin_surface_comes_before_a_route_that_takes_all(front: Server):
    assert set(status(front)) == {"inventory", "billing", "other"}
    assert ask(front, "/_balancer/status").status == 401
    assert json.loads(ask(front, "/_balancers").content)["target"] == "/_balancers"  # type: ignore[attr-defined]


def test_the_app_is_not_asked(front: Server):
    answer = ask(front, "/self?a=%2F")
    assert json.loads(answer.content)["target"] == "/self?a=%2F"  # type: ignore[attr-defined]
    assert answer.headers.get_all("set-cookie") == ["a=1", "b=2; Path=/"]


@pytest.mark.parametrize("chunked", [False, True])
def test_bodies(front: Server, chunked: bool):
    data = bytes(range(251)) * 1000
    answer = ask(front, "/up", "POST", iter([data]) if chunked else data, encode_chunked=chunked)
    seen = json.loads(answer.content)  # type: ignore[attr-defined]
    assert (seen["size"], seen["digest"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert ask(front, f"/download?size=200000{'&chunked=1' * chunked}").content == (bytes(range(256)) * 800)[:200000]  # type: ignore[attr-defined]


def test_a_replica_by_ip_shows_a_certificate_for_its_service(front: Server):
    for _ in range(3):
        answer = ask(front, "/billing/x", "POST", b"abc")
        told = json.loads(answer.content)  # type: ignore[attr-defined]
        assert (told["path"], told["body"], told["headers"]["Host"]) == ("/x", "abc", "billing")
        assert ask(front, "/other/x").status == 502
    services = status(front)
    assert services["billing"]["nodes"][0]["failures"] == 0
    assert services["other"]["nodes"][0]["failures"] >= 3
