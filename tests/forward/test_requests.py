"""The head of a request, from the client's to the replica's."""

from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancemw.forward import Head, Refused, Visit, request_head

VISIT = Visit(client="192.0.2.7", scheme="http", prefix="/api")
TOLD = ("via", "forwarded", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-prefix")


def head(*fields: tuple[str, str], visit: Visit = VISIT, method: str = "GET", **options: Any) -> Head:
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
    return request_head(method, raw, visit, **options)


def passed(*fields: tuple[str, str], **options: Any) -> list[tuple[str, str]]:
    """What of these headers a replica gets, without what we tell it ourselves."""
    found = head(*fields, **options).fields
    return [(name.decode(), value.decode("latin-1")) for name, value in found if name.decode() not in TOLD]


def told(*fields: tuple[str, str], visit: Visit = VISIT) -> dict[str, str]:
    """What we tell a replica ourselves."""
    found = [(name.decode(), value.decode()) for name, value in head(*fields, visit=visit).fields]
    assert len(found) == len(dict(found))
    return {name: value for name, value in found if name in TOLD}


def refusal(*fields: tuple[str, str], **options: Any) -> HTTPStatus:
    with pytest.raises(Refused) as caught:
        head(*fields, **options)
    return caught.value.problem.status


class TestHopByHop:
    def test_is_removed(self):
        assert passed(
            ("Accept", "*/*"),
            ("Connection", "close, X-Own"),
            ("X-Own", "1"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Connection", "keep-alive"),
            ("TE", "trailers"),
            ("Trailer", "X-Sum"),
            ("Upgrade", "h2c"),
            ("HTTP2-Settings", "AAA"),
            ("Proxy-Authorization", "Basic eDp5"),
            ("X-Kept", "1"),
        ) == [("accept", "*/*"), ("x-kept", "1")]

    def test_several_connection_headers_and_odd_lists(self):
        fields = [("Connection", ",, x-a ,"), ("connection", "X-B,x-c"), ("x-a", "1"), ("X-B", "2"), ("X-C", "3")]
        assert passed(*fields, ("x-d", "4")) == [("x-d", "4")]

    @pytest.mark.parametrize(
        "name", ["cookie", "authorization", "x-real-ip", "content-type", "accept", "if-none-match", "sec-fetch-mode"]
    )
    def test_what_is_for_the_other_end_cannot_be_taken_away(self, name: str):
        assert passed(("Connection", f"close, {name.upper()}"), (name, "x")) == [(name, "x")]

    def test_nor_what_earlier_proxies_said(self):
        fields = (
            ("Connection", "x-forwarded-for, forwarded, via, host, x-forwarded-proto"),
            ("X-Forwarded-For", "10.0.0.1"),
        )
        said = told(*fields, ("Forwarded", "for=10.0.0.1"), ("Via", "1.1 edge"), ("Host", "shop"))
        assert said["x-forwarded-for"] == "10.0.0.1, 192.0.2.7"
        assert said["forwarded"].startswith("for=10.0.0.1, for=192.0.2.7")
        assert said["via"] == "1.1 edge, 1.1 balancemw"
        assert said["x-forwarded-host"] == "shop"

    def test_a_length_cannot_be_taken_away(self):
        found = head(("Connection", "content-length"), ("Content-Length", "5"))
        assert (found.length, found.chunked) == (5, False)

    def test_what_the_sender_says_anew_is_left_out(self):
        fields = ("Host", "shop"), ("X-Request-Timeout-Ms", "9"), ("x-envoy-attempt-count", "4")
        assert passed(*fields, ("Content-Length", "0"), ("Expect", "100-Continue")) == []
        assert head(*fields).host == b"shop"

    def test_another_expectation_is_passed_on(self):
        assert passed(("Expect", "200-ok")) == [("expect", "200-ok")]


class TestOthers:
    def test_order_repetition_and_bytes_stay(self):
        fields = [
            ("X-B", "2"),
            ("x-a", "1"),
            ("X-B", "1"),
            ("x-empty", ""),
            ("x-obs", "caf\xe9\xff"),
            ("x-tab", "a\tb"),
        ]
        assert passed(*fields) == [(name.lower(), value) for name, value in fields]

    def test_blanks_around_a_value_are_none_of_it(self):
        assert passed(("x-a", " \t1 2 ")) == [("x-a", "1 2")]

    def test_cookies_are_one_again_after_http_2(self):
        fields = ("cookie", "a=1"), ("accept", "*/*"), ("cookie", "b=2")
        assert passed(*fields, visit=Visit("::1", "https", "2")) == [("accept", "*/*"), ("cookie", "a=1; b=2")]
        assert passed(*fields) == list(fields)

    def test_a_websockets_handshake_is_the_senders(self):
        fields = ("Sec-WebSocket-Key", "x"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Extensions", "x")
        assert passed(*fields, ("Sec-WebSocket-Protocol", "chat"), ("Origin", "http://a"), websocket=True) == [
            ("origin", "http://a")
        ]


class TestWhatIsTold:
    def test_where_the_request_came_from(self):
        assert told(("Host", "shop.example:8000")) == {
            "x-forwarded-for": "192.0.2.7",
            "x-forwarded-proto": "http",
            "x-forwarded-host": "shop.example:8000",
            "x-forwarded-prefix": "/api",
            "forwarded": 'for=192.0.2.7;host="shop.example:8000";proto=http',
            "via": "1.1 balancemw",
        }

    def test_what_is_not_known_is_not_told(self):
        assert told(visit=Visit(client=None, scheme="https", version="2")) == {
            "x-forwarded-proto": "https",
            "forwarded": "for=unknown;proto=https",
            "via": "2 balancemw",
        }

    def test_ipv6(self):
        said = told(("Host", "[::1]:80"), visit=Visit("2001:db8::1", "http"))
        assert said["x-forwarded-for"] == "2001:db8::1"
        assert said["forwarded"] == 'for="[2001:db8::1]";host="[::1]:80";proto=http'

    @pytest.mark.parametrize("client", ["testclient", "1.2.3.4, 5.6.7.8", "a\r\nb: c", "", "1.2.3.4;proto=https"])
    def test_a_client_without_an_address(self, client: str):
        said = told(visit=Visit(client, "http"))
        assert "x-forwarded-for" not in said
        assert said["forwarded"] == "for=unknown;proto=http"

    def test_ours_comes_last_whatever_was_said_before(self):
        said = told(
            ("X-Forwarded-For", "a"),
            ("x-other", "1"),
            ("X-Forwarded-For", "b, c"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "outer"),
            ("X-Forwarded-Prefix", "/outer"),
            ("Forwarded", "for=a;proto=https"),
            ("Forwarded", ""),
            ("Host", "inner"),
        )
        assert said["x-forwarded-for"] == "a, b, c, 192.0.2.7"
        assert said["x-forwarded-proto"] == "https, http"
        assert said["x-forwarded-host"] == "outer, inner"
        assert said["x-forwarded-prefix"] == "/outer, /api"
        assert said["forwarded"] == "for=a;proto=https, for=192.0.2.7;host=inner;proto=http"


class TestFraming:
    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ([], (None, False)),
            ([("content-length", "0")], (0, False)),
            ([("content-length", "12")], (12, False)),
            ([("content-length", "12"), ("Content-Length", "12")], (12, False)),
            ([("content-length", "12, 12")], (12, False)),
            ([("transfer-encoding", "chunked")], (None, True)),
            ([("Transfer-Encoding", "Chunked")], (None, True)),
        ],
    )
    def test_one_reading(self, fields: list[tuple[str, str]], expected: tuple[int | None, bool]):
        found = head(*fields)
        assert (found.length, found.chunked) == expected
        assert passed(*fields) == []

    @pytest.mark.parametrize(
        "fields",
        [
            [("content-length", "1"), ("content-length", "2")],
            [("content-length", "1, 2")],
            [("content-length", "1"), ("content-length", "01")],
            *(
                [("content-length", bad)]
                for bad in ["", "+1", "-1", "0x1", "1.0", "1e3", "1 2", "\xb2", "9" * 40, "1,"]
            ),
            [("content-length", "1"), ("transfer-encoding", "chunked")],
            [("content-length", "0"), ("transfer-encoding", "identity")],
        ],
    )
    def test_two_readings(self, fields: list[tuple[str, str]]):
        assert refusal(*fields) == 400

    @pytest.mark.parametrize("coding", ["gzip, chunked", "chunked, chunked", "identity", "xchunked", "", "chunked;q=1"])
    def test_a_coding_that_is_not_understood(self, coding: str):
        assert refusal(("transfer-encoding", coding)) == 501

    def test_two_headers_of_it(self):
        assert refusal(("transfer-encoding", "chunked"), ("transfer-encoding", "identity")) == 501

    def test_http_1_0_has_no_chunks(self):
        assert refusal(("transfer-encoding", "chunked"), visit=Visit("::1", "http", "1.0")) == 400


class TestRefused:
    @pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nb", "a\0", "caf\xe9", "(x)", "x-a\x7f"])
    def test_names(self, name: str):
        assert refusal((name, "1")) == 400

    @pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\rb", "\0", "a\x0bb", "a\x7fb", "\x1b[0m"])
    def test_values(self, value: str):
        assert refusal(("x-a", value)) == 400

    @pytest.mark.parametrize(
        "name", ["X_Forwarded_For", "X-Forwarded_Proto", "Content_Length", "Transfer_Encoding", "X_Real_IP"]
    )
    def test_a_disguise(self, name: str):
        assert refusal((name, "1")) == 400

    def test_an_underscore_is_no_crime(self):
        assert passed(("api_key", "1")) == [("api_key", "1")]

    @pytest.mark.parametrize("hosts", [["a", "b"], ["a", "a"], ["a b"], ['a"b'], ["a/b"], ["a@b"], ["a,b"], ["[x]"]])
    def test_hosts(self, hosts: list[str]):
        assert refusal(*[("host", host) for host in hosts]) == 400

    @pytest.mark.parametrize("method", ["", "GET /x HTTP/1.1", "G\r\n", "(", "\u0130"])
    def test_methods(self, method: str):
        assert refusal(method=method) == 400

    def test_tunnels(self):
        assert refusal(method="CONNECT") == 501

    def test_a_circle(self):
        hops = ", ".join(["1.1 balancemw"] * 15)
        assert passed(("via", hops)) == []
        assert refusal(("via", f"{hops}, 1.1 balancemw")) == 508


WORDS = st.sampled_from(
    [b"connection", b"Content-Length", b"transfer-encoding", b"host", b"x-a", b"x_forwarded_for", b"te", b"cookie"]
)
PIECES = st.sampled_from([b"", b"5", b"chunked", b"x-a, te", b"a\r\nb", b"\0", b"a", b"caf\xe9", b"5, 6", b" 5"])


@given(st.lists(st.tuples(st.one_of(WORDS, st.binary(max_size=4)), st.one_of(PIECES, st.binary(max_size=6)))))
def test_what_passes_can_be_read_in_one_way_only(fields: list[tuple[bytes, bytes]]):
    try:
        found = request_head("POST", fields, VISIT)
    except Refused:
        return
    for name, value in found.fields:
        assert name == name.lower()
        assert not set(name) & set(b" \t\r\n\0:_") or b"_" in name
        assert not set(value) & set(b"\r\n\0")
    names = [name for name, _ in found.fields]
    ours = {b"host", b"connection", b"content-length", b"transfer-encoding", b"te", b"keep-alive", b"upgrade"}
    assert not ours & set(names)
    assert names.count(b"x-forwarded-for") == names.count(b"via") == names.count(b"forwarded") == 1
    assert not (found.chunked and found.length is not None)
