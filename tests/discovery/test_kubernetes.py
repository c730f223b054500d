"""Endpoints of a service in Kubernetes."""

import copy
import logging
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from balancemw.discovery.found import SourceError
from balancemw.discovery.slices import Gone, Slices
from tests.adapters.watching import eventually
from tests.discovery.finding import asking, finding, settings_of
from tests.discovery.kubernetes_server import KubernetesServer, events, listed
from tests.discovery.test_dns import failing, found, once

ONE, TWO, FOUR = "http://10.244.1.7:8000", "http://10.244.2.8:8000", "http://10.244.3.4:8000"
SEVEN, EIGHT, LEAVING = "http://10.244.1.11:8000", "http://10.244.4.4:8000", "http://10.244.1.9:8000"


def slices(document: Any = None, **options: Any) -> Slices:
    known = Slices(settings_of(kind="kubernetes", service="shop", **{"port": "http", **options}))
    known.replace(document or listed())
    return known


def claims(known: Slices) -> dict[str, str]:
    return {each.node.url: each.kind for each in known.found()}


# -- the documents


def test_slices_are_merged_duplicates_dropped_and_conditions_heeded():
    assert claims(slices()) == {ONE: "", TWO: "", FOUR: "", LEAVING: "drain"}


def test_nodes_have_their_zone_and_know_their_pod():
    nodes = {each.node.url: each.node for each in slices(weight=2, priority=1, metadata={"a": 1}).found()}
    assert (nodes[TWO].zone, nodes[TWO].weight, nodes[TWO].priority) == ("zone-b", 2, 1)
    assert nodes[TWO].metadata == {"a": 1, "pod": "shop-2", "node": "worker-b"}


def test_an_old_server_tells_less():
    document = listed()
    for each in document["items"]:
        each["metadata"] = {name: each["metadata"][name] for name in ("name", "resourceVersion")}
        for endpoint in each["endpoints"]:
            del endpoint["conditions"]["serving"], endpoint["conditions"]["terminating"], endpoint["nodeName"]
        for port in each["ports"]:
            port.pop("appProtocol", None)
    assert claims(slices(document)) == {ONE: "", TWO: "", FOUR: ""}


def test_without_a_zone_it_is_that_of_the_settings():
    document = listed()
    for each in document["items"]:
        for endpoint in each["endpoints"]:
            del endpoint["zone"], endpoint["nodeName"]
            endpoint["conditions"] = {"ready": None, "serving": None, "terminating": None}
            endpoint["targetRef"] = None
    found = slices(document, zone="here").found()
    assert {each.node.zone for each in found} == {"here"}
    assert len(found) == 6  # what is not told is to be taken for true
    assert found[0].node.metadata == {}


def test_a_watch_tells_what_changes():
    known = slices()
    *changes, error = events()
    assert [known.apply(event) for event in changes] == [True, True, False, True]
    assert known.version == "1021"
    assert claims(known) == {ONE: "", TWO: "", SEVEN: "", EIGHT: "", LEAVING: "drain"}
    with pytest.raises(Gone):
        known.apply(error)


@pytest.mark.parametrize(
    ("port", "urls"),
    [("metrics", {"http://10.244.1.7:9090"}), (7000, {"http://10.244.1.7:7000"}), ("http", {"http://10.244.1.7:8000"})],
)
def test_a_port_is_chosen_by_name_or_number(port: Any, urls: set[str]):
    assert urls <= claims(slices(port=port)).keys()


@pytest.mark.parametrize("port", [None, "grpc"])
def test_a_port_that_is_not_clear(port: Any):
    with pytest.raises(SourceError, match="its ports are http, metrics: `port` has to say which"):
        slices(port=port).found()


def test_the_only_port_need_not_be_named():
    document = listed()
    for each in document["items"]:
        each["ports"] = [{"name": "", "port": 8000, "protocol": "TCP"}, {"name": "dns", "port": 53, "protocol": "UDP"}]
    assert ONE in claims(slices(document, port=None))
    document["items"][0]["ports"] = document["items"][1]["ports"] = document["items"][2]["ports"] = None
    with pytest.raises(SourceError, match="its ports are not told"):
        slices(document, port=None).found()


def test_of_two_families_of_addresses_one_is_used():
    document = listed()
    assert not any("fd00" in url for url in claims(slices(document)))
    del document["items"][:2]
    assert claims(slices(document)) == {"http://[fd00:10:244:1::7]:8000": "", "http://[fd00:10:244:2::8]:8000": ""}


def test_those_that_are_leaving_are_used_where_there_is_no_other():
    document = listed()
    for each in document["items"]:
        for endpoint in each["endpoints"]:
            endpoint["conditions"] = {"ready": False, "serving": True, "terminating": True}
    assert claims(slices(document)) == dict.fromkeys(claims(slices(document)), "")
    assert ONE in claims(slices(document))


def test_nobody_is_there():
    assert slices({"metadata": {"resourceVersion": "1"}, "items": None}).found() == ()
    document = listed()
    for each in document["items"]:
        each["endpoints"] = None
    assert slices(document).found() == ()


@pytest.mark.parametrize("wrong", [5, [], {"items": [5]}, {"items": [{"metadata": {}}], "metadata": {}}, {"items": []}])
def test_what_is_no_list(wrong: Any):
    with pytest.raises(SourceError, match="not what is expected of Kubernetes' EndpointSlices"):
        slices(wrong or [wrong])


@pytest.mark.parametrize("wrong", [5, {}, {"type": "ADDED"}, {"type": "ADDED", "object": {"metadata": {}}}])
def test_what_is_no_event(wrong: Any):
    with pytest.raises(SourceError, match="not what is expected of Kubernetes' EndpointSlices"):
        slices().apply(wrong)


def test_an_error_that_is_told():
    error = {"type": "ERROR", "object": {"kind": "Status", "code": 500, "reason": "InternalError"}}
    with pytest.raises(SourceError, match="the watch ends with status 500: InternalError"):
        slices().apply(error)


CHANGES = st.lists(
    st.tuples(st.sampled_from(["ADDED", "MODIFIED", "DELETED"]), st.integers(0, 2), st.sets(st.integers(1, 6))),
    max_size=20,
)


@given(CHANGES)
def test_a_watch_comes_to_the_same_as_a_list_of_what_is_left(changes: list[Any]):
    """Whatever the order of events: as if everything had been listed at the end."""
    known, model = slices(), {each["metadata"]["name"]: each for each in listed()["items"]}
    for kind, index, addresses in changes:
        each = copy.deepcopy(listed()["items"][index])
        each["endpoints"] = [{"addresses": [f"10.0.0.{n}"], "conditions": {}} for n in addresses]
        known.apply({"type": kind, "object": each})
        if kind == "DELETED":
            model.pop(each["metadata"]["name"], None)
        else:
            model[each["metadata"]["name"]] = each
    whole = slices({"metadata": {"resourceVersion": "1"}, "items": list(model.values())})
    assert known.found() == whole.found()


# -- the API


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of a pod's credentials."""
    (tmp_path / "token").write_text("first-token\n")
    (tmp_path / "namespace").write_text("prod")
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    return tmp_path


def kubernetes(server: KubernetesServer, pod: Path, **options: Any) -> dict[str, Any]:
    files = {f"{each}_file": str(pod / each) for each in ("token", "namespace")}
    given = {"kind": "kubernetes", "service": "shop", "port": "http", "address": server.url, "ca_file": "", **files}
    return {**given, **options}


def test_a_pool_follows_the_watch(pod: Path):
    with KubernetesServer() as server, finding(kubernetes(server, pod)) as shop:
        shop.until_available(ONE, TWO, FOUR)
        assert LEAVING in shop.urls()
        modified, added, bookmark, deleted, _ = events()
        server.tell("MODIFIED", modified["object"])
        server.tell("ADDED", added["object"])
        shop.until_available(ONE, TWO, FOUR, SEVEN, EIGHT)
        server.tell("BOOKMARK", bookmark["object"])
        server.tell("DELETED", deleted["object"])
        shop.until_available(ONE, TWO, SEVEN, EIGHT)
        assert server.lists == 1
        assert server.watches == ["1010"]
        assert {each.source for each in shop.told} == {"discovery"}


def test_a_watch_that_ends_is_begun_anew_from_what_is_known(pod: Path):
    with KubernetesServer() as server, finding(kubernetes(server, pod)) as shop:
        shop.until_available(ONE, TWO, FOUR)
        server.tell("BOOKMARK", events()[2]["object"])
        eventually(lambda: server.watches)
        server.end_watches()
        eventually(lambda: len(server.watches) == 2)
        server.tell("DELETED", events()[3]["object"])
        shop.until_available(ONE, TWO)
        assert (server.lists, server.watches[0]) == (1, "1010")
        assert server.watches[1] in ("1010", "1011")
        assert shop.events("discovery_failed") == []


@pytest.mark.parametrize("by_status", [True, False])
def test_a_version_that_is_gone_leads_to_another_list(pod: Path, by_status: bool):
    with KubernetesServer() as server, finding(kubernetes(server, pod)) as shop:
        shop.until_available(ONE, TWO, FOUR)
        eventually(lambda: server.watches)
        server.by_status = by_status
        server.forget()
        server.end_watches()
        eventually(lambda: server.lists == 2)
        server.tell("DELETED", events()[3]["object"])
        shop.until_available(ONE, TWO)
        assert shop.events("discovery_failed") == []


def test_a_watch_that_tells_of_its_own_end_as_in_the_sample(pod: Path):
    with KubernetesServer() as server, finding(kubernetes(server, pod)) as shop:
        shop.until_available(ONE, TWO, FOUR)
        eventually(lambda: server.watches)
        server.tell("ERROR", events()[4]["object"])
        eventually(lambda: server.lists == 2)


def test_a_server_that_is_away_or_in_trouble_empties_no_pool(pod: Path):
    with KubernetesServer() as server, finding(kubernetes(server, pod)) as shop:
        shop.until_available(ONE, TWO, FOUR)
        server.stop()
        shop.wait_for("discovery_failed")
        server.trouble = 503
        server.start()
        eventually(lambda: [each for each in shop.events("discovery_failed") if "answers 503" in each.reason])
        assert shop.available() == sorted([ONE, TWO, FOUR])
        server.trouble = 0
        server.tell("DELETED", events()[3]["object"])
        shop.until_available(ONE, TWO)
        shop.wait_for("discovery_recovered")


def test_an_error_in_the_watch_is_told_and_the_watch_begun_anew(pod: Path):
    with KubernetesServer() as server, finding(kubernetes(server, pod)) as shop:
        shop.until_available(ONE, TWO, FOUR)
        eventually(lambda: server.watches)
        server.tell("ERROR", {"kind": "Status", "code": 500, "reason": "InternalError"})
        assert "status 500: InternalError; the 4 nodes known stay" in shop.wait_for("discovery_failed").reason


def test_a_token_that_is_replaced_is_read_again_and_never_shown(pod: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    with KubernetesServer() as server, finding(kubernetes(server, pod)) as shop:
        shop.until_available(ONE, TWO, FOUR)
        eventually(lambda: server.watches)
        server.tokens = {"second-token"}
        server.end_watches()
        assert "answers 401 Unauthorized" in shop.wait_for("discovery_failed").reason
        (pod / "token").write_text("second-token\n")
        shop.wait_for("discovery_recovered")
        server.tell("DELETED", events()[3]["object"])
        shop.until_available(ONE, TWO)
    assert "first-token" not in caplog.text
    assert "second-token" not in caplog.text


def test_a_pod_finds_its_server_and_its_namespace_by_itself(pod: Path, monkeypatch: pytest.MonkeyPatch):
    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.cert_pem.write_to_path(str(pod / "ca.crt"))
    with KubernetesServer(tls=tls) as server:
        host, _, port = server.url.removeprefix("https://").partition(":")
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
        settings = kubernetes(server, pod, address="", ca_file=str(pod / "ca.crt"))
        with finding(settings) as shop:
            shop.until_available(ONE, TWO, FOUR)
            assert server.asked[0].path.split("/")[5] == "prod"
        trustme.CA().cert_pem.write_to_path(str(pod / "ca.crt"))
        with finding(settings) as shop:
            assert "certificate" in shop.wait_for("discovery_failed").reason


def test_an_address_of_version_6(pod: Path, monkeypatch: pytest.MonkeyPatch):
    from balancemw.discovery.kubernetes import _server

    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.delenv("KUBERNETES_SERVICE_PORT", raising=False)
    assert _server(settings_of(kind="kubernetes", service="shop")) == "https://[fd00::1]:443"


def test_what_is_no_pod(pod: Path):
    with KubernetesServer() as server:
        assert "KUBERNETES_SERVICE_HOST is not set" in asking(failing, **kubernetes(server, pod, address=""))
        (pod / "token").unlink()
        assert asking(failing, **kubernetes(server, pod)).endswith("token cannot be read: No such file or directory")
        (pod / "token").write_bytes(b"\xff")
        assert asking(failing, **kubernetes(server, pod)).endswith("token cannot be read: it is not plain text")


def test_another_namespace_may_be_named(pod: Path):
    with KubernetesServer() as server:
        assert asking(once, **kubernetes(server, pod, namespace="test")).found == ()
        assert len(found(asking(once, **kubernetes(server, pod, namespace="prod")))) == 4


def test_a_port_that_is_not_clear_is_told_until_it_is(pod: Path):
    with KubernetesServer() as server, finding(kubernetes(server, pod, port="grpc")) as shop:
        shop.wait_for("discovery_failed")
        eventually(lambda: server.lists > 2)
        assert len(shop.events("discovery_failed")) == 1
        assert shop.events("discovery_recovered") == []


def test_an_event_that_never_ends(pod: Path, monkeypatch: pytest.MonkeyPatch):
    from balancemw.discovery import kubernetes as module

    with KubernetesServer() as server, finding(kubernetes(server, pod)) as shop:
        shop.until_available(ONE, TWO, FOUR)
        monkeypatch.setattr(module, "LARGEST", 10)
        server.tell("MODIFIED", events()[0]["object"])
        assert "an event is longer than" in shop.wait_for("discovery_failed").reason
        monkeypatch.undo()
        shop.until_available(ONE, TWO, FOUR, SEVEN)
