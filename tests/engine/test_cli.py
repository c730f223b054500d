"""The command line."""

import io
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from balancemw.cli import main

GOOD = """
services.a.nodes = ["http://a", "http://b"]
services.b.nodes = ["http://c"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "balancemw.toml"
    path.write_text(GOOD)
    return path


def run(*arguments: object, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    code = "import sys; from balancemw.cli import main; sys.exit(main())"
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", f"import sys; sys.path[0] = {str(root)!r}; {code}", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)


def test_check_says_ok(file: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["check", str(file)]) == 0
    assert capsys.readouterr().out == "ok: 2 services, 3 nodes\n"


def test_check_counts_in_words(file: Path, capsys: pytest.CaptureFixture[str]):
    file.write_text('services.a.nodes = ["http://a"]')
    assert main(["check", str(file)]) == 0
    assert capsys.readouterr().out == "ok: 1 service, 1 node\n"


@pytest.mark.parametrize("arguments", [["check"], ["simulate", "--list"]])
def test_whoever_reads_the_answer_may_go_before_its_end(file: Path, arguments: list[str]):
    gone, pipe = os.pipe()
    os.close(gone)
    command = [sys.executable, "-m", "balancemw.cli", *arguments]
    done = subprocess.run(
        command, stdout=pipe, stderr=subprocess.PIPE, text=True, check=False, timeout=30,
        env={**os.environ, "BALANCEMW_SETTINGS": str(file)}, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    os.close(pipe)
    assert (done.returncode, done.stderr) == (141, "")


def test_version(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"balancemw {metadata.version('balancemw')}\n"


def test_check_warns(file: Path, capsys: pytest.CaptureFixture[str]):
    file.write_text(GOOD + "defaults.timeout = 5")
    assert main(["check", str(file)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("ok: ")
    assert out[1] == "warning: services.a.attempt_timeout: 10 s is longer than timeout (5 s), which ends the try first"
    assert len(out) == 3


def test_check_tells_every_problem(file: Path):
    file.write_text(GOOD + "services.a.timeout = 0\nservices.b.retry.backof = 1")
    done = run("check", file)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines() == [
        "2 problems in the balancemw settings:",
        "  - services.a.timeout: must be above 0, got 0",
        "  - services.b.retry.backof: unknown key; did you mean 'backoff'?",
    ]


def test_check_takes_the_file_of_the_environment(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("BALANCEMW_SETTINGS", str(file))
    assert main(["check"]) == 0
    monkeypatch.delenv("BALANCEMW_SETTINGS")
    assert main(["check"]) == 1
    assert "BALANCEMW_SETTINGS" in capsys.readouterr().out


def test_check_imports_ones_own_from_the_current_directory(file: Path):
    (file.parent / "own_probe.py").write_text("def check(node): return True\n")
    file.write_text(GOOD + 'defaults.probe.kind = "own_probe:check"')
    done = run("check", file.name, cwd=file.parent)
    assert (done.returncode, done.stdout) == (0, "ok: 2 services, 3 nodes\n")


def test_the_current_directory_is_put_on_the_path_once(file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(file.parent)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert main(["check", file.name]) == main(["check", file.name]) == 0
    assert sys.path.count(str(file.parent)) == 1


def test_output_may_go_anywhere(file: Path, monkeypatch: pytest.MonkeyPatch):
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    assert main(["check", str(file)]) == 0
    assert out.getvalue().startswith("ok: ")


def test_what_cannot_be_encoded_is_no_reason_to_fail(file: Path, monkeypatch: pytest.MonkeyPatch):
    file.write_text('services."ä".nodes = []', encoding="utf-8")
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    done = run("check", file)
    assert done.returncode == 1
    assert 'services."\\xe4": the name must be usable' in done.stdout


@pytest.mark.parametrize(
    "arguments", [["--help"], *([command, "--help"] for command in ("check", "status", "demo", "simulate"))]
)
def test_help_can_be_read_on_any_terminal(arguments: list[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    done = run(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: balancemw")
    assert "\\u" not in done.stdout


def test_a_simulation_can_be_read_on_any_terminal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    for arguments in (["--list"], ["--requests", "100", "--strategies", "random"]):
        done = run("simulate", *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert "\\u" not in done.stdout


@pytest.mark.parametrize("arguments", [(), ("chekc",), ("check", "a", "b"), ("status",), ("demo", "--app", "tornado")])
def test_what_is_not_understood(arguments: tuple[str, ...]):
    done = run(*arguments)
    assert done.returncode == 2
    assert "usage: balancemw" in done.stderr


def test_help():
    commands = ([], ["check"], ["status"], ["demo"])
    whole, check, status, demo = (run(*arguments, "--help") for arguments in commands)
    assert whole.returncode == check.returncode == status.returncode == demo.returncode == 0
    assert "BALANCEMW_TOKEN" in status.stdout
    assert "check" in whole.stdout
    assert "demo" in whole.stdout
    assert "FILE" in check.stdout
    assert "BALANCEMW_SETTINGS" in check.stdout
    assert "--plain" in demo.stdout


def test_demo_is_imported_only_when_asked_for(monkeypatch: pytest.MonkeyPatch):
    asked: list[tuple[str, bool]] = []

    def play(app: str, plain: bool) -> int:
        asked.append((app, plain))
        return 3

    monkeypatch.setitem(sys.modules, "balancemw.demo", SimpleNamespace(main=play))
    assert main(["demo"]) == main(["demo", "--app", "flask", "--plain"]) == 3
    assert asked == [("starlette", False), ("flask", True)]
