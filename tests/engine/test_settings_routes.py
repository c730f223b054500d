"""Routes in the settings: prefixes in one form, and every mistake told where it was written."""

import pickle
from typing import Any

import pytest

from balancemw.errors import SettingsError
from balancemw.settings import RouteSettings, Settings, advice

SERVICES = {"inventory": {"nodes": ["http://a:1"]}, "pay": {"nodes": ["http://b:1"], "retry": {"attempts": 1}}}


def load(routes: Any, services: Any = SERVICES) -> Settings:
    return Settings.load({"services": services, "routes": routes})


def problems(routes: Any, services: Any = SERVICES) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(routes, services)
    return list(caught.value.problems)


def test_there_are_none_unless_told():
    assert Settings.load({"services": {}}).routes == {}


def test_short_and_long_form():
    routes = load(
        {"/api/inventory": "inventory", "/pay": {"service": "pay", "keep_prefix": True, "body_limit": 0}}
    ).routes
    assert routes == {
        "/api/inventory": RouteSettings(service="inventory", keep_prefix=False, body_limit=65536),
        "/pay": RouteSettings(service="pay", keep_prefix=True, body_limit=0),
    }


@pytest.mark.parametrize(
    ("written", "normal"),
    [("/", "/"), ("/a/", "/a"), ("/a%20b", "/a b"), ("/a b", "/a b"), ("/%C3%A9/x.y", "/é/x.y"), ("/a%3Fb", "/a?b")],
)
def test_a_prefix_has_one_form(written: str, normal: str):
    assert list(load({written: "pay"}).routes) == [normal]


@pytest.mark.parametrize(
    ("prefix", "text"),
    [
        ("", "a prefix must begin with '/'"),
        ("api", "a prefix must begin with '/'"),
        ("http://a/b", "a prefix must begin with '/'"),
        ("/a?b", "a prefix has no query and no fragment"),
        ("/a#b", "a prefix has no query and no fragment"),
        ("/a%2", "a '%' in a prefix is followed by two hexadecimal digits"),
        ("/a%zz", "a '%' in a prefix is followed by two hexadecimal digits"),
        ("/%ff", "a prefix is text; percent-encoded, that of UTF-8"),
        ("/\ud800", "a prefix is text; percent-encoded, that of UTF-8"),
        ("/a\nb", "a prefix has no control characters"),
        ("/a%00b", "a prefix has no control characters"),
        ("/a%7F", "a prefix has no control characters"),
        ("/a\\b", "a prefix has no backslash and no encoded slash"),
        ("/a%5cb", "a prefix has no backslash and no encoded slash"),
        ("/a%2fb", "a prefix has no backslash and no encoded slash"),
        ("//", "a prefix has no empty segments and none that are '.' or '..'"),
        ("/a//b", "a prefix has no empty segments and none that are '.' or '..'"),
        ("/a/../b", "a prefix has no empty segments and none that are '.' or '..'"),
        ("/a/%2E", "a prefix has no empty segments and none that are '.' or '..'"),
        ("/a/..;x", "a prefix has no empty segments and none that are '.' or '..'"),
    ],
)
def test_what_is_no_prefix(prefix: str, text: str):
    (found,) = problems({prefix: "pay"})
    assert found.startswith("routes.")
    assert found.endswith(f": {text}")


@pytest.mark.parametrize(
    ("routes", "lines"),
    [
        ([], ["routes: expected a mapping, got a list"]),
        ({5: "pay"}, ["routes: every key must be a string, got 5"]),
        ({"/a": "inventry"}, ["routes.\"/a\": no service 'inventry'; did you mean 'inventory'?"]),
        ({"/a": "Pay"}, ["routes.\"/a\": no service 'Pay'; did you mean 'pay'?"]),
        ({"/a": None}, ['routes."/a": expected the name of a service or a mapping with one, got None']),
        ({"/a": {}}, ['routes."/a".service: missing; write the name of a service']),
        ({"/a": {"service": 5}}, ['routes."/a".service: expected a string, got 5']),
        (
            {"/a": {"service": "inventry", "keep_prefx": True, "body_limit": "1"}},
            [
                "routes.\"/a\".body_limit: expected a whole number, got '1'; write it without quotes",
                "routes.\"/a\".keep_prefx: unknown key; did you mean 'keep_prefix'?",
                "routes.\"/a\".service: no service 'inventry'; did you mean 'inventory'?",
            ],
        ),
        ({"/a": {"service": "pay", "body_limit": -1}}, ['routes."/a".body_limit: must be at least 0, got -1']),
        ({"/a": {"service": "pay", "keep_prefix": 1}}, ['routes."/a".keep_prefix: expected true or false, got 1']),
        ({"/a b": "pay", "/a%20b/": "inventory"}, ['routes."/a%20b/": the same prefix as routes."/a b"']),
    ],
)
def test_each_problem_in_its_place(routes: Any, lines: list[str]):
    assert problems(routes) == lines


def test_problems_of_routes_come_with_all_others():
    found = problems({"/a/": "nobody", "/a": "pay"}, {"pay": {"nodes": [], "timeout": 0}})
    assert found == [
        "services.pay.timeout: must be above 0, got 0",
        "routes.\"/a/\": no service 'nobody'",
        'routes."/a": the same prefix as routes."/a/"',
    ]


def test_a_service_that_is_itself_wrong_is_there_all_the_same():
    assert problems({"/a": "pay"}, {"pay": 5}) == [
        'services.pay: expected a mapping, got 5; write {"nodes": ["http://host:port"]}'
    ]


def test_settings_with_routes_can_be_pickled_and_not_changed():
    settings = load({"/a": "pay"})
    assert pickle.loads(pickle.dumps(settings)) == settings
    with pytest.raises(TypeError):
        settings.routes["/b"] = settings.routes["/a"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("routes", "lines"),
    [
        ({"/": "inventory", "/a": {"service": "inventory", "keep_prefix": True, "body_limit": 1}}, []),
        (
            {"/": {"service": "inventory", "keep_prefix": True}},
            ["routes.\"/\".keep_prefix: has no effect with '/': there is nothing to take off"],
        ),
        (
            {"/p": {"service": "pay", "body_limit": 5}},
            ["routes.\"/p\".body_limit: has no effect with retry.attempts = 1 of service 'pay': nothing is sent again"],
        ),
        (
            {"/p": {"service": "inventory", "body_limit": 2**30}},
            ['routes."/p".body_limit: 1073741824 bytes: so much may be held in memory for each request under way'],
        ),
    ],
)
def test_advice(routes: Any, lines: list[str]):
    assert advice(load(routes)) == lines
