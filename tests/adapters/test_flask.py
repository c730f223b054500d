"""The Flask extension."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Blueprint, Flask, Response, current_app, request, stream_with_context
from werkzeug.exceptions import InternalServerError

from balancemw import BalanceError, Balancer, DeadlineExceeded, NoNodeAvailable, SettingsError
from balancemw.balancer import current
from balancemw_flask import Balance
from tests.adapters.calls import TRIES, ask, ask_async, fail, settings, within

MODES: list[dict[str, Any]] = [{}, {"TESTING": True}, {"DEBUG": True}, {"PROPAGATE_EXCEPTIONS": True}]


def app_of(view: Callable[..., Any], config: dict[str, Any] | None = None, /, **options: Any) -> Flask:
    """A Flask app with one view and a balancer."""
    app = Flask(__name__)
    app.config.update({"BALANCEMW": settings(7001), **(config or {})})
    app.add_url_rule("/", view_func=view)
    Balance(app)
    return app


def view() -> str:
    return ask()


async def async_view() -> str:
    return f"{await ask_async()} {ask()}"


def take_out(app: Flask) -> Flask:
    """Leave the app without a node to call."""
    app.extensions["balancemw"]["inventory"].mark("127.0.0.1:7001", "down", reason="maintenance")
    return app


# -- what a request sees


@pytest.mark.parametrize("each", [view, async_view])
def test_balanced_calls_find_the_balancer_in_sync_and_async_views(each):
    answer = app_of(each).test_client().get("/")
    assert answer.status_code == 200
    assert set(answer.text.split()) == {"127.0.0.1:7001"}


def test_the_extension_is_the_balancer():
    app = app_of(lambda: str(current_app.extensions["balancemw"]["inventory"].name))
    assert type(app.extensions["balancemw"]) is Balancer
    assert app.test_client().get("/").text == "inventory"


def test_one_extension_serves_two_apps_with_a_balancer_each():
    balance, apps = Balance(), []
    for port in (7001, 7002):
        app = Flask(__name__)
        app.config["BALANCEMW"] = settings(port)
        app.add_url_rule("/", view_func=view)
        balance.init_app(app)
        apps.append(app)
    assert [app.test_client().get("/").text[-4:] for app in (*apps, apps[0])] == ["7001", "7002", "7001"]


def test_outside_of_requests_the_balancer_is_the_process_own():
    app = app_of(view)
    assert current() is app.extensions["balancemw"]


def test_a_second_init_is_refused():
    app = app_of(view)
    with pytest.raises(RuntimeError, match="already"):
        Balance(app)


def test_the_client_may_keep_the_context_of_the_request():
    with app_of(view).test_client() as client:
        client.get("/?own=1")
        assert request.args["own"] == "1"


def test_a_streamed_body_makes_balanced_calls():
    def chunks() -> Iterator[str]:
        for _ in range(3):
            yield f"{ask()} {within(1.0, 2.0)} {request.method}\n"

    app = app_of(lambda: Response(stream_with_context(chunks())))
    answer = app.test_client().get("/", headers={"x-request-timeout-ms": "2000"})
    assert answer.text == "127.0.0.1:7001 yes GET\n" * 3


def test_hooks_and_what_comes_after_see_the_request():
    app, seen = app_of(view), list[str]()
    app.before_request(lambda: seen.append(ask()))

    @app.after_request
    def after(response: Response) -> Response:
        seen.append(ask())
        response.call_on_close(lambda: seen.append(ask()))
        return response

    app.teardown_request(lambda error: seen.append(ask()))
    app.test_client().get("/").close()
    assert seen == ["127.0.0.1:7001"] * 4


@pytest.mark.parametrize(("count", "tries"), [("1", 3), ("2", 1)])
def test_a_request_that_is_a_retry_makes_no_retries_of_its_own(count, tries):
    app = app_of(fail, {"BALANCEMW": settings()})
    assert app.test_client().get("/", headers={"x-envoy-attempt-count": count}).status_code == 500
    assert len(TRIES) == tries


# -- errors


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("each", [view, async_view])
def test_without_a_node_the_answer_is_503(mode, each):
    answer = take_out(app_of(each, mode)).test_client().get("/")
    assert (answer.status_code, answer.content_type) == (503, "application/problem+json")
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.get_json(force=True)["status"] == 503
    assert "127.0.0.1" not in answer.text


@pytest.mark.parametrize("mode", MODES)
def test_past_the_deadline_the_answer_is_504(mode):
    answer = app_of(view, mode).test_client().get("/", headers={"x-request-timeout-ms": "0"})
    assert (answer.status_code, answer.content_type) == (504, "application/problem+json")


def test_the_answer_to_head_has_no_body():
    answer = take_out(app_of(view)).test_client().head("/")
    assert (answer.status_code, answer.data) == (503, b"")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", [NoNodeAvailable, BalanceError, Exception])
def test_the_handler_of_the_app_wins(mode, when, kind):
    app = Flask(__name__)
    app.config.update({"BALANCEMW": settings(7001), **mode})
    app.add_url_rule("/", view_func=view)
    if when == "after":
        Balance(app)
    app.register_error_handler(kind, lambda error: (f"own: {type(error).__name__}", 418))
    if when == "before":
        Balance(app)
    answer = take_out(app).test_client().get("/")
    assert (answer.status_code, answer.text) == (418, "own: NoNodeAvailable")


def test_the_handler_of_the_app_may_be_async():
    app = app_of(view)

    @app.errorhandler(TimeoutError)
    async def handle(error: Exception) -> tuple[str, int]:
        return f"own: {type(error).__name__}", 418

    answer = app.test_client().get("/", headers={"x-request-timeout-ms": "0"})
    assert (answer.status_code, answer.text) == (418, "own: DeadlineExceeded")


def test_the_handler_of_a_blueprint_wins():
    blueprint = Blueprint("part", __name__, url_prefix="/part")
    blueprint.add_url_rule("/", view_func=view)
    blueprint.register_error_handler(BalanceError, lambda error: ("own", 418))
    app = app_of(view)
    app.register_blueprint(blueprint)
    client = take_out(app).test_client()
    assert [client.get(path).status_code for path in ("/part/", "/")] == [418, 503]


def test_the_page_for_internal_errors_is_not_for_ours():
    app = app_of(view)
    app.register_error_handler(InternalServerError, lambda error: ("we are sorry", 500))
    assert take_out(app).test_client().get("/").status_code == 503


def test_other_errors_pass_untouched():
    def broken() -> str:
        raise KeyError("mine")

    assert app_of(broken).test_client().get("/").status_code == 500
    with pytest.raises(KeyError, match="mine"):
        app_of(broken, {"TESTING": True}).test_client().get("/")


@pytest.mark.parametrize("error", [NoNodeAvailable, DeadlineExceeded])
def test_a_streamed_body_that_fails_before_its_first_part_is_answered_like_any_failure(error):
    def chunks() -> Iterator[str]:
        raise error("early")
        yield ""

    answer = app_of(lambda: Response(chunks())).test_client().get("/")
    assert answer.status_code in (503, 504)
    assert answer.content_type == "application/problem+json"


def test_once_the_answer_has_begun_errors_go_up():
    def chunks() -> Iterator[str]:
        yield "one"
        raise NoNodeAvailable("too late")

    with pytest.raises(NoNodeAvailable, match="too late"):
        app_of(lambda: Response(chunks())).test_client().get("/").get_data()


# -- settings


def test_settings_come_from_the_file_that_the_environment_names(tmp_path, monkeypatch):
    path = tmp_path / "balancemw.toml"
    path.write_text('[services.inventory]\nnodes = ["http://127.0.0.1:7009"]\n')
    monkeypatch.setenv("BALANCEMW_SETTINGS", str(path))
    assert app_of(view, {"BALANCEMW": None}).test_client().get("/").text == "127.0.0.1:7009"
    assert app_of(view).test_client().get("/").text == "127.0.0.1:7001"  # the app's own go first


def test_the_settings_may_be_the_path_of_a_file(tmp_path):
    path = tmp_path / "balancemw.toml"
    path.write_text('[services.inventory]\nnodes = ["http://127.0.0.1:7009"]\n')
    assert app_of(view, {"BALANCEMW": str(path)}).test_client().get("/").text == "127.0.0.1:7009"


def test_without_settings_the_error_says_what_to_do():
    with pytest.raises(SettingsError, match=r'app\.config\["BALANCEMW"\].*BALANCEMW_SETTINGS'):
        Balance(Flask(__name__))


def test_wrong_settings_are_told_at_once_and_leave_the_app_as_it_was():
    app = Flask(__name__)
    app.config["BALANCEMW"] = {"services": {"inventory": {"nods": []}}}
    before = app.wsgi_app
    with pytest.raises(SettingsError, match="nods"):
        Balance(app)
    assert app.wsgi_app == before
    assert "balancemw" not in app.extensions
