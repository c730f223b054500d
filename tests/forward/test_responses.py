"""The head of an answer, from the replica's to the client's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancemw.forward import Nonsense, Outside, bodiless, outward, response_head

NODE = "http://10.0.0.5:9001/base"
OUTSIDE = Outside("https", "shop.example", "/api/inventory", "inventory", NODE)
PLAIN = Outside("http", "shop.example:8000", "", "inventory", "http://10.0.0.5")


def head(*fields: tuple[str, str], status: int = 200, outside: Outside = OUTSIDE) -> list[tuple[str, str]]:
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
    return [(name.decode(), value.decode("latin-1")) for name, value in response_head(status, raw, outside)]


VIA = ("via", "1.1 balancemw")


class TestHeaders:
    def test_hop_by_hop_is_removed(self):
        assert head(
            ("Content-Type", "text/plain"),
            ("Connection", "close, X-Own"),
            ("X-Own", "1"),
            ("Keep-Alive", "timeout=5"),
            ("Trailer", "X-Sum"),
            ("Transfer-Encoding", "chunked"),
            ("Upgrade", "h2c"),
            ("Proxy-Authenticate", "Basic"),
        ) == [("content-type", "text/plain"), VIA]

    def test_cookies_stay_apart_and_as_they_are(self):
        cookies = [("Set-Cookie", "a=1; Path=/; Domain=inventory"), ("Set-Cookie", "b=2; Expires=Mon, 01 Jan 2035")]
        assert head(*cookies) == [(name.lower(), value) for name, value in cookies] + [VIA]

    def test_cookies_cannot_be_taken_away(self):
        assert head(("Connection", "set-cookie"), ("Set-Cookie", "a=1")) == [("set-cookie", "a=1"), VIA]

    def test_the_server_in_front_says_its_own_name_and_time(self):
        assert head(("Server", "x"), ("Date", "Mon, 01 Jan 2035 00:00:00 GMT")) == [VIA]

    def test_what_a_replica_says_of_itself_is_not_said_of_us(self):
        assert head(("X-Balancemw-State", "draining; left=3.0")) == [VIA]

    def test_via_is_added_to_what_is_there(self):
        assert head(("Via", "1.0 inner"), ("Via", "1.1 outer")) == [("via", "1.0 inner, 1.1 outer, 1.1 balancemw")]

    def test_bytes_beyond_ascii_stay(self):
        assert head(("Content-Disposition", 'filename="caf\xe9"')) == [
            ("content-disposition", 'filename="caf\xe9"'),
            VIA,
        ]

    def test_the_length_stays_where_it_means_something(self):
        length = ("content-length", "5")
        assert length in head(length)
        assert length in head(length, length)
        assert length in head(length, status=304)
        assert length not in head(length, status=204)
        assert length not in head(length, ("transfer-encoding", "chunked"))

    @pytest.mark.parametrize("status", [0, 100, 101, 103, 199, 600, 999])
    def test_a_status_that_is_no_answers(self, status: int):
        with pytest.raises(Nonsense):
            head(status=status)

    @pytest.mark.parametrize(
        "fields",
        [
            [("x-a", "a\r\nb: c")],
            [("x-a", "\0")],
            [("x a", "1")],
            [("", "1")],
            [("content-length", "5"), ("content-length", "6")],
            [("content-length", "-5")],
            [("content-length", "")],
        ],
    )
    def test_a_header_that_is_none(self, fields: list[tuple[str, str]]):
        with pytest.raises(Nonsense):
            head(*fields)


@pytest.mark.parametrize(
    ("method", "status", "expected"),
    [("GET", 200, False), ("HEAD", 200, True), ("head", 500, True), ("GET", 204, True), ("GET", 304, True)],
)
def test_which_answers_have_no_body(method: str, status: int, expected: bool):
    assert bodiless(method, status) is expected


class TestAddresses:
    @pytest.mark.parametrize(
        ("reference", "expected"),
        [
            ("http://10.0.0.5:9001/base/stock/1?a=b#c", "https://shop.example/api/inventory/stock/1?a=b#c"),
            ("http://10.0.0.5:9001/base", "https://shop.example/api/inventory"),
            ("https://10.0.0.5:9001/base/", "https://shop.example/api/inventory/"),
            ("http://inventory/base/stock/1", "https://shop.example/api/inventory/stock/1"),
            ("https://INVENTORY/base/x", "https://shop.example/api/inventory/x"),
            ("//inventory/base/x", "//shop.example/api/inventory/x"),
            ("/base/x?q", "/api/inventory/x?q"),
            ("/base", "/api/inventory"),
        ],
    )
    def test_of_the_replica_lead_to_where_it_is_seen(self, reference: str, expected: str):
        assert outward(reference, OUTSIDE) == expected

    @pytest.mark.parametrize(
        "reference",
        [
            "",
            "stock/1",
            "../x",
            "?page=2",
            "#top",
            "/other/x",
            "/basement",
            "/api/inventory/x",
            "http://10.0.0.5:9001/other",
            "http://10.0.0.5:9002/base/x",
            "http://10.0.0.5/base/x",
            "http://10.0.0.55:9001/base/x",
            "http://elsewhere.example/base/x",
            "http://inventory.evil.example/base/x",
            "http://inventory:1234/base/x",
            "//elsewhere.example/base/x",
            "mailto:a@b.example",
        ],
    )
    def test_others_stay(self, reference: str):
        assert outward(reference, OUTSIDE) == reference

    @pytest.mark.parametrize(
        ("reference", "expected"),
        [
            ("http://10.0.0.5/", "http://shop.example:8000/"),
            ("http://10.0.0.5", "http://shop.example:8000/"),
            ("http://10.0.0.5:80/x", "http://shop.example:8000/x"),
            ("/x", "/x"),
            ("//evil.example", "//evil.example"),
        ],
    )
    def test_without_a_prefix(self, reference: str, expected: str):
        assert outward(reference, PLAIN) == expected

    def test_none_becomes_that_of_another_host(self):
        base = Outside("http", "shop.example", "", "inventory", NODE)
        assert outward("/base//evil.example/x", base) == "/base//evil.example/x"
        assert outward("/base/x", base) == "/x"

    def test_ipv6(self):
        outside = Outside("http", "shop.example", "/p", "inventory", "http://[::1]:9001")
        assert outward("http://[::1]:9001/x", outside) == "http://shop.example/p/x"

    def test_a_client_that_named_no_host(self):
        nameless = Outside("http", None, "/p", "inventory", NODE)
        assert outward("http://10.0.0.5:9001/base/x", nameless) == "http://10.0.0.5:9001/base/x"

    def test_in_the_headers(self):
        fields = ("Location", "http://inventory/base/x"), ("Content-Location", "/base/y"), ("Link", "</base/z>")
        assert head(*fields, status=302)[:3] == [
            ("location", "https://shop.example/api/inventory/x"),
            ("content-location", "/api/inventory/y"),
            ("link", "</base/z>"),
        ]

    @pytest.mark.parametrize("odd", ["http://[", "http://10.0.0.5:x/base", "caf\xe9", "http://10.0.0.5:99999/base"])
    def test_what_is_no_url_stays(self, odd: str):
        assert ("location", odd) in head(("Location", odd), status=302)

    @given(st.text(alphabet="/:.#?[]@abhptsevil105", max_size=30))
    def test_anything(self, reference: str):
        try:
            found = outward(reference, OUTSIDE)
        except ValueError:
            return
        assert found == reference or "/api/inventory" in found

    def test_what_an_app_has_led_to_the_outside_itself_stays(self):
        inside = Outside("http", "shop.example", "/api", "inventory", "http://10.0.0.5")
        assert outward("/api/stock/1?x=1", inside) == "/api/stock/1?x=1"
        assert outward("/stock/1?x=1", inside) == "/api/stock/1?x=1"
