"""Variants of the service's settings: what can be said in them, and what is said of those that are wrong."""

import pickle
from pathlib import Path

import pytest

from balancemw.errors import SettingsError
from balancemw.simulate import Network, Scenario
from tests.simulate.test_scenario import problems


def test_all_problems_are_told_where_they_were_written():
    assert problems(
        {
            "network": {"dela": 1},
            "caller_zones": "a",
            "service": {"retry": {"attempts": "3"}, "zone": "a", "hedge": {"delay": "p95"}},
            "variants": {
                "one": {"retry": {"backof": 1}, "hedge": {"max_extra": 2.0}},
                "other one": {"strategy": "peak_ewm", "probe": True, "zone": 3, "hedg": True},
                "third": 3,
                "": {},
                4: {},
            },
        }
    ) == [
        'caller_zones: expected a list of zones, got one string; write ["a"]',
        "network.dela: unknown key; did you mean 'delay'?",
        "service.zone: expected true or false, got 'a': each caller has a zone; with true it prefers the replicas "
        "there",
        "service.retry.attempts: expected a whole number, got '3'; write it without quotes",
        "variants: every key must be a string, got 4",
        "variants.one.retry.backof: unknown key; did you mean 'backoff'?",
        "variants.one.hedge.max_extra: must be at most 1, got 2.0",
        'variants."other one".probe: not part of a simulation: active checks are not simulated',
        'variants."other one".zone: expected true or false, got 3: each caller has a zone; with true it prefers '
        "the replicas there",
        *(
            each.replace("service.", 'variants."other one".')
            for each in problems({"service": {"strategy": "peak_ewm"}})
        ),
        "variants.\"other one\".hedg: unknown key; did you mean 'hedge'?",
        "variants.third: expected a mapping, got 3; write {} for the service as it is",
        "variants: a variant needs a name",
    ]


def test_they_are_merged_over_the_service():
    scenario = Scenario(
        service={"timeout": 3.0, "retry": {"attempts": 5, "backoff": 0.1}, "hedge": True},
        variants={"plain": {}, "other": {"retry": {"attempts": 2}, "hedge": None, "strategy": "random"}},
    )
    plain, other = (scenario.settings(variant=name) for name in scenario.variants)
    assert plain == scenario.settings()
    assert plain.hedge is not None
    assert (other.timeout, other.retry.attempts, other.retry.backoff, other.hedge) == (3.0, 2, 0.1, None)
    assert other.strategy.name == "random"
    assert scenario.settings("prequal", variant="other").strategy.name == "prequal"
    assert pickle.loads(pickle.dumps(scenario)) == scenario


def test_from_toml(tmp_path: Path):
    file = tmp_path / "own.toml"
    file.write_text(
        """
        network = true
        replica.zones = ["a", "b"]
        service = {zone = true, hedge = true}
        [variants."as it is"]
        [variants.unhedged]
        hedge = "none"
        zone = false
        """
    )
    scenario = Scenario.load(file)
    assert scenario.network == Network(delay=0.0005, across=0.002)
    first, second = (scenario.settings(variant=name, zone="a") for name in ("as it is", "unhedged"))
    assert (first.zone, first.hedge is None) == ("a", False)
    assert (second.zone, second.hedge) == ("", None)


def test_one_that_there_is_not():
    with pytest.raises(SettingsError) as caught:
        Scenario(variants={"plain": {}}).settings(variant="plian")
    assert caught.value.problems == ("variants: there is no 'plian'; did you mean 'plain'?",)
