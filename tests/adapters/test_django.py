"""What a request meets: sync and async views, under the real WSGI and ASGI handlers."""

import json
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import permutations
from types import ModuleType

import pytest
from django.test import override_settings

from balancemw import balancer as process
from balancemw.peer import Peer
from balancemw_django import balancer as own
from tests.adapters.django_handlers import Answer, under_asgi, under_wsgi

OURS = "balancemw_django.middleware.BalanceMiddleware"
SITE = "tests.adapters.django_site"
OTHERS = "tests.adapters.django_middleware"
LONG = {"x-request-timeout-ms": "1000000"}
OVER = {"x-request-timeout-ms": "0"}

Get = Callable[..., Answer]

pytestmark = [
    # Django's own, for a sync body under ASGI and an async one under WSGI.
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume:Warning"),
    pytest.mark.usefixtures("site"),
]


@pytest.fixture
def site() -> ModuleType:
    """The project, whose balancer is the process's own for one test."""
    site = import_module(SITE)
    process.install_lazily(own)
    return site


@pytest.fixture(params=[under_wsgi, under_asgi])
def get(request: pytest.FixtureRequest) -> Get:
    return request.param


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


# -- calls and deadlines


def test_a_view_finds_the_balancer(get: Get, kind: str) -> None:
    assert get(f"/{kind}/show").body == "a:1 unbounded;"


def test_a_deadline_header_bounds_the_view(get: Get, kind: str) -> None:
    assert get(f"/{kind}/show", LONG).body == "a:1 request;"


def test_of_repeated_deadline_headers_which_servers_join_the_first_counts(get: Get, kind: str) -> None:
    assert get(f"/{kind}/show", {"x-request-timeout-ms": "1000000,0"}).body == "a:1 request;"


def test_requests_leave_nothing_to_the_next(get: Get, kind: str) -> None:
    assert get(f"/{kind}/show", OVER).status == 504
    assert get(f"/{kind}/show").body == "a:1 unbounded;"


@pytest.mark.parametrize(("headers", "tries"), [({}, 3), ({"x-envoy-attempt-count": "2"}, 1)])
def test_a_request_that_is_a_retry_makes_none(
    get: Get, kind: str, headers: dict[str, str], tries: int, site: ModuleType
) -> None:
    site.tries.clear()
    assert get(f"/{kind}/broken", headers).status == 500
    assert len(site.tries) == tries


@pytest.mark.parametrize("view", ["later", "stream", "file"])
def test_what_a_request_leaves_running_has_the_time_it_needs(get: Get, kind: str, view: str, site: ModuleType) -> None:
    get(f"/{kind}/{view}", LONG)
    assert site.left_running[-1].run(site.told, "later") == "later unbounded;"


# -- errors


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("view", ["none", "template"])
def test_no_node_is_503(get: Get, kind: str, view: str, debug: bool) -> None:
    with override_settings(DEBUG=debug):
        answer = get(f"/{kind}/{view}")
    assert answer.status == json.loads(answer.body)["status"] == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) >= 1


@pytest.mark.parametrize("debug", [False, True])
def test_a_deadline_that_is_over_is_504(get: Get, kind: str, debug: bool) -> None:
    with override_settings(DEBUG=debug):
        answer = get(f"/{kind}/show", OVER)
    assert answer.status == json.loads(answer.body)["status"] == 504
    assert answer.headers["content-type"] == "application/problem+json"


def test_other_errors_are_djangos(get: Get, kind: str) -> None:
    answer = get(f"/{kind}/broken")
    assert (answer.status, answer.headers["content-type"]) == (500, "text/html; charset=utf-8")
    assert get(f"/{kind}/unknown").status == 404


def test_an_answer_of_500_passes_as_it_is(get: Get, kind: str) -> None:
    answer = get(f"/{kind}/five-hundred")
    assert (answer.status, answer.body) == (500, "my own")


@pytest.mark.parametrize(
    ("middleware", "status"), [([OURS, f"{OTHERS}.Teapot"], 418), ([f"{OTHERS}.Teapot", OURS], 503)]
)
def test_the_answer_nearest_to_the_view_wins(get: Get, kind: str, middleware: list[str], status: int) -> None:
    with override_settings(MIDDLEWARE=middleware):
        assert get(f"/{kind}/none").status == status


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("middleware", ["calling", "calling_async"])
def test_errors_of_other_middleware_are_answered_too(get: Get, kind: str, middleware: str, debug: bool) -> None:
    with override_settings(MIDDLEWARE=[OURS, f"{OTHERS}.{middleware}"], DEBUG=debug):
        answer = get(f"/{kind}/show")
    assert (answer.status, answer.headers["content-type"]) == (503, "application/problem+json")


def test_other_errors_of_other_middleware_are_djangos(get: Get, kind: str) -> None:
    with override_settings(MIDDLEWARE=[OURS, f"{OTHERS}.failing"]):
        assert get(f"/{kind}/show").headers["content-type"] == "text/html; charset=utf-8"


# -- other middleware

AROUND = [
    order
    for count in (1, 2)
    for others in permutations((f"{OTHERS}.sync_only", f"{OTHERS}.async_only"), count)
    for order in permutations((OURS, *others))
]


@pytest.mark.parametrize("middleware", AROUND, ids=lambda order: "-".join(path.rpartition(".")[2] for path in order))
def test_middleware_of_any_kind_may_stand_around(get: Get, kind: str, middleware: list[str]) -> None:
    with override_settings(MIDDLEWARE=middleware):
        assert get(f"/{kind}/show", LONG).body == "a:1 request;"
        assert get(f"/{kind}/show").body == "a:1 unbounded;"
        assert get(f"/{kind}/none").status == 503
        assert get(f"/{kind}/stream", LONG).body == STREAMED.replace("unbounded", "request")


def test_what_the_view_sets_is_seen_by_the_middleware_around(get: Get, kind: str) -> None:
    with override_settings(MIDDLEWARE=["django.middleware.locale.LocaleMiddleware", OURS], USE_I18N=True):
        assert get(f"/{kind}/german").headers["content-language"] == "de"


# -- streamed bodies

STREAMED = "a:1 unbounded;a:1 attempt;a:1 attempt;a:1 unbounded;"


@pytest.mark.parametrize("extra", [[], ["django.middleware.gzip.GZipMiddleware"]])
def test_a_streamed_body_is_part_of_the_request(get: Get, kind: str, extra: list[str], site: ModuleType) -> None:
    with override_settings(MIDDLEWARE=[*extra, OURS, *extra]):
        assert get(f"/{kind}/stream").body == STREAMED
        assert get(f"/{kind}/stream", LONG).body == STREAMED.replace("unbounded", "request")
    assert site.closed[-2:] == ["a:1 unbounded;", "a:1 request;"]


def peers() -> list[Peer]:
    return list(own()["inventory"].pool.roster.peers.values())


@pytest.mark.parametrize("pieces", [1, 2, 3])
@pytest.mark.parametrize("headers", [{}, LONG], ids=["unbounded", "bounded"])
def test_a_body_whose_reader_goes_away_is_closed(
    get: Get, kind: str, pieces: int, headers: dict[str, str], site: ModuleType
) -> None:
    site.closed.clear()
    assert get(f"/{kind}/stream", headers, pieces).status == 200
    assert len(site.closed) == 1
    assert all(peer.in_flight == 0 for peer in peers())
    assert get(f"/{kind}/show").body == "a:1 unbounded;"


def test_a_body_that_was_begun_by_the_view_goes_on() -> None:
    whole = STREAMED.replace("unbounded", "request")
    assert under_wsgi("/sync/begun", LONG).body == under_asgi("/async/begun", LONG).body == whole


def test_a_body_is_closed_as_part_of_the_request(get: Get, kind: str, site: ModuleType) -> None:
    site.closed.clear()
    get(f"/{kind}/closing", LONG)
    assert site.closed == ["closed request;"]


def test_a_file_is_streamed_as_ever(get: Get, kind: str) -> None:
    assert get(f"/{kind}/file").body == "of a file"


def test_the_server_may_send_a_file_by_itself(kind: str) -> None:
    assert under_wsgi(f"/{kind}/file", server_sends_files=True).body == "sent by the server: of a file"


# -- settings


def test_tests_may_override_the_settings(
    get: Get, kind: str, site: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[process.Balancer] = []

    def close(balancer: process.Balancer) -> None:
        closed.append(balancer)

    monkeypatch.setattr(process.Balancer, "close", close)
    former = own()
    with override_settings(BALANCEMW={"services": {"inventory": {"nodes": ["http://b:2"], "timeout": None}}}):
        assert closed == [former]
        inner = own()
        assert get(f"/{kind}/show").body.startswith("b:2 ")
    assert closed == [former, inner]
    assert get(f"/{kind}/show").body.startswith("a:1 ")


def test_one_balancer_serves_the_process(site: ModuleType) -> None:
    assert own() is own() is process.current()


def test_a_balancer_that_the_project_configures_itself_is_for_calls_outside_of_requests(site: ModuleType) -> None:
    process.configure({"services": {"inventory": {"nodes": ["http://c:3"], "timeout": None}}})
    assert under_wsgi("/sync/show").body.startswith("a:1 ")
    assert site.stock() == "c:3"


def test_calls_outside_of_requests_find_the_balancer(site: ModuleType) -> None:
    assert site.stock() == "a:1"
    with override_settings(BALANCEMW={"services": {"inventory": {"nodes": ["http://b:2"]}}}):
        assert site.stock() == "b:2"


# -- what the app says of itself


@pytest.fixture
def told() -> Iterator[None]:
    service = {"nodes": ["http://a:1"]}
    with override_settings(BALANCEMW={"services": {"inventory": service}, "inbound": {"health_path": "/healthz"}}):
        yield


@pytest.mark.usefixtures("told")
def test_it_says_how_it_is_and_that_it_goes(get: Get, kind: str) -> None:
    path = f"/{kind}/show"
    assert "x-balancemw-state" not in get(path).headers
    health = get("/healthz")
    assert (health.status, json.loads(health.body)["state"], json.loads(health.body)["requests"]) == (200, "up", 1)
    own().drain("for a test")
    assert (get(path).headers["x-balancemw-state"], get(path).status) == ("draining", 200)
    health = get("/healthz")
    assert (health.status, json.loads(health.body)["state"]) == (503, "draining")
    assert health.headers["x-balancemw-state"] == "draining"
    own().resume()
    assert get("/healthz").status == 200


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("view", ["show", "broken", "missing", "stream"])
def test_every_request_is_counted_out(get: Get, kind: str, view: str) -> None:
    get(f"/{kind}/{view}")
    assert (own().presence.in_flight, own().presence.served) == (0, 1)


@pytest.mark.usefixtures("told")
def test_a_stream_that_is_broken_off_is_counted_out(get: Get, kind: str) -> None:
    get(f"/{kind}/stream", chunks=1)
    assert own().presence.in_flight == 0
