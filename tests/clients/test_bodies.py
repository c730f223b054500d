"""Every body arrives whole: at the second try too, or there is none."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.clients.bodies import BODIES, Body, Material
from tests.clients.conduct import answer, hangs, refuses_early, resets_after, resets_at_once, resets_halfway
from tests.clients.preserves import ALL, balanced_only, only, preserves
from tests.clients.replica import Conduct, Replica, Request, serving
from tests.clients.site import SERVICE, Address, Site


@pytest.fixture
def material(tmp_path: Path) -> Iterator[Material]:
    with ExitStack() as stack:
        yield Material(tmp_path, stack)


@preserves("every body that the client takes arrives whole")
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_arrives(site: Site, body: str, method: str, material: Material) -> None:
    kind = BODIES[site.driver.name][body]
    got = site.session().request(method, "/a", **kind.make(material))
    assert (got.content, got.asked_method) == (b"ok", method)
    (received,) = site.replica.requests
    assert received.complete
    assert kind.whole(received)


FAILURES: dict[str, Conduct | None] = {
    "refused": None,
    "reset before the body": resets_at_once,
    "reset in the body": resets_halfway,
    "reset after the body": resets_after,
    "503 before the body": refuses_early,
    "503 after the body": answer(503, b"busy"),
}


@pytest.fixture
def second() -> Iterator[Replica]:
    with serving(answer(200, b"second")) as second:
        yield second


def judge(kind: Body, first: list[Request], second: list[Request], outcome: Any, *, may_be_repeated: bool) -> None:
    """Whole at every replica that took it for whole, once if it may not be repeated, and the caller knows of it."""
    completed = [request for request in (*first, *second) if request.complete]
    assert all(kind.whole(request) for request in completed)
    assert len(first) <= 1
    assert len(second) <= 1
    if not may_be_repeated:
        assert len(completed) <= 1
    if second:
        assert outcome == b"second"
        assert second[0].complete
    else:
        assert isinstance(outcome, Exception) or outcome in (b"busy", b"")


@only(*ALL)
@balanced_only
@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_whole_at_the_second_try_or_no_second_try(
    site: Site, body: str, failure: str, method: str, material: Material, second: Replica, closed: Address
) -> None:
    kind, conduct = BODIES[site.driver.name][body], FAILURES[failure]
    if conduct is not None:
        site.replica.on("*", conduct)
    site.serve(SERVICE, closed if conduct is None else site.replica, {"url": second.url, "priority": 1})
    (outcome,) = site.session().together((method, site.base + "/a", kind.make(material)))
    judge(kind, site.replica.requests, second.requests, outcome, may_be_repeated=method == "PUT")
    if kind.resent and (method == "PUT" or conduct is None):
        assert outcome == b"second"
    if conduct is not None and method == "POST":
        assert second.requests == []


@only(*ALL)
@balanced_only
@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_the_first_replica_hangs(site: Site, method: str, material: Material, second: Replica) -> None:
    """All kinds at once, since each has to wait. On a busy machine the second try may be too late as well."""
    site.replica.on("*", hangs)
    bodies = list(BODIES[site.driver.name].values())
    never = {"consecutive": 0, "success_rate": 0}  # else the first replica would soon be spared
    nodes = site.replica, {"url": second.url, "priority": 1}
    site.serve(SERVICE, *nodes, attempt_timeout=0.5, retry={"attempts": 2}, ejection=never)
    calls = [(method, f"{site.base}/{number}", kind.make(material)) for number, kind in enumerate(bodies)]
    outcomes = site.session().together(*calls)
    for number, (kind, outcome) in enumerate(zip(bodies, outcomes, strict=True)):
        first, again = site.replica.asked(f"/{number}"), second.asked(f"/{number}")
        assert all(kind.whole(request) for request in (*first, *again) if request.complete)
        assert len(first) <= 1
        if not isinstance(outcome, Exception):
            assert [request.complete for request in again] == [True]
        else:
            assert len(again) <= 1
            if method == "PUT" and kind.resent:
                assert len(outcome.__notes__) == 1  # the first try; there was a second, which was too late as well
    if method == "POST":
        assert second.requests == []
    else:
        assert b"second" in outcomes
