"""What happens to a request whose replica fails: another gets it where that is safe, and only there."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.forward.stage import Replica, Server, replicas, serving, until
from tests.forward.test_http import ask

CONDUCTS = ("/reset", "/late-reset", "/busy", "/hang", "/garbage", "/bad-header")
TIMES = 6  # in turn, so that each replica is asked first


class Front(Server):
    """A server with a service for each way to fail, of one replica that fails so and one that does not."""

    kind: str
    good: Replica
    bad: dict[str, Replica]


@pytest.fixture(scope="module")
def cast() -> Iterator[tuple[Replica, dict[str, Replica]]]:
    """A replica that does what it should, and one for each way not to."""
    with replicas("", *CONDUCTS, "") as (good, *others, dead):
        dead.kill()
        yield good, dict(zip([conduct[1:] for conduct in CONDUCTS], others, strict=True)) | {"dead": dead}


@pytest.fixture(scope="module", params=["h11", "wsgi", "django", "django-asgi"])
def front(request: pytest.FixtureRequest, cast: tuple[Replica, dict[str, Replica]]) -> Iterator[Front]:
    good, bad = cast
    services: dict[str, Any] = {name: {"nodes": [each.url, good.url]} for name, each in bad.items()}
    services |= {"empty": {"nodes": []}, "alone": {"nodes": [bad["hang"].url], "attempt_timeout": 0.3}}
    services["hang"]["attempt_timeout"] = 1.0
    routes: dict[str, Any] = {f"/{name}": name for name in services}
    routes["/unkept"] = {"service": "late-reset", "body_limit": 0}
    settings = {
        "services": services,
        "routes": routes,
        "defaults": {
            "strategy": "round_robin",
            "retry": {"budget": 1, "budget_floor": 1000},
            "ejection": {"consecutive": 0, "success_rate": 0},
        },
    }
    with serving(settings, request.param) as server:
        front = Front(server.port)
        front.kind, front.good, front.bad = request.param, good, bad
        yield front


def received(front: Front, name: str, target: str) -> int:
    """How often a request was received, by both replicas of a service together."""
    return front.good.received(target) + (0 if name == "dead" else front.bad[name].received(target))


@pytest.mark.parametrize("name", ["reset", "late-reset", "busy", "hang", "garbage", "bad-header", "dead"])
def test_what_may_be_repeated_is(front: Front, name: str):
    for _ in range(TIMES if name != "hang" else 2):
        assert ask(front, f"/{name}/x").status == 200


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("name", ["reset", "late-reset", "busy", "garbage", "dead"])
def test_a_small_body_is_sent_again_whole(front: Front, name: str, chunked: bool):
    for size in (1, 1000, 65536):
        data = bytes(range(256)) * 256
        data = data[:size]
        for _ in range(2):
            answer = ask(front, f"/{name}/x", "PUT", iter([data]) if chunked else data, encode_chunked=chunked)
            seen = json.loads(answer.content)  # type: ignore[attr-defined]
            assert (seen["size"], seen["digest"]) == (size, hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize("name", ["late-reset", "garbage", "bad-header", "reset"])
def test_what_must_not_be_done_twice_is_not_sent_twice(front: Front, name: str):
    target = f"/order-{name}-{front.kind}"
    statuses = [ask(front, f"/{name}{target}", "POST", b"order").status for _ in range(TIMES)]
    assert sorted(statuses) == [200] * (TIMES // 2) + [502] * (TIMES // 2)
    assert received(front, name, f"POST {target}") == TIMES


def test_unless_it_has_a_key_that_makes_it_harmless(front: Front):
    for _ in range(TIMES):
        assert ask(front, "/late-reset/keyed", "POST", b"order", {"Idempotency-Key": "1"}).status == 200


def test_a_refused_connection_harms_nothing(front: Front):
    data = b"x" * 5_000_000
    for _ in range(TIMES):
        answer = ask(front, f"/dead/order-{front.kind}", "POST", data)
        assert json.loads(answer.content)["size"] == len(data)  # type: ignore[attr-defined]
    assert front.good.received(f"POST /order-{front.kind}") == TIMES


@pytest.mark.parametrize(
    ("prefix", "name", "size"),
    [("/late-reset", "late-reset", 65537), ("/late-reset", "late-reset", 2_000_000), ("/unkept", "late-reset", 1)],
)
def test_a_body_that_was_too_long_to_be_kept_is_not_sent_again(front: Front, prefix: str, name: str, size: int):
    target = f"/large-{size}-{front.kind}"
    statuses = [ask(front, f"{prefix}{target}", "PUT", b"x" * size).status for _ in range(TIMES)]
    assert sorted(statuses) == [200] * (TIMES // 2) + [502] * (TIMES // 2)
    assert received(front, name, f"PUT {target}") == TIMES


def test_then_the_replicas_own_failure_is_the_answer(front: Front):
    answers = [ask(front, "/busy/large", "PUT", b"x" * 100_000) for _ in range(2)]
    assert sorted(answer.status for answer in answers) == [200, 503]
    (busy,) = [answer for answer in answers if answer.status == 503]
    assert busy.content == b"busy"  # type: ignore[attr-defined]


def test_a_retry_is_not_multiplied(front: Front):
    headers = {"x-envoy-attempt-count": "2"}
    statuses = [ask(front, "/late-reset/chain", headers=headers).status for _ in range(TIMES)]
    assert sorted(statuses) == [200] * (TIMES // 2) + [502] * (TIMES // 2)


def test_no_answer_in_time(front: Front):
    answer = ask(front, "/alone/x", "POST", b"x")
    assert answer.status == 504
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_clients_own_time(front: Front):
    answer = ask(front, "/hang/x", "POST", b"x", {"x-request-timeout-ms": "200"})
    while answer.status == 200:  # the other replica was asked first
        answer = ask(front, "/hang/x", "POST", b"x", {"x-request-timeout-ms": "200"})
    assert answer.status == 504


def test_nobody_to_ask(front: Front):
    answer = ask(front, "/empty/x")
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["content-type"] == "application/problem+json"
    assert ask(front, "/empty/x", "HEAD").status == 503


def test_nothing_is_left_in_flight(front: Front):
    def idle() -> bool:
        services = front.about()["services"].values()
        return not any(node["in_flight"] for service in services for node in service["nodes"])

    until(idle)
