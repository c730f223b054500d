"""SIGTERM in this process: who hears of it first, and what becomes of the handler that was there."""

import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType, SimpleNamespace
from weakref import WeakValueDictionary

import pytest

from balancemw import Balancer, farewell, presence
from balancemw.farewell import watch_sigterm
from tests.adapters.watching import PATIENCE, eventually


class Server:
    """The server's own handler, and the signals that reached it."""

    def __init__(self) -> None:
        self.heard: list[int] = []

    def __call__(self, number: int, _: FrameType | None) -> None:
        self.heard.append(number)


@pytest.fixture
def server() -> Iterator[Server]:
    """Handles SIGTERM while a test runs."""
    own, before = Server(), signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, own)
    yield own
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def over(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Ends the time for which the app serves on."""
    gate = threading.Event()

    def start(function: Callable[[], None], _: tuple[()]) -> None:
        threading.Thread(target=function, name="going").start()

    monkeypatch.setattr(farewell, "_thread", SimpleNamespace(start_new_thread=start))
    monkeypatch.setattr(farewell, "time", SimpleNamespace(sleep=lambda _: gate.wait(PATIENCE)))
    yield gate
    gate.set()


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presence, "_everyone", WeakValueDictionary())  # the balancers of other tests are not to drain


def balancer(seconds: float = 600) -> Balancer:
    return Balancer({"services": {}, "inbound": {"drain_seconds": seconds}})


def handler() -> object:
    return signal.getsignal(signal.SIGTERM)


def test_the_app_drains_first_and_then_the_server_hears_of_it(server: Server, over: threading.Event):
    app = balancer()
    watch_sigterm(app, server=True)
    assert handler() is not server
    signal.raise_signal(signal.SIGTERM)
    eventually(lambda: app.presence.draining)
    assert server.heard == []
    over.set()
    eventually(lambda: server.heard)
    assert server.heard == [signal.SIGTERM]
    assert handler() is server


def test_the_second_signal_is_passed_on_at_once_and_the_end_of_the_time_is_none(server: Server, over: threading.Event):
    app = balancer()
    watch_sigterm(app, server=True)
    signal.raise_signal(signal.SIGTERM)
    eventually(lambda: app.presence.draining)
    signal.raise_signal(signal.SIGTERM)
    assert server.heard == [signal.SIGTERM]
    over.set()
    eventually(lambda: all(thread.name != "going" for thread in threading.enumerate()))
    assert server.heard == [signal.SIGTERM]


def test_another_process_passes_it_on_and_goes_on_doing_so(server: Server):
    app = balancer()
    watch_sigterm(app, server=True)
    inherited = handler()
    inherited.pid += 1  # type: ignore[attr-defined]
    signal.raise_signal(signal.SIGTERM)
    assert (server.heard, app.presence.draining, handler()) == ([signal.SIGTERM], False, inherited)


def test_it_is_set_once_for_all_balancers_and_not_where_there_is_no_time(server: Server):
    watch_sigterm(balancer(0.0), server=True)
    assert handler() is server
    for app in (one := balancer(), one, balancer()):
        watch_sigterm(app, server=True)
    ours = handler()
    assert ours is not server
    watch_sigterm(balancer(), server=True)
    assert handler() is ours


@pytest.mark.parametrize(("serves", "kept"), [(False, True), (True, False)])
def test_where_nobody_handles_it_only_a_server_is_held_up(server: Server, *, serves: bool, kept: bool):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    watch_sigterm(balancer(), server=serves)
    assert (handler() is signal.SIG_DFL) is kept


def test_what_is_ignored_or_heard_by_an_event_loop_is_left_as_it_is(server: Server, caplog: pytest.LogCaptureFixture):
    def _sighandler_noop(number: int, _: FrameType | None) -> None: ...

    with caplog.at_level("DEBUG", "balancemw"):
        for theirs, told in ((signal.SIG_IGN, "not handled by Python"), (_sighandler_noop, "by the event loop")):
            signal.signal(signal.SIGTERM, theirs)
            watch_sigterm(balancer(), server=True)
            assert handler() is theirs
            assert told in caplog.text


def asked_in_a_thread(app: Balancer) -> None:
    thread = threading.Thread(target=lambda: watch_sigterm(app, server=True))
    thread.start()
    thread.join(PATIENCE)


def test_in_a_thread_the_main_thread_is_asked_to_set_it(server: Server):
    asked_in_a_thread(balancer())
    eventually(lambda: handler() is not server)


def test_what_goes_wrong_there_is_told(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(signal, "getsignal", lambda _: 1 / 0)
    asked_in_a_thread(balancer())
    eventually(lambda: "SIGTERM cannot be heard of" in caplog.text)


def test_where_the_main_thread_has_too_much_to_do_the_next_request_asks_again(
    server: Server, monkeypatch: pytest.MonkeyPatch
):
    app = balancer()
    with monkeypatch.context() as patch:
        patch.setattr(farewell, "_in_main_thread", lambda _: False)
        asked_in_a_thread(app)
    assert not app.presence.watched
    asked_in_a_thread(app)
    assert app.presence.watched
    eventually(lambda: handler() is not server)
