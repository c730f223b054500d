"""Random histories of a service, compared at every step with a small model of marks and of who may be chosen."""

import json
import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from balancemw import NoNodeAvailable
from tests.engine.stage import FAULTS, Answer, OpenCall, Stage

COMMANDS = ("operator", "alert", "discovery", "self")  # highest first
AUTOMATIC = {"probe", "traffic"}
STRATEGIES = [
    *("random", "round_robin", "weighted_random", "weighted_round_robin"),
    *("least_requests", "peak_ewma", "consistent_hash"),
]

hosts = st.integers(0, 6).map("n{}".format)
sources = st.sampled_from(COMMANDS)
outcomes = st.sampled_from([*FAULTS, "ok", "ok", "ok"])
keys = st.none() | st.sampled_from("abcdefgh")
spans = st.sampled_from([0.01, 0.5, 1.0, 3.0, 7.0, 30.0, 400.0])


class Model:
    """What must be known of one node: a mark per source, and the calls that are open."""

    def __init__(self, entry: dict[str, Any]) -> None:
        self.weight, self.priority = entry["weight"], entry["priority"]
        self.marks: dict[str, tuple[str, float | None, float | None]] = {}  # kind, end, weight; without traffic's
        self.open: list[OpenCall] = []

    def expire(self, now: float) -> None:
        self.marks = {source: mark for source, mark in self.marks.items() if mark[1] is None or now < mark[1]}

    @property
    def commanded(self) -> str | None:
        """The state that a command puts it in."""
        orders = [self.marks[source][0] for source in COMMANDS if source in self.marks]
        order = next((kind for kind in orders if kind != "weight"), None)
        return {"down": "down", "drain": "draining", None: None}[order]

    @property
    def factor(self) -> float:
        """On its weight."""
        factors = (self.marks[source][2] for source in COMMANDS if source in self.marks)
        return next((factor for factor in factors if factor is not None), 1.0)


class HealthMachine(RuleBasedStateMachine):
    @initialize(
        sizes=st.lists(st.integers(1, 4), min_size=1, max_size=2),
        keep=st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0]),
        strategy=st.sampled_from(STRATEGIES),
        window=st.sampled_from([0, 10]),
        seed=st.integers(0, 5),
        zone=st.sampled_from(["", "", "odd"]),
    )
    def begin_service(self, sizes: list[int], keep: float, strategy: str, window: float, seed: int, zone: str) -> None:
        priorities = [priority for priority, size in enumerate(sizes) for _ in range(size)]
        nodes = [self.entry(f"n{i}", priority) for i, priority in enumerate(priorities)]
        self.keep = keep
        self.stage = Stage(
            nodes,
            seed=seed,
            strategy=strategy,
            ejection={"keep": keep},
            slow_start={"window": window},
            timeout=20,
            zone=zone,
        )
        self.service = self.stage.service
        self.models = {entry["url"][7:-3]: Model(entry) for entry in nodes}
        self.gone: list[OpenCall] = []  # calls that are open on nodes which have left

    @staticmethod
    def entry(host: str, priority: int) -> dict[str, Any]:
        number = int(host[1:])
        zone = "odd" if number % 2 else "even"
        return {"url": f"http://{host}:80", "weight": 1.0 + number % 3, "priority": priority, "zone": zone}

    # -- what the model says

    @property
    def usable(self) -> set[str]:
        """Hosts that no command forbids."""
        now = self.stage.clock()
        for model in self.models.values():
            model.expire(now)
        return {host for host, model in self.models.items() if not model.commanded}

    def traffic_mark(self, host: str) -> object:
        return next((mark for mark in self.stage.told(host)["marks"] if mark["source"] == "traffic"), None)

    # -- calls

    @rule(key=keys)
    def begin_call(self, key: str | None) -> None:
        try:
            call = self.stage.open(key=key)
        except NoNodeAvailable:
            assert not self.usable
            return
        assert call.node.host in self.usable
        self.models[call.node.host].open.append(call)

    @rule(which=st.integers(0, 99), outcome=outcomes)
    def end_call(self, which: int, outcome: str) -> None:
        places = [model.open for model in self.models.values() if model.open] + [self.gone] * bool(self.gone)
        if places:
            calls = places[which % len(places)]
            calls.pop(which % len(calls)).end(FAULTS.get(outcome, Answer))

    @rule(
        does=st.dictionaries(hosts, outcomes, max_size=7), idempotent=st.booleans(), key=keys, count=st.integers(1, 8)
    )
    def make_calls(self, does: dict[str, str], idempotent: bool, key: str | None, count: int) -> None:
        self.stage.does = {host: FAULTS.get(outcome, Answer) for host, outcome in does.items()}
        usable, before = self.usable, len(self.stage.sent)
        try:
            self.stage.calls(count, idempotent=idempotent, key=key)
        except KeyboardInterrupt:
            pass
        if not self.models.keys() - usable:  # else marks may end while calls wait between their tries
            assert len(self.stage.sent) - before >= bool(usable)
        self.stage.does = {}

    @rule(key=keys, exclude=st.sets(hosts, max_size=3))
    def pick(self, key: str | None, exclude: set[str]) -> None:
        exclude &= self.models.keys()
        available = self.stage.available()
        if not self.usable:
            with pytest.raises(NoNodeAvailable):
                self.service.pick(key)
            return
        picked = self.service.pick(key, [f"{host}:80" for host in exclude]).host
        assert picked in available
        states = self.stage.states()
        others = {host for host in available - exclude if states[host] != "trial"}  # a choice is nobody's trial
        assert picked not in exclude or not others

    # -- marks

    @rule(
        host=hosts,
        source=sources,
        kind=st.sampled_from(["down", "drain", "weight"]),
        ttl=st.none() | spans,
        weight=st.sampled_from([0.1, 2.0, 10.0]),
    )
    def mark(self, host: str, source: str, kind: str, ttl: float | None, weight: float) -> None:
        if host in self.models:
            factor = weight if kind == "weight" else None
            before = self.traffic_mark(host)
            self.service.mark(f"{host}:80", kind, source=source, reason="?", ttl=ttl, weight=factor)
            assert self.traffic_mark(host) == before
            self.models[host].marks[source] = (kind, None if ttl is None else self.stage.clock() + ttl, factor)

    @rule(host=hosts, source=sources)
    def up(self, host: str, source: str) -> None:
        if host in self.models:
            before = self.traffic_mark(host)
            self.service.mark(f"{host}:80", "up", source=source, reason="?")
            overridden = {"operator", "alert", "self", "probe"} if source == "operator" else {source}
            assert self.traffic_mark(host) == (None if source == "operator" else before)
            marks = self.models[host].marks
            self.models[host].marks = {each: mark for each, mark in marks.items() if each not in overridden}

    @rule(host=hosts, source=sources)
    def clear(self, host: str, source: str) -> None:
        if host in self.models:
            before = self.traffic_mark(host)
            self.service.clear(f"{host}:80", source=source)
            assert self.traffic_mark(host) == before
            self.models[host].marks.pop(source, None)

    @rule(host=hosts)
    def probe_fails(self, host: str) -> None:
        if host in self.models:
            self.service.mark(f"{host}:80", "down", source="probe", reason="3 checks failed")
            self.models[host].marks["probe"] = ("down", None, None)

    @rule(host=hosts, mends=st.booleans())
    def probe_passes(self, host: str, mends: bool) -> None:
        """A check passes; with `mends`, it is the last one that its node needed."""
        if host in self.models:
            pool, now = self.service.pool, self.stage.clock()
            peer, before = pool.roster.find(f"{host}:80"), self.traffic_mark(host)
            if mends:
                pool.clear(peer, "probe", now)
                self.models[host].marks.pop("probe", None)
            mark = peer.marks.get("traffic")
            ended = mark is not None and mark.kind == "ejected" and mark.until is not None and mark.until <= now
            pool.probe_passed(peer, now)
            readmitted = ended and "probe" not in self.models[host].marks
            assert self.traffic_mark(host) == (None if readmitted else before)

    # -- everything else

    @rule(seconds=spans)
    def time_passes(self, seconds: float) -> None:
        self.stage.clock.advance(seconds)

    @rule(listed=st.lists(hosts, unique=True, max_size=7), second=st.sets(hosts))
    def replace(self, listed: list[str], second: set[str]) -> None:
        entries = {host: self.entry(host, int(host in second)) for host in listed}
        self.service.replace(list(entries.values()))
        for host in self.models.keys() - entries.keys():
            self.gone += self.models[host].open
        models = {host: self.models.get(host) or Model(entry) for host, entry in entries.items()}
        for host, model in models.items():
            model.priority = entries[host]["priority"]
        self.models = models

    @precondition(lambda self: len(self.models) > 1)
    @rule(wrong=st.sampled_from(["ftp://a", "", "http://n0:80?x", 7]))
    def replace_with_nonsense(self, wrong: object) -> None:
        before = self.stage.status()
        with pytest.raises(ValueError, match="problem"):
            self.service.replace([*self.service.nodes, wrong])
        assert self.stage.status() == before

    # -- what always holds

    @invariant()
    def agrees(self) -> None:
        usable, status, available = self.usable, self.stage.status(), self.stage.available()
        json.dumps(status, allow_nan=False)
        told = {each["name"][:-3]: each for each in status["nodes"]}
        assert told.keys() == self.models.keys()
        assert available <= usable
        for host, node in told.items():
            self.check_node(self.models[host], node, host in available)
        self.check_keep(usable, available)
        self.check_nobody(usable, available)

    @staticmethod
    def check_node(model: Model, node: dict[str, Any], available: bool) -> None:
        by_source = Counter(mark["source"] for mark in node["marks"])
        assert all(count == 1 for count in by_source.values())
        kinds = {mark["source"]: mark["kind"] for mark in node["marks"] if mark["source"] != "traffic"}
        assert kinds == {source: mark[0] for source, mark in model.marks.items()}
        assert node["in_flight"] == len(model.open)
        assert node["calls"] >= node["failures"] >= 0
        assert node["success_rate"] is None or 0 <= node["success_rate"] <= 1
        assert 0 < node["weight"] <= model.weight * model.factor + 1e-9
        accused = AUTOMATIC & by_source.keys()
        if model.commanded:
            assert node["state"] == model.commanded
        elif not accused:
            assert available
            assert node["state"] in ("up", "slow_start")
        else:
            assert node["state"] in ("trial", "resting", "ejected", "down")
            assert not (available and node["state"] in ("ejected", "down"))
        if node["state"] == "up":
            assert node["weight"] == pytest.approx(model.weight * model.factor)

    def check_keep(self, usable: set[str], available: set[str]) -> None:
        for priority in {model.priority for model in self.models.values()}:
            tier = {host for host, model in self.models.items() if model.priority == priority}
            least = max(1, math.ceil(self.keep * len(tier) - 1e-9))
            assert len(available & tier) >= min(len(usable & tier), least)

    def check_nobody(self, usable: set[str], available: set[str]) -> None:
        assert bool(usable) == bool(available)
        if not usable:
            with pytest.raises(NoNodeAvailable):
                self.service.pick()

    def teardown(self) -> None:
        if not hasattr(self, "service"):
            return
        for call in [*self.gone, *(call for model in self.models.values() for call in model.open)]:
            call.end()
        assert self.stage.in_flight() == 0
        for node in self.service.nodes:
            for source in (*COMMANDS, "probe"):
                self.service.clear(node, source=source)
        self.recovers()

    def recovers(self) -> None:
        """With everybody well and nobody's word against it, a node that takes calls comes back to its full share."""
        if not self.models:
            return
        for _ in range(60):
            self.stage.clock.advance(10)
            self.stage.calls(20, key=None)
        first = min(model.priority for model in self.models.values())
        states = self.stage.states()
        assert {states[host] for host, model in self.models.items() if model.priority == first} == {"up"}


TestHealth = HealthMachine.TestCase
TestHealth.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
