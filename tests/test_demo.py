"""The demo, run as users run it, and what it says and how it judges."""

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from balancemw.demo import run
from balancemw.demo.journal import entries, told_by
from balancemw.demo.load import Answer, quantile, shares
from balancemw.demo.outcome import Outcome, explained
from balancemw.demo.processes import WORKERS
from balancemw.demo.script import STORY, needed
from balancemw.demo.summary import errors, figures, verdict
from balancemw.demo.words import fault_name, standing, telling

ROOT = Path(__file__).parent.parent
KEPT = Outcome(reads=1000, orders=100, retries=10, allowed=300.0, out_after=0.1, back_after=1.0)


@contextmanager
def running(app: str, directory: Path, *, pace: float = 0.3, settings: str = "") -> Iterator["subprocess.Popen[str]"]:
    """The demo as a process of its own; `settings` are added to those of its app.

    Its story is told faster here, and it may take longer than a minute instead: so many processes start slowly beside
    others' work.
    """
    program = (
        "import sys; from balancemw.demo import main, processes, run; run.START, run.STORY = 50.0, 85.0; "
        f"processes.SETTINGS += {settings!r}; sys.exit(main({app!r}, plain=False, pace={pace}))"
    )
    paths = os.pathsep.join([str(ROOT), str(ROOT / "adapters")])
    env = {**os.environ, "PYTHONPATH": paths, "TMPDIR": str(directory)}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", program], env=env, **pipes) as demo:
        try:
            yield demo
        finally:
            demo.kill()


def left_running(directory: Path) -> list[str]:
    """The programs of the demo that still run with `directory` as their place for temporary files."""
    mark = f"TMPDIR={directory}".encode()
    found: list[str] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # it is gone, or not ours
            continue
    return found


def check_nothing_is_left(directory: Path) -> None:
    assert left_running(directory) == []
    assert list(directory.iterdir()) == []


# -- the demo as a whole


@pytest.mark.parametrize("app", ["starlette", "flask", "django"])
def test_promise_is_kept_by_each_app(app: str, tmp_path: Path) -> None:
    with running(app, tmp_path, pace=0.1) as demo:
        said, complaints = demo.communicate(timeout=100)
    assert (demo.returncode, complaints) == (0, ""), said
    assert "attempt_timeout = 1" in said
    text = " ".join(said.split())  # as it was before it was wrapped
    for step in STORY:
        assert f">> {step.text}" in text
    answered = re.search(r"reads ([\d,]+) of ([\d,]+) answered, 0 errors", text)
    assert answered, said
    assert answered[1] == answered[2]
    assert int(answered[1].replace(",", "")) > 500
    assert re.search(r"received twice 0 of \d+ orders", text)
    assert re.search(r"a killed out of the pool [\d.]+ m?s later, .*; back in [\d.]+ m?s after it listened again", text)
    assert text.endswith(verdict(KEPT))
    check_journal(text)
    check_nothing_is_left(tmp_path)


def check_journal(text: str) -> None:
    """What happened, and to whom, can be read in it, in that order."""
    journal = text.partition("s node event by fault reason")[2].partition("Summary")[0]
    story = (
        r"a (ejected traffic|down probe) refused ",
        r"a readmitted (probe|traffic) ",
        r"b (ejected traffic|down probe) timeout ",
        r"b readmitted (probe|traffic) ",
        r"b drain operator kernel update ",
        r"b up operator kernel updated ",
        r"c down alert StockIsStale \(critical\): the stock it tells is 3600 s old ",
        r"c cleared alert over: StockIsStale",
    )
    assert re.search(".*".join(rf"\d {entry}" for entry in story), journal), journal


def test_app_that_does_not_fail_over_breaks_the_promise(tmp_path: Path) -> None:
    no_retries = '[services.inventory.strategy]\nname = "round_robin"\n[services.inventory.retry]\nattempts = 1\n'
    with running("starlette", tmp_path, pace=0.1, settings=no_retries) as demo:
        said, complaints = demo.communicate(timeout=100)
    assert (demo.returncode, complaints) == (1, ""), said
    assert "! a read failed at" in said
    assert "PROMISE BROKEN: not so: no caller of an idempotent call saw an error" in " ".join(said.split())
    check_nothing_is_left(tmp_path)


def wait_for_load(demo: "subprocess.Popen[str]") -> None:
    assert demo.stdout is not None
    for line in demo.stdout:
        if ">>" in line:
            return
    raise AssertionError(f"the demo ended before its first step: {demo.communicate()[1]}")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signal_ends_it_and_all_that_it_started(number: signal.Signals, status: int, tmp_path: Path) -> None:
    with running("flask", tmp_path) as demo:
        wait_for_load(demo)
        demo.send_signal(number)
        _, complaints = demo.communicate(timeout=30)
    assert (demo.returncode, complaints) == (status, "")
    check_nothing_is_left(tmp_path)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc to see what is left running")
def test_what_it_started_ends_with_it_even_if_it_is_killed(tmp_path: Path) -> None:
    with running("flask", tmp_path) as demo:
        wait_for_load(demo)
        assert len(left_running(tmp_path)) >= len(("demo", "a replica", "another", "gunicorn")) + WORKERS
        demo.kill()
        demo.communicate()
    give_up = time.monotonic() + 30
    while left_running(tmp_path) and time.monotonic() < give_up:
        time.sleep(0.1)
    assert left_running(tmp_path) == []


@pytest.mark.parametrize("heard", ["its first line", "its first step"])
def test_reader_that_goes_away_ends_it(heard: str, tmp_path: Path) -> None:
    with running("starlette", tmp_path) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        if heard == "its first line":
            demo.stdout.readline()
        else:
            wait_for_load(demo)
        demo.stdout.close()
        complaints = demo.stderr.read()
        assert (demo.wait(timeout=30), complaints) == (1, "")
    check_nothing_is_left(tmp_path)


def test_app_that_does_not_start_is_told(tmp_path: Path) -> None:
    with running("starlette", tmp_path, settings="surprise = 1\n") as demo:
        _, complaints = demo.communicate(timeout=60)
    assert demo.returncode == 1
    assert "The app did not start" in complaints
    assert "surprise" in complaints
    check_nothing_is_left(tmp_path)


# -- what it needs


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(run, "find_spec", lambda name: None if name == "uvicorn" else object())
    assert run.main("starlette", plain=True) == 2
    assert capsys.readouterr().err == "The demo needs uvicorn: pip install 'balancemw[demo]'\n"


def test_rich_is_needed_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(run, "find_spec", lambda name: None if name in ("rich", "gunicorn") else object())
    assert run.main("flask", plain=True) == 2
    assert "rich" not in capsys.readouterr().err
    monkeypatch.setattr(run, "_is_capable_terminal", lambda: True)
    assert run.main("flask", plain=False) == 2
    assert "gunicorn, rich" in capsys.readouterr().err


# -- the judgement


def test_kept_promise() -> None:
    assert KEPT.held
    assert verdict(KEPT).startswith("PROMISE KEPT")
    assert errors(KEPT) == []


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ({"read_errors": ["3.0 s: status 500"]}, "no caller of an idempotent call saw an error"),
        ({"unanswered": 1}, "no caller of an idempotent call saw an error"),
        ({"received_twice": ["order-7"]}, "no order was received twice"),
        ({"lost": 1}, "none was lost"),
        ({"unexplained": ["3.0 s: status 502"]}, "every order that failed may have reached a replica"),
        ({"retries": 301}, "retries kept within their budget"),
        ({"exhausted": 1}, "retries kept within their budget"),
        ({"out_after": None}, "the killed replica left the pool"),
        ({"back_after": None}, "and came back"),
        ({"finished": False}, "the story was told to its end"),
    ],
)
def test_broken_promise(broken: dict[str, object], told: str) -> None:
    outcome = replace(KEPT, **broken)  # type: ignore[arg-type]
    assert not outcome.held
    assert verdict(outcome).startswith("PROMISE BROKEN")
    assert told in verdict(outcome)


def test_order_that_failed_and_may_have_been_received_breaks_nothing() -> None:
    outcome = replace(KEPT, failed_orders=Counter({"answered 503": 2}))
    assert outcome.held
    assert dict(figures(outcome))["orders"].startswith("98 of 100 placed, 2 errors: 2 answered 503")


@pytest.mark.parametrize(
    ("error", "what"),
    [
        ("TimeoutError: no answer within the attempt's time", "not answered in time"),
        ("URLError: <urlopen error timed out>", "not answered in time"),
        ("HTTPError: HTTP Error 503: Service Unavailable", "answered 503"),
        ("ClientResponseError: 503, message='Service Unavailable'", "answered 503"),
        ("ServerDisconnectedError: Server disconnected", "cut off"),
        ("RemoteDisconnected: Remote end closed connection without response", "cut off"),
        ("ConnectionResetError: [Errno 104] Connection reset by peer", "cut off"),
        ("URLError: <urlopen error [Errno 111] Connection refused>", None),
        ("ClientConnectorError: Cannot connect to host 127.0.0.1:1", None),
        ("No replica of a needed service is available.", None),
        ("", None),
    ],
)
def test_why_an_order_may_fail(error: str, what: str | None) -> None:
    assert explained(error) == what


def test_errors_are_told_in_full_up_to_a_number() -> None:
    outcome = replace(KEPT, read_errors=[f"{n}.0 s: status 500" for n in range(7)], received_twice=["order-7"])
    told = errors(outcome)
    assert told[0] == "a read failed at 0.0 s: status 500"
    assert told[5:] == ["and 2 more", "received more than once: order-7"]


# -- the words


def event(what: str, source: str, reason: str, fault: str | None = None, **evidence: object) -> dict[str, object]:
    return {"event": what, "source": source, "reason": reason, "fault": fault, "evidence": evidence}


@pytest.mark.parametrize(
    ("told", "tone", "text"),
    [
        (
            event("ejected", "traffic", "it cannot be reached (OSError: [Errno 111] (sic)); out for 0.7 s", "refused"),
            "bad",
            "a refuses connections: out of the pool, for 0.7 s at least",
        ),
        (
            event("ejected", "traffic", "5 failures in a row (TimeoutError); out for 1.5 s", "timeout"),
            "bad",
            "a answers nothing, 5 failures in a row: out of the pool, for 1.5 s at least",
        ),
        (
            event(
                "ejected", "traffic", "its trial call failed (503 Service Unavailable); out for 2.0 s", "unavailable"
            ),
            "bad",
            "a answers 503 Service Unavailable, its trial call failed: out of the pool, for 2.0 s at least",
        ),
        (event("ejected", "traffic", "for once", "timeout"), "bad", "a is out of the pool: for once"),
        (
            event("down", "probe", "3 checks in a row failed: no answer within 0.5 s", "timeout"),
            "bad",
            "a fails 3 health checks in a row (answers nothing): out of the pool",
        ),
        (
            event("readmitted", "probe", "its probe passed"),
            "good",
            "a is back in the pool, and takes up its share by degrees (its probe passed)",
        ),
        (
            event("failed", "traffic", "503 Service Unavailable", "unavailable", seconds=0.0012),
            "note",
            "a answers 503 Service Unavailable: a first call failed after 1 ms",
        ),
        (event("drain", "operator", "new kernel"), "bad", "a takes no new calls, by an operator's order: new kernel"),
        (event("weight", "operator", "new disk"), "note", "a: weight by operator: new disk"),
    ],
)
def test_words_of_an_event(told: dict[str, object], tone: str, text: str) -> None:
    assert telling(told, "a") == (tone, text)


def test_words_of_an_event_of_the_pool() -> None:
    assert telling(event("budget_exhausted", "pool", "9 of 9"), None) == ("bad", "the retry budget is spent: 9 of 9")
    assert telling(event("fail_open", "pool", "a, b stay in"), None) == ("bad", "the pool fails open: a, b stay in")


def test_words_of_a_state() -> None:
    assert standing("up", None, 1.0, 0.3) == ("good", "in")
    assert standing("up", None, 1.0, 0.01) == ("note", "in, but avoided")
    assert standing("slow_start", None, 0.4, 0.1) == ("note", "in, up to 40%")
    assert standing("ejected", 1.26, 1.0, 0.0) == ("bad", "out, 1.3 s more")
    assert standing("ejected", -0.1, 1.0, 0.0) == ("bad", "out, to be checked")
    assert standing("down", None, 1.0, 0.0, "probe") == ("bad", "out, check fails")
    assert standing("down", None, 1.0, 0.0, "alert") == ("bad", "out, alert")
    for state in ("trial", "down", "resting", "draining"):
        assert standing(state, None, 1.0, 0.0)[1]


def test_faults_are_named_by_what_says_most() -> None:
    assert fault_name("unavailable", "503 Service Unavailable") == "503"
    assert fault_name("timeout", "TimeoutError") == "timeout"


# -- the journal


def test_journal_is_shown_as_it_is_told() -> None:
    told = {**event("ejected", "traffic", "it cannot be reached", "refused"), "node": "127.0.0.1:1", "time": 13.25}
    pool = {**event("fail_open", "pool", "b stays in"), "node": None, "time": 14.0}
    scene = SimpleNamespace(
        journal=[told, pool], names={"127.0.0.1:1": "a"}, began=10.0, stage=SimpleNamespace(url="http://app")
    )
    assert list(entries(scene)) == [  # type: ignore[arg-type]
        ("3.2", "a", "ejected", "traffic", "refused", "it cannot be reached"),
        ("4.0", "", "fail_open", "pool", "", "b stays in"),
    ]
    assert told_by(scene) == "The journal: GET http://app/_balancer/events\na is 127.0.0.1:1"  # type: ignore[arg-type]


# -- the figures


def test_shares_count_answers_of_replicas() -> None:
    answers = [Answer(None, 0.0, 0.01, 200, name) for name in ("a", "a", "b", None)]
    assert shares(answers, ("a", "b", "c")) == {"a": 2 / 3, "b": 1 / 3, "c": 0.0}
    assert shares([], ("a", "b")) == {"a": 0.0, "b": 0.0}


def test_quantile_is_the_nearest_rank() -> None:
    assert quantile([], 0.5) is None
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile([1.0, 2.0], 0.99) == 2.0


def test_story_fits_into_a_minute_however_long_its_facts_take() -> None:
    patience = sum(step.patience for step in STORY)
    assert needed(STORY, 1.0) + run.START < run.STORY
    assert run.STORY + run.LAST < 60
    assert patience > 0
