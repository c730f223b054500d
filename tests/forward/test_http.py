"""Forwarding over a real server to real replicas: what is passed on, both ways, byte for byte."""

import hashlib
import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.forward.stage import PATIENCE, Replica, Server, can, replicas, serving, until


class Front(Server):
    """A server with one replica behind ``/api``, with the prefix kept behind ``/kept``."""

    replica: Replica
    kind: str

    def can(self, what: str) -> bool:
        return can(self.kind, what)


@pytest.fixture(scope="module", params=["h11", "httptools", "wsgi", "django", "django-asgi", "django-mixed"])
def front(request: pytest.FixtureRequest) -> Iterator[Front]:
    with replicas("") as (replica,):
        settings = {
            "services": {"inventory": {"nodes": [replica.url], "retry": {"attempts": 1}}},
            "routes": {"/api": "inventory", "/kept": {"service": "inventory", "keep_prefix": True}},
        }
        with serving(settings, request.param) as server:
            front = Front(server.port)
            front.replica, front.kind = replica, request.param
            yield front


def ask(
    server: Server, target: str, method: str = "GET", body: Any = None, headers: Any = (), **options: Any
) -> http.client.HTTPResponse:
    """One answer; its body, read, is its attribute `content`."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    connection.request(method, target, body=body, headers=dict(headers), **options)
    answer: Any = connection.getresponse()
    answer.content = answer.read()
    connection.close()
    found: http.client.HTTPResponse = answer
    return found


def echoed(server: Server, target: str, *args: Any, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ask(server, target, *args, **options).content)  # type: ignore[attr-defined]
    return found


class TestRequests:
    @pytest.mark.parametrize(
        ("target", "seen"),
        [
            ("/api", "/"),
            ("/api/", "/"),
            ("/api/stock/1?a=b&c=%20&d=", "/stock/1?a=b&c=%20&d="),
            ("/api/a%2Fb//c;v=1/%7e~?q=/api/../x", "/a%2Fb//c;v=1/%7e~?q=/api/../x"),
            ("/api//elsewhere.example/x", "//elsewhere.example/x"),
            ("/a%70i/x", "/x"),
            ("/kept/x", "/kept/x"),
            ("/api/%E2%82%AC", "/%E2%82%AC"),
            ("/api/%ff%2525", "/%ff%2525"),
        ],
    )
    def test_what_is_left_of_the_target(self, front: Front, target: str, seen: str):
        assert echoed(front, target)["target"] == seen

    def test_the_rest_of_the_app_is_as_before(self, front: Front):
        answer = ask(front, "/apis/x")
        assert (answer.status, answer.content) == (200, b"the app's own /apis/x")  # type: ignore[attr-defined]

    def test_headers(self, front: Front):
        sent = (
            f"GET /api/x HTTP/1.1\r\nHost: shop.example:{front.port}\r\nX-B: 2\r\nX-A: 1\r\nX-B: 1\r\n"
            "Cookie: a=1; b=2\r\n"
            "Connection: close, X-Own\r\nX-Own: 1\r\nTE: trailers\r\nProxy-Authorization: x\r\nX-Name: caf\u00e9\r\n"
            "X-Forwarded-For: 10.0.0.1\r\nX-Envoy-Attempt-Count: 1\r\nX-Request-Timeout-Ms: 5000\r\n\r\n"
        )
        answer = front.raw(sent.encode())
        head = json.loads(answer.partition(b"\r\n\r\n")[2])["head"].encode("latin-1").decode().lower()
        lines = head.split("\r\n")[1:-2]
        left = [line for line in lines if line.startswith("x-request-timeout-ms: ")]
        assert len(left) == 1
        assert 0 < int(left[0].rpartition(" ")[2]) <= 5000
        lines.remove(left[0])
        assert lines == [
            "host: inventory",
            *(["x-b: 2", "x-a: 1", "x-b: 1"] if front.can("see repeated headers apart") else ["x-b: 2,1", "x-a: 1"]),
            "cookie: a=1; b=2",
            "x-name: caf\u00e9",
            "x-forwarded-for: 10.0.0.1, 127.0.0.1",
            "x-forwarded-proto: http",
            f"x-forwarded-host: shop.example:{front.port}",
            "x-forwarded-prefix: /api",
            f'forwarded: for=127.0.0.1;host="shop.example:{front.port}";proto=http',
            "via: 1.1 balancemw",
            "x-envoy-attempt-count: 1",
        ]

    @pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"])
    @pytest.mark.parametrize("size", [0, 1, 65536, 200_001])
    @pytest.mark.parametrize("chunked", [False, True])
    def test_bodies(self, front: Front, method: str, size: int, chunked: bool):
        data = bytes(range(251)) * (size // 251 + 1)
        data = data[:size]
        seen = echoed(front, "/api/x", method, iter([data]) if chunked else data, encode_chunked=chunked)
        assert seen["head"].startswith(f"{method} /x ")
        assert (seen["size"], seen["digest"]) == (size, hashlib.sha256(data).hexdigest())
        framing = "transfer-encoding: chunked" if chunked else f"content-length: {size}"
        assert seen["head"].lower().count(framing) == 1

    def test_a_get_without_a_body_has_none(self, front: Front):
        head = echoed(front, "/api/x")["head"].lower()
        assert "content-length" not in head
        assert "transfer-encoding" not in head

    def test_nothing_is_added_that_a_client_would(self, front: Front):
        answer = front.raw(b"POST /api/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        head = json.loads(answer.partition(b"\r\n\r\n")[2])["head"].lower()
        for name in ("user-agent", "accept", "accept-encoding", "content-type"):
            assert f"\n{name}:" not in head

    def test_a_client_that_waits_for_a_word_to_go_on(self, front: Front):
        with socket.create_connection(("127.0.0.1", front.port), timeout=PATIENCE) as connection:
            connection.sendall(
                b"POST /api/x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                b"Connection: close\r\nContent-Length: 5\r\n\r\n"
            )
            assert connection.recv(25, socket.MSG_WAITALL).startswith(b"HTTP/1.1 100 Continue\r\n")
            connection.sendall(b"hello")
            answer = b""
            while part := connection.recv(65536):
                answer += part
        seen = json.loads(answer.partition(b"\r\n\r\n")[2])
        assert seen["size"] == 5
        assert "expect" not in seen["head"].lower()


class TestAnswers:
    def test_headers(self, front: Front):
        answer = ask(front, "/api/x?odd=1")
        names = [name.lower() for name, _ in answer.getheaders()]
        assert answer.headers.get_all("set-cookie") == ["a=1", "b=2; Path=/"]
        assert answer.headers["x-b"] == "caf\xe9"
        assert answer.headers["via"] == "1.1 balancemw"
        assert names.count("date") == names.count("server") == names.count("content-length") == 1

    def test_hop_by_hop(self, front: Front):
        names = {name.lower() for name, _ in ask(front, "/api/hop").getheaders()}
        assert "x-kept" in names
        assert not {"x-own", "keep-alive", "proxy-authenticate"} & names

    def test_what_comes_before_an_answer_is_none(self, front: Front):
        answer = ask(front, "/api/hints")
        assert (answer.status, answer.content) == (200, b"hello")  # type: ignore[attr-defined]

    def test_trailers_are_dropped(self, front: Front):
        answer = front.raw(b"GET /api/trailers HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert body == b"5\r\nhello\r\n0\r\n\r\n"
        assert b"trailer" not in head.lower()

    @pytest.mark.parametrize("status", [200, 201, 204, 301, 304, 400, 404, 418, 429, 500, 501, 503, 599])
    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    def test_statuses(self, front: Front, status: int, method: str):
        answer = ask(front, f"/api/status/{status}", method)
        assert answer.status == status
        bodiless = method == "HEAD" or status in (204, 304)
        assert answer.content == (b"" if bodiless else b"body")  # type: ignore[attr-defined]

    def test_head_tells_the_length(self, front: Front):
        answer = ask(front, "/api/head", "HEAD")
        assert answer.headers["content-length"] == "12345"

    def test_a_failure_that_looks_like_a_stream_of_events(self, front: Front):
        answer = ask(front, "/api/busy-events", "POST", b"x")
        assert (answer.status, answer.content) == (503, b"data: 1\n\n")  # type: ignore[attr-defined]

    def test_repeated_headers(self, front: Front):
        answer = ask(front, "/api/repeated")
        joined = ["a, b"] if not front.can("repeat headers") else ["a", "b"]
        assert answer.headers.get_all("x-a") == joined

    @pytest.mark.parametrize("chunked", ["", "&chunked=1"])
    def test_bodies(self, front: Front, chunked: str):
        answer = ask(front, f"/api/download?size=300001{chunked}")
        content: bytes = answer.content  # type: ignore[attr-defined]
        assert content == (bytes(range(256)) * 1200)[:300001]
        assert ("content-length" in answer.headers) is not bool(chunked)

    def test_http_1_0(self, front: Front):
        answer = front.raw(b"GET /api/download?size=70000&chunked=1 HTTP/1.0\r\n\r\n")
        assert answer.startswith((b"HTTP/1.1 200 ", b"HTTP/1.0 200 "))
        assert len(answer) > 70000

    def test_redirects_lead_to_where_the_replica_is_seen(self, front: Front):
        inside = f"{front.replica.url}/stock?id=1"
        answer = ask(front, f"/api/redirect?to={inside}")
        assert answer.status == 302
        assert answer.headers["location"] == f"{front.url}/api/stock?id=1"
        assert ask(front, "/api/redirect?to=/stock").headers["location"] == "/api/stock"
        assert ask(front, "/api/redirect?to=http://inventory/a").headers["location"] == f"{front.url}/api/a"
        elsewhere = "http://elsewhere.example/a"
        assert ask(front, f"/api/redirect?to={elsewhere}").headers["location"] == elsewhere

    def test_events_come_one_by_one(self, front: Front):
        connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=PATIENCE)
        connection.request("GET", "/api/events")
        answer = connection.getresponse()
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.read(9) == b"data: 1\n\n"
        ask(front, "/api/go")
        assert answer.read() == b"data: 2\n\n"
        connection.close()

    def test_an_answer_before_the_body_was_sent(self, front: Front):
        size = 1000 if front.can("answer before a body has come") else 1000000
        sent = b"POST /api/early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\nConnection: close\r\n\r\n"
        sent += b"x" * size
        answer = b""
        with socket.create_connection(("127.0.0.1", front.port), timeout=PATIENCE) as connection:
            connection.sendall(sent)
            while not answer.endswith(b"too large") and (part := connection.recv(65536)):
                answer += part
        assert answer.startswith(b"HTTP/1.1 413 ")


class TestNoAnswer:
    @pytest.mark.parametrize("path", ["garbage", "bad-header", "bad-name", "two-lengths", "odd-status", "upgrade"])
    def test_nonsense_counts_against_the_replica(self, front: Front, path: str):
        failures = front.node(front.replica)["failures"]
        ask(front, f"/api/{path}", "POST", b"x")
        node = front.node(front.replica)
        assert (node["failures"], node["in_flight"]) == (failures + 1, 0)

    @pytest.mark.parametrize(
        "path", ["reset", "garbage", "bad-header", "bad-name", "two-lengths", "odd-status", "upgrade", "late-reset"]
    )
    def test_is_a_bad_gateway(self, front: Front, path: str):
        answer = ask(front, f"/api/{path}", "POST", b"x")
        told = json.loads(answer.content)  # type: ignore[attr-defined]
        assert (answer.status, told["status"]) == (502, 502)
        assert answer.headers["content-type"] == "application/problem+json"
        assert str(front.replica.port) not in str(told)

    def test_is_told_where_a_body_breaks_off_before_it_began(self, front: Front):
        answer = front.raw(b"GET /api/nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 502 ") or b"content-length: 1000" in head.lower()
        assert b"0\r\n\r\n" not in body

    @pytest.mark.parametrize("query", ["", "?chunked=1"])
    def test_that_breaks_off_is_broken_off(self, front: Front, query: str):
        answer = front.raw(f"GET /api/half{query} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"half" in body
        assert b"0\r\n\r\n" not in body
        if not query:
            assert b"content-length: 1000" in head.lower()

    def test_that_outlives_the_deadline_is_broken_off(self, front: Front):
        failures = front.node(front.replica)["failures"]
        answer = front.raw(b"GET /api/stall HTTP/1.1\r\nHost: a\r\nx-request-timeout-ms: 1500\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"content-length: 1000" in head.lower()
        assert b"half" in body
        until(lambda: front.node(front.replica)["in_flight"] == 0)
        assert front.node(front.replica)["failures"] == failures

    def test_leaves_nothing_in_flight(self, front: Front):
        for path in ("reset", "half", "garbage"):
            front.raw(f"GET /api/{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        until(lambda: front.node(front.replica)["in_flight"] == 0)


class TestClientsThatLeave:
    def test_while_the_replica_hangs(self, front: Front):
        if not front.can("see a client leave"):
            pytest.skip("the replica's time runs out first, as in test_failover")
        failures = front.node(front.replica)["failures"]
        before = front.replica.received("GET /hang")
        with socket.create_connection(("127.0.0.1", front.port), timeout=PATIENCE) as connection:
            connection.sendall(b"GET /api/hang HTTP/1.1\r\nHost: a\r\n\r\n")
            until(lambda: front.replica.received("GET /hang") > before)
            assert front.node(front.replica)["in_flight"] == 1
        until(lambda: front.node(front.replica)["in_flight"] == 0)
        assert front.node(front.replica)["failures"] == failures

    def test_in_the_middle_of_an_answer(self, front: Front):
        failures = front.node(front.replica)["failures"]
        with socket.create_connection(("127.0.0.1", front.port), timeout=PATIENCE) as connection:
            connection.sendall(b"GET /api/download?size=1000000000 HTTP/1.1\r\nHost: a\r\n\r\n")
            connection.recv(65536)
        until(lambda: front.node(front.replica)["in_flight"] == 0)
        assert front.node(front.replica)["failures"] == failures

    @pytest.mark.parametrize("framing", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
    def test_in_the_middle_of_a_body(self, front: Front, framing: str):
        """The replica must see that the body is not whole."""
        node, cut = front.node(front.replica), front.replica.journal()["cut"]
        received = front.replica.received("POST /cut")
        with socket.create_connection(("127.0.0.1", front.port), timeout=PATIENCE) as connection:
            connection.sendall(f"POST /api/cut HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n".encode())
            connection.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")
            if front.can("stream a request"):
                until(lambda: front.replica.received("POST /cut") > received)
        if front.can("stream a request"):
            until(lambda: front.replica.journal()["cut"] > cut)
        until(lambda: front.node(front.replica)["in_flight"] == 0)
        assert front.node(front.replica)["failures"] == node["failures"]
        assert front.can("stream a request") or front.replica.received("POST /cut") == received


def refused(answer: bytes) -> bool:
    """Whether there is one answer, and it is a 4xx or a 501."""
    return answer.count(b"HTTP/1.1 ") == 1 and (answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 501")))


class TestSmuggling:
    @pytest.mark.parametrize(
        "head",
        [
            "Content-Length: 5\r\nContent-Length: 6",
            "Content-Length: 5, 6",
            "Content-Length: +5",
            "Content-Length: 0x5",
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked, identity",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding : chunked",
            "Content_Length: 5",
            "X_Forwarded_For: 10.0.0.1",
            "X-A: a\0b",
            "X-A: a\rb",
            "X A: 1",
            "Host: b",
        ],
    )
    def test_two_readings_of_a_request_are_refused(self, front: Front, head: str):
        before = front.replica.received("POST /smuggled")
        body = "0\r\n\r\nPOST /api/smuggled HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
        sent = f"POST /api/smuggled HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{head}\r\n\r\n{body}"
        answer = front.raw(sent.encode("latin-1"))
        if "_" in head and not front.can("see underscores in headers"):
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["size"] == 0
            assert head.lower().encode() not in answer.lower()
            return
        assert refused(answer)
        assert front.replica.received("POST /smuggled") == before

    @pytest.mark.parametrize(
        "path",
        ["..", "../x", "%2e%2e/x", ".%2E/x", "a/..%2fx", "..%5cx", "..\\x", "%2e", "..;/x", "a%00b", "a%0d%0ab", "%7f"],
    )
    def test_ways_out_of_the_prefix_are_refused(self, front: Front, path: str):
        before = len(front.replica.journal()["requests"])
        sent = f"GET /api/{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        assert refused(front.raw(sent.encode("latin-1")))
        assert len(front.replica.journal()["requests"]) == before

    @pytest.mark.parametrize("target", ["/api/x\ty", "/api/x#y", "/api/x?a=\x01"])
    def test_a_target_that_is_none_is_refused(self, front: Front, target: str):
        before = len(front.replica.journal()["requests"])
        answer = front.raw(f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        seen = front.replica.journal()["requests"][before:]
        # A server may take off a fragment by itself, or take out a tab.
        assert refused(answer) or seen == [f"GET {target[4:].partition('#')[0].replace(chr(9), '')}"]

    def test_what_follows_a_body_is_no_part_of_it(self, front: Front):
        """Two requests in one go, each forwarded once and answered in turn."""
        one = b"POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
        two = b"POST /api/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbye"
        before = front.replica.received("POST /echo")
        answer = front.raw(one + two)
        assert answer.count(b"HTTP/1.1 200 ") == 2
        assert (b'"size": 5' in answer, b'"size": 3' in answer) == (True, True)
        assert front.replica.received("POST /echo") == before + 2
