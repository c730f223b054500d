"""Whatever alerts come, in whatever order: enough nodes are left, and all workers come to the same."""

from math import ceil
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from balancemw.alerts import entry_of
from tests.alerts.notices import Watched, alert

HOSTS = st.sampled_from(["n0", "n1", "n2", "n3", "n4", "nobody"])
ALERTS = st.builds(
    lambda host, severity, name, starts, resolved: alert(
        f"{host}:80", severity, name=name, starts=starts, resolved=resolved
    ),
    HOSTS,
    st.sampled_from(["critical", "warning", "drain", "info", None]),
    st.sampled_from("AB"),
    st.integers(0, 3),
    st.booleans(),
)
SEVERITY = {"drain": "drain"}


def step(stage: Watched, what: Any) -> None:
    kind, value = what
    if kind == "alerts":
        stage.tell(*value)
    elif kind == "time":
        stage.later(value)
    else:
        stage.service.mark(f"{value}:80", kind, reason="of a test")


STEPS = st.one_of(
    st.tuples(st.just("alerts"), st.lists(ALERTS, max_size=8)),
    st.tuples(st.just("time"), st.sampled_from([0.1, 2.0, 1000.0])),
    st.tuples(st.just("up"), st.sampled_from(["n0", "n1", "n2"])),
)


@given(st.integers(1, 5), st.sampled_from([0.0, 0.34, 0.5, 0.8]), st.lists(STEPS, max_size=12))
def test_no_sequence_of_alerts_takes_a_pool_below_keep(count: int, keep: float, steps: list[Any]):
    stage = Watched(count, ejection={"keep": keep}, alerts={"severity": SEVERITY, "lease": 1500})
    for each in steps:
        if each[0] == "up" and int(each[1][1:]) >= count:
            continue
        step(stage, each)
        assert len(stage.available()) >= max(1, ceil(keep * count - 1e-9))
        shown = stage.effects().values()
        assert set(shown) <= {"down", "drain", "weight", "note", "none", "held_back", "overruled"}


@given(st.lists(STEPS, max_size=12))
def test_an_operators_order_is_never_touched(steps: list[Any]):
    stage = Watched(5, alerts={"severity": SEVERITY})
    stage.service.mark("n4:80", "drain", reason="update")
    for each in steps:
        step(stage, each)
        assert "operator" in {mark["source"] for mark in stage.told("n4")["marks"]}
        assert stage.states()["n4"] == "draining"


@given(st.lists(st.lists(ALERTS, max_size=4), max_size=8), st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_workers_that_share_what_they_know_agree(webhooks: list[list[Any]], random: Any):
    workers = [Watched(5, alerts={"severity": SEVERITY}) for _ in range(3)]
    texts: list[str] = []

    def absorb(worker: Watched, told: list[str]) -> None:
        worker.balancer.alerts.absorb([entry_of(text) for text in told], worker.clock())

    for worker in workers:
        worker.balancer.alerts.ledger.changed = lambda entry: texts.append(entry.text())
    for alerts in webhooks:
        random.choice(workers).tell(*alerts)
        if random.random() < 0.3:  # now and then the news spreads at once
            for worker in workers:
                absorb(worker, texts)
    random.shuffle(texts)
    for worker in workers:
        absorb(worker, [*texts, *texts])
    assert workers[0].out() == workers[1].out() == workers[2].out()
    assert seen(workers[0]) == seen(workers[1]) == seen(workers[2])


def seen(worker: Watched) -> dict[str, Any]:
    return {each["fingerprint"]: each["nodes"] for each in worker.alerts()["alerts"]}
