"""What an app says of itself."""

import json
import sys
import threading
import time

import pytest

import balancemw
from balancemw import Balancer
from balancemw.orca import read
from balancemw.presence import STATE, Presence

PATH = "/healthz"


def told(presence: Presence) -> dict[str, object]:
    report = presence.report("GET", PATH)
    assert report is not None
    found: dict[str, object] = json.loads(report.body)
    return found


def test_an_app_that_is_up_says_nothing_but_where_it_is_asked():
    presence = Presence(PATH, 5.0)
    assert presence.headers() == presence.headers(close=True) == ()
    report = presence.report("GET", PATH)
    assert report is not None
    assert report.status == 200
    assert dict(report.headers)["content-type"] == "application/json"
    assert dict(report.headers)["content-length"] == str(len(report.body))
    assert set(told(presence)) == {"state", "since", "in_flight", "requests"}
    assert told(presence)["state"] == "up"
    assert abs(float(str(told(presence)["since"])) - time.time()) < 60


@pytest.mark.parametrize("path", ["/", "/healthz/", "/healthz/x", "/HEALTHZ", ""])
def test_other_paths_are_the_apps(path: str):
    assert Presence(PATH, 5.0).report("GET", path) is None


def test_without_a_path_there_is_no_document():
    assert Presence(None, 5.0).report("GET", PATH) is None


def test_only_reading_is_allowed():
    presence = Presence(PATH, 5.0)
    for method in ("POST", "PUT", "DELETE", ""):
        report = presence.report(method, PATH)
        assert report is not None
        assert (report.status, report.body) == (405, b"")
    head = presence.report("HEAD", PATH)
    assert head is not None
    assert (head.status, head.body) == (200, b"")
    assert not presence.draining


def test_it_says_that_it_is_going_and_for_how_long_it_stays():
    presence = Presence(PATH, 5.0)
    presence.drain("asked to")
    assert presence.headers() == ((STATE, "draining"),)
    assert presence.headers(close=True) == ((STATE, "draining"), ("connection", "close"))
    presence.drain("SIGTERM", 5.0)
    ((_, said),) = presence.headers()
    assert said in ("draining; left=5.0", "draining; left=4.9")
    report = presence.report("GET", PATH)
    assert report is not None
    assert report.status == 503
    assert told(presence)["state"] == "draining"


def test_it_can_be_taken_back():
    presence = Presence(PATH, 5.0)
    presence.drain("asked to", 5.0)
    presence.resume()
    assert presence.headers() == ()
    assert told(presence)["state"] == "up"
    presence.drain("again")
    assert presence.headers() == ((STATE, "draining"),)


def test_time_spent_draining_need_not_be_spent_again(monkeypatch: pytest.MonkeyPatch):
    presence = Presence(PATH, 5.0)
    assert presence.left() == 5.0
    presence.drain("asked to")
    now = time.monotonic()
    monkeypatch.setattr("balancemw.presence.time.monotonic", lambda: now + 3.0)
    assert presence.left() == pytest.approx(2.0, abs=0.5)
    monkeypatch.setattr("balancemw.presence.time.monotonic", lambda: now + 30.0)
    assert presence.left() == 0.0


def test_requests_are_counted_whichever_thread_serves_them():
    presence = Presence(PATH, 5.0)

    def serve() -> None:
        for _ in range(2000):
            presence.enter(time.monotonic())
            presence.leave()

    threads = [threading.Thread(target=serve) for _ in range(4)]
    for thread in threads:
        thread.start()
    presence.enter(time.monotonic())
    for thread in threads:
        thread.join()
    assert (told(presence)["in_flight"], told(presence)["requests"]) == (1, 8001)
    presence.after_fork()
    assert (told(presence)["in_flight"], told(presence)["requests"]) == (0, 0)


def test_to_look_at_the_counts_changes_none_of_them():
    presence = Presence(PATH, 5.0)
    going = threading.Event()

    def serve() -> None:
        for _ in range(2000):
            presence.enter(time.monotonic())
            presence.leave()

    def look() -> None:
        while not going.is_set():
            assert 0 <= presence.in_flight <= 3
            assert 0 <= presence.served <= 6000
            presence.load()

    servers = [threading.Thread(target=serve) for _ in range(3)]
    looker = threading.Thread(target=look)
    for thread in (looker, *servers):
        thread.start()
    for thread in servers:
        thread.join()
    going.set()
    looker.join()
    assert (presence.in_flight, presence.served) == (0, 6000)


def test_requests_that_come_and_go_while_somebody_looks_are_not_in_flight():
    presence = Presence(PATH, 5.0)
    numbers = presence.departures

    class Interrupted:
        """Has other threads run once, after the first number."""

        done = False

        def __next__(self) -> int:
            number = next(numbers)
            if not self.done:
                self.done = True
                for _ in range(5):
                    presence.enter(0.0)
                    presence.leave()
            return number

    presence.departures = Interrupted()  # type: ignore[assignment]
    assert (presence.in_flight, presence.served) == (0, 5)


def test_a_balancer_can_be_told_and_so_can_all_of_a_process():
    one, other = (Balancer({"services": {}, "inbound": {"drain_seconds": seconds}}) for seconds in (1, 3))
    one.drain("for a test")
    assert (one.presence.draining, other.presence.draining) == (True, False)
    one.resume()
    assert not one.presence.draining
    try:
        assert balancemw.drain() >= 3.0
        assert one.presence.draining
        assert other.presence.draining
    finally:
        one.resume()
        other.resume()


def test_apps_may_be_made_while_those_that_there_are_are_told():
    made = [Presence(PATH, 0.0)]

    def another_comes(*_: object) -> None:
        """Whenever Python code begins or goes on: what another thread might do just then."""
        sys.setprofile(None)
        made.append(Presence(PATH, 0.0))
        sys.setprofile(another_comes)

    sys.setprofile(another_comes)
    try:
        balancemw.drain("for a test")
    finally:
        sys.setprofile(None)
    assert made[0].draining
    assert len(made) > 1


def test_who_does_not_drain_has_nothing_to_take_back(caplog: pytest.LogCaptureFixture):
    presence = Presence(PATH, 5.0)
    since = told(presence)["since"]
    presence.resume()
    assert (told(presence)["state"], told(presence)["since"], caplog.text) == ("up", since, "")


# -- its load


@pytest.mark.parametrize(
    ("form", "begin"), [("text", "TEXT "), ("json", "JSON {"), (" JSON ", "JSON {"), ("Text", "TEXT ")]
)
def test_it_tells_its_load_as_asked(form: str, begin: str):
    presence = Presence(None, 5.0)
    presence.enter(time.monotonic())
    header = presence.load_header(form)
    assert header is not None
    name, said = header
    assert name == "endpoint-load-metrics"
    assert said.startswith(begin)
    report = read(said)
    assert report is not None
    assert (report.rps_fractional, report.eps, report.named_metrics) == (1.0, 0.0, {"in_flight": 0.0})


def test_of_several_formats_the_first_counts():
    header = Presence(None, 5.0).load_header("json, text")
    assert header is not None
    assert header[1].startswith("JSON ")


@pytest.mark.parametrize("form", ["", "bin", "BIN", "xml", "text/plain", "te xt", "\0", "text;q=1", ",text"])
def test_what_is_no_format_is_not_answered(form: str):
    assert Presence(None, 5.0).load_header(form) is None


def test_it_can_be_told_to_keep_it_to_itself():
    assert Presence(None, 5.0, reports=False).load_header("text") is None
    balancer = Balancer({"services": {}, "inbound": {"report_load": False}})
    assert balancer.presence.load_header("text") is None


def test_the_app_may_say_how_busy_it_is():
    balancer = Balancer({"services": {}})
    balancer.report_utilization(lambda: 0.75)
    assert balancer.presence.load_header("text")[1].startswith("TEXT application_utilization=0.75, ")  # type: ignore[index]


@pytest.mark.parametrize("said", [float("nan"), float("inf"), -0.1, "much", None])
def test_what_it_says_that_is_no_share_is_left_out_and_told_once(said: object, caplog: pytest.LogCaptureFixture):
    balancer = Balancer({"services": {}})
    balancer.report_utilization(lambda: said)  # type: ignore[arg-type,return-value]
    for _ in range(3):
        assert "application" not in balancer.presence.load_header("text")[1]  # type: ignore[index]
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_an_app_that_fails_to_say_it_says_it_when_it_can_again(caplog: pytest.LogCaptureFixture):
    balancer = Balancer({"services": {}})
    known = iter([0.5])
    balancer.report_utilization(lambda: 1 / 0 if not caplog.records else next(known))
    assert "application" not in balancer.presence.load_header("text")[1]  # type: ignore[index]
    assert "application_utilization=0.5" in balancer.presence.load_header("text")[1]  # type: ignore[index]
