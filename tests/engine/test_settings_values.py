"""Values that are wrong: each key says what it takes and what it got."""

from typing import Any

import pytest

from balancemw.errors import SettingsError
from balancemw.settings import Settings, parse_nodes


def problems(source: Any) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        Settings.load(source)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None  # pydantic's own error would show values in a traceback
    return list(caught.value.problems)


def of_service(own: dict[Any, Any]) -> list[str]:
    """The problems of one service, without its name in front."""
    found = problems({"services": {"inventory": {"nodes": ["http://a:1"], **own}}})
    assert all(problem.startswith("services.inventory") for problem in found)
    return [problem.removeprefix("services.inventory").removeprefix(".") for problem in found]


def nested(key: str, value: object) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    assert isinstance(value, dict)
    if "probe" in value and "kind" not in value["probe"]:
        value["probe"]["kind"] = "http"
    return value


SECONDS = [
    "timeout",
    "attempt_timeout",
    "ejection.window",
    "ejection.base",
    "ejection.max",
    "probe.interval",
    "probe.timeout",
    "probe.fast_interval",
    "probe.down_interval",
]
SECONDS_OR_ZERO = [
    "retry.backoff",
    "retry.backoff_max",
    "retry.retry_after_max",
    "retry.budget_floor",
    "slow_start.window",
]
SHARES = ["retry.budget", "ejection.success_rate", "ejection.keep", "probe.jitter", "slow_start.min_weight"]
COUNTS = ["retry.attempts", "ejection.min_calls", "probe.fall", "probe.rise"]


class TestValues:
    @pytest.mark.parametrize("key", SECONDS)
    @pytest.mark.parametrize("value", [0, -1, -0.5])
    def test_times_are_above_zero(self, key: str, value: float):
        if key == "ejection.max":
            assert of_service({"ejection": {"max": value}}) == [f"{key}: must be above 0, got {value}"]
        assert of_service(nested(key, value)) == [f"{key}: must be above 0, got {value}"]

    @pytest.mark.parametrize("key", [*SECONDS_OR_ZERO, *SHARES[:-1], "ejection.consecutive"])
    def test_what_may_be_zero_is_not_negative(self, key: str):
        assert of_service(nested(key, -1)) == [f"{key}: must be at least 0, got -1"]

    @pytest.mark.parametrize("key", SHARES)
    def test_shares_are_not_per_cent(self, key: str):
        assert of_service(nested(key, 20)) == [f"{key}: must be at most 1, got 20"]

    def test_a_ramp_begins_above_zero(self):
        assert of_service(nested("slow_start.min_weight", 0)) == ["slow_start.min_weight: must be above 0, got 0"]

    @pytest.mark.parametrize("key", COUNTS)
    def test_counts_begin_at_one(self, key: str):
        assert of_service(nested(key, 0)) == [f"{key}: must be at least 1, got 0"]

    @pytest.mark.parametrize(("value", "got"), [(0, "at least 1, got 0"), (-5, "at least 1, got -5")])
    def test_a_subset_has_a_node_at_least(self, value: int, got: str):
        assert of_service({"subset": value}) == [f"subset: must be {got}"]

    @pytest.mark.parametrize("key", [*COUNTS, "ejection.consecutive"])
    @pytest.mark.parametrize(
        ("value", "got"),
        [
            (True, "True"),
            (2.0, "2.0"),
            ("3", "'3'; write it without quotes"),
            ("three", "'three'"),
            (None, "None"),
            ([3], "a list"),
        ],
    )
    def test_counts_are_whole_numbers(self, key: str, value: object, got: str):
        assert of_service(nested(key, value)) == [f"{key}: expected a whole number, got {got}"]

    @pytest.mark.parametrize("key", [*SECONDS, *SECONDS_OR_ZERO, *SHARES])
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (False, "expected a number, got False"),
            ("5", "expected a number, got '5'; write it without quotes"),
            ("5s", "expected a number, got '5s'"),
            ({}, "expected a number, got a mapping"),
            (1 + 2j, "expected a number, got a value of type complex"),
            (float("nan"), "must be a finite number, got nan"),
            (float("inf"), "must be a finite number, got inf"),
            (10**400, "must be a finite number, got one too large"),
        ],
    )
    def test_numbers_are_numbers(self, key: str, value: object, text: str):
        assert of_service(nested(key, value)) == [f"{key}: {text}"]

    @pytest.mark.parametrize("key", SECONDS[2:])
    def test_not_everything_may_be_null(self, key: str):
        assert of_service(nested(key, None)) == [f"{key}: expected a number, got None"]

    @pytest.mark.parametrize("value", [99, 600, -1])
    def test_statuses(self, value: int):
        limit = "at most 599" if value == 600 else "at least 100"
        assert of_service({"retry": {"statuses": [500, value]}}) == [f"retry.statuses[1]: must be {limit}, got {value}"]

    @pytest.mark.parametrize("value", [True, "500", 500.0, None])
    def test_statuses_are_whole_numbers(self, value: object):
        found = of_service({"retry": {"statuses": [value]}})
        hint = "; write it without quotes" if value == "500" else ""
        assert found == [f"retry.statuses[0]: expected a whole number, got {value!r}{hint}"]

    @pytest.mark.parametrize("section", ["retry", "ejection", "slow_start"])
    @pytest.mark.parametrize(("value", "got"), [(None, "None"), (5, "5"), ("x", "'x'"), ([], "a list")])
    def test_a_section_is_a_mapping(self, section: str, value: object, got: str):
        assert of_service({section: value}) == [f"{section}: expected a mapping, got {got}"]


class TestLists:
    @pytest.mark.parametrize(
        ("own", "text"),
        [
            ({"nodes": "http://x"}, 'nodes: expected a list of urls, got one string; write ["http://x"]'),
            ({"nodes": ""}, 'nodes: expected a list of urls, got one string; write ["http://host:port"]'),
            ({"nodes": "http://u:p@x"}, 'nodes: expected a list of urls, got one string; write ["http://host:port"]'),
            ({"nodes": "http://x?t=p"}, 'nodes: expected a list of urls, got one string; write ["http://host:port"]'),
            ({"nodes": {"url": 1}}, 'nodes: expected a list of urls, got a mapping; write ["http://host:port"]'),
            ({"nodes": None}, 'nodes: expected a list of urls, got None; write ["http://host:port"]'),
            ({"nodes": 8000}, 'nodes: expected a list of urls, got 8000; write ["http://host:port"]'),
            ({"nodes": {"http://a"}}, 'nodes: expected a list of urls, got a list; write ["http://host:port"]'),
            ({"retry": {"statuses": 503}}, "retry.statuses: expected a list of statuses, got 503; write [503]"),
            (
                {"retry": {"statuses": "503"}},
                "retry.statuses: expected a list of statuses, got one string; write [502, 503, 504]",
            ),
            (
                {"retry": {"statuses": True}},
                "retry.statuses: expected a list of statuses, got True; write [502, 503, 504]",
            ),
            (
                {"probe": {"kind": "http", "expect": 200}},
                "probe.expect: expected a list of statuses or ranges of them, got 200; write [200]",
            ),
        ],
    )
    def test_a_list_is_a_list(self, own: dict[str, Any], text: str):
        assert of_service(own) == [text]

    def test_a_header_alone_is_no_list(self):
        found = problems({"services": {}, "inbound": {"deadline_headers": "x-left"}})
        assert found == ['inbound.deadline_headers: expected a list of header names, got one string; write ["x-left"]']


class TestNodes:
    @pytest.mark.parametrize(
        ("node", "text"),
        [
            (5, "nodes[1]: expected a url or a mapping with one, got 5"),
            (None, "nodes[1]: expected a url or a mapping with one, got None"),
            (["http://b"], "nodes[1]: expected a url or a mapping with one, got a list"),
            ("b:80", "nodes[1]: expected a url like 'http://host:port', got 'b:80'"),
            ("ftp://b", "nodes[1]: expected a url like 'http://host:port', got 'ftp://b'"),
            ("http://b/?q", "nodes[1]: a node's url has no query and no fragment"),
            ("http://b c", "nodes[1]: a url has no spaces or control characters"),
            ("http://b:0", "nodes[1]: a port is a number from 1 to 65535"),
            ("http://b:99999", "nodes[1]: a port is a number from 1 to 65535"),
            ("http://u:hunter2@b", "nodes[1]: expected a url like 'http://host:port', without a user or password"),
            ("http://u:[hunter2]@b", "nodes[1]: expected a url like 'http://host:port', without a user or password"),
            ("http://u:hunter2@b℀", "nodes[1]: expected a url like 'http://host:port', without a user or password"),
            ({"url": 5}, "nodes[1].url: expected a url like 'http://host:port', got int"),
            ({}, 'nodes[1].url: missing; write "http://host:port"'),
            ({"url": "http://b", "weight": 0}, "nodes[1].weight: must be above 0, got 0"),
            (
                {"url": "http://b", "weight": "2"},
                "nodes[1].weight: expected a number, got '2'; write it without quotes",
            ),
            ({"url": "http://b", "weigth": 2}, "nodes[1].weigth: unknown key; did you mean 'weight'?"),
            ({"url": "http://b", "zone": 5}, "nodes[1].zone: expected a string, got 5"),
            ({"url": "http://b", "priority": 1.0}, "nodes[1].priority: expected a whole number, got 1.0"),
            ({"url": "http://b", "metadata": []}, "nodes[1].metadata: expected a mapping, got a list"),
            ({"url": "http://b", "metadata": {5: 1}}, "nodes[1].metadata: every key must be a string, got 5"),
            ({"url": "http://b", 5: 1}, "nodes[1]: every key must be a string, got 5"),
            ("HTTP://A:1/", "nodes[1]: the same node as nodes[0]; urls must be unique in a service"),
        ],
    )
    def test_each_in_its_place(self, node: object, text: str):
        assert of_service({"nodes": ["http://a:1", node]}) == [text]

    def test_the_port_of_the_scheme_makes_no_difference(self):
        found = of_service({"nodes": ["https://a:443", {"url": "https://A"}, "http://a:443"]})
        assert found == ["nodes[1]: the same node as nodes[0]; urls must be unique in a service"]

    def test_duplicates_are_told_with_everything_else(self):
        found = of_service({"nodes": ["http://a", {"url": "http://a/", "weight": -1}, 5, "http://a"]})
        assert found == [
            "nodes[1].weight: must be above 0, got -1",
            "nodes[2]: expected a url or a mapping with one, got 5",
            "nodes[1]: the same node as nodes[0]; urls must be unique in a service",
            "nodes[3]: the same node as nodes[0]; urls must be unique in a service",
        ]

    def test_missing(self):
        found = problems({"services": {"pay": {}}})
        assert found == ['services.pay.nodes: missing; write ["http://host:port"]']

    def test_parse_nodes_tells_the_same_by_the_key_it_is_given(self):
        nodes = ["http://a", {"url": "http://b", "weight": -1, "wieght": 1}, "http://a"]
        with pytest.raises(SettingsError) as caught:
            parse_nodes(nodes)
        assert caught.value.problems == (
            "nodes[1].weight: must be above 0, got -1",
            "nodes[1].wieght: unknown key; did you mean 'weight'?",
            "nodes[2]: the same node as nodes[0]; urls must be unique in a service",
        )
        with pytest.raises(SettingsError) as caught:
            parse_nodes([5], key="services.inventory.nodes")
        assert caught.value.problems == ("services.inventory.nodes[0]: expected a url or a mapping with one, got 5",)

    @pytest.mark.parametrize("nodes", ["http://x", {"url": "http://x"}, 5, None, b"x"])
    def test_parse_nodes_wants_a_list(self, nodes: Any):
        with pytest.raises(SettingsError, match="nodes: expected a list of urls"):
            parse_nodes(nodes)


class TestProbe:
    @pytest.mark.parametrize(
        ("hedge", "text"),
        [
            ("p95", 'hedge: expected a mapping, true or false, got \'p95\'; write {"delay": "p95"}'),
            (0.05, 'hedge: expected a mapping, true or false, got 0.05; write {"delay": "p95"}'),
            ([], "hedge: expected a mapping, got a list"),
            ({"delay": "95"}, "hedge.delay: expected a percentile like \"p95\" or seconds like 0.05, got '95'"),
            ({"delay": "p100"}, "hedge.delay: expected a percentile like \"p95\" or seconds like 0.05, got 'p100'"),
            ({"delay": "p0"}, "hedge.delay: expected a percentile like \"p95\" or seconds like 0.05, got 'p0'"),
            ({"delay": True}, 'hedge.delay: expected a percentile like "p95" or seconds like 0.05, got True'),
            ({"delay": None}, 'hedge.delay: expected a percentile like "p95" or seconds like 0.05, got None'),
            ({"delay": 0}, "hedge.delay: must be a finite number and at least 0.001, got 0"),
            ({"delay": float("nan")}, "hedge.delay: must be a finite number and at least 0.001, got nan"),
            ({"max_extra": 0}, "hedge.max_extra: must be above 0, got 0"),
            ({"max_extra": 5}, "hedge.max_extra: must be at most 1, got 5"),
            ({"extra": 1}, "hedge.extra: unknown key; did you mean 'max_extra'?"),
        ],
    )
    def test_hedging(self, hedge: object, text: str):
        assert of_service({"hedge": hedge}) == [text]

    @pytest.mark.parametrize(
        ("probe", "text"),
        [
            ("tcp", 'probe: expected a mapping, true or false, got \'tcp\'; write {"kind": "tcp"}'),
            (5, "probe: expected a mapping, got 5"),
            ({}, 'probe.kind: missing; write "http", "tcp" or "package.module:callable"'),
            ({"kind": 5}, "probe.kind: expected a string, got 5"),
            (
                {"kind": "htp"},
                "probe.kind: unknown kind 'htp'; did you mean 'http'? "
                '(known: http, tcp, or "package.module:callable")',
            ),
            ({"kind": "os:sep"}, "probe.kind: 'os:sep' is not callable"),
            (
                {"kind": "no_such:thing"},
                "probe.kind: cannot import 'no_such:thing': ModuleNotFoundError: No module named 'no_such'",
            ),
            ({"kind": "tcp", "call": print}, "probe.call: unknown key; did you mean 'fall'?"),
            ({"kind": "http", "path": "up"}, "probe.path: must begin with '/', got 'up'"),
            ({"kind": "http", "path": "/a b"}, "probe.path: a path has no spaces, control characters or fragment"),
            ({"kind": "http", "path": "/a#b"}, "probe.path: a path has no spaces, control characters or fragment"),
            ({"kind": "http", "method": "G T"}, "probe.method: expected a method like 'GET', got 'G T'"),
            (
                {"kind": "http", "expect": []},
                "probe.expect: with an empty list no check could ever pass; write [[200, 399]]",
            ),
            ({"kind": "http", "expect": [[399, 200]]}, "probe.expect[0]: a range goes upwards: write [200, 399]"),
        ],
    )
    def test_each_in_its_place(self, probe: object, text: str):
        assert of_service({"probe": probe}) == [text]

    @pytest.mark.parametrize(
        ("item", "got"),
        [
            (99, "99"),
            ("2xx", "'2xx'"),
            (True, "True"),
            ([200], "[200]"),
            ([200, 300, 400], "[200, 300, 400]"),
            ([200, "399"], "[200, '399']"),
            ([0, 700], "[0, 700]"),
        ],
    )
    def test_one_fault_is_one_line(self, item: object, got: str):
        found = of_service({"probe": {"kind": "http", "expect": [200, item]}})
        assert found == [f"probe.expect[1]: expected a status (100 to 599) or a range like [200, 399], got {got}"]
