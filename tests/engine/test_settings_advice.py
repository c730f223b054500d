"""Settings that are valid but cannot do together what they promise."""

from typing import Any

import pytest

from balancemw.settings import Settings, advice

TWO = ["http://a:1", "http://b:1"]
ZONED = [{"url": f"http://n{i}", "zone": zone} for i, zone in enumerate("aaabbbc")]


def advised(own: dict[str, Any]) -> list[str]:
    lines = advice(Settings.load({"services": {"pay": {"nodes": TWO, **own}}}))
    assert all(line.startswith("services.pay.") for line in lines)
    return [line.removeprefix("services.pay.") for line in lines]


@pytest.mark.parametrize(
    "own",
    [
        {},
        {"nodes": TWO[:1]},
        {"nodes": [*TWO, {"url": "http://c", "priority": 1}]},
        {"probe": True},
        {"probe": {"kind": "http", "path": "/up", "method": "HEAD", "expect": [200, 204]}},
        {"probe": {"kind": "http", "expect": [[200, 299], 404]}},
        {"timeout": None},
        {"timeout": 10, "retry": {"attempts": 1}},
        {"attempt_timeout": None, "retry": {"attempts": 1}},
        {"retry": {"statuses": []}},
        {"retry": {"attempts": 1, "budget": 0, "budget_floor": 0, "statuses": [200], "backoff": 9}},
        {"retry": {"budget": 0}},
        {"ejection": {"success_rate": 0, "window": 1}},
        {"ejection": {"min_calls": 1, "window": 1}},
        {"ejection": {"consecutive": 0, "success_rate": 0, "keep": 1}, "probe": True},
        {"strategy": "weighted_random", "nodes": [TWO[0], {"url": "http://c", "weight": 2}]},
        {"strategy": "consistent_hash"},
        {"strategy": {"name": "consistent_hash", "balance_factor": 1.25}},
        {"strategy": "prequal", "nodes": [TWO[0], {"url": "http://c", "weight": 2}]},
        {"strategy": "load_weighted"},
        {"strategy": "random", "slow_start": {"window": 1}},
        {"zone": "a", "nodes": ZONED},
        {"zone": "a", "nodes": [], "discovery": {"kind": "dns", "name": "pay.internal"}},
        {"subset": 3, "nodes": ZONED},
        {"subset": 10, "discovery": {"kind": "dns", "name": "pay.internal"}},
        {"hedge": True},
        {"hedge": {"delay": "p99", "max_extra": 0.01}},
        {"hedge": {"delay": "p95", "max_extra": 0.04}},
        {"hedge": {"delay": 0.05}},
    ],
)
def test_nothing_to_say(own: dict[str, Any]):
    assert advised(own) == []


@pytest.mark.parametrize(
    ("own", "line"),
    [
        ({"nodes": []}, "nodes: the list is empty: every call fails with NoNodeAvailable until replace() fills it"),
        (
            {"nodes": ["http://a/x", "http://a/y"]},
            "nodes: 2 nodes are called 'a:80'; tell them apart by their urls, not by that name",
        ),
        (
            {"strategy": "random", "nodes": [TWO[0], {"url": "http://c", "weight": 2}]},
            "strategy: 'random' ignores weights, and the nodes' differ; 'weighted_random' heeds them",
        ),
        (
            {"strategy": "round_robin", "nodes": [TWO[0], {"url": "http://c", "weight": 2}]},
            "strategy: 'round_robin' ignores weights, and the nodes' differ; 'weighted_round_robin' heeds them",
        ),
        (
            {"strategy": "load_weighted", "nodes": [TWO[0], {"url": "http://c", "weight": 2}]},
            "strategy: 'load_weighted' measures what weights guess: the nodes' count only until they report their load",
        ),
        (
            {"strategy": {"name": "consistent_hash", "balance_factor": 1.25}, "nodes": TWO[:1]},
            "strategy.balance_factor: has no effect with one node: there is no other for its keys to go on to",
        ),
        (
            {"strategy": "consistent_hash", "slow_start": {"window": 5}},
            "slow_start: has no effect with 'consistent_hash', where a key belongs to its node from the start",
        ),
        ({"zone": "a"}, "zone: no node is of zone 'a' (none has a zone): none is preferred"),
        (
            {"zone": "eu-1a", "nodes": [{"url": "http://a", "zone": "eu-la"}, {"url": "http://b", "zone": "x"}]},
            "zone: no node is of zone 'eu-1a'; did you mean 'eu-la'? (theirs: 'eu-la', 'x'): none is preferred",
        ),
        (
            {"zone": "a", "nodes": ZONED, "strategy": "consistent_hash"},
            "zone: has no effect with 'consistent_hash', where a call's key alone decides which node it belongs to",
        ),
        (
            {"subset": 3, "nodes": ZONED, "strategy": "consistent_hash"},
            "subset: has no effect with 'consistent_hash', where a call's key alone decides which node it belongs to",
        ),
        (
            {"subset": 2, "nodes": ZONED},
            "subset: 2 is few: load gets uneven, and nobody can tell which node is slow; 10 is a good number",
        ),
        ({"subset": 7, "nodes": ZONED}, "subset: 7 has no effect: there are no more nodes than that to choose from"),
        (
            {"subset": 4, "zone": "a", "nodes": ZONED},
            "subset: 4 has no effect: there are no more nodes than that to choose from",
        ),
        (
            {"timeout": None, "attempt_timeout": None},
            "attempt_timeout: neither this nor timeout is set: a node that hangs holds its callers for ever",
        ),
        (
            {"attempt_timeout": None},
            "attempt_timeout: without it a try that hangs uses up the whole call, and no other follows",
        ),
        ({"timeout": 5}, "attempt_timeout: 10 s is longer than timeout (5 s), which ends the try first"),
        (
            {"timeout": 5, "attempt_timeout": 5},
            "attempt_timeout: 5 s is all of timeout: after a try that hangs no other follows",
        ),
        ({"timeout": 15}, "retry.attempts: tries of 10 s: only 2 of 3 begin within timeout (15 s)"),
        ({"retry": {"backoff": 1}}, "retry.backoff: 1 s is above backoff_max (0.25 s), the cap on each wait"),
        (
            {"retry": {"budget": 0, "budget_floor": 0}},
            "retry.budget: this and budget_floor are 0: nothing is ever retried, for all 3 attempts",
        ),
        (
            {"hedge": {}, "retry": {"attempts": 1}},
            "hedge: has no effect with retry.attempts = 1: a hedge is a second try",
        ),
        (
            {"hedge": {}, "nodes": TWO[:1]},
            "hedge: has no effect with a single node: a hedge goes to another",
        ),
        (
            {"hedge": {}, "strategy": "consistent_hash"},
            "hedge: a hedge goes to a node that the call's key does not belong to",
        ),
        (
            {"hedge": {"delay": "p50"}},
            "hedge.delay: 'p50' asks for a hedge with 0.5 of the calls, and max_extra allows 0.05: most that are "
            "due are not sent",
        ),
        (
            {"hedge": {"delay": 10}},
            "hedge.delay: 10 s is not below attempt_timeout (10 s), which ends the try first",
        ),
        (
            {"retry": {"statuses": [502]}},
            "retry.statuses: 503 is not among them: a node that is going down or overloaded says just that",
        ),
        (
            {"retry": {"statuses": [503, 200, 100]}},
            "retry.statuses: 100, 200: no error, yet a call so answered counts as failed",
        ),
        (
            {"ejection": {"consecutive": 0, "success_rate": 0}},
            "ejection: switched off, and no probe: a node that hangs or answers errors stays in the pool",
        ),
        (
            {"ejection": {"window": 5}},
            "ejection.window: 5 s is shorter than attempt_timeout (10 s): a caller's timeouts never meet in one window",
        ),
        ({"ejection": {"keep": 0.9}}, "ejection.keep: 0.9 of 2 nodes is all of them: none is ever ejected"),
        (
            {"ejection": {"keep": 0.6}, "nodes": [*TWO, *({"url": f"http://{n}", "priority": 1} for n in range(5))]},
            "ejection.keep: 0.6 of 2 nodes of priority 0 is all of them: none is ever ejected",
        ),
        ({"ejection": {"base": 1}, "nodes": TWO[:1]}, "ejection: the only node of a service is never ejected"),
        (
            {"probe": {"kind": "tcp", "timeout": 5}},
            "probe.timeout: 5 s: a check may last beyond interval (5 s)",
        ),
        (
            {"probe": {"kind": "tcp", "fast_interval": 6}},
            "probe.fast_interval: 6 s is above interval (5 s): a node that is changing is checked less often, not more",
        ),
        ({"probe": {"kind": "tcp", "path": "/up"}}, "probe.path: has no effect with kind 'tcp', only with 'http'"),
        (
            {"probe": {"kind": "builtins:bool", "method": "PUT"}},
            "probe.method: has no effect with kind 'builtins:bool', only with 'http'",
        ),
        (
            {"probe": {"kind": "http", "expect": [200, 399]}},
            "probe.expect: just the two statuses 200 and 399; the range is written [[200, 399]]",
        ),
    ],
)
def test_one_thing_to_say(own: dict[str, Any], line: str):
    assert advised(own) == [line]


def test_hedges_without_a_budget():
    assert advised({"hedge": {}, "retry": {"budget": 0, "budget_floor": 0}}) == [
        "retry.budget: this and budget_floor are 0: nothing is ever retried, for all 3 attempts",
        "hedge: has no effect with retry.budget and retry.budget_floor 0, out of which hedges are paid",
    ]


def test_names_are_quoted_as_in_problems():
    (line,) = advice(Settings.load({"services": {"a.b": {"nodes": []}}}))
    assert line.startswith('services."a.b".nodes: ')


@pytest.mark.parametrize(
    ("path", "health", "prefixes", "lines"),
    [
        ("/ops", "/healthz", ["/", "/opsy", "/healthz/deep"], []),
        ("/ops", None, ["/ops"], ["routes.\"/ops\": no request is ever forwarded: admin.path ('/ops') has"]),
        ("/a/ops", None, ["/a", "/a/ops/x"], ['routes."/a/ops/x": no request is ever forwarded: admin.path']),
        ("/ops", "/ops", [], ["inbound.health_path: one of the two cannot be reached: admin.path ('/ops') has"]),
        ("/ops", "/ops/up", [], ["inbound.health_path: one of the two cannot be reached: admin.path ('/ops') has"]),
        ("/ops", "/up/", ["/up"], ["inbound.health_path: '/up/' is a route as well: the app answers there, and"]),
        ("/ops", "/", ["/"], ["inbound.health_path: '/' is a route as well"]),
    ],
)
def test_two_things_on_one_path(path: str, health: str | None, prefixes: list[str], lines: list[str]):
    settings: dict[str, Any] = {
        "services": {"pay": {"nodes": TWO}},
        "routes": dict.fromkeys(prefixes, "pay"),
        "inbound": {"health_path": health},
        "admin": {"path": path, "token": "t" * 16},
    }
    told = advice(Settings.load(settings))
    assert [line[: len(start)] for line, start in zip(told, lines, strict=True)] == lines


def test_without_a_token_no_path_is_the_admin_surfaces():
    settings = {"services": {"pay": {"nodes": TWO}}, "routes": {"/_balancer": "pay"}, "inbound": {"health_path": "/up"}}
    assert advice(Settings.load(settings)) == []
