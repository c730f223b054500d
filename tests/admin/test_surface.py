"""The admin surface by itself: who may ask, what is answered, and that no body makes it fail."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancemw import Balancer
from balancemw.admin import LONGEST_BODY, Admin, Asked, admin_of
from balancemw.reply import Reply
from tests.alerts.notices import alert, webhook
from tests.engine.clock import FakeClock

TOKEN = "a-token-of-the-tests"
NODE = "/services/inventory/nodes/a:1"


def surface(**admin: Any) -> Admin:
    services = {"inventory": {"nodes": ["http://a:1", "http://b:1", "http://c:1/one", "http://c:1/two"]}}
    found = admin_of(Balancer({"services": services, "admin": {"token": TOKEN, **admin}}, clock=FakeClock()))
    assert found is not None
    return found


class Client:
    """Asks a surface, with the token."""

    def __init__(self) -> None:
        self.admin = surface()

    def ask(self, method: str, path: str, body: bytes = b"", query: str = "", **headers: str) -> Reply:
        given = {"authorization": f"Bearer {TOKEN}", **headers}
        asked = Asked(method, path, query, lambda name: given.get(name.replace("-", "_")))
        return self.admin.gate(asked) or self.admin.answer(asked, body)

    def order(self, path: str = NODE, **order: Any) -> tuple[int, Any]:
        reply = self.ask("POST", path, json.dumps(order).encode())
        return int(reply.status), json.loads(reply.body)

    def status(self) -> Any:
        return json.loads(self.ask("GET", "/status").body)


@pytest.fixture
def client() -> Client:
    return Client()


def test_without_a_token_in_the_settings_there_is_none():
    assert admin_of(Balancer({"services": {}})) is None


@pytest.mark.parametrize(
    ("path", "below"),
    [
        ("/_balancer", ""),
        ("/_balancer/", "/"),
        ("/_balancer/status", "/status"),
        ("/_balancer2/status", None),
        ("/_balance", None),
        ("/x/_balancer/status", None),
        ("", None),
        ("/", None),
    ],
)
def test_what_is_below_its_path(path: str, below: str | None):
    assert surface().below(path) == below


def test_another_path():
    assert surface(path="/ops/balancer/").below("/ops/balancer/status") == "/status"


def test_the_status_is_that_of_the_balancer(client: Client):
    assert client.status() == json.loads(json.dumps(client.admin._balancer.status()))


class TestEvents:
    def test_a_window(self, client: Client):
        for _ in range(3):
            client.order(action="drain")
        events = json.loads(client.ask("GET", "/events").body)["events"]
        assert [event["id"] for event in events] == [1, 2, 3]
        assert events[0] | {"time": 0, "evidence": {}} == {
            "id": 1,
            "time": 0,
            "service": "inventory",
            "node": "a:1",
            "event": "drain",
            "source": "operator",
            "fault": None,
            "reason": "no reason given",
            "evidence": {},
        }
        assert json.loads(client.ask("GET", "/events", query="after=1&limit=1").body)["events"] == events[1:2]
        assert json.loads(client.ask("GET", "/events", query="after=3").body)["events"] == []
        assert json.loads(client.ask("GET", "/events", query="after=999999999999999999").body)["events"] == []

    @pytest.mark.parametrize(
        "query",
        ["after=x", "after=-1", "after=", "after", "after=1&after=2", "limit=0", "limit=1001", "aftr=1", "after=1.5",
         "&", "after=" + "9" * 19, "after=%C2%B2", "&".join(f"a{i}=1" for i in range(1000))],
    )  # fmt: skip
    def test_what_is_no_window(self, client: Client, query: str):
        reply = client.ask("GET", "/events", query=query)
        assert (reply.status, json.loads(reply.body)["title"]) == (400, "Bad Request")


class TestOrders:
    def test_each_of_them(self, client: Client):
        assert client.order(action="weight", weight=2)[1]["weight"] == 2.0
        assert client.order(action="down", reason="broken")[1]["state"] == "down"
        assert client.order(action="drain")[1]["state"] == "draining"
        assert client.order(action="up", reason=None, ttl=None, weight=None)[1]["marks"] == []

    @pytest.mark.parametrize(
        ("order", "reason"),
        [
            ({}, "action: expected one of drain, down, up, weight"),
            ({"action": "restart"}, "action: expected one of drain, down, up, weight"),
            ({"action": ["down"]}, "action: expected one of drain, down, up, weight"),
            ({"action": "down", "reson": "x"}, "unknown key 'reson'; did you mean 'reason'?"),
            ({"action": "down", "ttl": 0}, "ttl: expected a number above 0"),
            ({"action": "down", "ttl": -5}, "ttl: expected a number above 0"),
            ({"action": "down", "ttl": "5"}, "ttl: expected a number above 0"),
            ({"action": "down", "ttl": True}, "ttl: expected a number above 0"),
            ({"action": "down", "ttl": 1e300}, "ttl: expected a number above 0"),
            ({"action": "up", "ttl": 5}, "ttl: an action 'up' takes effect at once and does not end"),
            ({"action": "weight"}, "a mark of kind 'weight' needs weight="),
            ({"action": "down", "weight": 1}, "a mark of kind 'weight' needs weight="),
            ({"action": "weight", "weight": 11}, "weight is a factor above 0 and up to 10"),
            ({"action": "weight", "weight": 0}, "weight: expected a number above 0"),
            ({"action": "weight", "weight": 10**400}, "weight: expected a number above 0"),
            ({"action": "down", "reason": 5}, "reason: expected a string of at most 500 characters"),
            ({"action": "down", "reason": "x" * 501}, "reason: expected a string of at most 500 characters"),
        ],
    )
    def test_what_is_none_changes_nothing(self, client: Client, order: Any, reason: str):
        before = client.status()
        status, told = client.order(**order)
        assert status == 400
        assert told["detail"].startswith(reason)
        assert client.status() == before

    def test_a_reason_is_one_line(self, client: Client):
        client.order(action="down", reason="a\nb\x1b[31m\ud800")
        (mark,) = client.status()["services"]["inventory"]["nodes"][0]["marks"]
        assert mark["reason"] == "a b [31m "

    def test_a_name_that_two_nodes_have_is_told_apart_by_the_url(self, client: Client):
        status, told = client.order("/services/inventory/nodes/c:1", action="down")
        assert (status, "use the url" in told["detail"]) == (404, True)
        assert client.order("/services/inventory/nodes/http://c:1/two", action="down")[0] == 200
        states = [node["state"] for node in client.status()["services"]["inventory"]["nodes"]]
        assert states == ["up", "up", "up", "down"]

    def test_drain_lets_calls_in_flight_finish(self, client: Client):
        service = client.admin._balancer["inventory"]
        attempt = next(iter(service.attempts()))
        with attempt as node:
            url = f"/services/inventory/nodes/{node.url}"
            assert client.order(url, action="drain")[1] | {"marks": []} == {
                **client.order(url, action="drain")[1],
                "state": "draining",
                "in_flight": 1,
                "marks": [],
            }
            assert node not in service.available
        (told,) = [each for each in client.status()["services"]["inventory"]["nodes"] if each["url"] == node.url]
        assert (told["in_flight"], told["calls"], told["failures"]) == (0, 1, 0)


class TestBodies:
    def test_too_long_by_its_own_account(self, client: Client):
        for length in (str(LONGEST_BODY + 1), "9" * 100):
            assert client.ask("POST", "/alerts", content_length=length).status == 413

    def test_too_long_as_it_turns_out(self, client: Client):
        body = json.dumps(webhook(alert("a:1"))).encode()
        assert client.ask("POST", "/alerts", body.ljust(LONGEST_BODY + 1)).status == 413
        assert client.ask("POST", "/alerts", body.ljust(LONGEST_BODY)).status == 200

    @given(st.binary(max_size=300), st.sampled_from(["/alerts", NODE]))
    def test_byte_soup(self, body: bytes, path: str):
        client = Client()
        before = client.status()
        reply = client.ask("POST", path, body)
        assert reply.status == 400
        assert client.status() == before

    @given(st.data())
    def test_json_soup(self, data: st.DataObject):
        client, path = Client(), data.draw(st.sampled_from(["/alerts", NODE]))
        document = data.draw(LIKELY)
        reply = client.ask("POST", path, json.dumps(document).encode("utf-8", "surrogatepass"))
        assert reply.status in (200, 400)
        json.loads(reply.body)
        client.status()

    @pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5000, b'"\\ud800"', b"\xef\xbb\xbf{}"])
    def test_what_parsers_choke_on(self, client: Client, body: bytes):
        assert client.ask("POST", "/alerts", body).status == 400
        assert client.ask("POST", NODE, body).status == 400


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        ["firing", "resolved", "4", "a:1", "http://a:1", "2026-01-31T12:00:00Z", "9999-12-31T23:59:59+00:00"]
    ),
)
KEYS = st.sampled_from(
    ["version", "alerts", "status", "labels", "instance", "startsAt", "endsAt", "fingerprint", "annotations",
     "truncatedAlerts", "action", "weight", "reason", "ttl", "severity", "summary"]
)  # fmt: skip
SOUP = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(KEYS | st.text(max_size=4), inner, max_size=6)
    ),
    max_leaves=20,
)
ALERT = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["firing", "resolved"]),
        "labels": st.dictionaries(KEYS, st.text(max_size=5) | st.just("a:1"), max_size=4),
        "startsAt": st.datetimes().map(lambda time: time.isoformat() + "Z"),
    },
    optional={"endsAt": SOUP, "fingerprint": SOUP, "annotations": SOUP, "x": SOUP},
)
LIKELY = st.one_of(
    SOUP,
    st.fixed_dictionaries({"version": st.just("4"), "alerts": st.lists(ALERT | SOUP, max_size=4)}),
    st.fixed_dictionaries(
        {"action": st.sampled_from(["down", "up", "drain", "weight"])},
        optional={"weight": SCALARS, "reason": SCALARS, "ttl": SCALARS},
    ),
)


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x"])
def test_who_has_no_token_is_told_so_before_anything_else(authorization: str | None):
    for method, path in (("GET", "/status"), ("DELETE", "/nowhere")):
        reply = surface().gate(Asked(method, path, "", {"authorization": authorization}.get))
        assert reply is not None
        assert (reply.status, dict(reply.headers)["www-authenticate"]) == (401, 'Bearer realm="balancemw"')
        assert json.loads(reply.body)["detail"] == "A valid bearer token is needed."


def test_what_is_not_here_and_what_may_not_be_done_with_it(client: Client):
    assert client.ask("GET", "/nothing").status == client.ask("GET", "/services/inventory").status == 404
    for method, path, allowed in (("POST", "/status", "GET, HEAD"), ("GET", NODE, "POST"), ("PUT", "/alerts", "POST")):
        reply = client.ask(method, path)
        assert (reply.status, dict(reply.headers)["allow"]) == (405, allowed)
