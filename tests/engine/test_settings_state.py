"""The setting ``state``."""

import importlib.util
import os
import pickle

import pytest

from balancemw import Balancer, SettingsError
from balancemw.settings import Settings, StateSettings


def state_of(value: object) -> StateSettings:
    return Settings.load({"services": {}, "state": value}).state


def problem_of(value: object) -> str:
    with pytest.raises(SettingsError) as caught:
        state_of(value)
    (problem,) = caught.value.problems
    return problem


def test_memory_is_the_default():
    assert Settings.load({"services": {}}).state == state_of("memory") == StateSettings("memory", "")


def test_a_file_is_relative_to_where_the_process_began(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert state_of("sqlite:///state.db") == StateSettings("sqlite", os.path.join(tmp_path, "state.db"))
    assert state_of("sqlite:///a/b c".replace(" ", "_")).place == os.path.join(tmp_path, "a", "b_c")
    assert state_of("sqlite:////var/lib/app/state.db").place == "/var/lib/app/state.db"


@pytest.mark.parametrize(
    "url", ["redis://cache", "redis://:pw@cache:6379/3", "rediss://user:pw@cache/0", "unix:///run/redis.sock"]
)
def test_redis(url: str):
    assert state_of(url) == StateSettings("redis", url)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, 'state: expected "memory", "sqlite:///file" or "redis://host:port/0", got 5'),
        (None, 'state: expected "memory", "sqlite:///file" or "redis://host:port/0", got None'),
        ("memry", "did you mean 'memory'?"),
        ("sqlite3:///x", "did you mean 'sqlite'?"),
        ("postgres://joe:hunter2@host/db", 'state: expected "memory"'),
        ("sqlite:state.db", 'write "sqlite:///file" for a relative path'),
        ("sqlite://state.db", 'write "sqlite:///file" for a relative path'),
        ("sqlite:///", "the name of the file is missing"),
        ("sqlite:///var/", "the name of the file is missing"),
        ("sqlite:///:memory:", 'write "memory"'),
        ("sqlite:///x?mode=ro", "a file has no options"),
        ("redis://", "the host is missing"),
        ("redis://joe:hunter2@", "the host is missing"),
        ("redis://joe:hunter2@host:0", "a port is a number"),
        ("redis://joe:hunter2@host:99999", "not a url"),
        ("redis://joe:hunter2@[::1", "not a url"),
        ("redis://joe:hunter2@host/zero", "the number of a database"),
        ("redis://joe:hunter2@host /0", "no spaces"),
        ("unix://", "the path of the socket is missing"),
    ],
)
def test_what_is_wrong_is_told_without_secrets(value: object, text: str):
    problem = problem_of(value)
    assert problem.startswith("state: ")
    assert text in problem
    assert "hunter2" not in problem


def test_a_missing_extra_is_told_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr("balancemw.settings.state.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"pip install 'balancemw\[redis\]'"):
        Balancer({"services": {}, "state": "redis://cache"})


def test_it_is_never_shown():
    settings = Settings.load({"services": {}, "state": "redis://joe:hunter2@cache"})
    assert "hunter2" not in repr(settings)
    assert pickle.loads(pickle.dumps(settings)) == settings
