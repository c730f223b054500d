"""Scenarios: what can be said in them, and what is said of those that are wrong."""

import pickle
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from statistics import mean

import pytest

from balancemw.errors import SettingsError
from balancemw.simulate import (
    READY,
    Antagonists,
    Fault,
    Network,
    Replica,
    Scenario,
    ServiceTime,
    compare,
    ready,
    simulate,
)
from balancemw.simulate.keys import keys
from balancemw.simulate.times import KINDS


def problems(source: dict[object, object]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        Scenario.load(source)  # type: ignore[arg-type]
    assert caught.value.__context__ is None
    return list(caught.value.problems)


def test_all_problems_are_told_at_once_with_their_full_keys():
    assert problems(
        {
            "calers": 3,
            "replicas": 0,
            "service_time": {"kind": "paretto", "meen": 1},
            "replica": {"speeds": 3, "workers": "4"},
            "antagonists": 3,
            "faults": [{"kind": "slo"}, {"kind": "slow", "factr": 2, "begin": "soon", "replicas": 0}],
            "service": {"nodes": ["http://a"], "retry": {"backof": 1}, "strategy": "peak_ewm", "probe": True},
        }
    ) == [
        "replicas: must be at least 1, got 0",
        "service_time.kind: unknown kind 'paretto'; did you mean 'pareto'? (known: constant, uniform, exponential, "
        "lognormal, pareto, bimodal)",
        "service_time.meen: unknown key; did you mean 'mean'?",
        "replica.workers: expected a whole number, got '4'; write it without quotes",
        "replica.speeds: expected a list of numbers, got 3; write [3]",
        "antagonists: expected a mapping, got 3",
        "faults[0].kind: unknown kind 'slo'; did you mean 'slow'? (known: slow, fail, overload, hang, kill, restart)",
        'faults[1].replicas: expected how many, a list of numbers from 0 like [0, 2], or "all", got 0',
        "faults[1].begin: expected seconds from the beginning or a share of the run like \"25%\", got 'soon'",
        "faults[1].factr: unknown key; did you mean 'factor'?",
        "calers: unknown key; did you mean 'callers'?",
        "service.nodes: not part of a simulation: the replicas are simulated; say how many there are with "
        "replicas = 10",
        "service.probe: not part of a simulation: active checks are not simulated",
        *problems({"service": {"strategy": "peak_ewm"}}),
        "service.retry.backof: unknown key; did you mean 'backoff'?",
    ]


def test_a_strategy_that_is_unknown():
    (problem,) = problems({"service": {"strategy": "peak_ewm"}})
    assert problem.startswith(
        "service.strategy: unknown strategy 'peak_ewm'; did you mean 'peak_ewma'? (known: random,"
    )


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ({"begin": "50%", "end": "50%"}, "faults[0].end: begin (50%) is not before end (50%)"),
        ({"begin": 3, "end": 2}, "faults[0].end: begin (3.0) is not before end (2.0)"),
        ({"begin": "80%"}, "faults[0].begin: begin (80%) is not before end (75%)"),
        ({"end": "101%"}, "faults[0].end: expected seconds from the beginning or a share of the run"),
        ({"end": True}, "faults[0].end: expected seconds from the beginning or a share of the run"),
        ({"begin": -1}, "faults[0].begin: expected seconds from the beginning or a share of the run"),
        ({"replicas": [0, -1]}, "faults[0].replicas: expected how many, a list of numbers from 0"),
        ({"replicas": []}, "faults[0].replicas: expected how many, a list of numbers from 0"),
        ({"replicas": "some"}, "faults[0].replicas: expected how many, a list of numbers from 0"),
        ({"factor": 0.5}, "faults[0].factor: must be at least 1, got 0.5"),
        ({"status": 200}, "faults[0].status: must be at least 400, got 200"),
    ],
)
def test_faults_that_make_no_sense(fault: dict[str, object], problem: str):
    (told,) = problems({"faults": [{"kind": "slow", **fault}]})
    assert told.startswith(problem)


@pytest.mark.parametrize("key", ["nodes", "discovery", "probe"])
def test_what_is_not_simulated_is_refused_and_not_ignored(key: str):
    (problem,) = problems({"service": {key: "here"}})
    assert problem.startswith(f"service.{key}: not part of a simulation: ")


@pytest.mark.parametrize(
    ("scenario", "problem"),
    [
        (Scenario(service={"zone": True}), "service.zone: the replicas are in no zones; "),
        (Scenario(caller_zones=("a",)), "caller_zones: the replicas are in no zones; "),
        (Scenario(network=Network(across=0.1)), "network.across: the replicas are in no zones; "),
        (
            Scenario(service_time=ServiceTime(sigma=2.0)),
            "service_time.sigma: means nothing for 'exponential', but for 'lo",
        ),
        (
            Scenario(service_time=ServiceTime(kind="pareto", times=3.0)),
            "service_time.times: means nothing for 'pareto',",
        ),
        (Scenario(key_skew=1.0), "key_skew: calls have no keys; write keys = 1000"),
        (Scenario(idempotent=False, service={"hedge": True}), "service.hedge: calls that may not be sent twice are"),
    ],
)
def test_what_says_nothing_beside_the_rest_is_told(scenario: Scenario, problem: str):
    with pytest.raises(SettingsError) as caught:
        scenario.settings()
    (told,) = caught.value.problems
    assert told.startswith(problem)


@pytest.mark.parametrize(
    ("scenario", "problem"),
    [
        (
            Scenario(replicas=10**12),
            "replicas: 10 callers of 1,000,000,000,000 replicas are too many: callers * replica",
        ),
        (
            Scenario(callers=10**12),
            "replicas: 1,000,000,000,000 callers of 10 replicas are too many: callers * replica",
        ),
        (Scenario(requests=10**9), "requests: 1,000,000,000 are too many: 100,000,000 at most"),
        (Scenario(keys=10**9, key_skew=1.0), "keys: 1,000,000,000 of unequal shares are too many: 10,000,000 at most"),
    ],
)
def test_what_no_machine_could_hold_is_refused_at_once(scenario: Scenario, problem: str):
    for begin in (scenario.settings, partial(simulate, scenario), partial(compare, scenario)):
        with pytest.raises(SettingsError) as caught:
            begin()
        (told,) = caught.value.problems
        assert told.startswith(problem)
    Scenario(callers=10_000, replicas=1_000, requests=10**8, keys=10**9).check_size()


def test_how_often_keys_come():
    assert keys(0, 0.0) is None
    for skew, first in ((0.0, 0.25), (1.0, 12 / 25)):
        key_of = keys(4, skew)
        assert key_of is not None
        drawn = Counter(key_of(i / 10_000) for i in range(10_000))
        assert set(drawn) == {"key-0", "key-1", "key-2", "key-3"}
        assert drawn["key-0"] == pytest.approx(10_000 * first, abs=2)
        assert drawn["key-3"] == pytest.approx(10_000 * first / 4**skew, abs=2)


@pytest.mark.parametrize("source", [{"service": 3}, {"variants": 3}, {"faults": "slow"}, {"service_time": 3}, {3: 4}])
def test_sections_of_the_wrong_kind(source: dict[object, object]):
    assert len(problems(source)) == 1


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ({"faults": [{}]}, ["faults[0].kind: missing; write one of slow, fail, overload, hang, kill, restart"]),
        ({"faults": "slow"}, ['faults: expected a list of faults, got one string; write [{kind = "slow"}]']),
        ({"faults": {}}, ['faults: expected a list of faults, got a mapping; write [{kind = "slow"}]']),
        ({"replica": {"speeds": []}}, ["replica.speeds: expected at least one, like [1]"]),
        ({"replica": {"speeds": [0]}}, ["replica.speeds[0]: must be above 0, got 0"]),
        (
            {"faults": [{"kind": "slow", "replicas": []}]},
            [
                'faults[0].replicas: expected how many, a list of numbers from 0 like [0, 2], or "all", '
                "got an empty list"
            ],
        ),
    ],
)
def test_what_is_told_says_how_to_write_it(source: dict[object, object], told: list[str]):
    assert problems(source) == told


def test_from_toml(tmp_path: Path):
    file = tmp_path / "own.toml"
    file.write_text(
        """
        callers = 4
        timeout = "none"
        antagonists = true
        service_time = {kind = "pareto", alpha = 1.5}
        replica = {workers = 2, speeds = [1, 2], weighted = true}
        service = {attempt_timeout = 0.5, timeout = "none", strategy = {name = "prequal", choices = 4}}
        [[faults]]
        kind = "restart"
        replicas = "all"
        begin = 1
        end = 11
        """
    )
    scenario = Scenario.load(file)
    assert scenario == Scenario(
        callers=4,
        antagonists=Antagonists(),
        service_time=ServiceTime(kind="pareto", alpha=1.5),
        replica=Replica(workers=2, speeds=(1.0, 2.0), weighted=True),
        service={"attempt_timeout": 0.5, "timeout": None, "strategy": {"name": "prequal", "choices": 4}},
        faults=(Fault("restart", "all", 1.0, 11.0),),
    )
    settings = scenario.settings()
    assert (settings.timeout, settings.attempt_timeout, settings.strategy.name) == (None, 0.5, "prequal")
    assert [node.weight for node in settings.nodes] == [1.0, 2.0] * 5
    assert scenario.settings("random").strategy.name == "random"
    assert pickle.loads(pickle.dumps(scenario)) == scenario


def test_a_file_that_cannot_be_read(tmp_path: Path):
    with pytest.raises(SettingsError, match=r"^1 problem in the scenario:\n.*No such file"):
        Scenario.load(tmp_path / "none.toml")


def test_settings_that_are_wrong_are_told_when_they_are_needed_too():
    with pytest.raises(SettingsError, match=r"service\.retry\.backof: unknown key"):
        Scenario(service={"retry": {"backof": 1}}).settings()


def test_a_fault_that_would_end_before_it_begins_in_so_short_a_run():
    scenario = Scenario(requests=2_400, faults=(Fault("slow", 1, 1.0), Fault("slow", 1, 0.5)))
    with pytest.raises(SettingsError) as caught:
        scenario.settings()
    assert caught.value.problems == ("faults[0].begin: not before its end: the run takes 1 s in all",)


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        (Fault("slow", 4), "replicas: there are 3, numbered from 0"),
        (Fault("slow", (0, 3)), "replicas: there are 3, numbered from 0"),
        (Fault("kill", status=500), "status: means nothing for 'kill', but for 'fail'"),
        (
            Fault("hang", after=0.5),
            "after: means nothing for 'hang', but for 'fail' and 'overload' and 'kill' and 'restart'",
        ),
    ],
)
def test_faults_that_could_not_be_meant(fault: Fault, problem: str):
    scenario = Scenario(replicas=3, rate=1000.0, requests=1000, faults=(Fault("slow", 3), fault))
    with pytest.raises(SettingsError) as caught:
        scenario.settings()
    assert caught.value.problems == (f"faults[1].{problem}",)


def test_the_load_is_told_once():
    assert problems({"rate": 10.0, "utilization": 0.5}) == [
        "rate: rate and utilization say the same thing: give one of them"
    ]


def test_the_load():
    scenario = Scenario(replicas=3, replica=Replica(workers=2, speeds=(1.0, 2.0)), utilization=0.5, requests=1000)
    assert scenario.speeds == (1.0, 2.0, 1.0)
    assert scenario.calls_per_second == pytest.approx(0.5 * 4 * 2 / 0.010)
    assert scenario.duration == pytest.approx(2.5)
    assert replace(scenario, rate=100.0).duration == 10.0


class TestFaults:
    def test_which_replicas(self):
        assert Fault("slow", 2).numbers(3) == (0, 1)
        assert Fault("slow", "all").numbers(3) == (0, 1, 2)
        assert Fault("slow", (1, 2)).numbers(3) == (1, 2)
        assert Fault("slow", (1, 1)).numbers(3) == (1,)  # and not slow times slow

    def test_when(self):
        assert Fault("slow", 2).spells(10, 40.0) == [(0, 10.0, 30.0), (1, 10.0, 30.0)]
        assert Fault("slow", 1, 3.0, "50%").spells(10, 40.0) == [(0, 3.0, 20.0)]

    def test_a_restart_goes_from_one_to_the_next(self):
        assert Fault("restart", "all", 10.0, 40.0).spells(3, 100.0) == [
            (0, 10.0, 20.0),
            (1, 20.0, 30.0),
            (2, 30.0, 40.0),
        ]


@pytest.mark.parametrize("kind", KINDS)
def test_every_distribution_has_the_mean_that_it_is_told(kind: str):
    draw = ServiceTime(kind=kind, mean=0.02, alpha=3.0).sampler(Random(1))
    drawn = [draw() for _ in range(40_000)]
    assert mean(drawn) == pytest.approx(0.02, rel=0.05)
    assert min(drawn) >= 0.0


def test_the_shapes_differ():
    drawn = {kind: sorted(ServiceTime(kind=kind).sampler(Random(1))() for _ in range(1)) for kind in KINDS}
    assert drawn["constant"] == [0.010]
    bimodal = ServiceTime(kind="bimodal", mean=0.010, share=0.25, times=5.0).sampler(Random(1))
    seen = [bimodal() for _ in range(4_000)]
    assert sorted(set(seen)) == pytest.approx([0.005, 0.025])
    assert sum(value > 0.01 for value in seen) == pytest.approx(1_000, rel=0.1)


def test_the_ready_ones():
    assert len(READY) >= 8
    for name, scenario in READY.items():
        assert (scenario.name, ready(name)) == (name, scenario)
        assert scenario.about
        scenario.settings("random")
        for variant in scenario.variants:
            scenario.settings(variant=variant)
    with pytest.raises(SettingsError, match=r"no scenario 'stedy'; did you mean 'steady'\? \(known: steady, "):
        ready("stedy")
