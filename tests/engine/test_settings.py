"""Settings that are right: defaults, merging, ranges, and what comes out of them."""

import copy
import dataclasses
import math
import pickle
import sys
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from balancemw.node import Node
from balancemw.settings import (
    EjectionSettings,
    HedgeSettings,
    InboundSettings,
    ProbeSettings,
    RetrySettings,
    ServiceSettings,
    Settings,
    SlowStartSettings,
    StrategySettings,
    parse_nodes,
)


@pytest.fixture
def strategy_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    code = "class Own:\n    def __init__(self, *, rng, factor=1): ...\n    def picker(self, available, everyone): ...\n"
    (tmp_path / "own_strategies.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    yield "own_strategies"
    sys.modules.pop("own_strategies", None)


def service(own: dict[str, Any] | None = None, **rest: Any) -> ServiceSettings:
    """The one service of settings that hold `own` beside a node, and `rest` beside the services."""
    return Settings.load({"services": {"inventory": {"nodes": ["http://a:1"], **(own or {})}}, **rest}).services[
        "inventory"
    ]


def test_defaults_of_a_service():
    found = service()
    assert found.nodes == (Node("http://a:1"),)
    assert found.strategy == StrategySettings("peak_ewma", {})
    assert (found.timeout, found.attempt_timeout, found.probe) == (30, 10, None)
    assert dataclasses.asdict(found.retry) == {
        "attempts": 3,
        "backoff": 0.025,
        "backoff_max": 0.25,
        "statuses": frozenset({502, 503, 504}),
        "retry_after_max": 300,
        "budget": 0.2,
        "budget_floor": 10,
    }
    assert dataclasses.asdict(found.ejection) == {
        "consecutive": 5,
        "success_rate": 0.8,
        "min_calls": 5,
        "window": 10,
        "base": 5,
        "max": 300,
        "keep": 0.5,
        "slow": 2.0,
    }
    assert dataclasses.asdict(found.slow_start) == {"window": 10, "min_weight": 0.1}
    assert (found.zone, found.subset) == ("", None)


def test_defaults_of_inbound():
    inbound = Settings.load({"services": {}}).inbound
    assert inbound.deadline_headers == ("x-request-timeout-ms", "x-envoy-expected-rq-timeout-ms", "grpc-timeout")
    assert (inbound.timeout, inbound.chain_stop, inbound.report_load) == (None, True, True)
    assert (inbound.health_path, inbound.drain_seconds) == (None, 5)


@pytest.mark.parametrize("probe", [True, {"kind": "tcp"}])
def test_defaults_of_a_probe(probe: object):
    assert dataclasses.asdict(service({"probe": probe}).probe) == {
        "kind": "tcp",
        "path": "/",
        "method": "GET",
        "expect": ((200, 399),),
        "interval": 5,
        "timeout": 2,
        "fall": 3,
        "rise": 2,
        "jitter": 0.2,
        "fast_interval": 1,
        "down_interval": 10,
        "call": None,
    }


@pytest.mark.parametrize("probe", [False, None])
def test_no_probe(probe: object):
    assert service({"probe": probe}).probe is None
    assert service({"probe": probe}, defaults={"probe": True}).probe is None


SECTIONS: dict[str, tuple[dict[str, Any], object]] = {
    "retry": (
        {
            "attempts": 1,
            "backoff": 0,
            "backoff_max": 1,
            "statuses": [HTTPStatus.BAD_GATEWAY, 500],
            "retry_after_max": 0,
            "budget": 0,
            "budget_floor": 0,
        },
        RetrySettings(
            attempts=1,
            backoff=0,
            backoff_max=1,
            statuses=frozenset({500, 502}),
            retry_after_max=0,
            budget=0,
            budget_floor=0,
        ),
    ),
    "ejection": (
        {
            "consecutive": 0,
            "success_rate": 0,
            "min_calls": 1,
            "window": 0.5,
            "base": 1,
            "max": 1,
            "keep": 0,
            "slow": 3,
        },
        EjectionSettings(consecutive=0, success_rate=0, min_calls=1, window=0.5, base=1, max=1, keep=0, slow=3),
    ),
    "probe": (
        {
            "kind": "http",
            "path": "/up?deep=1",
            "method": "head",
            "expect": [204, [300, 301], (400, 499)],
            "interval": 1,
            "timeout": 0.5,
            "fall": 1,
            "rise": 1,
            "jitter": 0,
            "fast_interval": 0.1,
            "down_interval": 3,
        },
        ProbeSettings(
            kind="http",
            path="/up?deep=1",
            method="HEAD",
            expect=((204, 204), (300, 301), (400, 499)),
            interval=1,
            timeout=0.5,
            fall=1,
            rise=1,
            jitter=0,
            fast_interval=0.1,
            down_interval=3,
        ),
    ),
    "slow_start": ({"window": 0, "min_weight": 1}, SlowStartSettings(window=0, min_weight=1)),
    "hedge": ({"delay": "p90", "max_extra": 0.02}, HedgeSettings(delay="p90", max_extra=0.02)),
}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_of_a_section_is_taken(section: str):
    given, expected = SECTIONS[section]
    assert given.keys() == keys_of(type(expected)) - {"call"}  # which goes with another kind of probe
    assert getattr(service({section: given}), section) == expected


def test_every_key_of_a_service_is_taken():
    nodes = [
        "HTTP://Host/",
        {"url": "https://h/p/", "weight": 2, "zone": "z", "priority": 3, "metadata": {"rack": [1]}},
        Node("http://made", weight=4),
    ]
    plain = {"timeout": 5, "attempt_timeout": 1.5, "zone": "z", "subset": 1, "host_header": "node"}
    given = {"nodes": nodes, "strategy": {"name": "random"}, **plain}
    assert given.keys() == keys_of(ServiceSettings) - SECTIONS.keys() - {"discovery"}
    found = Settings.load({"services": {"a-b_c.D1": given}}).services["a-b_c.D1"]
    assert [node.url for node in found.nodes] == ["http://host", "https://h/p", "http://made"]
    assert found.nodes[1] == Node("https://h/p", 2.0, "z", 3, {"rack": [1]})
    assert found.strategy == StrategySettings("random")
    assert {key: getattr(found, key) for key in plain} == plain


def test_every_key_of_inbound_requests_is_taken():
    plain = {"timeout": 3, "chain_stop": False, "health_path": "/up", "drain_seconds": 2, "report_load": False}
    given = {"deadline_headers": ("X-Left",), **plain}
    assert given.keys() == keys_of(InboundSettings)
    found = Settings.load({"services": {}, "inbound": given}).inbound
    assert found.deadline_headers == ("x-left",)
    assert {key: getattr(found, key) for key in plain} == plain


def keys_of(settings: type) -> set[str]:
    return {field.name for field in dataclasses.fields(settings)}


@pytest.mark.parametrize("key", ["timeout", "attempt_timeout"])
def test_no_limit(key: str):
    assert getattr(service({key: None}), key) is None


def test_times_are_floats_whatever_was_written():
    assert isinstance(service({"timeout": 5}).timeout, float)


def test_an_empty_list_of_nodes_and_no_service_at_all_are_fine():
    assert service({"nodes": []}).nodes == ()
    assert Settings.load({"services": {}}).services == {}


def test_services_keep_their_order():
    names = ["z", "a", "m"]
    assert list(Settings.load({"services": {name: {"nodes": []} for name in names}}).services) == names


class TestDefaults:
    def test_are_merged_key_by_key(self):
        found = service(
            {"retry": {"attempts": 5}, "ejection": {"keep": 1}, "slow_start": {"window": 1}},
            defaults={
                "retry": {"attempts": 2, "backoff": 1},
                "ejection": {"base": 9},
                "slow_start": {"min_weight": 0.5},
                "timeout": 7,
            },
        )
        assert found.retry == RetrySettings(attempts=5, backoff=1)
        assert found.ejection == EjectionSettings(base=9, keep=1)
        assert found.slow_start == SlowStartSettings(window=1, min_weight=0.5)
        assert found.timeout == 7

    def test_a_strategy_is_replaced_whole(self, strategy_module: str):
        theirs = {"name": f"{strategy_module}:Own", "factor": 2}
        assert service(defaults={"strategy": theirs}).strategy.options == {"factor": 2}
        assert service({"strategy": {"name": "random"}}, defaults={"strategy": theirs}).strategy.options == {}

    def test_probe_true_replaces(self):
        found = service({"probe": True}, defaults={"probe": {"kind": "http", "interval": 1}})
        assert found.probe == ProbeSettings(kind="tcp")

    def test_a_probe_over_probe_true_is_tcp(self):
        found = service({"probe": {"interval": 1}}, defaults={"probe": True})
        assert found.probe == ProbeSettings(kind="tcp", interval=1)

    def test_the_kind_of_probe_may_come_from_either_side(self):
        own, theirs = {"kind": "http"}, {"interval": 1}
        expected = ProbeSettings(kind="http", interval=1)
        assert service({"probe": own}, defaults={"probe": theirs}).probe == expected
        assert service({"probe": theirs}, defaults={"probe": own}).probe == expected

    def test_null_wins_over_a_default(self):
        assert service({"timeout": None}, defaults={"timeout": 3}).timeout is None

    def test_lists_are_replaced(self):
        found = service({"retry": {"statuses": [500]}}, defaults={"retry": {"statuses": [502]}})
        assert found.retry.statuses == {500}

    def test_what_contradicts_the_defaults_alone_may_be_mended_in_each_service(self):
        assert service({"ejection": {"max": 900}}, defaults={"ejection": {"base": 600}}).ejection.base == 600

    def test_any_kind_of_mapping_will_do(self):
        proxy = MappingProxyType
        source = proxy(
            {
                "services": proxy({"a": proxy({"nodes": [proxy({"url": "http://a", "metadata": proxy({"k": 1})})]})}),
                "defaults": proxy({"retry": proxy({"attempts": 2}), "strategy": proxy({"name": "random"})}),
                "inbound": proxy({"timeout": 1}),
            }
        )
        settings = Settings.load(source)
        assert settings.services["a"].retry.attempts == 2
        assert settings.services["a"].nodes[0].metadata == {"k": 1}
        assert settings.inbound.timeout == 1

    def test_the_users_mapping_is_left_alone(self):
        source = {
            "services": {"a": {"nodes": [{"url": "HTTP://A/"}], "probe": True, "retry": {"attempts": 2}}},
            "defaults": {"retry": {"backoff": 1}, "probe": {"kind": "tcp"}},
            "inbound": {"deadline_headers": ["X-A"]},
        }
        before = copy.deepcopy(source)
        Settings.load(source)
        assert source == before


class TestObjects:
    def test_settings_already_loaded_are_taken_as_they_are(self):
        settings = Settings.load({"services": {}})
        assert Settings.load(settings) is settings

    def test_settings_cannot_be_made_out_of_what_is_not_checked(self):
        with pytest.raises(TypeError, match=r"Settings\.load"):
            Settings({"a": {"nodes": []}}, InboundSettings())  # type: ignore[dict-item]

    def test_nothing_can_be_changed(self):
        settings = Settings.load({"services": {"a": {"nodes": ["http://a"], "probe": True}}})
        found = settings.services["a"]
        with pytest.raises(TypeError):
            settings.services["b"] = found  # type: ignore[index]
        with pytest.raises(TypeError):
            found.strategy.options["x"] = 1  # type: ignore[index]
        for part in (settings, found, found.retry, found.ejection, found.probe, found.slow_start, settings.inbound):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(part, dataclasses.fields(part)[0].name, None)  # type: ignore[arg-type]

    def test_they_can_be_pickled_copied_compared_and_hashed(self):
        source = {"services": {"a": {"nodes": ["http://a"], "probe": {"kind": "builtins:bool"}, "strategy": "random"}}}
        settings = Settings.load(source)
        for twin in (pickle.loads(pickle.dumps(settings)), copy.deepcopy(settings), Settings.load(source)):
            assert twin == settings
            assert hash(twin) == hash(settings)
            assert twin.services["a"].probe.call is bool

    def test_parts_made_by_hand_are_checked_as_well(self):
        assert ServiceSettings(nodes=["http://a"]).nodes == (Node("http://a"),)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="attempts"):
            RetrySettings(attempts=0)
        part = RetrySettings(attempts=7)
        assert service({"retry": part, "strategy": StrategySettings("random")}).retry is part


def test_a_probe_of_ones_own_is_imported():
    found = service({"probe": {"kind": "math:isfinite"}}).probe
    assert found is not None
    assert (found.kind, found.call) == ("math:isfinite", math.isfinite)


class TestParseNodes:
    def test_takes_urls_mappings_and_nodes(self):
        made = Node("http://c", weight=3)
        found = parse_nodes(iter(["http://A/", {"url": "http://b", "weight": 2}, made]))
        assert found == (Node("http://a"), Node("http://b", 2), made)
        assert found[2] is made

    @pytest.mark.parametrize("nodes", [[], (), iter([]), set()])
    def test_takes_nothing(self, nodes: Any):
        assert parse_nodes(nodes) == ()

    def test_addresses_that_differ_in_scheme_port_or_path_are_different_nodes(self):
        urls = ["http://a", "https://a", "http://a:81", "http://a/x", "http://a/y"]
        assert [node.url for node in parse_nodes(urls)] == urls
