"""Nodes in a file: what it may say, and what happens while it is written."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from balancemw import Node
from balancemw.discovery import file as module
from balancemw.discovery.file import File, parse
from balancemw.discovery.found import SourceError
from tests.discovery.finding import Finding, finding, settings_of

A, B, C = "http://a:1", "http://b:2", "http://c:3"
FAST = 0.02


def put(path: Path, content: object) -> None:
    """Replaces a file as a careful writer does: at once."""
    new = path.with_suffix(".new")
    new.write_text(content if isinstance(content, str) else json.dumps(content))
    new.replace(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "nodes.json"


def watched(path: Path, **options: Any) -> Any:
    return finding({"kind": "file", "path": str(path), "interval": FAST, **options})


def looks(shop: Finding, count: int = 3) -> None:
    """Lets the source look that often."""
    source: Any = shop.balancer._monitor._finders[0]
    seen = 0
    genuine = source.take

    def take(answer: Any, turn: Any) -> Any:
        nonlocal seen
        seen += 1
        return genuine(answer, turn)

    from tests.adapters.watching import eventually

    source.take = take
    eventually(lambda: seen >= count)
    source.take = genuine


def test_replaced_files_are_taken_up(path: Path):
    put(path, [A, B])
    with watched(path) as shop:
        shop.until_urls(A, B)
        put(path, {"nodes": [B, {"url": C, "weight": 3}]})
        shop.until_urls(B, C)
        assert [node.weight for node in shop.service.nodes] == [1, 3]
        assert shop.events("discovery_failed") == []


def test_what_is_wrong_keeps_the_nodes_and_is_told_once_per_content(path: Path):
    put(path, [A])
    with watched(path) as shop:
        shop.until_urls(A)
        put(path, "[")
        shop.wait_for("discovery_failed")
        looks(shop)
        put(path, "{")
        shop.wait_for("discovery_failed", 2)
        looks(shop)
        path.unlink()
        assert "No such file" in shop.wait_for("discovery_failed", 3).reason
        looks(shop)
        put(path, [])
        assert "it names no node" in shop.wait_for("discovery_failed", 4).reason
        looks(shop)
        assert len(shop.events("discovery_failed")) == 4
        assert shop.events("discovery_recovered") == []
        assert shop.available() == [A]
        put(path, [B])
        shop.until_urls(B)
        assert len(shop.events("discovery_recovered")) == 1


def test_a_file_written_in_place_is_read_when_it_is_left_alone(path: Path):
    put(path, [A])
    with watched(path) as shop, path.open("r+") as file:
        shop.until_urls(A)
        for index in range(20):
            file.seek(0)
            file.write("[" + " " * index)
            file.flush()
            os.fsync(file.fileno())
        file.seek(0)
        file.write(json.dumps([B, C]) + " " * 40)
        file.flush()
        shop.until_urls(B, C)


def test_half_a_file_is_not_read(path: Path):
    """Decided by what it looks like: its inode stays and something else changes from look to look."""
    from balancemw.discovery.file import File

    put(path, [A])
    file: Any = File(settings_of(kind="file", path=str(path)))
    assert [each.node.url for each in file._look()] == [A]
    inode = path.stat().st_ino
    for half in ('["http://b:2"', '["http://b:2",', '["http://b:2", "http://c:3"'):
        path.write_text(half)
        assert file._look() is None
    path.write_text(json.dumps([B, C]))
    assert path.stat().st_ino == inode
    assert file._look() is None
    assert [each.node.url for each in file._look()] == [B, C]
    assert file._look() is None


def test_a_state_is_a_mark_that_only_the_file_takes_back(path: Path):
    put(path, [A, {"url": B, "state": "drain", "reason": "kernel update"}, {"url": C, "state": "down"}])
    with watched(path) as shop:
        shop.until_available(A)
        states = {each["name"]: each for each in shop.balancer.status()["services"]["s"]["nodes"]}  # type: ignore[index]
        assert (states["b:2"]["state"], states["c:3"]["state"]) == ("draining", "down")
        (mark,) = states["b:2"]["marks"]
        assert (mark["source"], mark["kind"], mark["reason"]) == ("discovery", "drain", "kernel update")
        shop.service.mark(B, "up", reason="an operator overrides others, but not discovery")
        assert shop.available() == [A]
        put(path, [A, B, {"url": C, "state": "up"}])
        shop.until_available(A, B, C)
        assert [each.source for each in shop.events("cleared")] == ["discovery", "discovery"]


def test_defaults_fill_what_entries_do_not_say(tmp_path: Path):
    file = tmp_path / "nodes.toml"
    put(file, 'nodes = ["http://a:1", {url = "http://b:2", weight = 1, zone = "y", metadata = {k = 2}}]')
    options = {"weight": 5, "zone": "z", "priority": 1, "metadata": {"k": 1, "l": 1}}
    found = parse(file.read_bytes(), settings_of(kind="file", path=str(file), **options))
    assert [each.node for each in found] == [
        Node(A, 5, "z", 1, {"k": 1, "l": 1}),
        Node(B, 1, "y", 1, {"k": 2, "l": 1}),
    ]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\xff", "is not UTF-8"),
        (b"", "cannot be read: Expecting value"),
        (b"5", "expected a list of nodes or an object with one"),
        (b"{}", "nodes: missing"),
        (b'{"node": []}', "'node': unknown key; did you mean 'nodes'?"),
        (b'{"nodes": "http://a:1"}', "nodes: expected a list of nodes, got str"),
        (b'["ftp://a"]', r"nodes\[0\].url: expected a url like"),
        (b'[5, {"url": "http://a:1", "wieght": 1}]', r"nodes\[0\]: expected a url .* \(and 1 more\)"),
        (b'["http://a:1", "http://A:1/"]', r"nodes\[1\]: the same node as nodes\[0\]"),
        (b'[{"url": "http://a:1", "state": "drian"}]', r"nodes\[0\].state: expected 'up', 'drain' or 'down'"),
        (b'[{"url": "http://a:1", "state": ["up"]}]', r"nodes\[0\].state: expected"),
        (b'[{"url": "http://a:1", "reason": 5}]', r"nodes\[0\].reason: expected a string"),
        (b'[{"url": "http://a:1", "metadata": 5}]', r"nodes\[0\].metadata: expected a mapping"),
        (b'[{"url": "http://a:1", "weight": NaN}]', r"nodes\[0\].weight: must be"),
        (b"[" * 100000, "is nested too deeply"),
        (b" " * (16 * 2**20 + 1), "is larger than 16 MiB"),
    ],
)
def test_what_no_file_may_say(content: bytes, why: str):
    with pytest.raises(SourceError, match=why):
        parse(content, settings_of(kind="file", path="nodes.json"))


def test_toml_that_is_none():
    with pytest.raises(SourceError, match="cannot be read: Invalid value"):
        parse(b"nodes = [", settings_of(kind="file", path="nodes.toml"))


def test_the_first_nodes_are_those_of_the_settings_until_the_source_speaks(path: Path):
    with finding({"kind": "file", "path": str(path), "interval": FAST}, nodes=[A, B]) as shop:
        shop.wait_for("discovery_failed")
        assert shop.available() == [A, B]
        put(path, [B, C])
        shop.until_urls(B, C)
        states = {each["name"]: each["state"] for each in shop.balancer.status()["services"]["s"]["nodes"]}  # type: ignore[index]
        assert states == {"b:2": "up", "c:3": "up"}  # a process that has just begun has nothing to spare them for
        put(path, [B, C, A])
        shop.until_urls(A, B, C)
        states = {each["name"]: each["state"] for each in shop.balancer.status()["services"]["s"]["nodes"]}  # type: ignore[index]
        assert states == {"a:1": "slow_start", "b:2": "up", "c:3": "up"}


def test_a_users_replace_holds_until_the_source_speaks_next(path: Path):
    put(path, [A])
    with watched(path) as shop:
        shop.until_urls(A)
        shop.service.replace([B])
        looks(shop)
        assert shop.urls() == [B]
        put(path, [A, C])
        shop.until_urls(A, C)


def test_what_changes_while_it_is_read_is_read_again(path: Path, monkeypatch: pytest.MonkeyPatch):
    put(path, [A])
    source, genuine = File(settings_of(kind="file", path=str(path))), module._signature
    signatures = iter([0, 1])  # it grows meanwhile
    with monkeypatch.context() as patch:
        patch.setattr(module, "_signature", lambda found: (*genuine(found)[:-1], next(signatures)))
        assert source._changed() is None
    assert source._changed() == b'["http://a:1"]'
