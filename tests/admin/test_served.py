"""The admin surface of every adapter, over real servers."""

import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import requests

from tests.admin.conftest import TOKEN, Site
from tests.alerts.notices import alert, webhook

MEBIBYTE = 1024 * 1024


def is_ours(answer: requests.Response, status: int, kind: str = "application/problem+json") -> bool:
    assert (answer.status_code, answer.headers["content-type"]) == (status, kind)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert TOKEN not in answer.text
    return True


def test_the_app_is_as_it_was(site: Site):
    answer = requests.get(site.base + "/", timeout=30)
    assert answer.status_code == 200
    assert answer.text.rpartition(":")[2] in ("7001", "7002", "7003", "7004")


@pytest.mark.parametrize("path", ["", "/", "/status", "/events", "/alerts", "/services/inventory/nodes/x", "/nothing"])
@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN[:-1], TOKEN + "x"])
def test_without_the_token_nothing_is_learnt(site: Site, path: str, token: str | None):
    answers = [site.ask(method, path, token=token) for method in ("GET", "POST", "DELETE", "OPTIONS")]
    assert all(is_ours(answer, 401) for answer in answers)
    assert {answer.headers["www-authenticate"] for answer in answers} == {'Bearer realm="balancemw"'}
    assert len({answer.content for answer in answers}) == 1


def test_other_schemes_are_no_bearer(site: Site):
    for authorization in (TOKEN, f"Basic {TOKEN}", f"Bearer{TOKEN}", "Bearer", f"Bearer {TOKEN} x"):
        is_ours(site.get("/status", token=None, headers={"authorization": authorization}), 401)
    is_ours(site.get("/status", token=None, headers={"authorization": f"bearer  {TOKEN}"}), 200, "application/json")


def test_status(site: Site):
    answer = site.get("/status")
    assert is_ours(answer, 200, "application/json")
    told = answer.json()["services"]["inventory"]
    assert [node["name"] for node in told["nodes"]] == [
        "127.0.0.1:7001",
        "127.0.0.1:7002",
        "127.0.0.1:7003",
        "[::1]:7004",
    ]
    assert set(told["nodes"][0]) >= {"url", "state", "weight", "in_flight", "marks", "calls", "failures"}
    head = site.ask("HEAD", "/status")
    assert (head.status_code, head.content) == (200, b"")


def test_reading_the_status_is_no_request_of_the_app(site: Site):
    def seen(**headers: str) -> list[dict[str, Any]]:
        nodes = site.get("/status", headers=headers).json()["services"]["inventory"]["nodes"]
        return [{**node, "success_rate": "of the last seconds"} for node in nodes]

    requests.get(site.base + "/", timeout=30)
    assert seen(**{"x-request-timeout-ms": "0"}) == seen()


class TestOrders:
    def test_drain_and_up_are_events_with_a_reason(self, site: Site):
        last = site.get("/events").json()["events"][-1:]
        after = last[0]["id"] if last else 0
        answer = site.order("127.0.0.1:7001", action="drain", reason="kernel update", ttl=600)
        assert is_ours(answer, 200, "application/json")
        assert (answer.json()["state"], answer.json()["name"]) == ("draining", "127.0.0.1:7001")
        (mark,) = site.node("127.0.0.1:7001")["marks"]
        assert (mark["source"], mark["kind"], mark["reason"]) == ("operator", "drain", "kernel update")
        assert mark["until"] - mark["since"] == pytest.approx(600)
        assert site.order("127.0.0.1:7001", action="up", reason="done").json()["marks"] == []
        told = site.get("/events", params={"after": after}).json()["events"]
        assert [(event["event"], event["source"], event["reason"]) for event in told] == [
            ("drain", "operator", "kernel update"),
            ("up", "operator", "done"),
        ]
        assert all(event["id"] > after and event["node"] == "127.0.0.1:7001" for event in told)
        assert set(told[0]) >= {"id", "time", "service", "node", "event", "source", "fault", "reason"}
        assert site.get("/events", params={"after": after, "limit": 1}).json()["events"] == told[:1]

    def test_no_call_goes_to_a_node_that_is_down(self, site: Site):
        for name in ("127.0.0.1:7001", "127.0.0.1:7002", "127.0.0.1:7003"):
            assert site.order(name, action="down").status_code == 200
        assert {requests.get(site.base + "/", timeout=30).text for _ in range(5)} == {"[::1]:7004"}
        for name in ("127.0.0.1:7001", "127.0.0.1:7002", "127.0.0.1:7003"):
            assert site.order(name, action="up").status_code == 200

    @pytest.mark.parametrize("name", ["[::1]:7004", "%5B%3A%3A1%5D%3A7004", quote("http://[::1]:7004", safe="")])
    def test_a_node_is_found_by_its_name_however_it_is_written(self, site: Site, name: str):
        answer = site.order(name, action="weight", weight=0.5)
        assert (answer.status_code, answer.json()["marks"][0]["kind"]) == (200, "weight")
        assert site.order("[::1]:7004", action="up").json()["marks"] == []

    def test_what_there_is_not(self, site: Site):
        is_ours(site.order("127.0.0.1:7009", action="drain"), 404)
        is_ours(site.post("/services/inventry/nodes/127.0.0.1:7001", json={"action": "drain"}), 404)
        for path in ("", "/", "/nothing", "/status/more", "/services", "/services/inventory/nodes/"):
            is_ours(site.get(path), 404)

    def test_what_is_malformed_changes_nothing(self, site: Site):
        def decided() -> Any:
            """All that orders and alerts can change. What traffic has shown is forgotten as time goes by."""
            told = site.get("/status").json()
            nodes = told["services"]["inventory"]["nodes"]
            kept = [{name: node[name] for name in ("name", "state", "weight", "marks")} for node in nodes]
            return kept, told["alerts"], site.get("/events").json()

        before = decided()
        for body in (b"", b"{", b"[]", b"\xff", b'{"action": "drain", "x": 1}', b'{"action": "weight", "weight": NaN}'):
            is_ours(site.post("/services/inventory/nodes/127.0.0.1:7001", data=body), 400)
        assert decided() == before

    def test_the_wrong_method(self, site: Site):
        for path, allow in (("/status", "GET, HEAD"), ("/events", "GET, HEAD")):
            answer = site.post(path)
            assert is_ours(answer, 405)
            assert answer.headers["allow"] == allow
        answer = site.get("/alerts")
        assert is_ours(answer, 405)
        assert answer.headers["allow"] == "POST"


class TestLongBodies:
    def test_two_mebibytes_are_too_long(self, site: Site):
        body = json.dumps(webhook(*[alert()] * 5000, filler="x" * (2 * MEBIBYTE))).encode()
        assert upload(site, [body], {"content-length": str(len(body))}) == 413

    def test_also_when_their_length_is_not_told(self, site: Site):
        assert upload(site, [b"x" * 65536] * 32, {"transfer-encoding": "chunked"}) == 413

    def test_one_mebibyte_is_not(self, site: Site):
        body = json.dumps(webhook()).encode()
        body += b" " * (MEBIBYTE - len(body))
        assert site.post("/alerts", data=body).status_code == 200
        assert site.post("/alerts", data=iter([body[:100000], body[100000:]])).status_code == 200


def upload(site: Site, parts: list[bytes], headers: dict[str, str]) -> int:
    """The status with which a body is answered by a server that may do so before it has read all."""
    connection = http.client.HTTPConnection(urlsplit(site.base).netloc, timeout=30)
    try:
        connection.putrequest("POST", "/_balancer/alerts")
        for name, value in {"authorization": f"Bearer {TOKEN}", **headers}.items():
            connection.putheader(name, value)
        connection.endheaders()
        try:
            for part in chunked(parts) if "transfer-encoding" in headers else parts:
                connection.send(part)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return connection.getresponse().status
    finally:
        connection.close()


def chunked(parts: list[bytes]) -> Iterator[bytes]:
    for part in parts:
        yield b"%x\r\n%s\r\n" % (len(part), part)
    yield b"0\r\n\r\n"


class TestAlerts:
    def test_one_takes_a_node_out_and_its_end_brings_it_back(self, site: Site):
        instance = "127.0.0.1:7002"
        counts = site.post("/alerts", json=webhook(alert(instance), alert("nobody:1"))).json()
        assert (counts["matched"], counts["unmatched"]) == (1, 1)
        assert site.node(instance)["state"] == "down"
        assert site.get("/status").json()["alerts"]["firing"] == 1
        site.post("/alerts", json=webhook(alert(instance, resolved=True)))
        assert site.node(instance)["marks"] == []

    def test_a_forged_instance_is_but_a_word(self, site: Site):
        forged = [alert("http://evil.example/"), alert("http://127.0.0.1:7001/../x"), alert("127.0.0.1:7001@evil")]
        assert site.post("/alerts", json=webhook(*forged)).json()["unmatched"] == 3
        nodes = site.get("/status").json()["services"]["inventory"]["nodes"]
        assert len(nodes) == 4
        assert not any(mark["source"] == "alert" for node in nodes for mark in node["marks"])

    def test_what_is_no_notification_is_refused(self, site: Site):
        answer = site.post("/alerts", json=webhook(version="3"))
        assert is_ours(answer, 400)
        assert answer.json()["detail"] == 'version: expected "4"'
