"""What runs come down to, who wins, and how that gets into the pages: on runs made up here."""

import json
import shutil
from pathlib import Path

import pytest

from benchmarks import pages
from benchmarks.arena.contenders import CONTENDERS, Contender
from benchmarks.arena.figures import figures, quantile, series, tail
from benchmarks.arena.match import verdict_of
from benchmarks.arena.stage import Arrival, Run, Window
from benchmarks.plots import COLOURS, plot
from benchmarks.records import append, latest, records_of
from benchmarks.report import Report

BEGIN, RATE, SECONDS = 1000.0, 100, 4.0


def a_run(*, windows: tuple[Window, ...] = (), failing: tuple[float, float] = (0.0, 0.0), slow: float = 0.01) -> Run:
    """400 calls to three replicas in turn; GETs due in `failing` fail, and one in 50 takes `slow` seconds."""
    calls, arrivals = [], [list[Arrival](), list[Arrival](), list[Arrival]()]
    for number in range(int(RATE * SECONDS)):
        due = number / RATE
        status = 503 if failing[0] <= due < failing[1] and number % 10 else 200
        calls.append((number, BEGIN + due, slow if number % 50 == 1 else 0.005, status))
        arrivals[number % 3].append(Arrival(BEGIN + due, "GET" if number % 10 else "POST", number, "ok"))
    return Run(BEGIN, SECONDS, calls, {}, arrivals, windows)


def test_errors_that_a_replica_could_have_spared_are_needless() -> None:
    down = tuple(Window(replica, BEGIN + 1.0, BEGIN + 2.0, "killed") for replica in range(3))
    found = figures(a_run(windows=down, failing=(1.5, 2.5)))
    assert (found.gets, found.posts) == (360, 40)
    assert found.failed == 90
    assert found.needless == 45


def test_errors_while_one_replica_is_left_are_needless_all() -> None:
    down = tuple(Window(replica, BEGIN + 1.0, BEGIN + 2.0, "killed") for replica in range(2))
    assert figures(a_run(windows=down, failing=(1.0, 2.0))).needless == 90


def test_latencies_are_those_of_the_gets_that_were_answered() -> None:
    found = figures(a_run(slow=0.1))
    assert (found.p50, found.p99, found.p999) == (0.005, 0.1, 0.1)
    assert found.hurt == pytest.approx(0.8)  # one of ten calls, in eight buckets


def test_a_quantile_is_one_of_the_values() -> None:
    assert [quantile([1.0, 2.0, 3.0, 4.0], share) for share in (0.0, 0.25, 0.5, 0.51, 1.0)] == [1.0, 1.0, 2.0, 3.0, 4.0]
    assert quantile([], 0.5) == float("inf")


def test_what_reaches_a_bad_replica_and_posts_done_twice_are_counted_where_they_arrive() -> None:
    run = a_run(windows=(Window(0, BEGIN + 1.0, BEGIN + 2.0, "hang"),))
    run.arrivals[0].extend(Arrival(BEGIN + 1.5, "POST", number, "hang") for number in (10, 20, 30))  # type: ignore[attr-defined]
    run.arrivals[1].append(Arrival(BEGIN + 1.6, "POST", 10, "fail"))  # type: ignore[attr-defined]
    found = figures(run)
    assert found.bad == 4
    assert found.posts_twice == 3  # what was answered 503 was not begun
    assert found.tries == pytest.approx(1.04)


def test_a_replica_is_back_when_it_has_half_its_share() -> None:
    run = a_run(windows=(Window(0, BEGIN + 1.0, BEGIN + 2.0, "killed"),))
    run.arrivals[0][:] = [each for each in run.arrivals[0] if not 1.0 <= each.time - BEGIN < 2.5]  # type: ignore[index]
    found = figures(run)
    assert found.back == pytest.approx(0.5, abs=0.05)
    assert found.bad is None  # nobody was there to count
    assert found.tries is None


def test_a_series_tells_each_tenth_of_a_second() -> None:
    shown = series(a_run(failing=(1.0, 1.1)))
    assert len(shown["p99"]) == len(shown["failed"]) == 40
    assert shown["failed"][10] == pytest.approx(0.9)


def test_a_tail_tells_what_share_took_longer() -> None:
    told = tail(a_run(slow=0.1))  # one in 50 of the calls, and so 8 of 360 GETs
    assert told[0] == (0.005, 1.0)
    assert [seconds for seconds, share in told if share > 8 / 360] == [0.005] * 17
    assert [seconds for seconds, share in told if share <= 8 / 360] == [0.1] * 9
    assert tail(a_run(failing=(0.0, 4.0))) == []


def test_where_nothing_happens_the_tail_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    run = a_run(slow=0.1)
    steady = {"nginx": {"series": series(run), "faults": [], "tail": tail(run)}}
    file = plot("uneven", records_of("uneven", [Report("Machines", (), (), (), {"contenders": steady})]), tmp_path)
    assert file is not None
    assert "GETs that take longer" in file.read_text()
    steady["nginx"]["faults"] = [{"begin": 1.0, "end": 2.0}]
    file = plot("uneven", records_of("uneven", [Report("Machines", (), (), (), {"contenders": steady})]), tmp_path)
    assert file is not None
    assert "GETs that take longer" not in file.read_text()


def test_an_error_counts_before_a_latency_and_near_is_even() -> None:
    fine, slower = figures(a_run(slow=0.010)), figures(a_run(slow=0.020))
    failing, almost = figures(a_run(failing=(0.0, 0.5))), figures(a_run(slow=0.0102))
    assert verdict_of({"balancemw": fine, "nginx": slower})[0].startswith("balancemw: won")
    assert verdict_of({"balancemw": slower, "nginx": failing}) == [
        "balancemw: won: 0 needless errors against 45 of nginx, the next; "
        "nginx has a p99 of 10.0 ms, but of the fewer calls that it answered"
    ]
    assert verdict_of({"balancemw": almost, "nginx": fine})[0].startswith("balancemw: even")
    assert verdict_of({"balancemw": slower, "nginx": fine}) == ["balancemw: lost to nginx: p99 20.0 against 10.0 ms"]
    assert verdict_of({"balancemw": failing, "nginx": slower, "Envoy": fine}) == [
        "balancemw: lost to nginx: 45 needless errors against 0; lost to Envoy: 45 needless errors against 0"
    ]


def test_every_contender_has_a_colour() -> None:
    assert CONTENDERS.keys() <= COLOURS.keys()


def test_a_contender_that_is_not_installed_says_so() -> None:
    with pytest.raises(ImportError, match="no-such-thing is not installed"):
        Contender("it", "plain", "nothing", ("no-such-thing",)).versions()


def test_pages_show_the_latest_results_between_their_markers(tmp_path: Path) -> None:
    results, page = tmp_path / "results.jsonl", tmp_path / "page.md"
    for value in ("1", "2"):
        append(results, records_of("pick", [Report("Choices", ("strategy", "µs"), [("random", value)], ("quick",))]))
    one, other = "<!-- table: pick -->\n9\n<!-- end -->\n", "<!-- table: none -->\n<!-- end -->\n"
    page.write_text(f"before\n{one}between\n{other}after\n")
    pages.write(results, tmp_path / "plots", [page])
    text = page.read_text()
    assert "| random | 2 |" in text
    assert "* quick" in text
    assert "| random | 1 |" not in text
    assert "9\n" not in text
    assert [line for line in ("before", "between", "after") if line not in text] == []
    assert latest(tmp_path / "plots" / "results.jsonl").keys() == {"pick"}
    pages.write(tmp_path / "gone", tmp_path / "plots", [page])
    assert page.read_text() == text


def test_what_many_tables_have_in_common_stands_once(tmp_path: Path) -> None:
    results, page = tmp_path / "results.jsonl", tmp_path / "page.md"
    for name in ("pick", "memory", "steady"):
        append(results, records_of(name, [Report(name, ("", "µs"), [("x", "1")], ("for all", f"for {name}"))]))
    places = "".join(f"<!-- table: {name} -->\n<!-- end -->\n" for name in ("pick", "memory", "steady"))
    page.write_text(f"<!-- notes -->\n<!-- end -->\n{places}")
    pages.write(results, tmp_path / "plots", [page])
    text = page.read_text()
    assert text.count("* for all\n") == 1
    assert text.index("* for all\n") < text.index("<!-- table: pick -->")
    assert text.index("| x | 1 |") < text.index("* for pick\n") < text.index("<!-- table: memory -->")


def test_the_tables_of_one_run_are_shown_together_and_none_of_an_earlier_one(tmp_path: Path) -> None:
    for titles in (("at 50", "at 800"), ("at 100", "at 800")):
        append(tmp_path / "results", records_of("steady", [Report(title, (), ()) for title in titles]))
    assert [each["title"] for each in latest(tmp_path / "results")["steady"]] == ["at 100", "at 800"]


def test_plots_are_drawn_of_records_and_are_the_same_for_the_same(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    course = {"nginx": {"series": series(a_run(failing=(1.0, 2.0))), "faults": [{"begin": 1.0, "end": 2.0}]}}
    costs = {"nginx": {"client": 1e-4, "proxy": 2e-5, "replicas": 3e-5}}
    for name, data in (("one_slow", {"contenders": course}), ("steady", {"costs": costs})):
        records = records_of(name, [Report("A title", (), (), data=data)])
        first = plot(name, records, tmp_path)
        assert first is not None
        drawn = first.read_text()
        assert "A title" in drawn
        assert "nginx" in drawn
        again = plot(name, records, tmp_path)
        assert again is not None
        assert again.read_text() == drawn
    assert plot("pick", records_of("pick", [Report("Choices", (), ())]), tmp_path) is None


def test_no_figure_of_the_repository_is_typed_by_hand(tmp_path: Path) -> None:
    copies = [tmp_path / "docs" / "benchmarks.md", tmp_path / "README.md"]
    shutil.copytree(pages.PLOTS, tmp_path / "docs" / "benchmarks")
    for page, copy in zip(pages.PAGES, copies, strict=True):
        shutil.copy(page, copy)
    pages.write(tmp_path / "none", tmp_path / "docs" / "benchmarks", copies)
    assert [copy.read_text() for copy in copies] == [page.read_text() for page in pages.PAGES]


def test_results_are_lines_of_json_with_when_and_where(tmp_path: Path) -> None:
    append(tmp_path / "results", records_of("pick", [Report("Choices", ("it",), [("random",)], data={"random": 1})]))
    (found,) = map(json.loads, (tmp_path / "results").read_text().splitlines())
    assert found["machine"].keys() == {"system", "processor", "cores", "load", "python"}
    assert found["data"] == {"random": 1}
    assert found["date"].endswith("+00:00")
