"""Which requests are forwarded, and what is left of their paths."""

from urllib.parse import quote_from_bytes, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancemw.forward import Refused, Routes, query_of
from balancemw.settings import Settings


def routes(**options: object) -> Routes:
    table = {
        "/api/inventory": "inventory",
        "/api": "gateway",
        "/Kept/": {"service": "inventory", "keep_prefix": True},
        "/mit Leer/é": "inventory",
    }
    services = {"inventory": {"nodes": []}, "gateway": {"nodes": []}, "all": {"nodes": []}}
    return Routes(Settings.load({"services": services, "routes": {**table, **options}}).routes)


ROUTES = routes()


def matched(path: str, root: str = "", table: Routes = ROUTES) -> tuple[str, str, str] | None:
    found = table.match(path.encode(), root)
    return found and (found.route.service, found.prefix, found.path)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/inventory", ("inventory", "/api/inventory", "")),
        ("/api/inventory/", ("inventory", "/api/inventory", "/")),
        ("/api/inventory/stock/1", ("inventory", "/api/inventory", "/stock/1")),
        ("/api/inventory2", ("gateway", "/api", "/inventory2")),
        ("/api/Inventory/x", ("gateway", "/api", "/Inventory/x")),
        ("/api", ("gateway", "/api", "")),
        ("/api//inventory", ("gateway", "/api", "//inventory")),
        ("/apis", None),
        ("/", None),
        ("//api", None),
        ("", None),
        ("*", None),
        ("api/x", None),
        ("http://host/api/x", None),
        ("/a%70i/x", ("gateway", "/a%70i", "/x")),
        ("/api%2finventory/x", None),
        ("/mit%20Leer/%C3%A9/x", ("inventory", "/mit%20Leer/%C3%A9", "/x")),
        ("/mit Leer/é/ü", ("inventory", "/mit%20Leer/%C3%A9", "/%C3%BC")),
        ("/Kept/x", ("inventory", "", "/Kept/x")),
        ("/kept/x", None),
    ],
)
def test_the_longest_prefix_at_a_segments_end(path: str, expected: tuple[str, str, str] | None):
    assert matched(path) == expected


def test_what_is_left_stays_as_it_was_written():
    rest = "/a%2Fb;v=1/%7e~/%zz/...//x%252e%252e/a.b/.c/d./@:!$&'()*+,="
    assert matched("/api" + rest) == ("gateway", "/api", rest)


@pytest.mark.parametrize(
    ("path", "root", "expected"),
    [
        ("/mount/api/x", "/mount", ("gateway", "/mount/api", "/x")),
        ("/mount/api/x", "/mount/", ("gateway", "/mount/api", "/x")),
        ("/api/x", "/mount", ("gateway", "/mount/api", "/x")),  # a server that leaves the root out of the path
        ("/m%6funt/api/x", "/mount", ("gateway", "/m%6funt/api", "/x")),
        ("/mount/Kept/x", "/mount", ("inventory", "/mount", "/Kept/x")),
        ("/mount/other", "/mount", None),
        ("/mount", "/mount", None),
        ("/api/x", "/api", None),
    ],
)
def test_the_root_of_the_app_is_no_part_of_it(path: str, root: str, expected: tuple[str, str, str] | None):
    assert matched(path, root) == expected


def test_the_prefix_of_everything():
    table = routes(**{"/": "all"})
    assert matched("/", table=table) == ("all", "", "/")
    assert matched("/x/y/", table=table) == ("all", "", "/x/y/")
    assert matched("/api/x", table=table) == ("gateway", "/api", "/x")
    assert matched("*", table=table) is None
    assert matched("/mount", "/mount", table) == ("all", "/mount", "")


def test_no_routes():
    assert not Routes({})
    assert Routes({}).match(b"/") is None
    assert ROUTES


DOTS = [".", "..", "%2e", "%2E", ".%2e", "%2e.", "%2e%2e", "%2E%2e", "..;", "..;x=1", ".;"]
AROUND = ["{}", "\\{}", "{}\\", "x\\{}", "%5c{}", "{}%5C..", "%2f{}", "{}%2f", "x%2F{}%2Fy", "a\\{}\\b", "{}%5c%2f"]


@pytest.mark.parametrize("dots", DOTS)
@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("where", ["/api/{}", "/api/{}/", "/api/x/{}/y", "/api/inventory//{}", "/Kept/{}"])
def test_a_way_out_is_refused(dots: str, around: str, where: str):
    with pytest.raises(Refused) as caught:
        matched(where.format(around.format(dots)))
    assert caught.value.problem.status == 400


@pytest.mark.parametrize("bad", ["\0", "%00", "x%00y", "%0a", "%0D%0A", "\x1f", "%7f", "a\tb", "a#b"])
def test_bytes_that_no_path_has_are_refused(bad: str):
    with pytest.raises(Refused):
        matched(f"/api/{bad}")


@pytest.mark.parametrize("path", ["/other/../api/x", "/other/%2e%2e/api", "/other/\0"])
def test_what_is_below_no_prefix_is_not_ours_to_judge(path: str):
    assert matched(path) is None


def test_a_query_stays_as_it_was_written():
    assert query_of(b"a=1&b=%20+;/?:@\\'&&=") == "a=1&b=%20+;/?:@\\'&&="
    assert query_of("é=ü".encode()) == "%C3%A9=%C3%BC"
    assert query_of(b"") == ""


@pytest.mark.parametrize("bad", [b"a b", b"a#b", b"a\r\nb", b"\0", b"\x7f"])
def test_a_query_that_is_none_is_refused(bad: bytes):
    with pytest.raises(Refused):
        query_of(bad)


@given(st.binary(max_size=30), st.booleans())
def test_nothing_leaves_the_prefix(rest: bytes, quote: bool):
    """However a reader decodes what is passed on, and whichever slashes it knows, it stays below the node's url."""
    raw = quote_from_bytes(rest, safe="/").encode() if quote else rest
    try:
        found = ROUTES.match(b"/api/" + raw)
    except Refused:
        return
    assert found is not None
    assert found.path.isascii()
    assert found.path.isprintable()
    assert unquote_to_bytes(found.prefix + found.path) == unquote_to_bytes(b"/api/" + raw)
    read = unquote_to_bytes(found.path).replace(b"\\", b"/")
    assert not {b".", b".."} & set(read.split(b"/"))
    assert not any(byte < 32 or byte == 127 for byte in read)


@given(st.lists(st.sampled_from(["..", ".", "%2e%2e", "api", "inventory", "", "x", "%2f..", "\\.."]), max_size=6))
def test_a_trick_is_either_refused_or_the_apps(parts: list[str]):
    path = "/" + "/".join(parts)
    try:
        found = ROUTES.match(path.encode())
    except Refused:
        assert path.startswith("/api")
        return
    assert found is None or (found.prefix + found.path == path and ".." not in unquote_to_bytes(path).decode())
