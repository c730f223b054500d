"""Comparisons: each strategy in a process of its own, and what becomes of the outcomes: a table, a plot, JSON."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from balancemw.cli import main
from balancemw.errors import SettingsError
from balancemw.simulate import READY, Fault, Network, Replica, Scenario, compare, default_strategies, simulate
from balancemw.simulate.plot import plot
from balancemw.simulate.table import shown

SMALL = Scenario(name="small", about="to be quick", requests=4_000)


def test_each_process_gives_what_it_gives_here():
    compared = compare(SMALL, ["random", "peak_ewma"], seed=5)
    assert list(compared.outcomes) == [simulate(SMALL, name, seed=5) for name in ("random", "peak_ewma")]
    assert compared.recommendation


def test_once_more_is_the_same_to_the_last_figure():
    once, again = (compare(SMALL, ["random", "peak_ewma"], seed=5) for _ in range(2))
    assert once == again
    assert json.dumps(once.as_dict()) == json.dumps(again.as_dict())


def test_what_a_strategy_prints_is_not_in_the_way(capfd: pytest.CaptureFixture[str]):
    (outcome,) = compare(SMALL, ["tests.simulate.naive:Chatty"]).outcomes
    assert outcome.calls == 4_000
    assert capfd.readouterr().out == ""


def test_a_simulation_that_fails_is_told(capfd: pytest.CaptureFixture[str]):
    with pytest.raises(RuntimeError, match=r"the simulation of 'tests.simulate.naive:Unlucky' ended with status 1"):
        compare(SMALL, ["tests.simulate.naive:Unlucky"])
    assert "out of luck" in capfd.readouterr().err


def test_the_command_adds_only_whose_it_was(capfd: pytest.CaptureFixture[str]):
    assert main(["simulate", "--requests", "400", "--strategies", "tests.simulate.naive:Unlucky"]) == 1
    told = capfd.readouterr().err
    assert told.endswith("the simulation of 'tests.simulate.naive:Unlucky' ended with status 1\n")
    assert told.count("Traceback") == 1  # the strategy's own


def test_what_is_wrong_is_told_before_anything_is_simulated():
    with pytest.raises(SettingsError, match="did you mean 'random'"):
        compare(replace(SMALL, requests=10**8), ["peak_ewma", "randm"])


def test_strategies_with_options():
    compared = compare(SMALL, [{"name": "prequal", "choices": 2, "max_age": 3}, "prequal"])
    assert [(each.strategy, each.name) for each in compared.outcomes] == [
        ("prequal", "prequal (choices = 2, max_age = 3)"),
        ("prequal", "prequal"),
    ]
    assert "\nprequal (choices = 2, max_age = 3) " in shown(compared)
    assert "keep prequal (choices = 2, max_age = 3)" in compared.recommendation
    assert json.loads(json.dumps(compared.as_dict()))["outcomes"][0]["options"] == {"choices": 2, "max_age": 3}


@pytest.mark.parametrize("lone", ["random", {"name": "random"}])
def test_one_strategy_need_not_be_in_a_list(lone: str):
    assert [each.name for each in compare(SMALL, lone).outcomes] == ["random"]


def test_by_default_those_are_compared_that_make_a_difference():
    assert default_strategies(SMALL) == ("round_robin", "least_requests", "peak_ewma", "prequal")
    assert default_strategies(replace(SMALL, keys=3))[-1] == "consistent_hash"
    assert default_strategies(replace(SMALL, replica=Replica(weighted=True)))[0] == "weighted_round_robin"
    uneven = replace(SMALL, replica=Replica(speeds=(1.0, 2.0)), rate=100.0)
    assert default_strategies(uneven)[-1] == "load_weighted"
    assert "load_weighted" not in default_strategies(replace(uneven, rate=1000.0))  # over before it knows


def test_the_service_s_own_strategy_is_compared_and_held_against_the_others():
    own = replace(SMALL, service={"strategy": {"name": "prequal", "choices": 3}})
    assert default_strategies(own) == (own.service["strategy"], "round_robin", "least_requests", "peak_ewma")
    assert default_strategies(replace(SMALL, service={"strategy": "random"}))[0] == "random"
    compared = compare(own)
    assert compared.outcomes[0] == simulate(own)
    assert "keep prequal (choices = 3)" in compared.recommendation
    assert "keep the default peak_ewma" in compare(own, ["random", "peak_ewma"]).recommendation


HEDGED = replace(SMALL, variants={"without hedging": {}, "with hedging": {"hedge": {"delay": 0.03, "max_extra": 0.1}}})


class TestVariants:
    def test_they_are_compared_instead_of_strategies(self):
        compared = compare(replace(HEDGED, service={"strategy": "random"}), seed=3)
        assert [each.variant for each in compared.outcomes] == ["without hedging", "with hedging"]
        assert {each.strategy for each in compared.outcomes} == {"random"}
        assert compared.outcomes[1] == simulate(HEDGED, "random", variant="with hedging", seed=3)
        assert compared.outcomes[1].tries > compared.outcomes[0].tries == 4_000
        assert '"without hedging"' in compared.recommendation
        told = json.loads(json.dumps(compared.as_dict()))
        assert [each["variant"] for each in told["outcomes"]] == ["without hedging", "with hedging"]
        assert told["scenario"]["variants"]["without hedging"] == {}

    def test_and_not_together_with_them(self, capsys: pytest.CaptureFixture[str]):
        with pytest.raises(SettingsError, match="variants: these are compared, and not strategies as well; name a str"):
            compare(HEDGED, ["random"])
        assert main(["simulate", "hedging", "--strategies", "random"]) == 1
        assert "variants: these are compared" in capsys.readouterr().err

    def test_all_problems_are_told_at_once(self):
        with pytest.raises(SettingsError) as caught:
            compare(replace(SMALL, variants={"one": {"zon": True}, "two": {"hedge": {"delay": 0}}, "three": {}}))
        assert [each.split(":")[0] for each in caught.value.problems] == [
            "variants.one.zon",
            "variants.two.hedge.delay",
        ]

    def test_one_that_fails(self, capfd: pytest.CaptureFixture[str]):
        with pytest.raises(RuntimeError, match=r"the simulation of 'luckless' ended with status 1"):
            compare(replace(SMALL, variants={"luckless": {"strategy": "tests.simulate.naive:Unlucky"}}))
        assert "out of luck" in capfd.readouterr().err

    def test_the_table_and_the_plot(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setitem(sys.modules, "rich", None)
        zones = replace(
            SMALL,
            replica=Replica(zones=("a", "b")),
            network=Network(),
            variants={"alike": {}, "own zone first": {"zone": True}},
        )
        compared = compare(zones)
        text = shown(compared).splitlines()
        headings = [heading.strip() for heading in text[3].split("  ") if heading.strip()]
        assert headings[:2] == ["variant", "errors"]
        assert headings[-4:] == ["across zones", "connections", "queue", "ejected"]
        assert [line.split("  ")[0] for line in text[5:7]] == ["alike", "own zone first"]
        assert len({len(line) for line in text[3:7]}) == 1
        plot(compared, tmp_path / "zones.svg")
        drawn = (tmp_path / "zones.svg").read_text()
        assert "own zone first" in drawn
        assert "<!-- 50 -->" in drawn  # milliseconds as people write them
        assert "{10^{1}}" not in drawn


class TestTable:
    def test_plain(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setitem(sys.modules, "rich", None)
        text = shown(compare(replace(SMALL, faults=(Fault("slow"),)), ["random", "peak_ewma"])).splitlines()
        assert text[0] == "small: to be quick"
        assert "10 callers, 10 replicas of 4 workers each, 4,000 requests at 2,400 requests/s" in text[1]
        assert text[3].split("  ")[0] == "strategy"
        assert [line.split()[0] for line in text[5:7]] == ["random", "peak_ewma"]
        assert len({len(line) for line in text[3:7]}) == 1
        assert text[-1].startswith(("Keep", "Choose", "No difference"))

    @pytest.mark.parametrize(
        ("scenario", "head"),
        [
            (
                Scenario(callers=1, replicas=1, requests=1, replica=Replica(workers=1)),
                "1 caller, 1 replica of one worker, 1 request at 60 requests/s (16.7 ms), ",
            ),
            (
                Scenario(replicas=2, requests=4_000, rate=0.5),
                "10 callers, 2 replicas of 4 workers each, 4,000 requests at 0.5 requests/s (8,000 s), ",
            ),
        ],
    )
    def test_what_was_simulated_is_told_in_words(self, scenario: Scenario, head: str):
        assert shown(compare(scenario, ["random"])).splitlines()[1].startswith(head)

    def test_rich(self):
        text = shown(compare(SMALL, ["least_requests", "peak_ewma"]))
        assert "least_requests" in text
        assert "\x1b" not in text
        assert max(map(len, text.splitlines()[2:-1])) <= 120

    def test_nothing_is_cut_off_where_the_terminal_is_narrow(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("COLUMNS", "40")
        outcomes = compare(SMALL, ["weighted_round_robin", "peak_ewma"])
        assert "…" not in shown(outcomes)
        assert " ejected" in shown(outcomes)


class TestCommand:
    def test_the_list(self, capsys: pytest.CaptureFixture[str]):
        assert main(["simulate", "--list"]) == 0
        assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(READY)

    def test_json(self, capsys: pytest.CaptureFixture[str]):
        command = ["simulate", "slow-replica", "--strategies", "random,peak_ewma", "--json"]
        assert main([*command, "--requests", "4000", "--callers", "3", "--replicas", "5", "--utilization", "0.5"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert {key: told["scenario"][key] for key in ("name", "requests", "callers", "replicas", "utilization")} == {
            "name": "slow-replica", "requests": 4000, "callers": 3, "replicas": 5, "utilization": 0.5,
        }  # fmt: skip
        assert [each["strategy"] for each in told["outcomes"]] == ["random", "peak_ewma"]
        assert told["outcomes"][0]["bad_share"] > told["outcomes"][1]["bad_share"] > 0.0
        assert told["recommendation"].startswith("Keep the default peak_ewma: 99 % of the calls take less than")

    def test_a_file_and_a_plot(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
        own, picture = tmp_path / "own.toml", tmp_path / "own.png"
        own.write_text('requests = 4000\nfaults = [{kind = "hang"}]\nservice.attempt_timeout = 0.1\n')
        assert main(["simulate", str(own), "--strategies", "random,peak_ewma", "--plot", str(picture)]) == 0
        assert capsys.readouterr().out.startswith("own\n")
        assert picture.read_bytes().startswith(b"\x89PNG")

    def test_without_matplotlib(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        for module in [name for name in sys.modules if name.startswith("matplotlib.")]:
            monkeypatch.delitem(sys.modules, module)
        assert main(["simulate", "--plot", "never.png"]) == 1  # before anything is simulated
        told = capsys.readouterr()
        assert (told.out, told.err) == ("", "plots need matplotlib: pip install 'balancemw[simulate]'\n")

    @pytest.mark.parametrize("picture", ["own.picture", "missing/own.png"])
    def test_a_plot_that_cannot_be_written(
        self, picture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ):
        monkeypatch.chdir(tmp_path)
        assert main(["simulate", "--plot", picture]) == 1  # before anything is simulated
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err.startswith(f"{picture}: ")

    def test_a_plot_that_is_in_the_way(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
        (tmp_path / "own.png").mkdir()
        picture = str(tmp_path / "own.png")
        assert main(["simulate", "--requests", "400", "--strategies", "random,random", "--plot", picture]) == 1
        told = capsys.readouterr()
        assert told.err.startswith(f"{picture}: ")
        assert "\nrandom " in told.out  # what was simulated is not lost for it

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["stedy"], "no scenario 'stedy'; did you mean 'steady'?"),
            (["--strategies", "randm"], "service.strategy: unknown strategy 'randm'; did you mean 'random'?"),
            (["missing.toml"], "missing.toml: cannot be read: No such file or directory"),
        ],
    )
    def test_what_is_wrong_is_told(self, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]):
        assert main(["simulate", *arguments]) == 1
        assert told in capsys.readouterr().err

    @pytest.mark.parametrize("arguments", [["stedy"], ["--strategies", "randm"]])
    def test_it_is_the_scenario_that_is_wrong(self, arguments: list[str], capsys: pytest.CaptureFixture[str]):
        assert main(["simulate", *arguments]) == 1
        assert capsys.readouterr().err.startswith("1 problem in the scenario:\n")

    def test_interrupted_it_ends_without_a_word(self):
        command = [sys.executable, "-m", "balancemw.cli", "simulate", "--requests", "10000000"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0, cwd=Path(__file__).parents[2]
        ) as started:
            while not psutil.Process(started.pid).children():
                assert started.poll() is None
            os.killpg(started.pid, signal.SIGINT)  # as Ctrl-C does
            told = started.communicate(timeout=60)
        assert (started.returncode, *told) == (130, b"", b"")

    def test_killed_it_leaves_no_simulation_behind(self):
        command = [sys.executable, "-m", "balancemw.cli", "simulate", "--requests", "10000000"]
        with subprocess.Popen(command, cwd=Path(__file__).parents[2]) as started:
            while len(working := psutil.Process(started.pid).children()) < 2:
                assert started.poll() is None
            started.kill()
        _, left = psutil.wait_procs(working, timeout=60)
        for process in left:
            process.kill()
        assert left == []

    @pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&- 2>&-"])
    def test_where_standard_streams_are_closed(self, closed: str):
        command = f"exec {sys.executable} -m balancemw.cli simulate --requests 400 --strategies random {closed}"
        subprocess.run(["sh", "-c", command], check=True, cwd=Path(__file__).parents[2], timeout=60)

    @pytest.mark.parametrize("option", [["--requests", "0"], ["--strategies", ","], ["--utilization", "x"]])
    def test_options_that_make_no_sense(self, option: list[str], capsys: pytest.CaptureFixture[str]):
        with pytest.raises(SystemExit) as caught:
            main(["simulate", *option])
        assert caught.value.code == 2
        assert "expected" in capsys.readouterr().err
