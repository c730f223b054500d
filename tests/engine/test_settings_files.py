"""Settings out of TOML files and the environment."""

from pathlib import Path

import pytest

from balancemw.errors import SettingsError
from balancemw.settings import ProbeSettings, Settings

WHOLE = """
[defaults]
timeout = 8
attempt_timeout = "none"
probe = {kind = "http", path = "/up"}

[defaults.retry]
attempts = 2

[services.inventory]
nodes = ["http://a:1", {url = "http://b:1", weight = 2}]
strategy = "round_robin"

[services.pay]
timeout = "none"
probe = "none"
[[services.pay.nodes]]
url = "http://c"
zone = "none"
metadata = {rack = "none"}

[inbound]
timeout = "none"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "balancemw.toml"


def problem(source: str | Path | None) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.load(source)
    assert caught.value.__context__ is None
    (found,) = caught.value.problems
    return found


@pytest.mark.parametrize("kind", [str, Path])
def test_a_file_says_what_a_mapping_says(file: Path, kind: type):
    file.write_text(WHOLE)
    settings = Settings.load(kind(file))
    inventory, pay = settings.services["inventory"], settings.services["pay"]
    assert [node.weight for node in inventory.nodes] == [1, 2]
    assert inventory.strategy.name == "round_robin"
    assert (inventory.timeout, inventory.attempt_timeout, inventory.retry.attempts) == (8, None, 2)
    assert inventory.probe == ProbeSettings(kind="http", path="/up")
    assert (pay.timeout, pay.attempt_timeout, pay.probe) == (None, None, None)
    assert (pay.nodes[0].zone, pay.nodes[0].metadata) == ("none", {"rack": "none"})
    assert settings.inbound.timeout is None


def test_none_stands_for_null_only_where_null_is_allowed_and_only_in_toml(file: Path):
    file.write_text('[services.a]\nnodes = "none"\n[services.b]\nnodes = []\nretry = {attempts = "none"}')
    with pytest.raises(SettingsError) as caught:
        Settings.load(file)
    assert caught.value.problems == (
        'services.a.nodes: expected a list of urls, got one string; write ["none"]',
        "services.b.retry.attempts: expected a whole number, got 'none'",
    )
    with pytest.raises(SettingsError, match="expected a number, got 'none'"):
        Settings.load({"services": {"a": {"nodes": [], "timeout": "none"}}})


@pytest.mark.parametrize("text", ["services = 5", "services = {a = 5}", "defaults = 5", "inbound = []"])
def test_sections_of_the_wrong_kind(file: Path, text: str):
    file.write_text(text)
    with pytest.raises(SettingsError, match="expected a mapping"):
        Settings.load(file)


def test_a_byte_order_mark_and_foreign_line_ends_do_no_harm(file: Path):
    file.write_bytes(b"\xef\xbb\xbf[services.a]\r\nnodes = []\r\n")
    assert list(Settings.load(file).services) == ["a"]


def test_an_empty_file_names_what_is_missing(file: Path):
    file.write_text("")
    assert problem(file).startswith("services: missing; write ")


def test_wrong_syntax_is_told_with_its_place(file: Path):
    file.write_text("[services.a]\nnodes = [\n")
    assert problem(file).startswith(f"{file}: ")
    file.write_text("[services.a]\nnodes == []\n")
    assert problem(file) == f"{file}: Invalid value (at line 2, column 8)"


def test_a_wrong_encoding_is_told_with_its_place(file: Path):
    file.write_bytes("[services.a]\n# grün\n".encode("latin-1"))
    assert problem(file) == f"{file}: not UTF-8, which TOML files are: byte 0xfc (at line 2, byte 5)"


def test_brackets_without_end(file: Path):
    file.write_text("a = " + "[" * 100_000)
    assert problem(file) == f"{file}: is nested too deeply"


def test_no_such_file(file: Path):
    assert problem(file) == f"{file}: cannot be read: No such file or directory"


def test_a_directory(tmp_path: Path):
    assert problem(tmp_path) == f"{tmp_path}: cannot be read: Is a directory"


def test_a_file_that_may_not_be_read(file: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)  # the tests may run as root, who may read everything
    assert problem(file) == f"{file}: cannot be read: Permission denied"


def test_paths_that_cannot_be():
    assert problem("") == "'': cannot be read: No such file or directory"
    assert problem("a\0b").startswith("a b: ")


def test_the_environment_names_a_file(file: Path, monkeypatch: pytest.MonkeyPatch):
    file.write_text("services = {a = {nodes = []}}")
    monkeypatch.setenv("BALANCEMW_SETTINGS", str(file))
    assert list(Settings.load(None).services) == ["a"]
    assert list(Settings.load({"services": {"b": {"nodes": []}}}).services) == ["b"]


def test_the_environment_names_no_file(file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("BALANCEMW_SETTINGS", raising=False)
    how = "no settings: pass a mapping or the path of a TOML file, or name one in the environment variable"
    assert problem(None) == f"{how} BALANCEMW_SETTINGS"
    monkeypatch.setenv("BALANCEMW_SETTINGS", "")
    assert problem(None) == f"{how} BALANCEMW_SETTINGS, which is empty"
    monkeypatch.setenv("BALANCEMW_SETTINGS", str(file))
    assert problem(None) == f"BALANCEMW_SETTINGS={file}: cannot be read: No such file or directory"
