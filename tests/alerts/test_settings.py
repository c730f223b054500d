"""The settings of the admin surface and of alerts: what is valid, and how what is not is told."""

import pickle
from pathlib import Path
from typing import Any

import pytest

from balancemw import SettingsError
from balancemw.settings import AlertSettings, MatchRule, Reaction, Settings, advice

SERVICES = {"a": {"nodes": ["http://a:1", "http://b:1"]}}
LONG = "0123456789abcdef"


def load(**more: Any) -> Settings:
    return Settings.load({"services": SERVICES, **more})


def problems(**more: Any) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(**more)
    return list(caught.value.problems)


class TestAdmin:
    def test_defaults(self):
        admin = load().admin
        assert (admin.token, admin.path) == (None, "/_balancer")

    @pytest.mark.parametrize(("path", "taken"), [("/x", "/x"), ("/x/", "/x"), ("/a/b-c/", "/a/b-c")])
    def test_path(self, path: str, taken: str):
        assert load(admin={"path": path}).admin.path == taken

    @pytest.mark.parametrize(
        ("admin", "problem"),
        [
            ("x", "admin: expected a mapping, got 'x'"),
            ({"tokn": "x"}, "admin.tokn: unknown key; did you mean 'token'?"),
            ({1: 2}, "admin: every key must be a string, got 1"),
            ({"token": ""}, "admin.token: is empty; leave it out, or name a secret"),
            ({"token": 5}, "admin.token: expected a string, got a value that is not shown"),
            ({"path": "admin"}, "admin.path: must begin with '/', got 'admin'"),
            ({"path": "/"}, "admin.path: must not be all of the app: write something like '/_balancer'"),
            ({"path": "/a b"}, "admin.path: expected a plain path like '/_balancer', got '/a b'"),
            ({"path": "/a/../b"}, "admin.path: expected a plain path like '/_balancer', got '/a/../b'"),
            ({"path": "/a?b"}, "admin.path: expected a plain path like '/_balancer', got '/a?b'"),
        ],
    )
    def test_problems(self, admin: Any, problem: str):
        assert problems(admin=admin) == [problem]

    @pytest.mark.parametrize("token", ["hunter two", "hunter\n", "höhunter"])
    def test_a_token_is_never_shown(self, token: str):
        (problem,) = problems(admin={"token": token})
        assert problem.startswith("admin.token: a token has no spaces")
        assert "hunter" not in problem
        assert "hunter" not in repr(load(admin={"token": "hunter2"}))

    def test_none_in_toml(self, tmp_path: Path):
        file = tmp_path / "x.toml"
        file.write_text('[services.a]\nnodes = ["http://a"]\n[admin]\ntoken = "none"\n[alerts]\nurl = "none"\n')
        settings = Settings.load(file)
        assert (settings.admin.token, settings.alerts.url) == (None, None)


class TestAlerts:
    def test_defaults(self):
        alerts = load().alerts
        assert alerts == AlertSettings()
        assert (alerts.lease, alerts.max, alerts.url, alerts.interval) == (18000, 1000, None, 300)
        assert alerts.match == (MatchRule(node="instance", by="name", service="service", where={}),)
        assert alerts.reaction("critical") == Reaction("down")
        assert alerts.reaction("warning") == Reaction("weight", 0.25, probe=True)
        assert alerts.reaction("") == alerts.reaction("else") == Reaction("note", probe=True)

    def test_what_is_said_of_severities_is_merged_over_that(self):
        alerts = load(alerts={"severity": {"critical": "drain", "*": "note", "page": {"weight": 1}}}).alerts
        told = [str(alerts.reaction(severity)) for severity in ("critical", "warning", "page", "else")]
        assert told == ["drain", "weight × 0.25 and probe", "weight × 1", "note"]

    @pytest.mark.parametrize(
        ("alerts", "problem"),
        [
            ([], "alerts: expected a mapping, got a list"),
            ({"leas": 1}, "alerts.leas: unknown key; did you mean 'lease'?"),
            ({"lease": 0}, "alerts.lease: must be above 0, got 0"),
            ({"max": 0}, "alerts.max: must be at least 1, got 0"),
            ({"interval": "5"}, "alerts.interval: expected a number, got '5'; write it without quotes"),
            ({"match": "x"}, """alerts.match: expected a list of rules, got 'x'; write [{"node": "instance"}]"""),
            ({"match": []}, """alerts.match: without a rule no alert leads to a node; write [{"node": "instance"}]"""),
            ({"match": [5]}, "alerts.match[0]: expected a mapping, got 5"),
            ({"match": [{"nod": "x"}]}, "alerts.match[0].nod: unknown key; did you mean 'node'?"),
            ({"match": [{"node": "a-b"}]}, "alerts.match[0].node: expected the name of a label, got 'a-b'"),
            ({"match": [{}, {"service": "a b"}]}, "alerts.match[1].service: expected the name of a label, got 'a b'"),
            (
                {"match": [{"where": {"a-b": "c"}}]},
                "alerts.match[0].where.a-b: expected the name of a label, got 'a-b'",
            ),
            ({"match": [{"where": {"a": 1}}]}, "alerts.match[0].where.a: expected a string, got 1"),
            (
                {"match": [{"by": "hots"}]},
                "alerts.match[0].by: unknown property 'hots'; did you mean 'host'? (known: name, host, metadata.<key>)",
            ),
            ({"severity": "down"}, "alerts.severity: expected a mapping, got 'down'"),
            ({"severity": {"x": {"weight": 11}}}, "alerts.severity.x.weight: a factor above 0 and up to 10; got 11"),
            ({"severity": {"x": {}}}, "alerts.severity.x.weight: a factor above 0 and up to 10; missing"),
            (
                {"severity": {"x": {"weight": True}}},
                "alerts.severity.x.weight: a factor above 0 and up to 10; got True",
            ),
            (
                {"severity": {"x": {"weight": 1, "probe": 1}}},
                "alerts.severity.x.probe: expected true or false, got 1",
            ),
            ({"severity": {"x": {"weigth": 1}}}, "alerts.severity.x.weigth: unknown key; did you mean 'weight'?"),
            ({"severity": {"x": 5}}, """alerts.severity.x: expected "down", "drain", "probe", "note" or """),
            ({"severity": {"x": "drian"}}, "alerts.severity.x: unknown reaction 'drian'; did you mean 'drain'? "),
            ({"url": "alertmanager:9093"}, "alerts.url: expected a url like 'http://host:port'"),
            ({"url": "http://u:p@a:1"}, "alerts.url: must not carry a user or password; write them as alerts.user "),
            ({"user": "a"}, "alerts.user: user and password go together"),
            ({"password": "a"}, "alerts.password: user and password go together"),
            ({"user": "a:b", "password": "x"}, "alerts.user: basic authentication knows no user with a ':'"),
            ({"user": "a", "password": "x", "token": "t"}, "alerts.password: either token, or user and password"),
        ],
    )
    def test_problems(self, alerts: Any, problem: str):
        (told,) = problems(alerts=alerts)
        assert told.startswith(problem)

    def test_all_problems_at_once(self):
        found = problems(alerts={"lease": -1, "match": [{"by": 1}], "severity": {"x": 1, "y": 2}}, admin={"path": ""})
        assert [each.partition(":")[0] for each in found] == [
            "admin.path",
            "alerts.match[0].by",
            "alerts.severity.x",
            "alerts.severity.y",
            "alerts.lease",
        ]

    def test_secrets_are_not_shown(self):
        settings = load(alerts={"url": "http://a:1", "user": "bob", "password": "hunter2"})
        assert "hunter2" not in repr(settings)
        assert pickle.loads(pickle.dumps(settings)) == settings


class TestAdvice:
    @pytest.mark.parametrize(
        "more",
        [
            {},
            {"admin": {"token": LONG}},
            {"admin": {"token": LONG}, "alerts": {"lease": 60}},
            {"alerts": {"url": "http://a:1", "interval": 60, "receiver": "x"}},
        ],
    )
    def test_nothing_to_be_said(self, more: Any):
        assert advice(load(**more)) == []

    @pytest.mark.parametrize(
        ("more", "line"),
        [
            (
                {"admin": {"token": "short"}},
                "admin.token: shorter than 16 characters: whoever guesses it may take nodes out",
            ),
            ({"admin": {"path": "/x"}}, "admin.path: has no effect without admin.token: there is no admin surface"),
            (
                {"alerts": {"lease": 5}},
                "alerts: nothing brings alerts: there is neither admin.token, for webhooks, nor alerts.url",
            ),
            (
                {"admin": {"token": LONG}, "alerts": {"receiver": "x"}},
                "alerts.receiver: has no effect without alerts.url, where Alertmanager is asked",
            ),
            (
                {"alerts": {"url": "http://a:1", "lease": 60}},
                "alerts.interval: 300 s is not below lease (60 s): alerts may expire before they are heard of again",
            ),
        ],
    )
    def test_what_is_of_no_use(self, more: Any, line: str):
        assert advice(load(**more)) == [line]
