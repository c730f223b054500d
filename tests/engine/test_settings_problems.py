"""Settings that are wrong: every problem is told, once, in the words of whoever wrote them."""

import dataclasses
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel

from balancemw.errors import SettingsError
from balancemw.settings import RetrySettings, ServiceSettings, Settings

HOW_TO_NAME = (
    "the name must be usable as a host's: letters, digits, '-', '_' and '.', neither '-' nor '.' at an end, "
    "at most 63 characters between dots"
)
KNOWN = (
    "random, round_robin, weighted_random, weighted_round_robin, least_requests, peak_ewma, prequal, load_weighted, "
    "consistent_hash"
)
ROUND_ROBIN = f"unknown strategy 'roundrobin'; did you mean 'round_robin'? (known: {KNOWN})"


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


@pytest.fixture
def strategy_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "touchy.py").write_text(
        "from balancemw.strategies import OptionError\n"
        "class Touchy:\n"
        "    def __init__(self, *, rng, decay=1, token='', greeting=''):\n"
        "        if decay < 0: raise OptionError('decay', f'must not be negative, got {decay}')\n"
        "        if token: raise OptionError('token', f'cannot log in as {token}')\n"
        "        if greeting: raise RuntimeError(f'no {greeting}\\nhere')\n"
        "    def picker(self, available, everyone): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "touchy:Touchy"
    sys.modules.pop("touchy", None)


class TestStrategy:
    def test_unknown_name(self):
        assert of_service({"strategy": "roundrobin"}) == [f"strategy: {ROUND_ROBIN}"]
        assert of_service({"strategy": {"name": "roundrobin"}}) == [f"strategy.name: {ROUND_ROBIN}"]

    @pytest.mark.parametrize(
        ("strategy", "text"),
        [
            (5, "strategy: expected a name or a mapping with one, got 5"),
            (None, "strategy: expected a name or a mapping with one, got None"),
            ({}, 'strategy.name: missing; write {"name": "peak_ewma"}'),
            ({"name": ["random"]}, "strategy.name: expected a string, got a list"),
            ({"name": "random", 5: 1}, "strategy: every key must be a string, got 5"),
        ],
    )
    def test_malformed(self, strategy: object, text: str):
        assert of_service({"strategy": strategy}) == [text]

    def test_an_option_that_is_not_taken(self):
        (found,) = of_service({"strategy": {"name": "random", "decay": 1}})
        assert found.startswith("strategy.decay: ")

    def test_an_option_with_a_value_that_is_not_taken(self, strategy_module: str):
        found = of_service({"strategy": {"name": strategy_module, "decay": -1}})
        assert found == ["strategy.decay: must not be negative, got -1"]

    def test_what_cannot_be_made_is_told_on_one_line(self, strategy_module: str):
        (found,) = of_service({"strategy": {"name": strategy_module, "greeting": "one"}})
        assert found.startswith("strategy.name: ")
        assert "no one here" in found

    def test_what_cannot_be_imported(self):
        (found,) = of_service({"strategy": "no_such:Thing"})
        assert found.startswith("strategy: cannot import 'no_such:Thing'")

    def test_a_secret_is_not_repeated(self, strategy_module: str):
        (found,) = of_service({"strategy": {"name": strategy_module, "token": "hunter2"}})
        assert found == "strategy.token: not valid; why is not shown, as it repeats a secret"


class TestUnknownKeys:
    @pytest.mark.parametrize(
        ("own", "text"),
        [
            ({"retry": {"backof": 1}}, "retry.backof: unknown key; did you mean 'backoff'?"),
            ({"retry": {"BACKOFF": 1}}, "retry.BACKOFF: unknown key; did you mean 'backoff'?"),
            ({"retry": {"zzz": 1}}, "retry.zzz: unknown key"),
            ({"ejection": {"kepe": 1}}, "ejection.kepe: unknown key; did you mean 'keep'?"),
            ({"slow_start": {"windw": 1}}, "slow_start.windw: unknown key; did you mean 'window'?"),
            ({"probe": {"kind": "tcp", "intervall": 1}}, "probe.intervall: unknown key; did you mean 'interval'?"),
            ({"stratgy": "random"}, "stratgy: unknown key; did you mean 'strategy'?"),
            ({"attempts": 3}, "attempts: unknown key; did you mean 'retry.attempts'?"),
            ({"TIMEOUT": 3}, "TIMEOUT: unknown key; did you mean 'timeout'?"),
            ({"hedge": {"dely": "p95"}}, "hedge.dely: unknown key; did you mean 'delay'?"),
            ({"zon": "a"}, "zon: unknown key; did you mean 'zone'?"),
            ({"subsets": 5}, "subsets: unknown key; did you mean 'subset'?"),
            ({"host_header": "nod"}, "host_header: expected \"service\" or \"node\", got 'nod'; did you mean 'node'?"),
            ({"a.b": 1}, '"a.b": unknown key'),
            ({"": 1}, '"": unknown key'),
            ({5: 1}, ": every key must be a string, got 5"),
            ({"retry": {5: 1, None: 2}}, "retry: every key must be a string, got 5"),
        ],
    )
    def test_below_a_service(self, own: dict[Any, Any], text: str):
        assert of_service(own)[0] == text

    def test_outermost_and_inbound(self):
        source = {
            "services": {},
            "servces": {},
            5: 1,
            "inbound": {"report_lod": True, "chain_stopp": 1},
        }
        assert problems(source) == [
            "every key must be a string, got 5",
            "servces: unknown key; did you mean 'services'?",
            "inbound.report_lod: unknown key; did you mean 'report_load'?",
            "inbound.chain_stopp: unknown key; did you mean 'chain_stop'?",
        ]

    def test_a_key_that_is_no_text(self):
        found = of_service({"retry": {"\ud800": 1}})
        assert found == ["retry: is not valid text: '\\ud800'"]


class TestOutermost:
    def test_services_are_missing(self):
        assert problems({}) == ['services: missing; write {"services": {"name": {"nodes": ["http://host:port"]}}}']

    @pytest.mark.parametrize("key", ["services", "defaults", "inbound"])
    @pytest.mark.parametrize(("value", "got"), [(None, "None"), ([], "a list"), ("x", "'x'")])
    def test_mappings(self, key: str, value: object, got: str):
        assert problems({"services": {}, key: value}) == [f"{key}: expected a mapping, got {got}"]

    @pytest.mark.parametrize("value", [None, "http://a", ["http://a"]])
    def test_a_service_is_a_mapping(self, value: object):
        (found,) = problems({"services": {"pay": value}})
        assert found.startswith("services.pay: expected a mapping, got ")
        assert found.endswith('; write {"nodes": ["http://host:port"]}')

    @pytest.mark.parametrize(
        ("name", "key"),
        [
            ("", '""'),
            ("a b", '"a b"'),
            ("ä", '"ä"'),
            ("a..b", '"a..b"'),
            (".a", '".a"'),
            ("-a", "-a"),
            ("a-", "a-"),
            ('a"b\n', '"a\\"b\\n"'),
            ("x" * 64, "x" * 64),
            ("a/" + "x" * 80, '"a/' + "x" * 55 + '..."'),
            ("http://u:p@h", '"(not shown)"'),
            (".".join(["abc"] * 64), None),
        ],
    )
    def test_names_are_usable_as_hosts(self, name: str, key: str | None):
        (found,) = problems({"services": {name: {"nodes": []}}})
        if key is not None:
            assert found == f"services.{key}: {HOW_TO_NAME}"

    def test_an_odd_name_does_not_hide_what_is_below_it(self):
        found = problems({"services": {"a b": {"nodes": "http://x"}, "c.d": {"nodes": "http://x"}, 5: {}}})
        assert found == [
            "services: every key must be a string, got 5",
            f'services."a b": {HOW_TO_NAME}',
            'services."a b".nodes: expected a list of urls, got one string; write ["http://x"]',
            'services."c.d".nodes: expected a list of urls, got one string; write ["http://x"]',
        ]

    def test_names_that_differ_in_case_only(self):
        found = problems({"services": {"Pay": {"nodes": []}, "pay": {"nodes": []}}})
        assert found == ["services.pay: differs from 'Pay' in case only, and hosts have no case"]

    @pytest.mark.parametrize(
        "source",
        [5, b"x", [], RetrySettings(), SimpleNamespace(services={}), ServiceSettings(nodes=())],
    )
    def test_nothing_else_is_taken_for_settings(self, source: object):
        (found,) = problems(source)
        assert found.startswith("expected a mapping or the path of a TOML file, got ")

    def test_other_peoples_objects_say_how_to_hand_them_over(self):
        class Model(BaseModel):
            services: dict[str, object] = {}

        @dataclasses.dataclass
        class Plain:
            services: dict[str, object] = dataclasses.field(default_factory=dict)

        assert problems(Model())[0].endswith("got a value of type Model; pass its model_dump()")
        assert problems(Plain())[0].endswith("got a value of type Plain; pass dataclasses.asdict() of it")
        assert Settings.load(Model().model_dump()) == Settings.load(dataclasses.asdict(Plain()))


class TestInbound:
    @pytest.mark.parametrize(
        ("inbound", "text"),
        [
            ({"timeout": 0}, "timeout: must be above 0, got 0"),
            ({"chain_stop": 1}, "chain_stop: expected true or false, got 1"),
            ({"chain_stop": "no"}, "chain_stop: expected true or false, got 'no'"),
            ({"report_load": 1}, "report_load: expected true or false, got 1"),
            ({"deadline_headers": [5]}, "deadline_headers[0]: expected a string, got 5"),
            ({"deadline_headers": ["x y"]}, "deadline_headers[0]: expected the name of a header, got 'x y'"),
            ({"deadline_headers": ["A", "b", "a"]}, "deadline_headers: 'a' is named twice"),
            ({"health_path": "healthz"}, "health_path: expected a path like \"/healthz\", got 'healthz'"),
            ({"health_path": "/up?x"}, "health_path: expected a path like \"/healthz\", got '/up?x'"),
            ({"drain_seconds": -1}, "drain_seconds: must be at least 0, got -1"),
            ({5: 1}, ": every key must be a string, got 5"),
        ],
    )
    def test_each_in_its_place(self, inbound: dict[Any, Any], text: str):
        (found,) = problems({"services": {}, "inbound": inbound})
        assert found.removeprefix("inbound").removeprefix(".") == text


class TestDefaults:
    def test_a_problem_is_told_once_for_all_services(self):
        services = {name: {"nodes": []} for name in "abc"}
        assert problems({"services": services, "defaults": {"retry": {"attempts": 0, "x": 1}, "hege": None}}) == [
            "defaults.retry.attempts: must be at least 1, got 0",
            "defaults.retry.x: unknown key",
            "defaults.hege: unknown key; did you mean 'hedge'?",
        ]

    @pytest.mark.parametrize("services", [{}, {"a": {"nodes": [], "retry": {"attempts": 1}}}])
    def test_a_problem_is_told_even_where_nothing_uses_it(self, services: dict[str, object]):
        found = problems({"services": services, "defaults": {"retry": {"attempts": 0}}})
        assert found == ["defaults.retry.attempts: must be at least 1, got 0"]

    def test_a_section_of_the_wrong_kind(self):
        found = problems({"services": {"a": {"nodes": [], "retry": {"attempts": 1}}}, "defaults": {"retry": 5}})
        assert found == ["defaults.retry: expected a mapping, got 5"]

    def test_nodes_are_no_default(self):
        found = problems({"services": {"a": {}}, "defaults": {"nodes": ["http://a"]}})
        assert found == [
            "defaults.nodes: nodes belong to one service; write them there",
            'services.a.nodes: missing; write ["http://host:port"]',
        ]

    def test_a_probe_without_a_kind_is_told_where_it_was_written(self):
        inherited = {"services": {"a": {"nodes": []}, "b": {"nodes": []}}, "defaults": {"probe": {"fall": 1}}}
        own = {"services": {"a": {"nodes": [], "probe": {"rise": 1}}}, "defaults": {"probe": {"fall": 1}}}
        alone = {"services": {}, "defaults": {"probe": {"fall": 1}}}
        missing = 'probe.kind: missing; write "http", "tcp" or "package.module:callable"'
        assert problems(inherited) == problems(alone) == [f"defaults.{missing}"]
        assert problems(own) == [f"services.a.{missing}"]

    @pytest.mark.parametrize(
        ("own", "defaults", "text"),
        [
            (
                {"slow": 1.2},
                {},
                "services.a.ejection.slow: expected at least 1.5, or 0 for off: equal nodes differ that much by chance",
            ),
            ({"base": 9, "max": 8}, {}, "services.a.ejection.max: base (9) is above max (8)"),
            ({"base": 400}, {}, "services.a.ejection.base: base (400) is above max (300)"),
            ({"max": 1}, {}, "services.a.ejection.max: base (5) is above max (1)"),
            ({"max": 1}, {"base": 2}, "services.a.ejection.max: base (2) is above max (1)"),
            ({"base": 2}, {"max": 1}, "services.a.ejection.base: base (2) is above max (1)"),
            ({}, {"base": 2, "max": 1}, "defaults.ejection.max: base (2) is above max (1)"),
            ({}, {"base": 400}, "defaults.ejection.base: base (400) is above max (300)"),
        ],
    )
    def test_two_keys_that_contradict_each_other(self, own: dict[str, Any], defaults: dict[str, Any], text: str):
        source = {"services": {"a": {"nodes": [], "ejection": own}}, "defaults": {"ejection": defaults}}
        assert problems(source) == [text]

    def test_a_contradiction_in_defaults_that_nothing_uses(self):
        found = problems({"services": {}, "defaults": {"ejection": {"base": 400}}})
        assert found == ["defaults.ejection.base: base (400) is above max (300)"]

    def test_a_contradiction_does_not_wait_for_other_problems(self):
        found = of_service({"ejection": {"base": 400, "keep": 2}})
        assert found == ["ejection.base: base (400) is above max (300)", "ejection.keep: must be at most 1, got 2"]

    def test_looking_for_the_writer_of_a_key_writes_none(self):
        own: defaultdict[str, Any] = defaultdict(dict, nodes=[], probe={"fall": 0})
        problems({"services": {"a": own}})
        assert dict(own) == {"nodes": [], "probe": {"fall": 0}}


class TestSecrets:
    @pytest.mark.parametrize(
        "source",
        [
            {"services": {"a": {"nodes": ["http://u:hunter2@h"]}}},
            {"services": {"a": {"nodes": "http://u:hunter2@h"}}},
            {"services": {"a": {"nodes": [{"url": "http://u:hunter2@h"}]}}},
            {"services": {"a": {"nodes": [], "timeout": "http://u:hunter2@h"}}},
            {"services": {"a": {"nodes": [], "timeout": "x" * 70 + "http://u:hunter2@h"}}},
            {"services": {"a": {"nodes": [], "password": "hunter2"}}},
            {"services": {"a": {"nodes": [], "retry": {"attempts": {"token": "hunter2"}}}}},
            {"services": {"a": {"nodes": [], "retry": [{"token": "hunter2"}]}}},
            {"services": {"http://u:hunter2@h": {"nodes": 1}}},
            {"services": {"a": {"nodes": [], "strategy": "http://u:hunter2@h"}}},
            {"services": {"a": {"nodes": [], "probe": "http://u:hunter2@h"}}},
            {"services": {"a": {"nodes": [], "probe": {"kind": "http://u:hunter2@h"}}}},
            {"services": {"a": {"nodes": [], "http://u:hunter2@h": {"kind": 1}}}},
            {"services": {}, "admin": {"token": "hunter 2"}},
            {"services": {}, "admin": {"token": ["hunter2"]}},
            {"services": {}, "alerts": {"password": "hunter2"}},
            {"services": {}, "alerts": {"token": "hunter2", "user": "u", "password": "hunter2"}},
            {"services": {}, "alerts": {"url": "http://u:hunter2@h"}},
            "redis://u:hunter2@h",
        ],
    )
    def test_are_never_shown(self, source: Any):
        with pytest.raises(SettingsError) as caught:
            Settings.load(source)
        assert "hunter" not in str(caught.value)
        assert "hunter" not in repr(caught.value)

    def test_values_below_a_key_that_looks_secret(self):
        found = problems({"services": {}, "inbound": {"api_key": "hunter2"}})
        assert found == ["inbound.api_key: unknown key"]


def test_long_values_are_shortened():
    (found,) = of_service({"timeout": "x" * 1000})
    assert len(found) < 100
    assert found.endswith("xxx...")


def test_a_number_too_long_to_be_written_is_told_by_its_kind():
    (found,) = of_service({"probe": {"kind": "http", "expect": [10**5000]}})
    assert found.endswith("got a value of type int")


def test_all_problems_at_once_in_a_stable_order():
    source = {
        "inbound": {"timeout": -1},
        "services": {
            "inventory": {
                "nodes": ["http://a", {"url": "http://b", "weight": -1}],
                "retry": {"backof": 1, "attempts": 0},
                "strategy": "roundrobin",
            },
            "pay": {"nodes": "http://x"},
        },
        "defaults": {"timeout": 0},
    }
    found = problems(source)
    assert found == [
        "defaults.timeout: must be above 0, got 0",
        "services.inventory.nodes[1].weight: must be above 0, got -1",
        f"services.inventory.strategy: {ROUND_ROBIN}",
        "services.inventory.retry.attempts: must be at least 1, got 0",
        "services.inventory.retry.backof: unknown key; did you mean 'backoff'?",
        'services.pay.nodes: expected a list of urls, got one string; write ["http://x"]',
        "inbound.timeout: must be above 0, got -1",
    ]
    assert problems(source) == found
