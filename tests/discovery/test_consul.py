"""Instances of a service in Consul."""

import asyncio
import logging
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from balancemw.discovery.consul import instances, next_index
from balancemw.discovery.found import Found, Source, SourceError
from tests.adapters.watching import eventually
from tests.discovery.consul_server import ConsulServer, sample
from tests.discovery.finding import asking, finding, settings_of
from tests.discovery.test_dns import Ask, failing, found, once

A, B, C = "http://10.1.10.112:8000", "http://10.1.10.13:8000", "http://10.1.10.114:8000"
D, E = "http://10.1.10.115:8000", "http://10.1.10.116:8000"
TOKEN = "b1gs3cret-token"


def consul(server: ConsulServer, **options: Any) -> dict[str, Any]:
    return {"kind": "consul", "service": "shop", "address": server.url, **options}


def read(document: Any, **options: Any) -> dict[str, Found]:
    found = instances(document, settings_of(kind="consul", service="shop", **options))
    return {each.node.url: each for each in found}


def test_the_sample_is_understood():
    found = read(sample(), zone="z", metadata={"id": "overridden", "team": "shop"}, priority=2, prefix="/v1")
    assert {each.removesuffix("/v1") for each in found} == {A, B, C, D, E}
    node = found[A + "/v1"].node
    assert (node.weight, node.zone, node.priority) == (10, "z", 2)
    assert node.metadata == {"id": "shop-1", "node": "node-a", "version": "7", "team": "shop"}
    claims = {url.removesuffix("/v1"): (each.kind, each.reason, each.weight) for url, each in found.items()}
    assert claims == {
        A: ("", "", None),
        B: ("", "", None),
        C: ("weight", "warning: HTTP on /health", 0.1),
        D: ("down", "critical: HTTP on /health", None),
        E: ("drain", "maintenance: new disks", None),
    }


def test_an_old_server_tells_less():
    document = sample()[:2]
    for entry in document:
        for part, names in (
            ("Node", ("Datacenter", "Meta")),
            ("Service", ("Weights", "Meta", "TaggedAddresses", "Proxy")),
        ):
            for name in names:
                del entry[part][name]
        for check in entry["Checks"]:
            for name in ("ServiceTags", "Type", "Interval", "Timeout", "ExposedPort", "Definition"):
                del check[name]
    found = read(document)
    assert {url: (each.node.weight, each.kind) for url, each in found.items()} == {A: (1, ""), B: (1, "")}
    assert found[A].node.metadata == {"id": "shop-1", "node": "node-a"}


def test_weights_that_are_odd():
    (first, *_, warned, _, _, _) = document = sample()
    del first["Service"]["Weights"]
    document[1]["Service"]["Weights"] = {"Passing": 0, "Warning": 0}
    document[2]["Service"]["Weights"] = {"Passing": 1, "Warning": 0}
    found = read(document)
    assert (found[A].node.weight, found[B].node.weight) == (1, 1)
    assert (found[C].kind, found[C].weight) == ("drain", None)
    document[2]["Service"]["Weights"] = {"Passing": 1, "Warning": 1}
    assert read(document)[C].kind == ""
    document[2]["Service"]["Weights"] = {"Passing": 1, "Warning": 50}
    assert read(document)[C].weight == 10.0
    document[2]["Service"]["Locality"] = {"Region": "us-west-1", "Zone": "us-west-1a"}
    assert read(document)[C].node.zone == "us-west-1a"
    assert warned is document[2]


@pytest.mark.parametrize("wrong", [5, {}, [5], [{}], [{"Service": {"Port": 1}}], [{"Service": None}], "no"])
def test_what_is_no_answer(wrong: Any):
    with pytest.raises(SourceError, match="not what is expected of Consul's health API"):
        read(wrong or [wrong])


def test_instances_none_of_which_has_a_port():
    with pytest.raises(SourceError, match="none of the instances has a port"):
        read(sample()[-1:])


@given(st.integers(0, 10**6), st.one_of(st.text(max_size=5), st.integers(-5, 10**7).map(str)))
def test_an_index_never_goes_backwards_and_is_never_below_1(known: int, told: str):
    index = next_index(known, told)
    assert index == 0 or index >= max(known, 1)
    if told.isascii() and told.isdecimal() and int(told) >= max(known, 1):
        assert index == int(told)


# -- the API itself


def test_a_question_waits_for_something_to_change():
    with ConsulServer(sample()[:1]) as server:

        async def work(_source: Source, ask: Ask) -> list[list[str]]:
            answers = [await ask()]
            waiting = asyncio.create_task(ask())
            while len(server.asked) < 2:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0)
            assert not waiting.done()
            await asyncio.to_thread(server.set, sample()[:2])
            answers.append(await waiting)
            return [[node.url for node in found(answer)] for answer in answers]

        assert asking(work, **consul(server)) == [[A], sorted([A, B])]
        first, second = (request.query for request in server.asked)
        assert ("index" in first, "wait" in first, first["passing"]) == (False, False, "1")
        assert (second["index"], second["wait"]) == ("44", "60000ms")


def test_when_the_wait_is_over_it_is_asked_anew():
    with ConsulServer(sample()[:1]) as server, finding(consul(server, wait=0.05)) as shop:
        shop.until_urls(A)
        eventually(lambda: len(server.asked) > 4)
        assert {request.query["wait"] for request in server.asked[1:]} == {"50ms"}
        assert [each.event for each in shop.told] == ["added"]


def test_an_index_that_goes_backwards_is_forgotten():
    with ConsulServer(sample()[:1]) as server, finding(consul(server)) as shop:
        shop.until_urls(A)
        eventually(lambda: len(server.asked) > 1)
        server.set(sample()[:2], index=3)
        shop.until_urls(A, B)
        eventually(lambda: len(server.asked) > 3)
        assert [request.query.get("index") for request in server.asked[:4]] == [None, "44", None, "3"]


def test_options_are_asked_for():
    with ConsulServer(sample()) as server:
        assert len(found(asking(once, **consul(server, passing=False)))) == 5
        assert asking(once, **consul(server, tag="canary")).found == ()
        assert len(found(asking(once, **consul(server, tag="primary", datacenter="dc1")))) == 2
        assert asking(failing, **consul(server, datacenter="dc9")).endswith("/shop answers 500 Internal Server Error")
        assert asking(once, **consul(server, service="unknown")).found == ()


def test_a_token_is_sent_and_never_shown(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    with ConsulServer(sample()[:1], TOKEN) as server:
        with finding(consul(server, token=TOKEN)) as shop:
            shop.until_urls(A)
            assert TOKEN not in repr(shop.balancer.settings)
        with finding(consul(server, token=TOKEN + "x")) as shop:
            told = shop.wait_for("discovery_failed").reason
            assert "answers 403 Forbidden; no node is known" in told
    assert TOKEN not in caplog.text


def test_checks_and_maintenance_are_marks_of_discovery_and_go_with_their_cause():
    with ConsulServer(sample()) as server, finding(consul(server, passing=False)) as shop:
        shop.until_available(A, B, C)
        assert len(shop.urls()) == 5
        mended = sample()
        for each in mended:
            each["Checks"] = each["Checks"][:1]
        server.set(mended)
        shop.until_available(A, B, C, D, E)
        assert {(each.source, each.node) for each in shop.events("cleared")} == {
            ("discovery", f"10.1.10.{n}:8000") for n in (114, 115, 116)
        }


def test_only_those_that_pass_are_there_unless_nobody_does():
    with ConsulServer(sample()) as server, finding(consul(server)) as shop:
        shop.until_urls(A, B)
        server.set(sample()[3:4])
        assert "it names no node; the 2 nodes known stay" in shop.wait_for("discovery_failed").reason
        assert shop.available() == sorted([A, B])


def test_a_server_that_is_away_or_in_trouble_empties_no_pool():
    with ConsulServer(sample()[:1]) as server, finding(consul(server)) as shop:
        shop.until_urls(A)
        server.stop()
        shop.wait_for("discovery_failed")
        server.trouble = 500
        server.start()
        eventually(lambda: [each for each in shop.events("discovery_failed") if "answers 500" in each.reason])
        assert shop.available() == [A]
        server.trouble = 0
        server.set(sample()[1:2])
        shop.until_urls(B)
        assert shop.wait_for("discovery_recovered").source == "discovery"


def test_no_answer_in_time():
    with ConsulServer(sample()[:1]) as server:

        async def hang(_: Any) -> Any:
            await asyncio.sleep(20)

        server.answer = hang  # type: ignore[method-assign]
        assert asking(failing, **consul(server, timeout=0.1)) == "no answer within 0.1 s"


def test_https_is_verified_by_the_authority_that_is_named(tmp_path: Path):
    authority, other = trustme.CA(), trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    right, wrong = tmp_path / "right.pem", tmp_path / "wrong.pem"
    authority.cert_pem.write_to_path(str(right))
    other.cert_pem.write_to_path(str(wrong))
    with ConsulServer(sample()[:1], tls=tls) as server:
        assert [node.url for node in found(asking(once, **consul(server, ca_file=str(right))))] == [A]
        for ca_file in (str(wrong), ""):
            with finding(consul(server, ca_file=ca_file)) as shop:
                assert "certificate" in shop.wait_for("discovery_failed").reason
    assert "missing.pem cannot be used: No such file" in asking(
        failing, **consul(server, ca_file=str(tmp_path / "missing.pem"))
    )


def test_an_answer_that_is_too_long_or_no_json(monkeypatch: pytest.MonkeyPatch):
    from balancemw.discovery import web

    with ConsulServer(sample()) as server:
        monkeypatch.setattr(web, "LARGEST", 100)
        assert "longer than" in asking(failing, **consul(server))
        monkeypatch.undo()
        server.set([])

        async def nonsense(_: Any) -> Any:
            from aiohttp.web import Response

            return Response(text="<html>")

        server.answer = nonsense  # type: ignore[method-assign]
        assert "not what is expected" in asking(failing, **consul(server))
