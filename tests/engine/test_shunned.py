"""A slow node that is passed over for it is told of when it is called again, long before it has answered often."""

from dataclasses import dataclass, field

import pytest

from balancemw.peer import Past
from balancemw.shunned import AGAIN, Shunned
from balancemw.slowness import STEP
from tests.engine.flow import Flow
from tests.engine.test_slowness import slow


@pytest.mark.parametrize("rate", [30, 110, 300])
def test_its_second_chance_tells(rate: float):
    flow = Flow(3, rate, slow(20, 30, 60, sigma=0.3)).run(40)
    (first, *_) = flow.events
    assert (first.event, first.source, first.node) == ("weight", "traffic", "n0:80")
    assert "when it was called again, its peers" in first.reason
    assert first.reason.endswith("calls: it gets 60% of its share")
    assert sum(host == "n0" for second, host in flow.sent if 30 <= second < first.time) < 10


def test_it_is_told_when_it_is_quick_again():
    flow = Flow(3, 110, slow(20, 30, 45, sigma=0.3)).run(75)
    assert [event.event for event in flow.events] == ["weight", "cleared"]
    assert 45 < flow.events[1].time < 65
    assert flow.share("n0", 65, 75) > 0.2


@dataclass(eq=False)
class FakePeer:
    """What is looked at of a peer."""

    latency: float = 0.005
    longest: float = 0.02
    answers: int = 100
    spent: float = 1.0
    waiting: int = 0
    eased: float = 1.0
    marks: frozenset[str] = frozenset()
    past: Past = field(default_factory=Past)

    def answer(self, seconds: float, times: int = 1) -> None:
        self.answers += times
        self.spent += times * seconds
        self.latency = seconds


class Scene:
    """Three peers, of which the first has just become slow."""

    def __init__(self, **odd: object) -> None:
        self.shunned = Shunned(2.0)
        self.peers = [FakePeer(), FakePeer(), FakePeer()]
        self.odd = self.peers[0]
        self.odd.latency = 0.1
        for name, value in odd.items():
            setattr(self.odd, name, value)

    def look(self) -> list[tuple[float, str]]:
        found = [(share, why) for _, share, why in self.shunned.review(self.peers)]  # type: ignore[arg-type]
        for share, _ in found:
            self.odd.eased = share
            self.odd.marks = frozenset({"traffic"} if share < 1.0 else ())
        return found

    def pass_over(self, calls: int = 20) -> None:
        for peer in self.peers[1:]:
            peer.answer(0.005, calls)


def test_what_is_told():
    scene = Scene()
    assert scene.look() == []
    scene.pass_over()
    assert scene.look() == []  # it has not been called again
    scene.odd.answer(0.09)
    told = "it still took 90 ms when it was called again, its peers 5 ms; being slow, it got 1 of the last 41 calls"
    assert scene.look() == [(STEP, told)]
    scene.odd.answer(0.005, AGAIN - 1)
    assert scene.look() == []
    scene.odd.answer(0.005)
    assert scene.look() == [(1.0, "its answers take 5 ms now, its peers' 5 ms")]
    assert scene.look() == []


def test_calls_that_were_under_way_are_no_second_chance():
    scene = Scene(waiting=2)
    assert scene.look() == []
    scene.pass_over()
    scene.odd.answer(0.1, 2)
    scene.odd.waiting = 0
    assert scene.look() == []
    scene.pass_over()
    assert scene.look() == []


@pytest.mark.parametrize(
    "innocent",
    [
        {"latency": 0.019},  # not so slow that few answers would prove it
        {"marks": frozenset({"traffic"})},  # judged already
        {"past": Past(returned_at=5.0)},  # it takes up its share by degrees
    ],
)
def test_who_is_not_doubted(innocent: dict[str, object]):
    scene = Scene(**innocent)
    scene.look()
    scene.pass_over()
    scene.odd.answer(scene.odd.latency)
    assert scene.look() == []


def test_peers_that_took_as_long_of_late_excuse_it():
    scene = Scene()
    scene.peers[2].longest = 0.07
    scene.look()
    scene.pass_over()
    scene.odd.answer(0.1)
    assert scene.look() == []


def test_one_that_was_quick_the_second_time_is_doubted_no_more():
    scene = Scene()
    scene.look()
    scene.pass_over()
    scene.odd.answer(0.005)
    assert scene.look() == []
    scene.odd.latency = 0.1
    assert scene.look() == []  # a new doubt, and a new second chance


@pytest.mark.parametrize(("calls", "again"), [(19, 1), (30, 4)])
def test_one_that_is_called_like_others_is_left_to_those_who_count(calls: int, again: int):
    scene = Scene()
    scene.look()
    scene.pass_over(calls)
    scene.odd.answer(0.1, again)
    assert scene.look() == []


def test_of_two_nobody_can_say_which_is_the_odd_one():
    scene = Scene()
    del scene.peers[2]
    for _ in range(2):
        assert scene.look() == []
        scene.pass_over()
        scene.odd.answer(0.1)


def test_who_left_or_was_judged_by_others_is_theirs():
    for change in ({"eased": 0.36}, None):
        scene = Scene()
        scene.look()
        scene.pass_over()
        scene.odd.answer(0.1)
        assert [share for share, _ in scene.look()] == [STEP]
        if change:
            scene.odd.eased = 0.36
        else:
            scene.peers[0] = FakePeer()
        assert scene.look() == []
        scene.peers[0] = scene.odd
        scene.odd.answer(0.005, AGAIN)
        assert scene.look() == []
